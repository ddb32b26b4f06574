"""What follows a turn's end, begun in the same transaction: another model's reply, or a question that waited."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.accounts.sessions import as_principal
from chatcore.conversations import Conversation
from chatcore.conversations import store as conversations
from chatcore.conversations.values import conversation_value
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import QueuedMessage as QueuedRow
from chatcore.db.tables import User as UserRow
from chatcore.db.tables import utcnow
from chatcore.errors import BudgetExceeded, ChatcoreError, NotFound
from chatcore.turns import attached, queue, replies, store
from chatcore.turns.asking import Asking, Question
from chatcore.turns.values import Begun, TurnEnd, TurnSettings
from chatcore.usage.limits import Limits

log = logging.getLogger(__name__)


class Succession:
    """Begins turns that nobody asks for at that moment. Works inside the caller's transaction, as `Asking` does."""

    def __init__(self, asking: Asking, limits: Limits) -> None:
        self._asking = asking
        self._limits = limits

    def after(self, session: Session, end: TurnEnd) -> tuple[Begun, str] | None:
        """What follows a turn that ends now, begun in the same transaction: another model's reply beside one that broke
        off, else the question that waited behind it, below its reply."""
        if end.restart is not None:
            try:
                with session.begin_nested():
                    return self._restarted(session, end), end.begun.call.tenant_id
            except ChatcoreError as error:
                log.warning("no other model could begin a new reply", extra={"error": error.code})
        conversation_id = end.begun.conversation_id
        if not queue.is_waited_for(session, conversation_id) or store.running(session, conversation_id):
            return None
        row = session.get_one(ConversationRow, conversation_id)
        session.refresh(row)
        if row.expires_at is not None and row.expires_at <= utcnow():
            return None
        parent_id = self._continued(session, end)
        begun = self.begin_queued(session, conversation_value(row), parent_id)
        return (begun, row.tenant_id) if begun else None

    @staticmethod
    def _continued(session: Session, end: TurnEnd) -> str:
        """Where a question goes on that waited for this end: below its reply, or below the picked, else the first, of
        those that were compared."""
        begun = end.begun
        asked = conversations.messages(session, begun.conversation_id, [begun.context_head]).get(begun.context_head)
        compared: Sequence[str] = asked.meta.get("compare", ()) if asked else ()
        if asked is None or begun.message_id not in compared:
            return begun.message_id
        return str(asked.meta.get("picked") or compared[0])

    def begin_queued(self, session: Session, conversation: Conversation, parent_id: str | None) -> Begun | None:
        """Begin the oldest waiting question below `parent_id`, as whoever asked it. One that cannot be sent any more
        is answered with why, and the next is taken; who may no longer reply here is not heard."""
        while row := queue.take_oldest(session, conversation.id):
            principal = _person(session, row.user_id)
            try:
                conversations.get(session, principal, conversation.id, "reply")
            except NotFound:
                continue
            try:
                with session.begin_nested():  # what may not be spent is found out after the question is written
                    return self._begin_row(session, principal, conversation, row, parent_id)
            except ChatcoreError as error:
                if isinstance(error, BudgetExceeded):
                    self._limits.count(session, principal, "budget", row.model)
                parent_id = self._refuse(session, principal, conversation, row, parent_id, error)
        return None

    def _begin_row(
        self, session: Session, principal: Principal, conversation: Conversation, row: QueuedRow, parent_id: str | None
    ) -> Begun:
        question = Question(row.content, tuple(row.attachments))
        parts = attached.parts(session, principal, question.attachments)
        settings = TurnSettings.from_dict(row.settings)
        choice = self._asking.choose(
            session, principal, row.model, row.agent_id, settings, text=row.content, parts=parts
        )
        return self._asking.begin(session, principal, conversation, question, choice, parent_id=parent_id)

    @staticmethod
    def _refuse(
        session: Session,
        principal: Principal,
        conversation: Conversation,
        row: QueuedRow,
        parent_id: str | None,
        error: ChatcoreError,
    ) -> str:
        """Keep a question that cannot be sent, with a failed reply that says why; returns the reply's id. No call, so
        no ledger row, and no attachments: they may be what is wrong."""
        question: dict[str, Any] = {"role": "user", "content": row.content, "status": "complete", "parts": []}
        question_id = conversations.add_message(session, principal, conversation.id, parent_id=parent_id, **question)
        reply = {"role": "assistant", "content": "", "status": "failed", "model": row.model, "parent_id": question_id}
        reply_id = conversations.add_message(
            session, principal, conversation.id, parts=[replies.error_part(error, "")], **reply
        )
        conversations.advance(session, conversation.id, reply_id, 2)
        return reply_id

    def _restarted(self, session: Session, end: TurnEnd) -> Begun:
        """A new reply beside one that broke off in mid-reply, by the next model. For whoever asked that one."""
        begun = end.begun
        assert end.restart is not None
        principal = _person(session, begun.call.user_id)
        row = session.get_one(ConversationRow, begun.conversation_id)
        session.refresh(row)
        asked = conversations.messages(session, begun.conversation_id, [begun.context_head])[begun.context_head]
        settings = TurnSettings.from_dict(row.settings)
        choice = self._asking.choose(
            session, principal, end.restart, begun.call.agent_id, settings, text=asked.content, parts=asked.parts,
            again=True,
        )  # fmt: skip
        # What was chosen stays chosen: the next question is asked of it again.
        choice = replace(choice, picked=replace(choice.picked, asked=begun.asked))
        made = self._asking.answer(
            session, principal, conversation_value(row), begun.context_head, choice, continuing=begun.continuing
        )
        return replace(made, tried=begun.tried | {end.model})


def _person(session: Session, user_id: str) -> Principal:
    """Who asked, as the database knows them now."""
    user = session.get_one(UserRow, user_id)
    return as_principal(user)
