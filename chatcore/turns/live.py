"""The live buffer: the words of a turn that this process runs, for any number of followers.

The engine's loop appends, followers on other threads read. The list only grows, so a follower's place in it is a
number and every word is seen once, in order.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from chatcore import metrics
from chatcore.conversations.text import Cleaner
from chatcore.gateway import Delta

PATIENCE: Final = 0.25  # seconds
MOST_AT_ONCE: Final = 8_192
"""Characters of a batch for a coroutine, so that a reader that stalls holds no more."""
JOINED: Final = frozenset({"text", "reasoning"})
"""The kinds of deltas that are pieces; each of the others is a whole."""
Pace = Callable[[int], float]
"""From the characters handed out so far to the seconds until the next batch."""


class LiveTurn:
    """A running turn as its followers see it. `finished` is set after its end was stored, never before."""

    def __init__(self, turn_id: str, conversation_id: str, message_id: str, trace_id: str = "") -> None:
        self.trace_id = trace_id
        self.model_used = ""  # provider and model of the words, with a slash; of the first call until there are any
        self.cached = False
        self.turn_id = turn_id
        self.conversation_id = conversation_id
        self.message_id = message_id
        self.deltas: list[Delta] = []
        self.finished = False
        self.finished_at = 0.0
        self.flushed = 0  # how many deltas are in the chunks table
        self.next_seq = 0  # the next chunk's number
        self._cleaners = {"text": Cleaner(), "reasoning": Cleaner()}
        self._news = threading.Condition()
        self._wakers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def append(self, batch: list[Delta]) -> None:
        """Add words as the model says them, cleaned."""
        cleaned = []
        for delta in batch:
            cleaner = self._cleaners.get(delta.kind)
            text = cleaner.feed(delta.text) if cleaner else delta.text
            if text:
                cleaned.append(Delta(delta.kind, text))
        self._add(split(cleaned))

    def close_text(self) -> None:
        """Add what the cleaners held back: nothing more will come."""
        held = [Delta(kind, cleaner.finish()) for kind, cleaner in self._cleaners.items()]  # type: ignore[arg-type]
        self._add([delta for delta in held if delta.text])

    def finish(self) -> None:
        """Tell the followers that the turn has ended and is stored."""
        self.finished_at = time.monotonic()
        with self._news:
            self.finished = True
            self._tell()

    def text(self, kind: str = "text") -> str:
        """Everything of one kind said so far."""
        return "".join(delta.text for delta in self.deltas if delta.kind == kind)

    def unflushed(self) -> list[Delta]:
        """The deltas that are not in the chunks table, neighbours of one kind joined."""
        return join(self.deltas[self.flushed :])

    def follow(self, pace: Pace, patience: float = PATIENCE) -> Iterator[list[Delta]]:
        """Batches of new deltas; `pace` says how many seconds apart. An empty batch is a sign of life, after
        `patience` seconds without a word.

        The first words come at once. Ends when the turn has finished and everything was handed out.
        """
        seen = characters = 0
        with metrics.followed():
            while True:
                with self._news:
                    if len(self.deltas) == seen and not self.finished:
                        self._news.wait(patience)
                finished = self.finished  # read before the deltas: what came before the end is then among them
                end = len(self.deltas)
                batch = join(self.deltas[seen:end])
                yield batch
                seen, characters = end, characters + sum(len(delta.text) for delta in batch)
                if finished and len(self.deltas) == seen:
                    return
                if not finished and end:
                    time.sleep(pace(characters))

    async def after(self, seen: int, patience: float) -> tuple[list[Delta], int, bool]:
        """The next words behind the first `seen` deltas, at most `MOST_AT_ONCE` characters where they are no tool call;
        how many deltas are seen with them; whether more may come. Waits `patience` seconds for the first of them.
        """
        with self._woken() as news:
            if len(self.deltas) == seen and not self.finished:
                try:
                    await asyncio.wait_for(news.wait(), patience)
                except TimeoutError:
                    pass  # nothing was said: the empty batch is a sign of life
        finished = self.finished  # before the deltas, as in `follow`
        end, characters = seen, 0
        while end < len(self.deltas) and (end == seen or characters + len(self.deltas[end].text) <= MOST_AT_ONCE):
            characters += len(self.deltas[end].text)
            end += 1
        return join(self.deltas[seen:end]), end, not finished or end < len(self.deltas)

    @contextmanager
    def _woken(self) -> Iterator[asyncio.Event]:
        """An event of this coroutine's loop that is set whenever there is something new."""
        waker = (asyncio.get_running_loop(), asyncio.Event())
        with self._news:
            self._wakers.append(waker)
        try:
            yield waker[1]
        finally:
            with self._news:
                self._wakers.remove(waker)

    def _add(self, deltas: list[Delta]) -> None:
        if deltas:
            with self._news:
                self.deltas.extend(deltas)
                self._tell()

    def _tell(self) -> None:
        self._news.notify_all()
        for loop, event in self._wakers:
            with suppress(RuntimeError):  # its loop has ended, and the follower with it
                loop.call_soon_threadsafe(event.set)


def split(deltas: Sequence[Delta]) -> list[Delta]:
    """The same words in deltas of at most `MOST_AT_ONCE` characters. Tool calls stay whole."""
    pieces: list[Delta] = []
    for delta in deltas:
        most = MOST_AT_ONCE if delta.kind in JOINED else len(delta.text)
        pieces += [Delta(delta.kind, delta.text[at : at + most]) for at in range(0, len(delta.text), most)]
    return pieces


def join(deltas: list[Delta]) -> list[Delta]:
    """The same words with neighbours of one kind joined. What is no piece stays apart."""
    joined: list[Delta] = []
    pieces: list[str] = []
    for delta in deltas:
        if pieces and joined[-1].kind == delta.kind and delta.kind in JOINED:
            pieces.append(delta.text)
            continue
        if pieces:
            joined[-1] = Delta(joined[-1].kind, "".join(pieces))
        joined.append(delta)
        pieces = [delta.text]
    if pieces:
        joined[-1] = Delta(joined[-1].kind, "".join(pieces))
    return joined
