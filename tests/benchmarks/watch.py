"""Following a reply of numbered words while it arrives, and summing up many of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

NUMBERED: Final = re.compile(r"\[(\d+)\]")
Where = tuple[int, ...]


@dataclass
class Watch:
    """Follows a reply of numbered words, `[0] … [1] …`, while it arrives. Times are `time.time()`.

    `earlier`: what stood on the page before, and is no part of the reply. `doubled`: updates in which a number stood
    twice on the page. `disordered`: updates in which one was missing or out of order inside an element.
    """

    words: int
    asked: float = 0.0
    first: float | None = None
    last: float | None = None
    highest: int = -1
    largest_gap: float = 0.0
    doubled: int = 0
    disordered: int = 0
    updates: int = 0
    bytes_received: int = 0
    earlier: frozenset[tuple[Where, str]] = frozenset()
    _spans: dict[Where, tuple[int, int, int, int]] = field(default_factory=dict)
    _since: float = 0.0

    @property
    def complete(self) -> bool:
        return self.highest == self.words - 1

    def saw(self, place: Where, text: str, run: int, now: float) -> None:
        """An element's text as it stands now. Only what is new since the last update is read."""
        if (place, text) in self.earlier:
            return
        start, first, highest, seen_in = self._spans.get(place, (0, -1, -1, -1))
        if seen_in != run or start > len(text):
            start, first, highest = 0, -1, -1
        found = [int(number) for number in NUMBERED.findall(text, start)]
        if not found:
            return
        self.updates += 1
        expected = highest + 1 if first >= 0 else found[0]
        if found != list(range(expected, expected + len(found))):
            self.disordered += 1
        first = first if first >= 0 else found[0]
        self._spans[place] = (text.rindex("]") + 1, first, max(found[-1], highest), run)
        self._overlaps(run)
        self._progress(found[-1], now)

    def _overlaps(self, run: int) -> None:
        spans = sorted(span[1:3] for span in self._spans.values() if span[3] == run)
        self.doubled += any(later[0] <= earlier[1] for earlier, later in pairwise(spans))

    def _progress(self, number: int, now: float) -> None:
        if number <= self.highest:
            return
        if self.first is None:
            self.first = now
        else:
            self.largest_gap = max(self.largest_gap, now - self._since)
        self.highest, self.last, self._since = number, now, now


def spread(values: list[float], *shares: float) -> Iterator[float]:
    """Percentiles by nearest rank; NaN where there are no values. `shares`: 50, 95, …"""
    ordered = sorted(values)
    for share in shares:
        rank = -(-len(ordered) * share // 100)
        yield ordered[max(int(rank) - 1, 0)] if ordered else float("nan")
