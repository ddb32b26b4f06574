"""The group commit: one writer for the words and the ends of all turns that this process runs.

Five times a second, and at once when a turn ends, one transaction writes every new word, a sign of life, and the ends,
and reads who asked to stop. When that transaction fails, each turn is written by itself, so that one bad turn does
not spoil the others; what still fails is tried again with growing pauses, each failure logged.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.orm import Session

from chatcore import metrics
from chatcore.db import Database
from chatcore.turns import queue, store
from chatcore.turns.live import LiveTurn
from chatcore.turns.values import Begun, TurnEnd
from chatcore.usage import budget_locks

log = logging.getLogger(__name__)

TICK: Final = 0.2  # seconds; with the gateway's joining this keeps a killed reply's loss below half a second
_HEARTBEAT_EVERY: Final = 2.0
_MAX_PAUSE: Final = 10.0


@dataclass
class Entry:
    """One turn in the journal. `end` is there once it has ended and waits to be stored."""

    live: LiveTurn
    begun: Begun
    tenant_id: str
    on_stop: Callable[[], None]
    end: TurnEnd | None = None
    stored: asyncio.Event = field(default_factory=asyncio.Event)
    marks: list[tuple[int, "asyncio.Future[None]"]] = field(default_factory=list)  # who waits for how many deltas
    decisions: dict[str, "asyncio.Future[bool]"] = field(default_factory=dict)  # by the ids of calls that wait
    failures: int = 0
    doubtful: bool = False  # a commit failed, or only seemed to: what it wrote is written again
    not_before: float = 0.0


@dataclass(frozen=True)
class Written:
    """One turn as the database has it."""

    journal: "Journal"
    entry: Entry

    async def stored(self) -> None:
        """Returns when all that was said so far is written."""
        await self.journal.written(self.entry)

    async def decided(self, call_id: str) -> bool:
        """The person's word to a call of a tool, once it is there."""
        return await self.journal.decided(self.entry, call_id)


class Journal:
    """Belongs to the engine's loop. `after_end` runs inside the transaction that stores a turn's end."""

    def __init__(self, db: Database, after_end: Callable[[Session, TurnEnd], Callable[[], None] | None]) -> None:
        self._db = db
        self._after_end = after_end
        self._entries: dict[str, Entry] = {}
        self.idle = asyncio.Event()  # nothing runs and nothing waits to be stored
        self.idle.set()
        self._wake = asyncio.Event()
        self._last_beat = 0.0

    def add(self, entry: Entry) -> None:
        """Begin to write a turn."""
        self._entries[entry.live.turn_id] = entry
        self.idle.clear()

    async def end(self, entry: Entry, end: TurnEnd) -> None:
        """Store a turn's end; returns when it is in the database."""
        entry.end = end
        self._wake.set()
        await entry.stored.wait()

    async def written(self, entry: Entry) -> None:
        """Returns when all that was said so far is in the database."""
        mark, future = len(entry.live.deltas), asyncio.get_running_loop().create_future()
        if entry.live.flushed < mark:
            entry.marks.append((mark, future))
            self._wake.set()
            await future

    async def decided(self, entry: Entry, call_id: str) -> bool:
        """The person's word to a call of a tool, once it is in the database."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        entry.decisions[call_id] = future
        self._wake.set()
        try:
            return await future
        finally:
            entry.decisions.pop(call_id, None)

    def look(self) -> None:
        """Somebody said something to a tool that waits."""
        self._wake.set()

    async def run(self) -> None:
        """Write for ever; cancel it when `idle`."""
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), TICK)
            except TimeoutError:
                pass  # the tick
            self._wake.clear()
            now = time.monotonic()
            due = [entry for entry in self._entries.values() if entry.not_before <= now]
            if due:
                await self._write(due)

    async def _write(self, entries: list[Entry]) -> None:
        try:
            await self._commit(entries)
        except Exception as error:
            metrics.store_failed("group")
            log.error("group commit failed, writing turn by turn", exc_info=error, extra={"turns": len(entries)})
            for entry in entries:
                entry.doubtful = True
            for entry in entries:
                await self._write_alone(entry)

    async def _write_alone(self, entry: Entry) -> None:
        try:
            await self._commit([entry])
        except Exception as error:
            metrics.store_failed("turn")
            entry.failures += 1
            pause = min(0.25 * 2**entry.failures, _MAX_PAUSE)
            entry.not_before = time.monotonic() + pause
            log.error(
                "a turn could not be stored, trying again",
                extra={
                    "turn_id": entry.live.turn_id,
                    "try": entry.failures,
                    "pause_s": pause,
                },
                exc_info=error,
            )

    async def _commit(self, entries: list[Entry]) -> None:
        now = time.monotonic()
        beat = now - self._last_beat >= _HEARTBEAT_EVERY
        marks = {entry.live.turn_id: len(entry.live.deltas) for entry in entries}
        ended = [entry for entry in entries if entry.end is not None]
        chunks = [
            (entry.live.turn_id, entry.live.next_seq + number, delta)
            for entry in entries
            for number, delta in enumerate(entry.live.unflushed())
        ]
        tenants = {entry.live.turn_id: entry.tenant_id for entry in entries}
        afterwards: list[Callable[[], None]] = []
        waiting = [entry.live.turn_id for entry in entries if entry.decisions]
        decisions: list[tuple[str, str, bool]] = []

        def work(session: Session) -> list[str]:
            afterwards.clear()
            _lock_budgets(session, ended)
            for entry in entries:
                if entry.doubtful:
                    store.forget_chunks(session, entry.live.turn_id, entry.live.next_seq)
            erased = store.missing(session, [entry.live.turn_id for entry in entries if entry.doubtful])
            store.add_chunks(session, tenants, [chunk for chunk in chunks if chunk[0] not in erased])
            if beat:
                store.heartbeat(session, list(marks))
            for entry in ended:
                assert entry.end is not None
                if store.finish(session, entry.end) and (then := self._after_end(session, entry.end)):
                    afterwards.append(then)
            decisions[:] = store.decisions(session, waiting) if waiting else []
            return [*store.stop_requested(session, list(marks)), *erased]

        stops = await self._db.awrite(work)
        if beat:
            self._last_beat = now
        for turn_id, seq, _ in chunks:
            self._entries[turn_id].live.next_seq = seq + 1
        for entry in entries:
            entry.live.flushed = marks[entry.live.turn_id]
            entry.failures, entry.doubtful = 0, False
            _wake_marks(entry)
            if entry.live.turn_id in stops and entry.end is None:
                entry.on_stop()
        for turn_id, call_id, approved in decisions:
            future = self._entries[turn_id].decisions.get(call_id)
            if future is not None and not future.done():
                future.set_result(approved)
        for then in afterwards:
            then()
        for entry in ended:
            assert entry.end is not None
            metrics.turn_stored(time.monotonic() - entry.end.known_at)
            del self._entries[entry.live.turn_id]
            entry.live.finish()
            entry.stored.set()
        if not self._entries:
            self.idle.set()


def _wake_marks(entry: Entry) -> None:
    """Those who waited for what is written now."""
    reached = [future for mark, future in entry.marks if mark <= entry.live.flushed]
    entry.marks = [(mark, future) for mark, future in entry.marks if mark > entry.live.flushed]
    for future in reached:
        if not future.done():
            future.set_result(None)


def _lock_budgets(session: Session, ended: list[Entry]) -> None:
    """Where ends count for several people, or a colleague's question follows: see `budget_locks`."""
    payers = {(entry.begun.call.tenant_id, entry.begun.call.user_id) for entry in ended}
    if budget_locks.are_needed(session, payers):
        payers |= queue.askers(session, [entry.begun.conversation_id for entry in ended])
        if len(payers) > 1:
            budget_locks.lock_for_ends(session, payers, [entry.begun.turn_id for entry in ended])
