"""A turn's way from a begun one to its end: an earlier reply, or attempts, or the reason why nothing may be called."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore import metrics
from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import utcnow
from chatcore.errors import BudgetExceeded, ChatcoreError, ProviderError
from chatcore.gateway import Delta, Gateway, StoredReply
from chatcore.gateway.cache import may_be_kept
from chatcore.turns import admission, observed, replies
from chatcore.turns.attempts import Attempts
from chatcore.turns.live import LiveTurn
from chatcore.turns.values import Answered, Begun, TurnEnd, Work
from chatcore.usage import ledger
from chatcore.usage.limits import Limits

log = logging.getLogger(__name__)

_BROKEN: Final = "Something went wrong on our side. Your question is kept; try again."
_PIECE: Final = 120  # characters of an earlier reply that are handed out at a time
_PIECE_EVERY: Final = 0.02  # seconds


class Answering:
    """One turn being answered. Belongs to the engine's loop."""

    def __init__(
        self, db: Database, gateway: Gateway, limits: Limits, settings: Settings, begun: Begun, live: LiveTurn
    ) -> None:
        self._db = db
        self._gateway = gateway
        self._limits = limits
        self._own = settings.own
        self._begun = begun
        self._live = live
        self._branch = replies.Branch(db, begun, settings.data_dir)
        self._reply = replies.Reply(begun, live)
        self._attempts: Attempts | None = None
        self._key: str | None = None  # of the cache

    async def run(self, stop: asyncio.Event, interrupted: Callable[[], bool]) -> TurnEnd:
        """Answer. Never raises: what our own code breaks is an end too. `interrupted`: whether the process ends."""
        started, call = time.monotonic(), self._begun.call
        metrics.turn_started(call.model, call.provider)
        try:
            end = await self._answer(stop, interrupted)
        except Exception:
            log.exception("a turn failed in our own code")
            ledger_id = self._attempts.ledger_id if self._attempts else self._begun.ledger_id
            end = self._reply.end_broken(ProviderError(_BROKEN), ledger_id)
        metrics.turn_ended(end.model, end.provider, end.result.outcome, end.saved_nano_usd)
        log.info("turn ended", extra=self._facts() | {
            "model": end.model, "provider": end.provider, "outcome": end.result.outcome, "status": end.status,
            "finish_reason": end.result.finish_reason, "prompt_tokens": end.spent.prompt_tokens,
            "completion_tokens": end.spent.completion_tokens, "cost_nano_usd": end.spent.cost_nano_usd,
            "ttft_ms": end.result.ttft_ms, "duration_ms": round((time.monotonic() - started) * 1000),
        })  # fmt: skip
        return end

    async def _answer(self, stop: asyncio.Event, interrupted: Callable[[], bool]) -> TurnEnd:
        begun, reply = self._begun, self._reply
        if begun.step is None or begun.ledger_id is None:
            return await self._refused(begun.route.refusal(), "breaker")
        messages = await self._branch.messages(begun.step.model)
        log.info("turn begun", extra=self._facts() | {
            "model": begun.step.model.name, "asked": begun.asked, "messages_sent": len(messages),
            "message_chars": observed.characters(messages[-1]) if messages else 0,
        })  # fmt: skip
        if stop.is_set():
            return reply.end_unsent()
        if (found := await self._earlier(messages)) is not None:
            return await self._repeat(found, stop)
        if (error := await self._not_enough(messages)) is not None:
            return await self._refused(error, "budget")
        # To continue means nothing without the question and the reply that are to be gone on with.
        request = replace(begun.request, keep_last=3 if begun.continuing else 1)
        work = Work(
            request, self._branch.messages, begun.route, begun.step, begun.ledger_id, begun.call,
            holder=None if begun.reserved is None else begun.turn_id,
            mid_reply="continue" if begun.compared else self._own.mid_reply,
        )  # fmt: skip
        self._attempts = Attempts(self._db, self._gateway, work, self._take, stop)
        answered = await self._attempts.run()
        self._live.close_text()
        end = reply.end(answered, "interrupted" if answered.stopped and interrupted() else None)
        if self._attempts.out_of_money:
            end = replace(end, parts=replies.not_paid(end.parts))
        await self._note(answered, end, out_of_money=self._attempts.out_of_money)
        return end

    def _take(self, batch: list[Delta]) -> None:
        if self._attempts and (step := self._attempts.speaking):
            self._live.model_used = f"{step.model.provider}/{step.model.name}"
        self._reply.take(batch)

    async def _note(self, answered: Answered, end: TurnEnd, *, out_of_money: bool) -> None:
        """For the cache, the limits and the count of refusals. What fails is logged: the reply stands."""
        try:
            if out_of_money:
                model = self._begun.call.model
                await self._db.awrite(lambda session: self._limits.count(session, self._who(), "budget", model))
            await self._keep(answered, end)
            await self._charge(end)
        except Exception:
            log.exception("a reply could not be cached, or its tokens not be counted against limits")

    async def _refused(self, error: ChatcoreError, kind: str) -> TurnEnd:
        """Nothing is called, so the ledger has no row; what refused it is counted."""
        model, ledger_id = self._begun.call.model, self._begun.ledger_id

        def work(session: Session) -> None:
            if ledger_id is not None:
                ledger.discard(session, ledger_id)
            self._limits.count(session, self._who(), kind, model)

        await self._db.awrite(work)
        return self._reply.end_refused(error)

    async def _not_enough(self, messages: list[dict[str, Any]]) -> BudgetExceeded | None:
        """Hold more where the whole request is larger than was reckoned; the refusal where there is not enough."""
        begun, bound = self._begun, admission.bound(messages)
        if begun.reserved is None or bound <= begun.reserved:
            return None
        assert begun.step is not None
        call, limit = begun.call, begun.request.max_tokens or self._own.budget_reply_tokens
        again = partial(admission.reserve, holder=begun.turn_id, first=begun.step, steps=begun.route.steps)

        def work(session: Session) -> None:
            again(session, call, prompt_tokens=bound, max_tokens=limit, reply_tokens=limit)

        try:
            await self._db.awrite(work)
        except BudgetExceeded as error:
            return error
        return None

    # ---- earlier replies

    async def _earlier(self, messages: list[dict[str, Any]]) -> StoredReply | None:
        begun = self._begun
        if not begun.cached or begun.step is None:
            return None
        alone = self._own.cache_scope == "person" or begun.step.key_source == "person"
        # Not of the deployment that happens to be called: any of the model's may have given the reply.
        model = self._gateway.catalog.find(begun.step.model.name) or begun.step.model
        make = partial(
            self._gateway.cache.key, model, messages, begun.request.temperature, begun.request.max_tokens,
            tenant_id=begun.call.tenant_id, user_id=begun.call.user_id if alone else None,
            keep_last=begun.request.keep_last,
        )  # fmt: skip
        has_files = any(isinstance(message.get("content"), list) for message in messages)
        self._key = await asyncio.to_thread(make) if has_files else make()  # megabytes are not hashed on the loop
        if self._key is None:
            return None
        found = await self._gateway.cache.find(self._key, begun.call.tenant_id)
        metrics.cache_looked_up(hit=found is not None)
        return found

    async def _repeat(self, found: StoredReply, stop: asyncio.Event) -> TurnEnd:
        """Say an earlier reply again, quickly and in pieces, as one that streams."""
        started = time.monotonic()
        self._live.cached = True
        pieces = [Delta("reasoning", found.reasoning)] if found.reasoning else []
        pieces += [Delta("text", found.text[at : at + _PIECE]) for at in range(0, len(found.text), _PIECE)]
        for piece in pieces:
            self._reply.take([piece])
            await asyncio.sleep(_PIECE_EVERY)
            if stop.is_set():
                self._live.close_text()
                return self._reply.end_unsent()
        self._live.close_text()
        return self._reply.end_cached(found, time.monotonic() - started)

    async def _keep(self, answered: Answered, end: TurnEnd) -> None:
        if self._key is None or answered.before:
            return
        usage = answered.result.usage
        reply = StoredReply(
            self._live.text(), self._live.text("reasoning"), end.model, end.provider,
            answered.result.finish_reason or "", usage.prompt, usage.completion, answered.result.cost_nano_usd,
            utcnow(),
        )  # fmt: skip
        called = any(delta.kind == "tool_call" for delta in self._live.deltas)
        asked = self._begun.request.model.name
        if may_be_kept(reply, asked=asked, outcome=answered.result.outcome, called_tools=called):
            call = self._begun.call
            await self._gateway.cache.keep(self._key, tenant_id=call.tenant_id, user_id=call.user_id, reply=reply)

    async def _charge(self, end: TurnEnd) -> None:
        """Count the tokens against the limits, which may ask Redis: not on the loop."""
        call, spent = self._begun.call, end.spent
        if not any(rule.of == "tokens" for rule in self._gateway.flags.now.limits):
            return
        await asyncio.to_thread(
            self._limits.charge, tenant_id=call.tenant_id, user_id=call.user_id, tier=call.tier, model=call.model,
            tokens=spent.prompt_tokens + spent.completion_tokens,
        )  # fmt: skip

    def _who(self) -> Principal:
        call = self._begun.call
        return Principal(call.user_id, call.tenant_id, "", "", "member", call.tier)

    def _facts(self) -> dict[str, Any]:
        call = self._begun.call
        return {"user_id": call.user_id, "tenant_id": call.tenant_id, "conversation_id": call.conversation_id}
