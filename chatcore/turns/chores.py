"""Calls to models that no turn asked for: a better title, a summary, a key that is tried. Each has its own ledger row.

Methods are coroutines of the engine's loop.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore import accounts
from chatcore.accounts import Principal
from chatcore.accounts.preferences import Preferences
from chatcore.accounts.sessions import as_principal
from chatcore.config import Settings
from chatcore.conversations import MAX_SUMMARY, Conversation, Message, Window, removing
from chatcore.conversations import store as conversations
from chatcore.conversations.text import clean, title_from
from chatcore.db import Database
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import User as UserRow
from chatcore.db.tables import utcnow
from chatcore.errors import BadKey, BudgetExceeded, Conflict, InvalidInput, ModelUnavailable, ProviderError
from chatcore.gateway import AttemptResult, Caller, CompletionRequest, Gateway, Model, Route
from chatcore.gateway import Task as Asked
from chatcore.gateway.breaker_state import NOBODYS
from chatcore.gateway.keyring import OwnKey
from chatcore.gateway.routing import Line
from chatcore.ids import new_id
from chatcore.turns import admission
from chatcore.turns.calls import Calls, Opening
from chatcore.turns.values import Answered, TurnEnd
from chatcore.usage import ledger
from chatcore.usage.limits import Limits
from chatcore.workshops import MAX_NOTES, talking

log = logging.getLogger(__name__)

_TITLE_PROMPT: Final = (
    "Give the following conversation a title of two to six words, in its own language. Answer with the title alone: "
    "no quotation marks, no full stop, nothing else."
)
_SUMMARY_PROMPT: Final = (
    "Summarise the conversation below for somebody who goes on with it: what was asked, what was found and decided, "
    "what is open. Keep names, figures and code that matter. Write in its own language, in at most 300 words."
)
_FURTHER_PROMPT: Final = (
    "Below are a summary of a conversation so far and what was said after it. Write the summary of the whole, in the "
    "same manner, in at most 300 words."
)
_STEP_PROMPT: Final = (
    "Below are the notes of one step of a workshop, where there are any, and what the team and their assistant said in "
    "it. Write the notes of this step for those who go on with the next one: what was found out and decided, the ideas "
    "and words of the team that matter, what is assumed, what is open. Keep all of the notes so far that still holds. "
    "Short headings and lists in Markdown, in the team's own language, at most 400 words, and nothing that nobody said."
)
_TITLE_WORDS: Final = 2_000  # characters of question and of reply that a title is made from
_TITLE_TOKENS: Final = 300  # a model that thinks first needs room for it
_CHUNK: Final = 60_000  # characters of a conversation that are summarised by one call
_KEY_TRIES: Final = 3  # models of a provider that a key is tried with, where the first ones do not answer
_WINDOW_SHARE: Final = 2  # characters for each token of a model's window: what is said to it leaves room for the rest


@dataclass(frozen=True)
class Task:
    """One call: who pays, for which conversation, which model by which route, and what for (the ledger's `purpose`)."""

    principal: Principal
    conversation_id: str | None
    model: Model
    route: Route
    purpose: ledger.Purpose


class Chores:
    """Titles after the first reply, where `chatcore.title_model` names a model; summaries on request."""

    def __init__(
        self, db: Database, gateway: Gateway, limits: Limits, preferences: Preferences, settings: Settings
    ) -> None:
        self._db = db
        self._gateway = gateway
        self._limits = limits
        self._preferences = preferences
        self._calls = Calls(db, gateway)
        self._title_model = settings.own.title_model
        self._reply_tokens = settings.own.budget_reply_tokens

    async def after(self, end: TurnEnd) -> None:
        """Give the conversation a better title after its first reply. What fails is logged and changes nothing."""
        if self._title_model is None or end.status != "complete":
            return
        try:
            found = await self._db.aread(lambda session: self._untitled(session, end))
            if found is None:
                return
            principal, question = found
            task = await self._task(principal, end.begun.conversation_id, self._title_model, "title")
            said, result = await self.call(
                task, _TITLE_PROMPT, f"{question[:_TITLE_WORDS]}\n\n{end.content[:_TITLE_WORDS]}", _TITLE_TOKENS
            )
            title = title_from(clean(said).strip().strip("\"'“”„«»*#. "))
            if result.outcome == "ok" and said.strip():
                await self._db.awrite(lambda session: _improve(session, end.begun.conversation_id, title))
        except (ModelUnavailable, BudgetExceeded):
            log.info("no title was made: the model cannot be used, or no money is left for it")
        except Exception:
            log.exception("a title could not be made", extra={"turn_id": end.begun.turn_id})

    async def summarise(self, principal: Principal, conversation_id: str, model: str) -> None:
        """Summarise the visible branch and keep that; what an earlier summary holds is gone on from.

        Raises `NotFound`, `InvalidInput` for a conversation without words, `ProviderError` when a call fails,
        `BudgetExceeded`.
        """
        conversation, window = await self._db.aread(lambda session: _branch(session, principal, conversation_id))
        known = conversation.summary or {}
        messages = _after(window.messages, known.get("up_to"))
        if not any(message.content for message in messages):
            raise InvalidInput("There is nothing new to summarise.")
        text = str(known.get("text", "")) if len(messages) < len(window.messages) else ""
        task = await self._task(principal, conversation_id, model, "chat")
        text, cost = await self._summed(task, messages, text, (_SUMMARY_PROMPT, _FURTHER_PROMPT))
        summary: dict[str, Any] = {
            "text": clean(text)[:MAX_SUMMARY],
            "up_to": conversation.head_message_id,
            "model": task.model.name,
            "edited": False,
            "cost_nano_usd": cost,
            "created_at": utcnow().isoformat(timespec="seconds"),
        }

        def keep(session: Session) -> None:
            now = conversations.get(session, principal, conversation_id, lock=True)
            if now.summary != conversation.summary:
                raise Conflict("The summary was changed meanwhile, and that change is kept. Try again.")
            conversations.change(session, conversation_id, summary=summary)

        await self._db.awrite(keep)

    async def summarise_step(self, principal: Principal, session_id: str, step_id: str, model: str) -> None:
        """Write the notes of a workshop's step from its conversation and from those that stand.

        Raises as `summarise` does, and `Conflict` where the workshop has ended, or others were saved meanwhile.
        """
        step = await self._db.aread(lambda session: talking.to_summarise(session, principal, session_id, step_id))
        task = await self._task(principal, step.conversation_id, model, "chat")
        text, _ = await self._summed(task, step.messages, step.notes, (_STEP_PROMPT, _STEP_PROMPT))
        text = clean(text)[:MAX_NOTES]
        saved = await self._db.awrite(
            lambda session: talking.keep(session, principal, session_id, step_id, text, step.number, task.model.name)
        )
        if not saved:
            raise Conflict("The notes were changed meanwhile, and that change stands. The summary is below “Earlier”.")

    async def _summed(
        self, task: Task, messages: tuple[Message, ...], text: str, prompts: tuple[str, str]
    ) -> tuple[str, int]:
        """A summary of messages that goes on from `text`, and what it cost in nano-USD. `prompts`: for the first call
        where there is no text yet, and for all others."""
        cost = 0
        for chunk in _chunks(messages, _chunk_size(task.model)):
            asked = f"Summary so far:\n{text}\n\n{chunk}" if text else chunk
            said, result = await self.call(task, prompts[bool(text)], asked, None)
            if result.error is not None:
                raise result.error
            if not said.strip():
                raise ProviderError("The model said nothing. Try again, or choose another model.")
            text, cost = said.strip(), cost + (result.cost_nano_usd or 0)
        return text, cost

    async def try_key(self, principal: Principal, slot: str, secret: str) -> None:
        """Say one word to a model of this `Model.key_slot` with a key that is not saved yet.

        Where one model does not answer the next of its provider is asked. Raises `InvalidInput` where no model takes
        such a key, the provider refuses it, or nothing answers.
        """
        planner, trial = self._gateway.planner, OwnKey(new_id("pkey"), slot, secret, "person")
        caller = await self._db.aread(lambda session: self._gateway.caller(session, principal))
        caller = replace(caller, keys={slot: trial})
        models = [one for one in planner.choices(caller) if not one.alias_of and one.key_slot == slot]
        if not models:
            raise InvalidInput("No model of the configuration takes such a key.")
        error: ProviderError | None = None
        for model in models[:_KEY_TRIES]:
            error = await self._tried(principal, caller, model, slot)
            if error is None:
                return
        raise InvalidInput(f"{error} The key could not be tried, so it was not saved; try again later.")

    async def _tried(self, principal: Principal, caller: Caller, model: Model, slot: str) -> ProviderError | None:
        """Why one model did not answer to a key. Raises `InvalidInput` where the provider refused it."""
        steps = self._gateway.planner.route(caller, model.name).lines[0].steps
        # Nobody's breaker: the key may never be saved, and how it does says nothing of the others'.
        step = next((replace(step, breaker=NOBODYS) for step in steps if step.model.key_slot == slot), None)
        route = Route([Line((step,) if step else (), 1)], None)
        _, result = await self.call(Task(principal, None, model, route, "api"), "", "Say: ok", 16)
        if isinstance(result.error, BadKey):
            raise InvalidInput("The provider refused this key, so it was not saved. Check that it is whole and active.")
        return result.error

    async def call(self, task: Task, prompt: str, text: str, max_tokens: int | None) -> tuple[str, AttemptResult]:
        """A request with a ledger row for each call. Returns what was said. Raises `BudgetExceeded`, `BreakerOpen`."""
        trace_id = new_id("trace")
        opening = Opening.of(task.principal, task.route, task.purpose, trace_id, task.conversation_id)
        messages = [{"role": "system", "content": prompt}] if prompt else []
        messages.append({"role": "user", "content": text})
        bound = admission.bound(messages)
        try:
            limit = await self._db.awrite(lambda session: opening.write(session, bound, max_tokens, self._reply_tokens))
        except asyncio.CancelledError:
            await self._calls.interrupted(opening)
            raise

        async def sent(_: Model) -> list[dict[str, Any]]:
            return messages

        said: list[str] = []
        attempts = self._calls.attempts(
            opening, CompletionRequest(task.model, [], trace_id, max_tokens=limit), sent,
            lambda batch: said.extend(delta.text for delta in batch if delta.kind == "text"), asyncio.Event(),
        )  # fmt: skip
        answered = await self._calls.make(opening, attempts)
        _log(task, trace_id, answered)
        return "".join(said), answered.result

    async def _task(self, principal: Principal, conversation_id: str, model: str, purpose: ledger.Purpose) -> Task:
        """Raises `ModelUnavailable`."""
        caller = await self._db.aread(lambda session: self._gateway.caller(session, principal))
        picked = self._gateway.planner.pick(caller, model, Asked())
        route = self._gateway.planner.route(caller, picked.model.name)
        return Task(principal, conversation_id, picked.model, route, purpose)

    def _untitled(self, session: Session, end: TurnEnd) -> tuple[Principal, str] | None:
        """Whose the conversation is and its first question, where its title is still that question's beginning."""
        row = session.get(ConversationRow, end.begun.conversation_id)
        if row is None or row.title_source != "first" or row.expires_at is not None or row.message_count > 2:
            return None
        user = session.get_one(UserRow, row.user_id)
        if user.disabled_at is not None or not self._preferences.of(session, user.id).better_titles:
            return None
        window = conversations.branch(session, row.id, end.begun.message_id, 2)
        return as_principal(user), window.messages[0].content


def _log(task: Task, trace_id: str, answered: Answered) -> None:
    result, model, spent = answered.result, answered.step.model, answered.spent
    log.info("call ended", extra={
        "trace_id": trace_id, "user_id": task.principal.user_id, "tenant_id": task.principal.tenant_id,
        "conversation_id": task.conversation_id, "purpose": task.purpose, "model": model.name,
        "provider": model.provider, "outcome": result.outcome, "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens, "cost_nano_usd": spent.cost_nano_usd,
        "duration_ms": result.latency_ms,
    })  # fmt: skip


def _improve(session: Session, conversation_id: str, title: str) -> None:
    """Set a model's title, unless the person has renamed it meanwhile."""
    row = session.get(ConversationRow, conversation_id, populate_existing=True)
    if row is not None and row.title_source == "first":
        conversations.set_title(session, conversation_id, title, "model")


def _branch(session: Session, principal: Principal, conversation_id: str) -> tuple[Conversation, Window]:
    accounts.require_active(session, principal)
    conversation = conversations.get(session, principal, conversation_id)
    return conversation, conversations.branch(session, conversation_id, conversation.head_message_id, 10_000)


def _after(messages: tuple[Message, ...], up_to: Any) -> tuple[Message, ...]:
    """The messages that an earlier summary does not hold; all of them where it was of another branch."""
    ids = [message.id for message in messages]
    return messages[ids.index(up_to) + 1 :] if up_to in ids else messages


def _chunk_size(model: Model) -> int:
    return min(_CHUNK, (model.context_window or _CHUNK) * _WINDOW_SHARE)


def _chunks(messages: tuple[Message, ...], size: int) -> list[str]:
    """What was said, in pieces of at most `size` characters."""
    there = [message for message in messages if message.content and removing.MARK not in message.meta]
    said = "\n\n".join(f"{message.role.upper()}: {message.content}" for message in there)
    return [said[start : start + size] for start in range(0, len(said), size)]
