"""Turns: a question is asked, runs on the server, is followed by any number of viewers and stopped from anywhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chatcore import accounts
from chatcore.accounts import Principal
from chatcore.accounts.preferences import Preferences
from chatcore.config import Settings
from chatcore.conversations import aliases
from chatcore.conversations import store as conversations
from chatcore.db import Database
from chatcore.db.tables import utcnow
from chatcore.errors import BudgetExceeded, Conflict, Draining, Forbidden, InvalidInput
from chatcore.gateway import Gateway, KeyInfo
from chatcore.gateway.keyring import check as check_key
from chatcore.tools import Toolbox
from chatcore.turns import attached, queue, store
from chatcore.turns.asking import Asking, Question
from chatcore.turns.completing import (
    PARAMETERS,
    BegunCompletion,
    Completing,
    CompletionAsk,
    CompletionEnd,
    EmbeddingAsk,
)
from chatcore.turns.engine import TurnEngine
from chatcore.turns.replies import can_continue, words_of
from chatcore.turns.submitting import Submitting
from chatcore.turns.succession import Succession
from chatcore.turns.tool_models import vector
from chatcore.turns.values import (
    ActiveTurn,
    Asked,
    Begun,
    Brought,
    Choice,
    Opened,
    QueuedMessage,
    Spent,
    Submission,
    TurnEnd,
    TurnSettings,
)
from chatcore.turns.waiting import Waiting
from chatcore.usage.limits import Limits, RuleExceeded

__all__ = [
    "MAX_COMPARED",
    "PARAMETERS",
    "ActiveTurn",
    "Asked",
    "Brought",
    "Completing",
    "CompletionAsk",
    "CompletionEnd",
    "EmbeddingAsk",
    "Opened",
    "QueuedMessage",
    "Spent",
    "Submission",
    "TurnSettings",
    "Turns",
    "can_continue",
    "words_of",
]

MAX_COMPARED: Final = 4


class Turns(Waiting):
    """The facade: asks, follows, stops. Everything takes the principal and touches only what is theirs."""

    def __init__(
        self,
        db: Database,
        gateway: Gateway,
        limits: Limits,
        preferences: Preferences,
        settings: Settings,
        toolbox: Toolbox | None = None,
    ) -> None:
        toolbox = toolbox or Toolbox()
        super().__init__(db, TurnEngine(db, gateway, limits, preferences, settings, toolbox, self._after_end))
        self._gateway = gateway
        self._limits = limits
        self._asking = Asking(gateway, preferences, self.engine.owner, settings)
        self._submitting = Submitting(self._asking, settings.own.max_message_chars)
        self._succession = Succession(self._asking, limits)

    @property
    def is_running(self) -> bool:
        """Whether new questions are taken."""
        return self.engine.is_running and self._gateway.is_kept

    @property
    def running(self) -> int:
        """How many turns this process runs now."""
        return self.engine.active

    def ask(
        self,
        principal: Principal,
        conversation_id: str | None,
        text: str,
        *,
        model: str,
        agent_id: str | None = None,
        settings: TurnSettings | None = None,
        attachments: Sequence[str] = (),
        temporary: bool = False,
    ) -> Asked:
        """Store a question and begin to answer it, in a new conversation where `conversation_id` is None.

        While another question of the conversation is being answered it waits in the queue. `attachments`: their ids.
        `temporary`: the new conversation is in no list and no search, and is erased an hour after its last question.
        Raises `InvalidInput`, `NotFound`, `ModelUnavailable`, `Draining`.
        """
        asking = self._asking
        question = asking.question(text, attachments)

        def work(session: Session) -> Asked | list[Begun]:
            choice = self._choice(session, principal, question, model, agent_id, settings)
            if conversation_id is None:
                conversation = asking.create(session, principal, question, choice, temporary=temporary)
            else:
                conversation = conversations.get(session, principal, conversation_id, "reply", lock=True)
                if store.running(session, conversation_id):
                    queued_id = asking.enqueue(session, principal, conversation, question, choice)
                    return Asked(conversation_id, queued_id=queued_id)
            parent_id = conversation.head_message_id
            return [asking.begin(session, principal, conversation, question, choice, parent_id=parent_id)]

        return self._start(principal, [model], work, text)[0]

    def ask_in_step(
        self,
        principal: Principal,
        step: tuple[str, str],
        text: str,
        *,
        model: str,
        attachments: Sequence[str] = (),
    ) -> Asked:
        """Ask in the shared conversation of a workshop's (session, step), or queue behind the turn that runs there.

        Raises as `ask` does, `NotFound` for who takes no part, `Conflict` where the workshop has ended.
        """
        asking = self._asking
        question = asking.question(text, attachments)

        def work(session: Session) -> Asked | list[Begun]:
            choice = self._choice(session, principal, question, model, None, None)
            conversation = asking.in_step(session, principal, step, choice)
            if store.running(session, conversation.id):
                queued_id = asking.enqueue(session, principal, conversation, question, choice)
                return Asked(conversation.id, queued_id=queued_id)
            parent_id = conversation.head_message_id
            return [asking.begin(session, principal, conversation, question, choice, parent_id=parent_id)]

        return self._start(principal, [model], work, text)[0]

    def submit(self, principal: Principal, sent: Submission) -> Asked:
        """Ask what a program sends, or find the turn that it had where it was here before (`repeated`).

        Raises `InvalidInput`, `NotFound`, `Conflict` while another question of the conversation is being answered,
        `ModelUnavailable`, `LimitExceeded`, `BudgetExceeded`, `Draining`.
        """
        ids = (sent.conversation_id, sent.message_id, sent.parent_id, sent.workshop_session_id, sent.step_id)
        for one in (*ids, sent.regenerates or None):
            aliases.checked(one)
        submitting = self._submitting

        def known(session: Session) -> Asked | None:
            accounts.require_active(session, principal)
            return submitting.known(session, principal, sent)

        found = self._db.read(known)  # what is sent again counts against no limit
        if found is None:
            begin = partial(submitting.begin, principal=principal, sent=sent)
            return self._start(principal, [sent.model], begin, sent.text)[0]
        return found

    def complete(self, principal: Principal, ask: CompletionAsk) -> Completing:
        """Answer a program's request in OpenAI's form; nothing of it is stored but the ledger.

        Raises `InvalidInput`, `ModelUnavailable`, `BreakerOpen`, `LimitExceeded`, `BudgetExceeded`, `Draining`.
        """
        return self._completed(
            principal, ask.model, lambda session: self.engine.completions.begin(session, principal, ask), ask.question
        )

    def embed(self, principal: Principal, ask: EmbeddingAsk) -> Completing:
        """Make vectors of texts: one `vector` delta for each, in their order. Raises as `complete` does."""
        return self._completed(
            principal, ask.model, lambda session: self.engine.completions.begin_embedding(session, principal, ask)
        )

    def vectors(self, principal: Principal, texts: Sequence[str], model: str) -> list[list[float]]:
        """A vector for each text, waited for: in the ledger and in budgets, but no request of the person's against
        their limits, as nobody asked. Raises as `complete` does, and `ProviderError` where the call fails."""
        if self.engine.draining:
            raise Draining("Chatcore is restarting. Nothing was sent; try again in a minute.")
        begin = partial(
            self.engine.completions.begin_embedding, principal=principal, ask=EmbeddingAsk(model, tuple(texts))
        )
        completing = self.engine.complete(self._db.write(begin))
        deltas = [delta for batch in completing.live.follow(lambda _: 0.0) for delta in batch]
        assert completing.end is not None
        if completing.end.error is not None:
            raise completing.end.error
        return [vector(delta.text) for delta in deltas if delta.kind == "vector"]

    def edit(
        self,
        principal: Principal,
        message_id: str,
        text: str,
        *,
        model: str,
        agent_id: str | None = None,
        settings: TurnSettings | None = None,
    ) -> Asked:
        """Ask a changed version of an earlier question: its sibling, with the same attachments, and answer it.

        The old one and all below it stay as a branch. Raises `NotFound`, `Conflict` while a turn runs,
        `InvalidInput`, `ModelUnavailable`, `Draining`.
        """
        asking = self._asking

        def work(session: Session) -> list[Begun]:
            conversation_id, message = conversations.message(session, principal, message_id, "reply")
            conversation = asking.locked(session, principal, conversation_id)
            if message.role != "user":
                raise InvalidInput("Only a question can be edited.")
            question = asking.question(text, [found for part in message.parts if (found := part.get("attachment_id"))])
            choice = self._choice(session, principal, question, model, agent_id, settings)
            return [
                asking.begin(
                    session, principal, conversation, question, choice,
                    parent_id=message.parent_id, edited_at=utcnow(),
                )
            ]  # fmt: skip

        return self._start(principal, [model], work, text)[0]

    def compare(
        self,
        principal: Principal,
        conversation_id: str | None,
        text: str,
        *,
        models: Sequence[str],
        agent_id: str | None = None,
        settings: TurnSettings | None = None,
        attachments: Sequence[str] = (),
        temporary: bool = False,
    ) -> list[Asked]:
        """Ask two to four models the same question at once: siblings below one question, each a turn of its own.

        The first model's reply is the visible branch until another is picked. Raises as `ask` does, and `Conflict`
        while a turn runs.
        """
        asking = self._asking
        question = asking.question(text, attachments)
        if not 2 <= len(set(models)) == len(models) <= MAX_COMPARED:
            raise InvalidInput(f"Choose two to {MAX_COMPARED} different models to compare.")

        def work(session: Session) -> list[Begun]:
            choices = [self._choice(session, principal, question, model, agent_id, settings) for model in models]
            if conversation_id is None:
                conversation = asking.create(session, principal, question, choices[0], temporary=temporary)
            else:
                conversation = asking.locked(session, principal, conversation_id)
            return asking.compare(session, principal, conversation, question, choices)

        return self._start(principal, models, work, text)

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

    def leave(self, principal: Principal, conversation_id: str) -> None:
        """End a temporary chat: what runs in it is stopped, and it is erased in a moment. Raises `NotFound`,
        `Conflict` for a conversation that is kept."""

        def work(session: Session) -> list[ActiveTurn]:
            if conversations.get(session, principal, conversation_id).expires_at is None:
                raise Conflict("This conversation is kept; delete it in the history.")
            conversations.change(session, conversation_id, expires_at=utcnow())
            queue.clear(session, conversation_id)
            running = store.all_running(session, conversation_id)
            for turn in running:
                store.request_stop(session, turn.turn_id)
            return running

        for turn in self._db.write(work):
            self.engine.stop(turn.turn_id)

    def stop(self, principal: Principal, turn_id: str) -> None:
        """Stop a turn, wherever it runs. Its words stay. Raises `NotFound`."""

        def allowed(session: Session) -> None:
            accounts.require_active(session, principal)
            store.require_turn(session, principal, turn_id)

        self._db.read(allowed)
        self.engine.stop(turn_id)
        self._db.write(lambda session: store.request_stop(session, turn_id))

    def decide(self, principal: Principal, turn_id: str, call_id: str, *, approved: bool) -> None:
        """Say whether a call of a tool that asks first may be made; only who asked the question can.

        Raises `NotFound`, `Forbidden`, `Conflict` where it was decided already.
        """

        def work(session: Session) -> None:
            accounts.require_active(session, principal)
            store.decide(session, principal, turn_id, call_id, approved=approved)

        self._db.write(work)
        self.engine.look()

    def active(self, principal: Principal, conversation_id: str) -> list[ActiveTurn]:
        """The turns that are being answered in a conversation: several while models are compared. Raises `NotFound`."""

        def work(session: Session) -> list[ActiveTurn]:
            conversations.get(session, principal, conversation_id, "reply")
            return store.all_running(session, conversation_id)

        return self._db.read(work)

    def send_queued(self, principal: Principal, conversation_id: str) -> Asked | None:
        """Begin the oldest waiting question now, where nothing runs (after a restart). None when there is none."""

        def work(session: Session) -> Asked | list[Begun]:
            conversation = self._asking.locked(session, principal, conversation_id)
            begun = self._succession.begin_queued(session, conversation, conversation.head_message_id)
            return [begun] if begun else Asked(conversation_id)

        asked = self._start(principal, [], work)[0]
        return asked if asked.turn_id else None

    def summarise(self, principal: Principal, conversation_id: str, *, model: str) -> None:
        """Summarise the visible branch of one's own conversation with a model, and keep it; takes as long as the
        model does. Billed, one ledger row for each call. Raises `NotFound`, `InvalidInput`, `ProviderError`,
        `Conflict` where the summary was changed meanwhile, `Draining`.
        """
        if self.engine.draining:
            raise Draining("Chatcore is restarting. Nothing was summarised; try again in a minute.")
        with self._counted(principal, [model]):
            self.engine.run_chore(self.engine.chores.summarise(principal, conversation_id, model)).result()

    def summarise_step(self, principal: Principal, session_id: str, step_id: str, *, model: str) -> None:
        """Write the notes of a workshop's step anew from its conversation, with those that stand, by a model; takes as
        long as the model does. Billed, one ledger row for each call. Raises `NotFound`, `InvalidInput`,
        `ProviderError`, `Draining`, and `Conflict` where the workshop has ended, or others were saved meanwhile: then
        the model's are kept among the earlier ones.
        """
        if self.engine.draining:
            raise Draining("Chatcore is restarting. Nothing was summarised; try again in a minute.")
        with self._counted(principal, [model]):
            self.engine.run_chore(self.engine.chores.summarise_step(principal, session_id, step_id, model)).result()

    def save_key(self, principal: Principal, slot: str, secret: str, *, for_tenant: bool = False) -> KeyInfo:
        """Try a provider's key with a call of one word, and keep it for oneself or the tenant when it works.

        The try counts against the limits, so that nobody finds out here which of many keys work. `slot`: a
        `Model.key_slot`. Raises `InvalidInput`, `Forbidden`, `ProviderError`, `LimitExceeded`, `Draining`.
        """
        if self.engine.draining:
            raise Draining("Chatcore is restarting. The key was not saved; try again in a minute.")
        check_key(slot, secret)
        if for_tenant and not principal.is_admin:
            raise Forbidden("Only an admin can save a key for the whole team.")
        with self._counted(principal, [slot]):
            self.engine.run_chore(self.engine.chores.try_key(principal, slot, secret)).result()
        return self._gateway.keyring.save(principal, slot, secret, for_tenant=for_tenant)

    def _choice(
        self,
        session: Session,
        principal: Principal,
        question: Question,
        model: str,
        agent_id: str | None,
        settings: TurnSettings | None,
    ) -> Choice:
        chosen = TurnSettings.from_dict((settings or TurnSettings()).as_dict())
        parts = attached.parts(session, principal, question.attachments)
        return self._asking.choose(session, principal, model, agent_id, chosen, text=question.text, parts=parts)

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
        def work(session: Session) -> list[Begun]:
            return [self._asking.again(session, principal, message_id, model, agent_id, settings, below=below)]

        return self._start(principal, [model], work)[0]

    @contextmanager
    def _counted(self, principal: Principal, models: Sequence[str], text: str = "") -> Iterator[None]:
        """Count requests to these models against the limits; a refusal, by a limit or a budget inside, is noted.

        `text`: of the question, by which `auto` chooses. Raises `LimitExceeded`.
        """
        try:
            if models:
                first, *others = self._gateway.real_names(principal, models, text)
                self._limits.admit(principal, first, len(models), others)
            yield
        except RuleExceeded as error:
            self._limits.refused(principal, error.rule.of, models[0])
            raise
        except BudgetExceeded:
            self._limits.refused(principal, "budget", models[0] if models else "")
            raise

    def _completed(
        self, principal: Principal, model: str, begin: Callable[[Session], BegunCompletion], text: str = ""
    ) -> Completing:
        """Count the request, begin it in one transaction and run it."""
        if self.engine.draining:
            raise Draining("Chatcore is restarting. Your request was not sent; try again in a minute.")

        def work(session: Session) -> BegunCompletion:
            accounts.require_active(session, principal)
            return begin(session)

        with self._counted(principal, [model], text):
            begun = self._db.write(work)
        return self.engine.complete(begun)

    def _start(
        self,
        principal: Principal,
        models: Sequence[str],
        work: Callable[[Session], Asked | list[Begun]],
        text: str = "",
    ) -> list[Asked]:
        """Count the requests, do the work in one transaction and run what it began."""
        if self.engine.draining:
            raise Draining("Chatcore is restarting. Your question was not sent; try again in a minute.")

        def checked(session: Session) -> Asked | list[Begun]:
            accounts.require_active(session, principal)
            return work(session)

        with self._counted(principal, models, text):
            try:
                outcome = self._db.write(checked)
            except IntegrityError:  # a program's id was taken at the same moment: now it is found
                outcome = self._db.write(checked)
        if isinstance(outcome, Asked):
            return [outcome]
        for begun in outcome:
            self.engine.run(begun, principal.tenant_id)
        return [Asked(begun.conversation_id, begun.turn_id, begun.message_id) for begun in outcome]

    def _after_end(self, session: Session, end: TurnEnd) -> tuple[Begun, str] | None:
        return self._succession.after(session, end)
