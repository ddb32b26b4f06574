"""Completions of programs: a request in OpenAI's form, over the same gateway, limits, budgets and ledger as a turn.

Nothing of it is stored but its ledger rows, which are settled before its reader comes to the end. It is its one
reader's: when that one leaves, it is cancelled, and what was said until then is billed.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore import metrics
from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.errors import ChatcoreError, Draining, InvalidInput, ProviderError
from chatcore.gateway import CompletionRequest, Delta, Gateway, Model, Step, StoredReply, Task, Usage
from chatcore.ids import new_id
from chatcore.turns import admission
from chatcore.turns.calls import Calls, Opening
from chatcore.turns.keeping import Keeping
from chatcore.turns.live import LiveTurn
from chatcore.turns.values import Spent
from chatcore.usage import ledger
from chatcore.usage.limits import Limits

log = logging.getLogger(__name__)

PARAMETERS: Final = frozenset({
    "frequency_penalty", "logit_bias", "logprobs", "parallel_tool_calls", "presence_penalty", "reasoning_effort",
    "response_format", "seed", "stop", "tool_choice", "tools", "top_logprobs", "top_p", "verbosity",
})  # fmt: skip
"""What of a request goes to the model as it is. Anything else could be an address, a key or a header of the call."""
_BROKEN: Final = "Something went wrong on our side. Try again."
_RESTARTED: Final = "Chatcore is restarting, so this was not said to its end. Try again in a minute."


@dataclass(frozen=True)
class CompletionAsk:
    """What a program asks. `messages`, `parameters`: in OpenAI's form; of the latter those in `PARAMETERS`.

    `cache`: False where no earlier reply may serve.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    temperature: float | None = None
    max_tokens: int | None = None
    cache: bool = True

    @property
    def question(self) -> str:
        """The words of the last message of a person, by which `auto` chooses."""
        asked = next((one for one in reversed(self.messages) if one.get("role") == "user"), None)
        if asked is None:
            return ""
        if parts := _parts(asked):
            return " ".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
        return str(asked.get("content") or "")

    def task(self) -> Task:
        """What is asked, as far as the choice of a model goes."""
        kinds = [part.get("type") for one in self.messages for part in _parts(one)]
        return Task(
            self.question,
            kinds.count("image_url"),
            kinds.count("input_audio"),
            tools=bool(self.parameters.get("tools")),
        )


@dataclass(frozen=True)
class EmbeddingAsk:
    """Texts that are to become vectors. `dimensions`: of a vector, where the model lets one choose."""

    model: str
    texts: Sequence[str]
    dimensions: int | None = None


@dataclass(frozen=True)
class CompletionEnd:
    """How a completion ended. `usage`: of the call that answered; `spent`: of all its calls. `error`: what a person
    may read, None where it is whole or was cancelled. `cached`: an earlier reply served."""

    model: str
    provider: str
    finish_reason: str | None
    usage: Usage
    spent: Spent
    error: ChatcoreError | None = None
    cached: bool = False


@dataclass
class Completing:
    """A completion while it is said, for one reader on any loop. `end` is there after the last batch."""

    trace_id: str
    live: LiveTurn
    cancel: Callable[[], None]
    end: CompletionEnd | None = None
    step: Step | None = None  # the call whose words are said

    async def batches(self, patience: float) -> AsyncIterator[list[Delta]]:
        """What is said, from the first word; an empty batch after `patience` seconds without one."""
        seen, more = 0, True
        while more:
            batch, seen, more = await self.live.after(seen, patience)
            yield batch


@dataclass(frozen=True)
class BegunCompletion:
    """A completion whose ledger row is written. `max_tokens`: as asked. `cached`: an earlier reply may serve."""

    opening: Opening
    request: CompletionRequest
    max_tokens: int | None = None
    cached: bool = False


class Completions:
    """Begins and runs completions."""

    def __init__(self, db: Database, gateway: Gateway, limits: Limits, settings: Settings) -> None:
        self._db = db
        self._gateway = gateway
        self._limits = limits
        self._settings = settings
        self._calls = Calls(db, gateway)

    def begin(self, session: Session, principal: Principal, ask: CompletionAsk) -> BegunCompletion:
        """Choose a model and write the row of its first call, inside the caller's transaction.

        Raises `InvalidInput`, `ModelUnavailable`, `BreakerOpen`, `BudgetExceeded`.
        """
        flags, opening = self._gateway.flags.now, self._opening(session, principal, ask.model, ask.task(), "api")
        messages = [dict(one) for one in ask.messages]
        request = CompletionRequest(
            opening.step.model, messages, opening.call.trace_id, ask.temperature, ask.max_tokens,
            keep_last=len(messages), stream=flags.streaming,
            parameters={name: value for name, value in ask.parameters.items() if name in PARAMETERS},
        )  # fmt: skip
        limit = opening.write(
            session, admission.bound_of(request), ask.max_tokens, self._settings.own.budget_reply_tokens
        )
        # A kept reply has no log probabilities.
        cached = ask.cache and flags.cache and flags.gateway and not request.parameters.get("logprobs")
        return BegunCompletion(opening, replace(request, max_tokens=limit), ask.max_tokens, cached)

    def begin_embedding(self, session: Session, principal: Principal, ask: EmbeddingAsk) -> BegunCompletion:
        """`begin` for vectors, which no cache keeps and no other model makes. Raises as that does."""
        opening = self._opening(session, principal, ask.model, Task(embeds=True), "embedding")
        messages: list[dict[str, Any]] = [{"role": "user", "content": text} for text in ask.texts]
        parameters = {} if ask.dimensions is None else {"dimensions": ask.dimensions}
        request = CompletionRequest(
            opening.step.model, messages, opening.call.trace_id, keep_last=len(messages), stream=False,
            parameters=parameters, embed=True,
        )  # fmt: skip
        opening.write(session, admission.bound(messages), None, 0)
        return BegunCompletion(opening, request)

    def _opening(
        self, session: Session, principal: Principal, name: str, task: Task, purpose: ledger.Purpose
    ) -> Opening:
        planner, caller = self._gateway.planner, self._gateway.caller(session, principal)
        model = planner.pick(caller, name, task).model
        _require_capable(model, task)
        return Opening.of(principal, planner.route(caller, model.name, task), purpose, new_id("trace"))

    async def run(
        self, begun: BegunCompletion, completing: Completing, stop: asyncio.Event, interrupted: Callable[[], bool]
    ) -> None:
        """Answer; never raises. Everything is settled when the reader comes to the end."""
        call, started = begun.opening.call, time.monotonic()
        metrics.turn_started(call.model, call.provider)
        try:
            end = await self._answer(begun, completing, stop, interrupted)
        except Exception:
            log.exception("a completion failed in our own code")
            metrics.turn_ended(call.model, call.provider, "error", 0)
            await self._abandon(begun)
            end = CompletionEnd(call.model, call.provider, None, Usage(), Spent(), ProviderError(_BROKEN))
        completing.end = end
        completing.live.finish()
        log.info("call ended", extra={
            "trace_id": completing.trace_id, "user_id": call.user_id, "tenant_id": call.tenant_id,
            "purpose": call.purpose, "model": end.model, "provider": end.provider,
            "finish_reason": end.finish_reason, "cached": end.cached,
            "prompt_tokens": end.spent.prompt_tokens, "completion_tokens": end.spent.completion_tokens,
            "cost_nano_usd": end.spent.cost_nano_usd, "duration_ms": round((time.monotonic() - started) * 1000),
        })  # fmt: skip

    async def _abandon(self, begun: BegunCompletion) -> None:
        """Close the first row where it is open still: what the call used is unknown."""
        settled = ledger.Settlement(outcome="error", error_type=ProviderError.code)
        try:
            await self._calls.settle([begun.opening.row_id], begun.opening.row_id, settled)
        except Exception:
            log.exception("the row of a failed completion is left to the recovery")

    async def _answer(
        self, begun: BegunCompletion, completing: Completing, stop: asyncio.Event, interrupted: Callable[[], bool]
    ) -> CompletionEnd:
        live = completing.live
        keeping = Keeping(
            self._db, self._gateway, self._limits, self._settings, replace(begun.request, max_tokens=begun.max_tokens),
            begun.opening.step, begun.opening.call,
        )  # fmt: skip
        if begun.cached and (stored := await keeping.earlier()) is not None:
            return await self._repeat(begun, completing, stored)

        async def sent(_: Model) -> list[dict[str, Any]]:
            return begun.request.messages

        def take(batch: list[Delta]) -> None:
            completing.step = attempts.speaking
            live.append(batch)

        # A second model knows of what was begun, but not how to go on with half an object.
        form = begun.request.parameters.get("response_format")
        goes_on = not begun.request.embed and (form is None or form.get("type") == "text")
        mid_reply = "continue" if goes_on else "fail"
        attempts = self._calls.attempts(begun.opening, begun.request, sent, take, stop, mid_reply=mid_reply)
        answered = await self._calls.make(begun.opening, attempts, interrupted)
        live.close_text()
        result, model = answered.result, answered.step.model
        metrics.turn_ended(model.name, model.provider, result.outcome, 0)
        await keeping.note(answered, live, asked=begun.request.model.name, out_of_money=attempts.out_of_money)
        error = Draining(_RESTARTED) if answered.stopped and interrupted() else result.error
        return CompletionEnd(model.name, model.provider, result.finish_reason, result.usage, answered.spent, error)

    async def _repeat(self, begun: BegunCompletion, completing: Completing, stored: StoredReply) -> CompletionEnd:
        call, prices = begun.opening.call, begun.opening.step.model.prices
        saved = stored.cost_nano_usd or 0
        settled = ledger.Settlement(
            outcome="cached", price_source=prices.source, unit_prices=prices.unit or {}, cost_nano_usd=0,
            saved_nano_usd=saved, cache_hit=True, ttft_ms=0, latency_ms=0,
        )  # fmt: skip
        await self._calls.settle([begun.opening.row_id], begun.opening.row_id, settled)
        metrics.turn_ended(call.model, call.provider, "cached", saved)
        completing.step = begun.opening.step
        end = CompletionEnd(stored.model, stored.provider, "stop", Usage(), Spent(known=True), cached=True)
        completing.end = end  # known before the first word
        completing.live.append([Delta("reasoning", stored.reasoning), Delta("text", stored.text)])
        completing.live.close_text()
        return end


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _require_capable(model: Model, task: Task) -> None:
    if task.images and not model.vision:
        raise InvalidInput(f"{model.display_name} cannot see images. Choose a model that can.")
    if task.sounds and not model.audio:
        raise InvalidInput(f"{model.display_name} cannot hear audio. Choose a model that can.")
