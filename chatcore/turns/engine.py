"""The turn engine: one asyncio loop on its own thread that runs every turn of this process."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy.orm import Session

from chatcore import logs, metrics, tracing
from chatcore.accounts.preferences import Preferences
from chatcore.config import Settings
from chatcore.conversations import erasing
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database
from chatcore.gateway import Gateway
from chatcore.tools import Toolbox
from chatcore.turns import observed, recovery, store
from chatcore.turns.answering import Answering
from chatcore.turns.chores import Chores
from chatcore.turns.completing import BegunCompletion, Completing, Completions
from chatcore.turns.journal import Entry, Journal, Written
from chatcore.turns.live import LiveTurn
from chatcore.turns.owner import Owner
from chatcore.turns.values import Begun, TurnEnd
from chatcore.usage import budgets
from chatcore.usage.limits import Limits
from chatcore.usage.rollup_jobs import RollupJobs

T = TypeVar("T")
log = logging.getLogger(__name__)

_KEEP_FINISHED: Final = 60.0  # seconds a finished turn stays for followers that come late
_HOUSEKEEPING_EVERY: Final = 5.0
_COLLECT_EVERY: Final = 600.0
_STORE_WITHIN: Final = 5.0  # seconds that interrupted turns have to be stored when the process ends


class TurnEngine:
    """Runs turns that `Turns` has written. All methods may be called from any thread."""

    def __init__(
        self,
        db: Database,
        gateway: Gateway,
        limits: Limits,
        preferences: Preferences,
        settings: Settings,
        toolbox: Toolbox,
        next_turn: Callable[[Session, TurnEnd], tuple[Begun, str] | None],
    ) -> None:
        """`next_turn`: called in the transaction of a turn's end; the queued question that follows it, begun."""
        self.owner = Owner.this()
        self.draining = False
        self._db = db
        self._gateway = gateway
        self._limits = limits
        self._settings = settings
        self._toolbox = toolbox
        self._attachments = Attachments(db, settings)
        self._rollups = RollupJobs(db)
        self._collect_at = time.monotonic() + _COLLECT_EVERY
        self.chores = Chores(db, gateway, limits, preferences, settings)
        self._next_turn = next_turn
        self._live: dict[str, LiveTurn] = {}
        self._stops: dict[str, asyncio.Event] = {}
        self._chores: set[asyncio.Task[Any]] = set()
        self.completions = Completions(db, gateway, limits, settings)
        self._completing: dict[asyncio.Task[None], asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._journal: Journal | None = None
        self._interrupt = False

    @property
    def is_running(self) -> bool:
        """Whether the loop turns and new questions are taken."""
        return self._thread is not None and self._thread.is_alive() and not self.draining

    @property
    def active(self) -> int:
        """How many turns run here now."""
        return sum(not live.finished for live in list(self._live.values()))

    def start(self) -> None:
        """Recover what dead processes left, then start the loop. Returns when turns can be taken."""
        self._gateway.spawn()
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), name="turns", daemon=True)
        self._thread.start()
        started.result()

    def drain(self, seconds: float) -> None:
        """Take no new turns, give the running ones `seconds` to end, interrupt the rest with their words kept."""
        self.draining = True
        self._rollups.stop()
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            return
        self._submit(self._drain(seconds)).result()
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def run(self, begun: Begun, tenant_id: str) -> LiveTurn:
        """Run a turn that was just written; returns its live buffer."""
        live = self._register(begun)
        self._submit(self._run(begun, live, tenant_id))
        return live

    def live(self, turn_id: str) -> LiveTurn | None:
        """The buffer of a turn that this process runs, or ended a moment ago."""
        return self._live.get(turn_id)

    def stop(self, turn_id: str) -> None:
        """Stop a turn at once if this process runs it."""
        stop = self._stops.get(turn_id)
        if stop is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(stop.set)

    def look(self) -> None:
        """Somebody said something to a tool that waits: it may wait here."""
        if self._loop is not None and self._journal is not None:
            self._loop.call_soon_threadsafe(self._journal.look)

    def _register(self, begun: Begun) -> LiveTurn:
        self._stops[begun.turn_id] = asyncio.Event()
        trace_id, call = begun.request.trace_id, begun.call
        live = LiveTurn(begun.turn_id, begun.conversation_id, begun.message_id, trace_id)
        live.model_used = f"{call.provider}/{call.model}"
        self._live[begun.turn_id] = live
        return live

    def complete(self, begun: BegunCompletion) -> Completing:
        """Run a completion whose row was just written."""
        loop, stop, trace_id = self._loop, asyncio.Event(), begun.request.trace_id
        assert loop is not None, "the engine was not started"

        def cancel() -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it what it ran
                loop.call_soon_threadsafe(stop.set)

        completing = Completing(trace_id, LiveTurn(begun.opening.row_id, "", ""), cancel)
        self._submit(self._complete(begun, completing, stop))
        return completing

    async def _complete(self, begun: BegunCompletion, completing: Completing, stop: asyncio.Event) -> None:
        with logs.bound(trace_id=completing.trace_id):
            task = asyncio.create_task(self.completions.run(begun, completing, stop, lambda: self._interrupt))
            self._completing[task] = stop
            task.add_done_callback(self._completing.pop)
            await task

    def run_chore(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run a call that is no turn's on the engine's loop. Ended with the process, it ends as cancelled."""
        return self._submit(self._chore(work))

    async def _chore(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return await task

    def _submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        assert self._loop is not None, "the engine was not started"
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _main(self, started: "Future[None]") -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._journal = Journal(self._db, self._after_end)
        try:
            metrics.turns_recovered(await self._db.awrite(lambda session: recovery.recover(session, self.owner)))
            await self._gateway.start()
            await self._toolbox.start()
        except BaseException as error:
            started.set_exception(error)
            raise
        tasks = [asyncio.create_task(self._journal.run()), asyncio.create_task(self._housekeeping())]
        tasks.append(asyncio.create_task(self._keep_rollups()))
        started.set_result(None)
        await self._stopped.wait()
        for task in tasks:
            task.cancel()
        await self._toolbox.close()
        await self._gateway.close()

    async def _run(self, begun: Begun, live: LiveTurn, tenant_id: str) -> None:
        assert self._journal is not None
        stop_asked = self._stops[begun.turn_id]
        entry = Entry(live, begun, tenant_id, on_stop=stop_asked.set)
        self._journal.add(entry)
        trace_id = begun.request.trace_id
        timed = tracing.span("turn", observed.question(begun), trace_id)
        with logs.bound(trace_id=trace_id, turn_id=begun.turn_id), timed as span:
            answering = Answering(
                self._db, self._gateway, self._limits, self._settings, self._toolbox, begun, live,
                Written(self._journal, entry),
            )  # fmt: skip
            try:
                end = await answering.run(stop_asked, lambda: self._interrupt)
            finally:
                self._stops.pop(begun.turn_id, None)
            observed.answer(span, end)
            with tracing.span("store", {}):
                await self._journal.end(entry, end)
        await self._chore(self.chores.after(end))

    def _after_end(self, session: Session, end: TurnEnd) -> Callable[[], None] | None:
        """In the transaction of a turn's end: begin the question that waits behind it."""
        if self.draining:
            return None
        following = self._next_turn(session, end)
        if following is None:
            return None
        begun, tenant_id = following

        def go() -> None:
            live = self._register(begun)
            asyncio.get_running_loop().create_task(self._run(begun, live, tenant_id))

        return go

    async def _housekeeping(self) -> None:
        """Every few seconds, for as long as the process lives: a round that fails is logged, and the next one tries."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING_EVERY)
            try:
                await self._keep_house()
            except Exception:
                log.exception("housekeeping failed")

    async def _keep_rollups(self) -> None:
        """Beside it, as a tenant's new time zone takes minutes."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING_EVERY)
            try:
                await asyncio.to_thread(self._rollups.keep_up)
            except Exception:
                log.exception("rollups could not be kept up")

    async def _keep_house(self) -> None:
        """Forget finished turns, drop old chunks, erase what has expired, recover what dead processes left, remove
        files that nobody needs, stop what disabled people asked."""
        live = list(self._live.values())
        old = time.monotonic() - _KEEP_FINISHED
        for turn in live:
            if turn.finished and turn.finished_at < old:
                self._live.pop(turn.turn_id, None)
        running = [turn.turn_id for turn in live if not turn.finished]
        await self._db.awrite(store.purge_chunks)
        await self._db.awrite(budgets.sweep)
        if expired := await self._db.awrite(erasing.expired):
            await asyncio.to_thread(erasing.erase_in_steps, self._db, expired)
        lost = await self._db.awrite(lambda session: recovery.recover(session, self.owner, running))
        metrics.turns_recovered(lost)
        if time.monotonic() >= self._collect_at:
            self._collect_at = time.monotonic() + _COLLECT_EVERY
            await asyncio.to_thread(self._attachments.collect)
            await self._db.awrite(self._gateway.cache.sweep)
        if running:
            for turn_id in await self._db.aread(lambda session: store.of_disabled(session, running)):
                self.stop(turn_id)

    async def _drain(self, seconds: float) -> None:
        try:
            await self._drain_turns(seconds)
        finally:
            chores = list(self._chores)
            for task in chores:
                task.cancel()
            await asyncio.gather(*chores, return_exceptions=True)

    async def _drain_turns(self, seconds: float) -> None:
        assert self._journal is not None
        if await self._ends_within(seconds):
            return
        self._interrupt = True
        for stop in [*self._stops.values(), *self._completing.values()]:
            stop.set()
        if not await self._ends_within(_STORE_WITHIN):
            log.error("some turns could not be stored before the end; the next start recovers their words")

    async def _ends_within(self, seconds: float) -> bool:
        assert self._journal is not None
        try:
            async with asyncio.timeout(seconds):
                await self._journal.idle.wait()
                if self._completing:
                    await asyncio.wait(list(self._completing))
        except TimeoutError:
            return False
        return True
