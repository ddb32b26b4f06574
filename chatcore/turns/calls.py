"""Calls that are no turn's: opened with a ledger row, made, settled. Titles, summaries, tries of keys, completions.

What is reserved of budgets is held under the first row's id.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore import metrics
from chatcore.accounts import Principal
from chatcore.db import Database
from chatcore.gateway import CompletionRequest, Delta, Gateway, Model, Route, Step
from chatcore.ids import new_id
from chatcore.turns import admission
from chatcore.turns.attempts import Attempts
from chatcore.turns.values import Answered, Work, settlement
from chatcore.usage import budgets, ledger

Messages = Callable[[Model], Awaitable[list[dict[str, Any]]]]
log = logging.getLogger(__name__)

_PAUSES: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds between two tries to settle
_INTERRUPTED: Final = ledger.Settlement(outcome="interrupted")


@dataclass(frozen=True)
class Opening:
    """A call that is to be made. `row_id`: of its ledger row, which may not be written yet."""

    row_id: str
    route: Route
    step: Step
    call: ledger.NewCall

    @classmethod
    def of(
        cls,
        who: Principal,
        route: Route,
        purpose: ledger.Purpose,
        trace_id: str,
        conversation_id: str | None = None,
    ) -> "Opening":
        """The first call of a route; claims a trial where one is due. Raises `BreakerOpen`, `ModelUnavailable`."""
        step = route.first()
        if step is None:
            raise route.refusal()
        model = step.model
        call = ledger.NewCall(
            tenant_id=who.tenant_id, user_id=who.user_id, provider=model.provider, model=model.name,
            provider_model=model.target, trace_id=trace_id, tier=who.tier, conversation_id=conversation_id,
            purpose=purpose, price_source=model.prices.source, unit_prices=model.prices.unit or {},
            key_source=step.key_source,
        )  # fmt: skip
        return cls(new_id("use"), route, step, call)

    def write(self, session: Session, prompt_tokens: int, max_tokens: int | None, reply_tokens: int) -> int | None:
        """Write its row, and hold what it can cost; returns the `max_tokens` to be sent. Raises `BudgetExceeded`.

        `prompt_tokens`: at most. `reply_tokens`: the limit under a budget where `max_tokens` is None.
        """
        call, steps, limit = self.call, self.route.steps, max_tokens
        if admission.paid(steps) and budgets.applies(session, call.tenant_id, call.user_id):
            limit = admission.reserve(
                session, call, self.row_id, self.step, steps, prompt_tokens, max_tokens, reply_tokens
            )
        ledger.open_call(session, call, self.row_id)
        return limit


class Calls:
    """Makes and settles them. Methods are coroutines of the engine's loop."""

    def __init__(self, db: Database, gateway: Gateway) -> None:
        self._db = db
        self._gateway = gateway

    def attempts(
        self,
        opening: Opening,
        request: CompletionRequest,
        messages: Messages,
        take: Callable[[list[Delta]], None],
        stop: asyncio.Event,
        **more: Any,
    ) -> Attempts:
        """The attempts at a request whose row is written. `more`: of `Work`."""
        work = Work(
            request, messages, opening.route, opening.step, opening.row_id, opening.call, holder=opening.row_id, **more
        )
        return Attempts(self._db, self._gateway, work, take, stop)

    async def make(
        self, opening: Opening, attempts: Attempts, interrupted: Callable[[], bool] | None = None
    ) -> Answered:
        """Run the attempts and settle every row. `interrupted`: whether it is the process's end that stopped it."""
        try:
            answered = await attempts.run()
        except BaseException:  # the process ends, or our own code failed: what the provider counts is not known
            await asyncio.shield(self.settle([*attempts.open_rows], opening.row_id, _INTERRUPTED))
            raise
        outcome: ledger.Outcome | None = "interrupted" if answered.stopped and interrupted and interrupted() else None
        await self.store(
            opening.row_id, [*answered.unsettled, (answered.ledger_id, settlement(answered.result, outcome))]
        )
        return answered

    async def interrupted(self, opening: Opening) -> None:
        """The process ends before anything was called, and the row may have been written."""
        await asyncio.shield(self.settle([opening.row_id], opening.row_id, _INTERRUPTED))

    async def settle(self, row_ids: Sequence[str], holder: str, settled: ledger.Settlement) -> None:
        """Settle rows alike, and let go of what was held."""
        await self.store(holder, [(row_id, settled) for row_id in row_ids])

    async def store(self, holder: str, rows: Sequence[tuple[str, ledger.Settlement]]) -> None:
        """Settle rows in one transaction, and let go of what was held; tried again while the database is away."""

        def work(session: Session) -> None:
            for row_id, settled in rows:
                ledger.settle_call(session, row_id, settled)
            budgets.release(session, holder)

        for number, pause in enumerate(_PAUSES, 1):
            try:
                await self._db.awrite(work)
                return
            except Exception:
                if number == len(_PAUSES):
                    raise
                metrics.store_failed("call")
                log.exception("calls could not be settled, trying again", extra={"try": number, "pause_s": pause})
                await asyncio.sleep(pause)
