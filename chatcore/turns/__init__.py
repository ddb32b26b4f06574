"""Turns: a question is asked, runs on the server, is followed by any number of viewers and stopped from anywhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from sqlalchemy.orm import Session

from chatcore import accounts
from chatcore.accounts import Principal
from chatcore.config_file import ChatcoreSection
from chatcore.conversations import Conversation, Message
from chatcore.conversations import store as conversations
from chatcore.conversations.text import clean
from chatcore.conversations.values import conversation_value
from chatcore.db import Database
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import QueuedMessage as QueuedRow
from chatcore.db.tables import User as UserRow
from chatcore.errors import ChatcoreError, Conflict, Draining, InvalidInput, NotFound
from chatcore.gateway import Delta, Gateway, Model
from chatcore.turns import replies, store
from chatcore.turns.engine import TurnEngine
from chatcore.turns.live import Pace
from chatcore.turns.values import ActiveTurn, Asked, Begun, QueuedMessage, TurnEnd, TurnSettings

__all__ = ["ActiveTurn", "Asked", "QueuedMessage", "TurnSettings", "Turns"]

_TAIL_EVERY: Final = 0.2  # seconds between reads of the chunks table, for turns of another process
_BUSY: Final = "A reply is being written in this conversation. Wait for its end, or stop it."


def _steady(_: int) -> float:
    return 0.1


class Turns:
    """The facade: asks, follows, stops. Everything takes the principal and touches only what is theirs."""

    def __init__(self, db: Database, gateway: Gateway, settings: ChatcoreSection) -> None:
        self._db = db
        self._gateway = gateway
        self._max_chars = settings.max_message_chars
        self.engine = TurnEngine(db, gateway, self._next_queued)

    @property
    def is_running(self) -> bool:
        """Whether new questions are taken."""
        return self.engine.is_running and self._gateway.is_kept

    def ask(
        self,
        principal: Principal,
        conversation_id: str | None,
        text: str,
        *,
        model: str,
        agent_id: str | None = None,
        settings: TurnSettings | None = None,
    ) -> Asked:
        """Store a question and begin to answer it, in a new conversation where `conversation_id` is None.

        While another question of the conversation is being answered it waits in the queue.
        Raises `InvalidInput`, `NotFound`, `ModelUnavailable`, `Draining`.
        """
        text = self._checked(text)
        found = self._gateway.catalog.get(model)
        chosen = TurnSettings.from_dict((settings or TurnSettings()).as_dict())

        def work(session: Session) -> Asked | Begun:
            if conversation_id is None:
                conversation = conversations.create(
                    session, principal, text, model=model, agent_id=agent_id, settings=chosen.as_dict()
                )
            else:
                conversation = conversations.get(session, principal, conversation_id, lock=True)
                if store.running(session, conversation_id):
                    queued_id = store.enqueue(session, principal, conversation_id, text, model, agent_id, chosen)
                    return Asked(conversation_id, queued_id=queued_id)
            return self._begin(session, principal, conversation, text, found, agent_id, chosen)

        return self._start(principal, work)

    def retry(
        self,
        principal: Principal,
        message_id: str,
        *,
        model: str,
        agent_id: str | None = None,
        settings: TurnSettings | None = None,
    ) -> Asked:
        """Answer the same question again: a sibling of the reply `message_id`, which stays.

        `agent_id`, `settings`: None for those that the reply and its conversation have.
        Raises `NotFound`, `Conflict` while a turn runs, `ModelUnavailable`, `Draining`.
        """
        return self._again(principal, message_id, model, agent_id, settings, below=False)

    def resume(
        self,
        principal: Principal,
        message_id: str,
        *,
        model: str,
        agent_id: str | None = None,
        settings: TurnSettings | None = None,
    ) -> Asked:
        """Go on where a stopped, interrupted or cut reply ended, as a message below it. As `retry` otherwise."""
        return self._again(principal, message_id, model, agent_id, settings, below=True)

    def stop(self, principal: Principal, turn_id: str) -> None:
        """Stop a turn, wherever it runs. Its words stay. Raises `NotFound`."""

        def allowed(session: Session) -> None:
            accounts.require_active(session, principal)
            store.require_own(session, principal, turn_id)

        self._db.read(allowed)
        self.engine.stop(turn_id)
        self._db.write(lambda session: store.request_stop(session, turn_id))

    def active(self, principal: Principal, conversation_id: str) -> ActiveTurn | None:
        """The turn that is being answered in a conversation. Raises `NotFound`."""

        def work(session: Session) -> ActiveTurn | None:
            conversations.get(session, principal, conversation_id)
            return store.running(session, conversation_id)

        return self._db.read(work)

    def follow(self, principal: Principal, turn_id: str, *, pace: Pace = _steady) -> Iterator[list[Delta]]:
        """The words of a turn from its first, in batches, until its end is stored. Raises `NotFound`.

        `pace`: seconds between two batches, by the characters handed out so far. An empty batch says that the turn
        still runs.
        """
        self._db.read(lambda session: store.require_own(session, principal, turn_id))
        if live := self.engine.live(turn_id):
            yield from live.follow(pace)
            return
        seq, runs = -1, True
        while runs:
            chunks, runs = self._db.read(partial(store.chunks_after, turn_id=turn_id, seq=seq))
            yield [delta for _, delta in chunks]
            if chunks:
                seq = chunks[-1][0]
            if runs:
                time.sleep(_TAIL_EVERY)

    async def afollow(self, principal: Principal, turn_id: str, *, pace: Pace = _steady) -> AsyncIterator[list[Delta]]:
        """`follow` for coroutines: it parks no thread, so there may be hundreds."""
        await self._db.aread(lambda session: store.require_own(session, principal, turn_id))
        if live := self.engine.live(turn_id):
            async for batch in live.afollow(pace):
                yield batch
            return
        seq, runs = -1, True
        while runs:
            chunks, runs = await self._db.aread(partial(store.chunks_after, turn_id=turn_id, seq=seq))
            yield [delta for _, delta in chunks]
            if chunks:
                seq = chunks[-1][0]
            if runs:
                await asyncio.sleep(_TAIL_EVERY)

    def queued(self, principal: Principal, conversation_id: str) -> list[QueuedMessage]:
        """The questions that wait in a conversation, oldest first."""

        def work(session: Session) -> list[QueuedMessage]:
            rows = store.queued(session, principal, conversation_id)
            return [QueuedMessage(row.id, row.content, row.model, row.created_at) for row in rows]

        return self._db.read(work)

    def edit_queued(self, principal: Principal, conversation_id: str, queued_id: str, text: str) -> None:
        """Change a question that waits. Raises `NotFound` when it no longer does, `InvalidInput`."""
        text = self._checked(text)

        def work(session: Session) -> bool:
            return store.edit_queued(session, principal, conversation_id, queued_id, text)

        if not self._db.write(work):
            raise NotFound("This question is no longer waiting.")

    def withdraw(self, principal: Principal, conversation_id: str, queued_id: str) -> str | None:
        """Take a question out of the queue; returns its text, None when it no longer waits."""

        def work(session: Session) -> str | None:
            row = store.take_queued(session, principal, conversation_id, queued_id)
            return str(row.content) if row else None

        return self._db.write(work)

    def send_queued(self, principal: Principal, conversation_id: str) -> Asked | None:
        """Begin the oldest waiting question now, where nothing runs (after a restart). None when there is none."""

        def work(session: Session) -> Begun | Asked:
            conversation = conversations.get(session, principal, conversation_id, lock=True)
            if store.running(session, conversation_id):
                raise Conflict(_BUSY)
            begun = self._begin_queued(session, principal, conversation)
            return begun or Asked(conversation_id)

        asked = self._start(principal, work)
        return asked if asked.turn_id else None

    def _start(self, principal: Principal, work: Callable[[Session], Asked | Begun]) -> Asked:
        if self.engine.draining:
            raise Draining("Chatcore is restarting. Your question was not sent; try again in a minute.")

        def checked(session: Session) -> Asked | Begun:
            accounts.require_active(session, principal)
            return work(session)

        outcome = self._db.write(checked)
        if isinstance(outcome, Asked):
            return outcome
        self.engine.run(outcome, principal.tenant_id)
        return Asked(outcome.conversation_id, outcome.turn_id, outcome.message_id)

    def _begin(
        self,
        session: Session,
        principal: Principal,
        conversation: Conversation,
        text: str,
        model: Model,
        agent_id: str | None,
        settings: TurnSettings,
    ) -> Begun:
        question_id = self._add_question(session, principal, conversation, text)
        return store.begin(
            session, principal, self.engine.owner, conversation, question_id, model, agent_id, settings, added=1
        )

    def _again(
        self,
        principal: Principal,
        message_id: str,
        model: str,
        agent_id: str | None,
        settings: TurnSettings | None,
        *,
        below: bool,
    ) -> Asked:
        """Another reply: beside the one named, or `below` it where it has words to go on from."""
        found = self._gateway.catalog.get(model)

        def work(session: Session) -> Begun:
            conversation_id, message = conversations.message(session, principal, message_id)
            conversation = conversations.get(session, principal, conversation_id, lock=True)
            if store.running(session, conversation_id):
                raise Conflict(_BUSY)
            if message.role != "assistant" or message.parent_id is None:
                raise InvalidInput("Only a reply can be tried again or continued.")
            parent_id = message.id if below and message.content else message.parent_id
            _, parent = conversations.message(session, principal, parent_id)
            chosen = settings or TurnSettings.from_dict(conversation.settings)
            return store.begin(
                session,
                principal,
                self.engine.owner,
                conversation,
                parent_id,
                found,
                agent_id or message.agent_id,
                chosen,
                added=0,
                # What follows a reply goes on from it, also when it is tried a second time.
                continuing=parent.role == "assistant",
            )

        return self._start(principal, work)

    def _next_queued(self, session: Session, end: TurnEnd) -> tuple[Begun, str] | None:
        """The question that waited behind a turn that ends now, begun in the same transaction."""
        if not store.is_waited_for(session, end.begun.conversation_id):
            return None
        row = session.get_one(ConversationRow, end.begun.conversation_id)
        user = session.get_one(UserRow, row.user_id)
        if user.disabled_at is not None:
            return None
        principal = Principal(user.id, user.tenant_id, user.username, user.name, "member", user.tier)
        session.refresh(row)
        begun = self._begin_queued(session, principal, conversation_value(row))
        return (begun, principal.tenant_id) if begun else None

    def _begin_queued(self, session: Session, principal: Principal, conversation: Conversation) -> Begun | None:
        """Begin the oldest waiting question. One whose model has gone is answered with why, and the next is taken."""
        while row := store.take_queued(session, principal, conversation.id):
            try:
                model = self._gateway.catalog.get(row.model)
            except ChatcoreError as error:
                conversation = self._refuse(session, principal, conversation, row, error)
                continue
            settings = TurnSettings.from_dict(row.settings)
            return self._begin(session, principal, conversation, row.content, model, row.agent_id, settings)
        return None

    def _refuse(
        self, session: Session, principal: Principal, conversation: Conversation, row: QueuedRow, error: ChatcoreError
    ) -> Conversation:
        """Keep a question that cannot be sent, with a failed reply that says why. No call, so no ledger row."""
        question_id = self._add_question(session, principal, conversation, row.content)
        reply = {"role": "assistant", "content": "", "status": "failed", "model": row.model, "parent_id": question_id}
        reply_id = conversations.add_message(
            session, principal, conversation.id, parts=[replies.error_part(error, "")], **reply
        )
        conversations.advance(session, conversation.id, reply_id, 2)
        return replace(conversation, head_message_id=reply_id)

    @staticmethod
    def _add_question(session: Session, principal: Principal, conversation: Conversation, text: str) -> str:
        question = {"role": "user", "content": text, "status": "complete", "parts": []}
        parent_id = conversation.head_message_id
        return conversations.add_message(session, principal, conversation.id, parent_id=parent_id, **question)

    def _checked(self, text: str) -> str:
        text = clean(text).strip()
        if not text:
            raise InvalidInput("There is nothing to send yet.")
        if len(text) > self._max_chars:
            raise InvalidInput(
                f"Your message has {len(text):,} characters; the most that can be sent is {self._max_chars:,}."
            )
        return text


def can_continue(message: Message) -> bool:
    """Whether a reply ended before it was complete, in a way that can be gone on with."""
    return message.status in ("stopped", "interrupted") or (
        bool(message.content) and (message.finish_reason == "length" or message.meta.get("outcome") == "truncated")
    )
