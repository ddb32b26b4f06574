"""Writing what was read: a conversation once, however often its file comes.

The conversation keeps `client_id` (where it came from and the id it had there), each message `client_message_id`. What
is there already is left as it is; only what is new is added, in small transactions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import bindparam, case, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations import indexing, store, words
from chatcore.conversations.access import ALLOWED, scope
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.copying import batches
from chatcore.conversations.exchange import extras
from chatcore.conversations.exchange.values import (
    MAX_TEXT,
    ImportedConversation,
    ImportedFile,
    ImportedMessage,
    shortened,
)
from chatcore.conversations.text import preview_from, title_from
from chatcore.db import Database
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import MessageAttachment, utcnow
from chatcore.errors import InvalidInput, NotFound
from chatcore.ids import new_id

Outcome = Literal["added", "updated", "unchanged", "skipped"]

_KNOWN: Final = select(MessageRow.id, MessageRow.client_message_id).where(
    MessageRow.conversation_id == bindparam("conversation")
)
_FOUND: Final = (
    select(ConversationRow.id, ConversationRow.client_id)
    .where(
        ALLOWED["own"], or_(ConversationRow.client_id == bindparam("client"), ConversationRow.id == bindparam("own"))
    )
    .order_by(ConversationRow.id)
)
# One's own or the team's: an import that names somebody's private agent does not learn that there is one.
_AGENT: Final = select(AgentRow.id).where(
    AgentRow.tenant_id == bindparam("tenant"), AgentRow.slug == bindparam("slug"),
    or_(AgentRow.visibility == "team", AgentRow.owner_id == bindparam("user")),
)  # fmt: skip
_INSERT_MESSAGES: Final = insert(MessageRow.__table__)  # type: ignore[arg-type]
_UPDATE: Final = update(ConversationRow).execution_options(synchronize_session=False)
_FACTS: Final = (
    "provider", "finish_reason", "prompt_tokens", "completion_tokens", "total_tokens", "cost_nano_usd", "ttft_ms",
    "latency_ms", "edited_at",
)  # fmt: skip
_DEFAULTS: Final[Mapping[str, Any]] = {"status": "complete"} | dict.fromkeys(_FACTS)


class Carried(NamedTuple):
    """A file of a message as it is stored here. `part` is what shows it, where the source had none."""

    attachment_id: str
    part: Mapping[str, Any] | None


@dataclass
class _Plan:
    """What is to be done for one conversation. `ids`: the source's ids of messages → ours."""

    conversation_id: str
    is_new: bool
    ids: dict[str, str]
    fresh: list[ImportedMessage]
    imported: frozenset[str]  # our ids of all messages that the file has
    carried: dict[str, list[Carried]]
    files: dict[str, str]  # the source's ids of attachments → ours
    now: datetime = field(default_factory=utcnow)


class Writer:
    """Writes the conversations of one import for one person. `problems` are sentences for them."""

    def __init__(
        self, db: Database, principal: Principal, attachments: Attachments, pause: Callable[[], None] = lambda: None
    ) -> None:
        """`pause` is called between transactions; what it raises ends the writing there."""
        self._db = db
        self._principal = principal
        self._whose = {"tenant_id": principal.tenant_id, "user_id": principal.user_id}
        self._attachments = attachments
        self._pause = pause
        self.problems: list[str] = []

    def write(self, one: ImportedConversation) -> tuple[Outcome, int]:
        """What became of it, and how many messages were added. Raises `DatabaseError`."""
        if not one.messages and one.source != "chatcore":
            return "skipped", 0
        try:
            return self._write(one)
        except IntegrityError:  # another import of the same file was quicker
            return self._write(one)

    def _write(self, one: ImportedConversation) -> tuple[Outcome, int]:
        plan = self._db.read(lambda session: self._plan(session, one))
        if not plan.is_new and not plan.fresh:
            return "unchanged", 0
        self._shorten(one, plan)
        self._keep_files(plan)
        parts = batches(plan.fresh, _size)
        written = 0
        try:
            for number, batch in enumerate(parts):
                if number:
                    self._pause()
                spelled = [indexing.spelled(message.content) for message in batch]
                is_last = number == len(parts) - 1
                self._db.write(partial(self._batch, one, plan, number, is_last, batch, spelled))
                written += len(batch)
        except NotFound:  # deleted while it was being filled
            return "skipped", written
        return "added" if plan.is_new else "updated", written

    def _plan(self, session: Session, one: ImportedConversation) -> _Plan:
        own = one.id if one.source == "chatcore" else ""
        found = session.execute(_FOUND, scope(self._principal) | {"client": _client_id(one), "own": own}).first()
        ids: dict[str, str] = {}
        if found is not None:
            for row in session.execute(_KNOWN, {"conversation": found.id}):
                ids[row.client_message_id or row.id] = row.id
                ids.setdefault(row.id, row.id)
        fresh = [message for message in one.messages if message.id not in ids]
        ids |= {message.id: new_id("msg") for message in fresh}
        imported = frozenset(ids[message.id] for message in one.messages)
        conversation_id = found.id if found is not None else new_id("conv")
        return _Plan(conversation_id, found is None, ids, fresh, imported, {}, {})

    def _shorten(self, one: ImportedConversation, plan: _Plan) -> None:
        long = sum(len(message.content) > MAX_TEXT for message in plan.fresh)
        if long:
            plan.fresh = [replace(message, content=shortened(message.content)) for message in plan.fresh]
            which = "A message" if long == 1 else f"{long:,} messages"
            self.problems.append(
                f"{which} of “{one.title[:60]}” had more than {MAX_TEXT:,} characters: the rest is cut."
            )

    def _keep_files(self, plan: _Plan) -> None:
        for message in plan.fresh:
            for file in message.files:
                data = file.data()
                if data is None:
                    self.problems.append(f"The file “{file.name}” is not in the export.")
                elif (kept := self._keep(file, data)) is not None:
                    plan.carried.setdefault(message.id, []).append(kept)
                    if file.id is not None:
                        plan.files[file.id] = kept.attachment_id
                    continue
                if file.id is not None:
                    plan.files.setdefault(file.id, "")  # the part keeps the name; there is nothing to open

    def _keep(self, file: ImportedFile, data: bytes) -> Carried | None:
        try:
            kept = self._attachments.add(self._principal, file.name, data)
        except InvalidInput as error:
            self.problems.append(f"A file was left out: {error}")
            return None
        return Carried(kept.id, extras.part_of(kept) if file.id is None else None)

    def _batch(
        self,
        one: ImportedConversation,
        plan: _Plan,
        number: int,
        is_last: bool,
        batch: Sequence[ImportedMessage],
        spelled: Sequence[str],
        session: Session,
    ) -> None:
        if plan.is_new and number == 0:
            self._create(session, one, plan)
        now = store.get(session, self._principal, plan.conversation_id, lock=True)
        agents: dict[str, str | None] = {}
        rows = [self._row(session, one, plan, message, agents) for message in batch]
        if rows:
            session.execute(_INSERT_MESSAGES, rows)
        if now.expires_at is None:
            found = [(plan.ids[message.id], text) for message, text in zip(batch, spelled, strict=True)]
            indexing.index_many(session, plan.conversation_id, self._whose, found)
        self._link(session, plan, batch)
        head = batch[-1] if batch and not is_last else next((m for m in one.messages if m.id == one.head_id), None)
        values = _activity(plan, batch)
        # The head moves unless the person went on here.
        if head is not None and (now.head_message_id is None or now.head_message_id in plan.imported):
            values |= {"head_message_id": plan.ids[head.id], "preview": preview_from(head.content)}
        session.execute(_UPDATE.where(ConversationRow.id == plan.conversation_id).values(**values))

    def _link(self, session: Session, plan: _Plan, batch: Sequence[ImportedMessage]) -> None:
        links = [
            {"message_id": plan.ids[message.id], "attachment_id": file.attachment_id, "position": position}
            | {"tenant_id": self._principal.tenant_id, "conversation_id": plan.conversation_id}
            for message in batch
            for position, file in enumerate(plan.carried.get(message.id, []))
        ]
        if links:
            session.execute(insert(MessageAttachment), links)

    def _row(
        self,
        session: Session,
        one: ImportedConversation,
        plan: _Plan,
        message: ImportedMessage,
        agents: dict[str, str | None],
    ) -> dict[str, Any]:
        facts = dict(message.facts)
        agent_id = self._agent(session, facts.pop("agent", None), agents)
        created = message.created_at or one.created_at or plan.now
        return {
            **_DEFAULTS,
            **facts,
            "id": plan.ids[message.id],
            "tenant_id": self._principal.tenant_id,
            "user_id": self._principal.user_id,
            "conversation_id": plan.conversation_id,
            "parent_id": plan.ids.get(message.parent_id or ""),
            "client_message_id": message.id,
            "role": message.role,
            "content": message.content,
            "parts": _shown(message, plan.carried.get(message.id, []), plan.files),
            "agent_id": agent_id,
            "model": message.model,
            "metadata": extras.metadata_with(facts.get("metadata", {"imported": one.source}), plan.ids),
            "created_at": created,
            "updated_at": created,
        }

    def _agent(self, session: Session, slug: str | None, known: dict[str, str | None]) -> str | None:
        if slug is None:
            return None
        if slug not in known:
            who = self._principal
            known[slug] = session.scalar(_AGENT, {"tenant": who.tenant_id, "user": who.user_id, "slug": slug})
        return known[slug]

    def _create(self, session: Session, one: ImportedConversation, plan: _Plan) -> None:
        first = next((message.content for message in one.messages if message.role == "user" and message.content), "")
        title = title_from(one.title or first)
        created = one.created_at or next((m.created_at for m in one.messages if m.created_at), None) or plan.now
        times = [message.created_at for message in one.messages if message.created_at]
        latest = max(times, default=one.updated_at or created)
        facts: dict[str, Any] = {"title_source": "person" if one.title else "first", "settings": {}, "summary": None}
        facts |= {"archived_at": latest if one.archived else None, "pinned_at": latest if one.pinned else None}
        facts |= {"model": None, "folder": None, "last_message_at": latest, **one.facts}
        facts["summary"] = extras.summary_with(facts["summary"], plan.ids)
        row: dict[str, Any] = {
            "id": plan.conversation_id,
            "tenant_id": self._principal.tenant_id,
            "user_id": self._principal.user_id,
            "client_id": _client_id(one),
            "title": title,
            "title_words": words.normal(title),
            "agent_id": self._agent(session, one.agent, {}),
            "message_count": 0,
            "created_at": created,
            "updated_at": one.updated_at or plan.now,
        }
        session.execute(insert(ConversationRow.__table__), row | facts)  # type: ignore[arg-type]


def _client_id(one: ImportedConversation) -> str:
    return f"{one.source}:{one.id}"


def _shown(message: ImportedMessage, carried: Sequence[Carried], files: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The message's parts, and before them its files where no part of the source shows them."""
    parts = extras.parts_with(message.parts, files)
    others = [file.part for file in carried if file.part is not None]
    if others and not parts and message.content:
        parts = [{"type": "text", "text": message.content}]
    return [*others, *parts]


def _activity(plan: _Plan, batch: Sequence[ImportedMessage]) -> dict[str, Any]:
    """A conversation that was there and grew has been active."""
    values: dict[str, Any] = {"message_count": ConversationRow.message_count + len(batch)}
    times = [message.created_at for message in batch if message.created_at]
    if times and not plan.is_new:
        latest = max(times)
        later = case((ConversationRow.last_message_at < latest, latest), else_=ConversationRow.last_message_at)
        values |= {"last_message_at": later, "updated_at": plan.now}
    return values


def _size(message: ImportedMessage) -> int:
    return len(message.content) + sum(len(str(part.get("text", ""))) for part in message.parts)
