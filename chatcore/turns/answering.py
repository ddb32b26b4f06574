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
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.errors import BudgetExceeded, ChatcoreError, ProviderError
from chatcore.gateway import CompletionRequest, Delta, Gateway, StoredReply
from chatcore.tools import Offered, Toolbox, ToolCall
from chatcore.turns import admission, observed, replies
from chatcore.turns.hops import SEARCH, Hops
from chatcore.turns.journal import Written
from chatcore.turns.keeping import Keeping, payer
from chatcore.turns.live import LiveTurn
from chatcore.turns.tool_models import ToolModels
from chatcore.turns.tool_runs import Around, ToolRuns
from chatcore.turns.values import Begun, TurnEnd
from chatcore.usage import ledger
from chatcore.usage.limits import Limits

log = logging.getLogger(__name__)

_BROKEN: Final = "Something went wrong on our side. Your question is kept; try again."
_PIECE: Final = 120  # characters of an earlier reply that are handed out at a time
_PIECE_EVERY: Final = 0.02  # seconds


class Answering:
    """One turn being answered. Belongs to the engine's loop."""

    def __init__(
        self,
        db: Database,
        gateway: Gateway,
        limits: Limits,
        settings: Settings,
        toolbox: Toolbox,
        begun: Begun,
        live: LiveTurn,
        turn: Written,
    ) -> None:
        """`turn`: how it stands in the database."""
        self._db = db
        self._gateway = gateway
        self._limits = limits
        self._settings = settings
        self._own = settings.own
        self._toolbox = toolbox
        self._begun = begun
        self._live = live
        self._turn = turn
        self._branch = replies.Branch(db, begun, settings.data_dir)
        self._reply = replies.Reply(begun, live)
        self._hops: Hops | None = None

    async def run(self, stop: asyncio.Event, interrupted: Callable[[], bool]) -> TurnEnd:
        """Answer. Never raises: what our own code breaks is an end too. `interrupted`: whether the process ends."""
        started, call = time.monotonic(), self._begun.call
        metrics.turn_started(call.model, call.provider)
        try:
            end = await self._answer(stop, interrupted)
        except Exception:
            log.exception("a turn failed in our own code")
            attempts = self._hops.attempts if self._hops else None
            ledger_id = attempts.ledger_id if attempts else self._begun.ledger_id
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
        messages, tools = await self._branch.messages(begun.step.model), await self._tools(stop)
        hops = self._hops = Hops(self._db, self._gateway, self._settings, begun, self._branch, self._live, tools)
        self._models = ToolModels(self._db, self._gateway, self._settings, begun, stop, hops.next_number, hops.add)
        log.info("turn begun", extra=self._facts() | {
            "model": begun.step.model.name, "asked": begun.asked, "messages_sent": len(messages),
            "message_chars": observed.characters(messages[-1]) if messages else 0,
        })  # fmt: skip
        if stop.is_set():
            return reply.end_unsent()
        request = replace(hops.request(), messages=messages)
        keeping = Keeping(self._db, self._gateway, self._limits, self._settings, request, begun.step, begun.call)
        if begun.cached and not begun.search_first and (found := await keeping.earlier()) is not None:
            return await self._repeat(found, stop)
        if (error := await self._not_enough(request)) is not None:
            return await self._refused(error, "budget")
        answered = await hops.run(self._take, stop)
        self._live.close_text()
        end = reply.end(answered, "interrupted" if answered.stopped and interrupted() else None)
        if hops.out_of_money and answered.refusal is None:
            end = replace(end, parts=replies.not_paid(end.parts))
        await keeping.note(answered, self._live, asked=begun.request.model.name, out_of_money=hops.out_of_money)
        return end

    async def _tools(self, stop: asyncio.Event) -> ToolRuns:
        """The tools that the model is offered: none where it takes none."""
        begun, offered = self._begun, list[Offered]()
        takes = begun.step is not None and begun.step.model.tools
        wanted = (
            begun.wanted if takes else {name: None for name in begun.wanted if name == SEARCH and begun.search_first}
        )
        if begun.wanted and not takes and not begun.search_first:
            self._reply.note("no_tools", True)
        if wanted and begun.who is not None:
            offered = await asyncio.to_thread(self._toolbox.offered, begun.who, begun.agent, wanted)
        around = Around(self._call, self._told, self._turn.stored, self._turn.decided, self._own.tool_decision_seconds)
        return ToolRuns(offered, around, stop, told=takes)

    def _call(self, call_id: str) -> ToolCall:
        begun = self._begun
        assert begun.who is not None
        return ToolCall(
            call_id, begun.who, begun.agent, begun.conversation_id, begun.message_id, begun.turn_id,
            begun.request.trace_id, self._models, self._branch.attachments,
        )  # fmt: skip

    def _told(self, delta: Delta) -> None:
        self._live.append([delta])

    def _take(self, batch: list[Delta]) -> None:
        attempts = self._hops.attempts if self._hops else None
        if attempts and (step := attempts.speaking):
            self._live.model_used = f"{step.model.provider}/{step.model.name}"
        self._reply.take(batch)

    async def _refused(self, error: ChatcoreError, kind: str) -> TurnEnd:
        """Nothing is called, so the ledger has no row; what refused it is counted."""
        model, ledger_id = self._begun.call.model, self._begun.ledger_id

        def work(session: Session) -> None:
            if ledger_id is not None:
                ledger.discard(session, ledger_id)
            self._limits.count(session, payer(self._begun.call), kind, model)

        await self._db.awrite(work)
        return self._reply.end_refused(error)

    async def _not_enough(self, request: CompletionRequest) -> BudgetExceeded | None:
        """Hold more where the whole request is larger than was reckoned; the refusal where there is not enough."""
        begun, bound = self._begun, admission.bound_of(request)
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

    def _facts(self) -> dict[str, Any]:
        call = self._begun.call
        return {"user_id": call.user_id, "tenant_id": call.tenant_id, "conversation_id": call.conversation_id}
