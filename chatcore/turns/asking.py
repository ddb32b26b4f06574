"""Writing what a person asks: the question, the empty reply, the turn and its ledger row, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.accounts.preferences import Preferences
from chatcore.conversations import Conversation
from chatcore.conversations import store as conversations
from chatcore.conversations.text import clean
from chatcore.conversations.values import conversation_value
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import QueuedMessage as QueuedRow
from chatcore.db.tables import User as UserRow
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError, Conflict, InvalidInput, NotFound
from chatcore.gateway import Catalog, Model
from chatcore.turns import attached, queue, replies, store
from chatcore.turns.owner import Owner
from chatcore.turns.values import TEMPORARY_FOR, Begun, TurnEnd, TurnSettings

BUSY: Final = "A reply is being written in this conversation. Wait for its end, or stop it."


@dataclass(frozen=True)
class Choice:
    """Who is to answer, and how."""

    model: Model
    agent_id: str | None
    settings: TurnSettings


@dataclass(frozen=True)
class Question:
    """What is asked: its text, and the ids of the attachments that go with it."""

    text: str
    attachments: tuple[str, ...] = ()


class Asking:
    """Begins turns. Nothing here commits: every method works inside the caller's transaction."""

    def __init__(self, catalog: Catalog, preferences: Preferences, owner: Owner, max_chars: int) -> None:
        self._catalog = catalog
        self._preferences = preferences
        self._owner = owner
        self._max_chars = max_chars

    def question(self, text: str, attachments: Sequence[str] = ()) -> Question:
        """The cleaned question. Raises `InvalidInput` when there is nothing in it, or too much."""
        text = clean(text).strip()
        if not text and not attachments:
            raise InvalidInput("There is nothing to send yet.")
        if len(text) > self._max_chars:
            raise InvalidInput(
                f"Your message has {len(text):,} characters; the most that can be sent is {self._max_chars:,}."
            )
        return Question(text, tuple(attachments))

    def create(
        self, session: Session, principal: Principal, question: Question, choice: Choice, *, temporary: bool
    ) -> Conversation:
        """A new conversation for a question, titled by it or by its first attachment."""
        parts = attached.parts(session, principal, question.attachments)
        title = question.text or next((str(part["name"]) for part in parts), "")
        return conversations.create(
            session, principal, title, model=choice.model.name, agent_id=choice.agent_id,
            settings=choice.settings.as_dict(), expires_at=utcnow() + TEMPORARY_FOR if temporary else None,
        )  # fmt: skip

    def begin(
        self,
        session: Session,
        principal: Principal,
        conversation: Conversation,
        question: Question,
        choice: Choice,
        *,
        parent_id: str | None,
        **values: Any,
    ) -> Begun:
        """Write a question below `parent_id` and begin its answer. `values`: more of the question's columns."""
        question_id = self.add(session, principal, conversation, question, [choice.model], parent_id, **values)
        return self.answer(session, principal, conversation, question_id, choice, added=1)

    def add(
        self,
        session: Session,
        principal: Principal,
        conversation: Conversation,
        question: Question,
        models: Sequence[Model],
        parent_id: str | None,
        **values: Any,
    ) -> str:
        """Write a question with its attachments; returns its id. Raises `InvalidInput` when a model can't take them."""
        parts = attached.parts(session, principal, question.attachments)
        for model in models:
            attached.require_capable(model, parts)
        message_id = conversations.add_message(
            session, principal, conversation.id,
            parent_id=parent_id, role="user", content=question.text, status="complete", parts=parts, **values,
        )  # fmt: skip
        attached.link(session, principal, conversation.id, message_id, question.attachments)
        return message_id

    def answer(
        self,
        session: Session,
        principal: Principal,
        conversation: Conversation,
        parent_id: str,
        choice: Choice,
        *,
        added: int = 0,
        continuing: bool = False,
    ) -> Begun:
        """Begin a reply below `parent_id`. `added`: messages that were written with it."""
        begun = store.begin(
            session, principal, self._owner, conversation, parent_id, choice.model, choice.agent_id, choice.settings,
            added=added, continuing=continuing,
        )  # fmt: skip
        if conversation.expires_at is not None:
            conversations.change(session, conversation.id, expires_at=utcnow() + TEMPORARY_FOR)
        instructions = self._preferences.of(session, principal.user_id).instructions
        return replace(begun, system_prompt=_with_instructions(begun.system_prompt, instructions))

    def enqueue(
        self, session: Session, principal: Principal, conversation: Conversation, question: Question, choice: Choice
    ) -> str:
        """Put a question behind the running turn; returns its id. Raises what asking it now would raise."""
        attached.require_capable(choice.model, attached.parts(session, principal, question.attachments))
        return queue.enqueue(session, principal, conversation.id, question, choice)

    def compare(
        self,
        session: Session,
        principal: Principal,
        conversation: Conversation,
        question: Question,
        choices: Sequence[Choice],
    ) -> list[Begun]:
        """Write a question and begin a reply of each choice below it; the first is shown until another is picked."""
        models = [choice.model for choice in choices]
        question_id = self.add(session, principal, conversation, question, models, conversation.head_message_id)
        begun = [
            self.answer(session, principal, conversation, question_id, choice, added=number == 0)
            for number, choice in enumerate(choices)
        ]
        replies = [one.message_id for one in begun]
        conversations.set_meta(session, question_id, {"compare": replies})
        conversations.change(session, conversation.id, head_message_id=replies[0], model=models[0].name)
        return begun

    def again(
        self,
        session: Session,
        principal: Principal,
        message_id: str,
        model: Model,
        agent_id: str | None,
        settings: TurnSettings | None,
        *,
        below: bool,
    ) -> Begun:
        """Another reply: beside the one named, or `below` it where it has words to go on from."""
        conversation_id, message = conversations.message(session, principal, message_id, "reply")
        conversation = self.locked(session, principal, conversation_id)
        if message.role != "assistant" or message.parent_id is None:
            raise InvalidInput("Only a reply can be tried again or continued.")
        parent_id = message.id if below and message.content else message.parent_id
        _, parent = conversations.message(session, principal, parent_id, "reply")
        choice = Choice(model, agent_id or message.agent_id, settings or TurnSettings.from_dict(conversation.settings))
        attached.require_capable(model, parent.parts)
        # What follows a reply goes on from it, also when it is tried a second time.
        return self.answer(session, principal, conversation, parent_id, choice, continuing=parent.role == "assistant")

    @staticmethod
    def locked(session: Session, principal: Principal, conversation_id: str) -> Conversation:
        """The conversation, with nothing running in it until this transaction ends. Raises `NotFound`, `Conflict`."""
        conversation = conversations.get(session, principal, conversation_id, "reply", lock=True)
        if store.running(session, conversation_id):
            raise Conflict(BUSY)
        return conversation

    def after(self, session: Session, end: TurnEnd) -> tuple[Begun, str] | None:
        """The question that waited behind a turn that ends now, begun in the same transaction, below its reply."""
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
            principal = _asker(session, row)
            try:
                conversations.get(session, principal, conversation.id, "reply")
            except NotFound:
                continue
            try:
                choice = Choice(self._catalog.get(row.model), row.agent_id, TurnSettings.from_dict(row.settings))
                question = Question(row.content, tuple(row.attachments))
                return self.begin(session, principal, conversation, question, choice, parent_id=parent_id)
            except ChatcoreError as error:
                parent_id = self._refuse(session, principal, conversation, row, parent_id, error)
        return None

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


def _with_instructions(system_prompt: str, instructions: str) -> str:
    """The agent's prompt, and what the person wants every model to know, marked as theirs."""
    if not instructions:
        return system_prompt
    return f"{system_prompt}\n\nThe person you talk to asks you to keep this in mind:\n{instructions}".strip()


def _asker(session: Session, row: QueuedRow) -> Principal:
    """Who asked a waiting question."""
    user = session.get_one(UserRow, row.user_id)
    return Principal(user.id, user.tenant_id, user.username, user.name, "member", user.tier)
