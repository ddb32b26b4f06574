"""Following turns: every viewer sees every word once, in order, wherever the turn runs."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from sqlalchemy.orm import Session

from chatcore import metrics
from chatcore.accounts import Principal, require_active
from chatcore.db import Database
from chatcore.errors import NotFound
from chatcore.gateway import Delta
from chatcore.turns import store
from chatcore.turns.engine import TurnEngine
from chatcore.turns.live import JOINED, PATIENCE, Pace, split
from chatcore.turns.replies import words_of
from chatcore.turns.values import Opened

_TAIL_EVERY: Final = 0.2  # seconds between reads of the chunks table, for turns of another process
_ALLOWED_FOR: Final = 2.0  # seconds until a follower of a long reply is asked again whether it may
_ROUND: Final = 0.1  # seconds between two looks at turns that are followed together
_Allowed = Callable[[Session], None]
"""Raises where the reader may not read the turn any more."""


def _steady(_: int) -> float:
    return 0.1


class Following:
    """Reads the live buffer of turns that run here, and tails the chunks table for those of other processes."""

    def __init__(self, db: Database, engine: TurnEngine) -> None:
        self._db = db
        self.engine = engine

    def follow(
        self, principal: Principal, turn_id: str, *, pace: Pace = _steady, patience: float = PATIENCE
    ) -> Iterator[list[Delta]]:
        """The words of a turn from its first, in batches, until its end is stored. Raises `NotFound`.

        `pace`: seconds between two batches, by the characters handed out so far. `patience`: seconds to wait for words
        before an empty batch says that the turn still runs.
        """
        allowed_until = 0.0
        allowed = partial(store.require_turn, principal=principal, turn_id=turn_id)
        self._db.read(allowed)
        if live := self.engine.live(turn_id):
            for batch in live.follow(pace, patience):
                if time.monotonic() > allowed_until:  # who may no longer read it reads no further
                    self._db.read(allowed)
                    allowed_until = time.monotonic() + _ALLOWED_FOR
                yield batch
            return
        seq, runs = -1, True
        while runs:
            self._db.read(allowed)
            chunks, runs = self._db.read(partial(store.chunks_after, turn_id=turn_id, seq=seq))
            yield [delta for _, delta in chunks]
            if chunks:
                seq = chunks[-1][0]
            if runs:
                time.sleep(_TAIL_EVERY)

    def follow_together(self, principal: Principal, turn_ids: Sequence[str]) -> Iterator[Mapping[str, list[Delta]]]:
        """The words of several turns from their first, in rounds: what each said since the last one, by its id.

        A turn that has ended is in no later round. Raises `NotFound`.
        """
        running = {turn_id: self.follow(principal, turn_id, pace=lambda _: 0.0, patience=0.0) for turn_id in turn_ids}
        while running:
            round_: dict[str, list[Delta]] = {}
            for turn_id, batches in list(running.items()):
                batch = next(batches, None)
                if batch is None:
                    del running[turn_id]
                else:
                    round_[turn_id] = batch
            yield round_
            if running:
                time.sleep(_ROUND)

    async def afollow(
        self, principal: Principal, turn_id: str, *, pace: Pace = _steady, patience: float = PATIENCE
    ) -> AsyncIterator[list[Delta]]:
        """`follow` for coroutines: it parks no thread, so there may be hundreds; a reader that stalls holds one batch.

        One that lags so far that the turn was forgotten meanwhile reads on in the stored reply.
        """
        allowed = partial(_require, principal=principal, turn_id=turn_id)
        await self._db.aread(allowed)
        said = _Said()
        words = self._alive if self.engine.live(turn_id) else self._tail
        with metrics.followed():
            async for batch in words(turn_id, allowed, said, pace, patience):
                said.take(batch)
                yield batch
            if not said.to_the_end:
                async for batch in self._stored(turn_id, allowed, said):
                    yield batch

    async def opened(self, principal: Principal, turn_id: str, patience: float) -> Opened:
        """What is known of a turn when its first words are there, or after `patience` seconds. Raises `NotFound`."""
        await self._db.aread(partial(_require, principal=principal, turn_id=turn_id))
        if live := self.engine.live(turn_id):
            await live.after(0, patience)
            return Opened(live.trace_id, live.model_used, live.cached)
        reply = await self._db.aread(partial(store.reply, turn_id=turn_id))
        if reply is None:
            raise NotFound("This turn does not exist, or it is not yours.")
        cached = reply.meta.get("outcome") == "cached"
        return Opened(str(reply.meta.get("trace_id", "")), f"{reply.provider}/{reply.model}", cached)

    async def _alive(
        self, turn_id: str, allowed: _Allowed, said: "_Said", pace: Pace, patience: float
    ) -> AsyncIterator[list[Delta]]:
        """Out of the live buffer, which is not held between two batches."""
        seen, more, allowed_until = 0, True, 0.0
        while more and (live := self.engine.live(turn_id)):
            batch, seen, more = await live.after(seen, patience)
            del live
            if time.monotonic() > allowed_until:
                await self._db.aread(allowed)
                allowed_until = time.monotonic() + _ALLOWED_FOR
            yield batch
            if batch and more:
                await asyncio.sleep(pace(said.characters))
        said.to_the_end = not more

    async def _tail(
        self, turn_id: str, allowed: _Allowed, said: "_Said", pace: Pace, patience: float
    ) -> AsyncIterator[list[Delta]]:
        """Out of the chunks table, which is emptied a minute after the end: the reply itself has the last word."""
        seq, runs = -1, True
        while runs:
            await self._db.aread(allowed)
            chunks, runs = await self._db.aread(partial(store.chunks_after, turn_id=turn_id, seq=seq))
            for piece in split([delta for _, delta in chunks]):
                yield [piece]
            if chunks:
                seq = chunks[-1][0]
            elif runs:
                yield []
            if runs:
                await asyncio.sleep(_TAIL_EVERY)

    async def _stored(self, turn_id: str, allowed: _Allowed, said: "_Said") -> AsyncIterator[list[Delta]]:
        """What was not said yet, out of the reply itself."""
        await self._db.aread(allowed)
        reply = await self._db.aread(partial(store.reply, turn_id=turn_id))
        for piece in split(said.rest(words_of(reply))) if reply else ():
            yield [piece]


def _require(session: Session, principal: Principal, turn_id: str) -> None:
    """A program's key that was revoked ends its streams, too."""
    require_active(session, principal)
    store.require_turn(session, principal, turn_id)


class _Said:
    """How far a reader came: characters by kind, calls of tools, and whether there is nothing behind them."""

    def __init__(self) -> None:
        self.to_the_end = False
        self._far: Counter[str] = Counter()

    @property
    def characters(self) -> int:
        """All that was handed out."""
        return self._far.total()

    def take(self, batch: Sequence[Delta]) -> None:
        """These were handed out."""
        for delta in batch:
            self._far[delta.kind] += len(delta.text) if delta.kind in JOINED else 1

    def rest(self, words: Sequence[Delta]) -> list[Delta]:
        """Those of a reply's words that were not."""
        left, found = self._far.copy(), list[Delta]()
        for delta in words:
            size = len(delta.text) if delta.kind in JOINED else 1
            skipped = min(left[delta.kind], size)
            left[delta.kind] -= skipped
            if skipped < size:
                found.append(Delta(delta.kind, delta.text[skipped:]) if delta.kind in JOINED else delta)
        return found
