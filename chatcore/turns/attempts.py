"""The attempts at one request: calls to models, one after another and now and then two at once, until one answers.

Each call has a ledger row of its own, opened before it and settled after it; the row of the last one is settled by
whoever stores the end. Before the first word failures are silent. A call that stays silent for long gets another one
beside it, and whoever speaks first is heard. Once words were said they stay: the next model goes on below them, or, by
`chatcore.mid_reply`, a new reply is begun.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.db import Database
from chatcore.errors import BudgetExceeded, DatabaseError, ProviderError
from chatcore.gateway import Attempt, CompletionRequest, Delta, Gateway, Step
from chatcore.turns import admission, observed
from chatcore.turns.values import Answered, Spent, Tried, Work, settlement
from chatcore.usage import ledger

log = logging.getLogger(__name__)

CONTINUE_PROMPT: Final = (
    "Continue exactly where your last message stopped. Do not repeat what you already wrote and do not comment on this."
)

_NEW_WORKER: Final = 1.0  # seconds until a lost worker has a successor that takes calls
_PAGE_TRIES: Final = 8
_PAGE_PAUSE: Final = 0.4  # seconds between two tries to write, while the database is away


class _Running:
    """A call that runs. `coming`: the task that waits for its next words."""

    def __init__(self, step: Step, attempt: Attempt, ledger_id: str) -> None:
        self.step = step
        self.attempt = attempt
        self.ledger_id = ledger_id
        self.span = observed.call_begins(step, attempt.request)
        self.began = time.monotonic()
        self.spoke = False
        self.heard_out = False  # its end was reached, which may come long after it ended
        self._batches: AsyncIterator[list[Delta]] = aiter(attempt)
        self.coming = asyncio.ensure_future(anext(self._batches, None))

    def take(self) -> list[Delta] | None:
        """The words that came, None at the end; waits for the next ones from here on."""
        batch = self.coming.result()
        if batch is None:
            self.heard_out = True
        else:
            self.spoke = True
            self.coming = asyncio.ensure_future(anext(self._batches, None))
        return batch

    async def drained(self) -> None:
        """Wait for the end, whatever is still said."""
        while await self.coming is not None:
            self.take()


class Attempts:
    """Runs the attempts at one request. Belongs to the engine's loop."""

    def __init__(
        self, db: Database, gateway: Gateway, work: Work, take: Callable[[list[Delta]], None], stop: asyncio.Event
    ) -> None:
        """`take` is given every word that is to be kept. `stop`: ends whatever runs when it is set."""
        self._db = db
        self._gateway = gateway
        self._work = work
        self._take = take
        self._stop = stop
        self._route = work.route
        self._running: list[_Running] = []
        self._losing: list[asyncio.Task[None]] = []
        self._unsettled: list[tuple[str, ledger.Settlement]] = []
        self._before: list[Tried] = []
        self._spent = Spent()
        self._number = work.call.attempt
        self._said: list[str] = []
        self._spoken = False
        self._called_tools = False
        self.ledger_id = work.ledger_id  # the row of the call that was begun last
        self.open_rows = {work.ledger_id}  # of calls that are not settled
        self.out_of_money = False  # a further call was not made, as the budget does not pay for it

    @property
    def number(self) -> int:
        """Of the call that was begun last, in the order of the request's."""
        return self._number

    @property
    def speaking(self) -> Step | None:
        """The call whose words are taken, once there are any."""
        return self._running[0].step if self._spoken and self._running else None

    async def run(self) -> Answered:
        """Make calls until one answers, or nothing is left to try."""
        stopper = asyncio.create_task(self._cancel_when_stopped())
        try:
            await self._begin(self._work.first, self._work.ledger_id)
            while True:
                call = await self._first_words()
                if not call.heard_out:
                    await self._hear(call)
                following = self._following(call)
                if following is None or await self._is_stopped_in(self._pause(call, following)):
                    return await self._answered(call)
                if self._spoken and self._work.mid_reply == "fail":
                    return await self._answered(call)
                if self._spoken and self._work.mid_reply == "restart":
                    return await self._answered(call, restart=following)
                if not await self._go_on(call, following):
                    return await self._answered(call)
        finally:
            stopper.cancel()
            for call in self._running:
                if not call.attempt.has_ended:  # our own code failed: no provider goes on for nobody
                    call.attempt.cancel()
                    call.span.end()

    async def _first_words(self) -> _Running:
        """The call that speaks first, or the last one that ended without a word; the others are ended."""
        # A whole reply is silent until its end, which says nothing about whoever writes it.
        patience = self._gateway.planner.patience(self._running[0].step.model) if self._work.request.stream else None
        while True:
            call = self._running[0]
            waits = None if patience is None or len(self._running) > 1 or self._spoken else patience
            if waits is not None:
                waits = max(0.0, call.began + waits - time.monotonic())
            done, _ = await asyncio.wait(
                [call.coming for call in self._running], timeout=waits, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                if not await self._ask_another(call):
                    patience = None  # there is nobody else: this one is waited for
                continue
            call = next(call for call in self._running if call.coming in done)
            batch = call.take()
            if batch is not None:
                self._keep(batch)
                self._let_go(call)
                return call
            self._running.remove(call)
            if not self._running or call.attempt.result.outcome in ("ok", "stopped"):
                self._let_go(call)
                return call
            self._route.failed(call.step, _error_of(call))
            self._tell(call)
            await self._settle(call)

    async def _hear(self, call: _Running) -> None:
        """Take its words to its end."""
        while True:
            await asyncio.wait([call.coming])
            batch = call.take()
            if batch is None:
                return
            self._keep(batch)

    def _keep(self, batch: list[Delta]) -> None:
        self._spoken = True
        self._said += [delta.text for delta in batch if delta.kind == "text"]
        self._called_tools |= any(delta.kind == "tool_call" for delta in batch)
        self._take(batch)

    def _following(self, call: _Running) -> Step | None:
        """Tell the breaker how a call ended; what is to be tried next, None where it is the last."""
        result = call.attempt.result
        self._tell(call)
        if result.error is None or self._stop.is_set():
            return None
        if self._spoken and (self._called_tools or result.error.code == "refused_content"):
            return None  # half a tool call cannot be gone on with, and what was filtered is not to be got round
        return self._route.after(call.step, result.error, said=call.spoke)

    @staticmethod
    def _pause(failed: _Running, following: Step) -> float:
        return max(following.pause, _NEW_WORKER) if failed.attempt.result.ours else following.pause

    def _tell(self, call: _Running, *, beaten: bool = False) -> None:
        """Tell the breaker, and whoever counts. `beaten`: another that began later spoke while this one was silent."""
        breakers, result = self._gateway.breakers, call.attempt.result
        observed.call_ended(call.span, call.step, result)
        if result.ours:
            breakers.released(call.step.breaker)
        elif result.error is not None:
            breakers.failed(call.step.breaker, result.error.code, getattr(result.error, "retry_after", None))
        elif beaten:
            breakers.failed(call.step.breaker, "timeout")
        elif result.outcome == "ok":
            breakers.succeeded(call.step.breaker)
        else:
            breakers.released(call.step.breaker)

    async def _go_on(self, failed: _Running, step: Step) -> bool:
        """Settle a failed call and begin the next in one transaction. False where money is not left for it."""
        try:
            ledger_id = await self._turn_page(failed, step)
        except BudgetExceeded:
            self.out_of_money = True
            return False
        except Exception:  # what was said and counted must not be lost with what might come
            log.exception("a further call could not be begun")
            return False
        self._account(failed)
        await self._begin(step, ledger_id)
        return True

    async def _ask_another(self, silent: _Running) -> bool:
        """One call is silent: begin another beside it. False where there is none to ask, or no money for it."""
        step = None if self._stop.is_set() else self._route.beside([silent.step.breaker])
        if step is None:
            return False
        page = asyncio.create_task(self._turn_page(None, step))
        await asyncio.wait([page, silent.coming], return_when=asyncio.FIRST_COMPLETED)
        if not page.done() or silent.coming.done() or self._stop.is_set():  # it spoke meanwhile: no other is called
            self._losing.append(asyncio.create_task(self._undo(page)))
            return True
        try:
            ledger_id = page.result()
        except BudgetExceeded:
            return False
        except Exception:
            log.exception("another model could not be asked beside a silent one")
            return False
        log.info("a call is silent, asking another model beside it", extra=self._facts(step))
        await self._begin(step, ledger_id)
        return True

    async def _undo(self, page: "asyncio.Task[str]") -> None:
        """Take back the row of a call that is not made after all."""
        try:
            ledger_id = await page
        except Exception as error:
            log.info("another model was not asked beside one that speaks now", exc_info=error)
            return
        try:
            await self._db.awrite(lambda session: ledger.discard(session, ledger_id))
        except Exception:
            log.exception("the row of a call that was not made is settled with the turn's end")
            self._unsettled.append((ledger_id, ledger.Settlement(outcome="stopped", cost_nano_usd=0)))

    async def _turn_page(self, failed: _Running | None, step: Step) -> str:
        """One transaction: a failed call's row is settled, money held for the next, and that one's row opened."""
        self._number += 1
        call = self._call(step)
        request = await self._request(step)
        others = [one.attempt.request for one in self._running if one is not failed]
        beside = sum(admission.worst_of(other) or 0 for other in others)

        def work(session: Session) -> str:
            if failed is not None:
                ledger.settle_call(session, failed.ledger_id, settlement(failed.attempt.result))
            admission.hold(session, self._work.holder, call, request, beside)
            return ledger.open_call(session, call)

        try:
            return await self._written(work)
        except BudgetExceeded:
            self._number -= 1
            raise

    async def _written(self, work: Callable[[Session], str]) -> str:
        """A database that is away for a moment ends no failover."""
        for attempt in range(1, _PAGE_TRIES + 1):
            try:
                return await self._db.awrite(work)
            except DatabaseError:
                if attempt == _PAGE_TRIES or await self._is_stopped_in(_PAGE_PAUSE):
                    raise
        raise AssertionError("unreachable")

    async def _begin(self, step: Step, ledger_id: str) -> None:
        request = await self._request(step)
        self._gateway.breakers.started(step.breaker)
        self.ledger_id = ledger_id
        self.open_rows.add(ledger_id)
        self._running.append(_Running(step, self._gateway.attempt(request), ledger_id))
        if self._stop.is_set():
            self._running[-1].attempt.cancel()

    async def _request(self, step: Step) -> CompletionRequest:
        """What is sent: the branch as this model takes it, and, once words were said, those to go on from."""
        messages = await self._work.messages(step.model)
        request = replace(self._work.request, model=step.model, messages=messages)
        if said := "".join(self._said):
            going_on = [{"role": "assistant", "content": said}, {"role": "user", "content": CONTINUE_PROMPT}]
            request = replace(request, messages=[*messages, *going_on], keep_last=3)
        return request

    def _call(self, step: Step) -> ledger.NewCall:
        model = step.model
        return replace(
            self._work.call, attempt=self._number, provider=model.provider, model=model.name,
            provider_model=model.target, key_source=step.key_source, price_source=model.prices.source,
            unit_prices=model.prices.unit or {},
        )  # fmt: skip

    def _let_go(self, heard: _Running) -> None:
        """End every call but the one that is heard."""
        others = [call for call in self._running if call is not heard]
        self._running = [heard]
        for call in others:
            call.attempt.cancel()
            # Slow is who was overtaken, not who began just now, nor who was stopped.
            beaten = call.began < heard.began and not self._stop.is_set()
            self._losing.append(asyncio.create_task(self._beaten(call, beaten)))

    async def _beaten(self, call: _Running, beaten: bool) -> None:
        await call.drained()
        self._tell(call, beaten=beaten)
        await self._settle(call)

    async def _settle(self, call: _Running) -> None:
        """Settle the row of a call that another outlives; where that fails, with the end of it all."""
        settled = settlement(call.attempt.result)
        try:
            await self._db.awrite(lambda session: ledger.settle_call(session, call.ledger_id, settled))
        except Exception:
            log.exception("a call could not be settled yet")
            self._unsettled.append((call.ledger_id, settled))
        self._account(call)

    def _account(self, call: _Running) -> None:
        result, model = call.attempt.result, call.step.model
        self._spent += Spent.of(result)
        self.open_rows.discard(call.ledger_id)
        self._before.append(
            Tried(model.name, model.provider, result.outcome, result.error.code if result.error else None, call.spoke)
        )
        if call in self._running:
            self._running.remove(call)
        log.info("attempt ended, going on", extra=self._facts(call.step) | {"outcome": result.outcome})

    async def _answered(self, call: _Running, restart: Step | None = None) -> Answered:
        if self._losing:
            await asyncio.gather(*self._losing)
        result = call.attempt.result
        return Answered(
            result, call.step, call.ledger_id, tuple(self._before), self._spent + Spent.of(result),
            call.attempt.trimmed, self._stop.is_set() and result.outcome != "ok", restart, tuple(self._unsettled),
        )  # fmt: skip

    async def _is_stopped_in(self, seconds: float) -> bool:
        """Wait; whether somebody stopped it meanwhile."""
        if seconds > 0:
            try:
                await asyncio.wait_for(self._stop.wait(), seconds)
            except TimeoutError:
                pass  # nobody did
        return self._stop.is_set()

    async def _cancel_when_stopped(self) -> None:
        await self._stop.wait()
        for call in self._running:
            call.attempt.cancel()

    def _facts(self, step: Step) -> dict[str, Any]:
        return {"model": step.model.name, "provider": step.model.provider, "attempt": self._number}


def _error_of(call: _Running) -> ProviderError:
    error = call.attempt.result.error
    assert error is not None, "a call that ended otherwise is heard"
    return error
