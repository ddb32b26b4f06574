"""Looks at the database for who asks whether it answers, and wants to be told soon, also when it hangs."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class OneLook(Generic[T]):
    """One look at a time, on a thread of its own: what hangs takes no thread that others need.

    Whoever asks while a look goes on gets its result; when it has gone on for too long, at once that there is none.
    """

    def __init__(self, look: Callable[[], T], within: float) -> None:
        """`look` may raise what it likes. `within`: seconds that it may take."""
        self._look = look
        self._within = within
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="look")
        self._last: Future[T] | None = None
        self._begun = 0.0

    async def result(self) -> T:
        """What `look` returns or raises; `TimeoutError` when it takes too long."""
        if self._last is None or self._last.done():
            self._begun = time.monotonic()
            self._last = self._pool.submit(self._look)
        left = self._begun + self._within - time.monotonic()
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._last)), max(left, 0.0))
