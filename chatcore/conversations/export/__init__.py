"""Export: a conversation as Markdown, JSON or PDF."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations import store
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.export.document import Document, file_name
from chatcore.conversations.export.markdown import to_markdown
from chatcore.conversations.export.pdf import MOST_MESSAGES, to_pdf
from chatcore.conversations.parts import MediaPart, parse
from chatcore.conversations.values import Message
from chatcore.db import Database
from chatcore.db.tables import User, utcnow
from chatcore.errors import NotFound

__all__ = ["Document", "ExportFile", "Exports", "to_markdown", "to_pdf"]

_MOST_IN_MARKDOWN = 100_000  # messages
_MOST_IMAGES = 200
_NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True)
class ExportFile:
    """A file to hand out. `name` is safe on every file system and at most 80 characters long."""

    name: str
    media_type: str
    data: bytes


class Exports:
    """One's own conversations as files: the visible branch as Markdown or PDF, all of it as JSON."""

    def __init__(self, db: Database, attachments: Attachments) -> None:
        self._db = db
        self._attachments = attachments

    def markdown(
        self,
        principal: Principal,
        conversation_id: str,
        *,
        labels: Mapping[str, str] = _NO_LABELS,
        with_reasoning: bool = False,
    ) -> ExportFile:
        """The visible branch as Markdown. `labels`: the models' names as people read them. Raises `NotFound`."""
        document = self._document(principal, conversation_id, _MOST_IN_MARKDOWN, labels, with_reasoning)
        text = to_markdown(document)
        return ExportFile(_name(document, "md"), "text/markdown; charset=utf-8", text.encode())

    def pdf(
        self,
        principal: Principal,
        conversation_id: str,
        *,
        labels: Mapping[str, str] = _NO_LABELS,
        with_reasoning: bool = False,
    ) -> ExportFile:
        """The newest 2,000 messages of the visible branch as a PDF, with their images. Blocks for seconds.

        Raises `NotFound`, and `InvalidInput` when it cannot be laid out within a minute.
        """
        document = self._document(principal, conversation_id, MOST_MESSAGES, labels, with_reasoning)
        images = self._images(principal, document.messages)
        return ExportFile(_name(document, "pdf"), "application/pdf", to_pdf(document, images))

    def json(self, principal: Principal, conversation_id: str) -> ExportFile:
        """Everything of the conversation, with all branches, as the import takes it back. Raises `NotFound`."""
        from chatcore.conversations.exchange import json_form  # it imports much that the others do not need

        def work(session: Session) -> tuple[str, dict[str, object]]:
            title = store.get(session, principal, conversation_id).title
            return title, json_form.dump(session, principal, conversation_id, self._attachments)

        title, form = self._db.read(work)
        data = json.dumps(form, ensure_ascii=False, indent=2).encode()
        return ExportFile(file_name(title, utcnow(), "json"), "application/json", data)

    def _document(
        self, principal: Principal, conversation_id: str, limit: int, labels: Mapping[str, str], with_reasoning: bool
    ) -> Document:
        def work(session: Session) -> Document:
            conversation = store.get(session, principal, conversation_id)
            window = store.branch(session, conversation_id, conversation.head_message_id, limit)
            return Document(
                title=conversation.title,
                messages=window.messages,
                made_at=utcnow(),
                people=_people(session, principal, {message.user_id for message in window.messages}),
                models=labels,
                earlier=window.earlier,
                with_reasoning=with_reasoning,
            )

        return self._db.read(work)

    def _images(self, principal: Principal, messages: Iterable[Message]) -> dict[str, Path]:
        """The files of the newest attached images by attachment id; those that are gone are left out."""
        parts = [part for message in messages for raw in message.parts if isinstance(part := parse(raw), MediaPart)]
        ids = dict.fromkeys(part.attachment_id for part in parts if part.media == "image")
        found = {}
        for attachment_id in list(ids)[-_MOST_IMAGES:]:
            try:
                found[attachment_id] = self._attachments.get(principal, attachment_id)[1]
            except NotFound:
                continue
        return found


def _people(session: Session, principal: Principal, ids: set[str]) -> dict[str, str]:
    rows = session.execute(select(User.id, User.name).where(User.tenant_id == principal.tenant_id, User.id.in_(ids)))
    return {row.id: row.name for row in rows}


def _name(document: Document, suffix: str) -> str:
    return file_name(document.title, document.made_at, suffix)
