"""Where the marks of a chart stand. Lengths are points over a field of 430 × 150, heights from its bottom."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

from chatcore.conversations.export.document import one_line
from chatcore.conversations.parts import ChartPart

WIDTH: Final = 430.0
HEIGHT: Final = 150.0
_MOST_POINTS: Final = 500  # in all series together; more are read in the table, or elsewhere
_MOST_LABELS: Final = 8
_LONGEST_LABEL: Final = 18

Heights = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Mark:
    """One shape. `number`: of its series or slice, for its colour. `at`: left, bottom, width and height of a bar; x and
    y of a dot; those of both ends of a line; those of all corners of a slice."""

    shape: Literal["bar", "dot", "line", "slice"]
    number: int
    at: tuple[float, ...]


@dataclass(frozen=True)
class Plot:
    """A chart as marks. `ticks`: height and words of each line of the grid, and `labels`: place and words below; a pie
    has neither, and its field is as wide as it is high. `names`: of the series or slices."""

    marks: list[Mark]
    names: list[str]
    ticks: list[tuple[float, str]] = field(default_factory=list)
    labels: list[tuple[float, str]] = field(default_factory=list)


def plot(part: ChartPart) -> Plot | None:
    """The chart without its table; None where there is nothing that can be drawn."""
    series = [one.values for one in part.series]
    known = [float(value) for values in series for value in values if value is not None]
    if not known or len(part.x) * len(series) > _MOST_POINTS:
        return None
    if part.chart == "pie":
        return _pie([float(value or 0) for value in series[0]], [one_line(str(x)) for x in part.x])
    low, high, step = _scale(known)
    places = _places(part)
    heights = [[None if v is None else (v - low) / (high - low) * HEIGHT for v in values] for values in series]
    shapes = {"bar": _bars, "scatter": _dots, "line": _lines}[part.chart]
    return Plot(
        list(shapes(heights, places, -low / (high - low) * HEIGHT)),
        [one_line(one.name) for one in part.series if one.name],
        _ticks(low, high, step),
        _labels([one_line(str(x)) for x in part.x], places),
    )


def _scale(values: Sequence[float]) -> tuple[float, float, float]:
    """Lowest and highest value of the field, and a round step of its grid."""
    low, high = min(0.0, *values), max(0.0, *values)
    if min(values) > 0 and min(values) > 0.7 * high:
        low = min(values) - (high - min(values)) * 0.5
    if high - low < 1e-12 * max(abs(high), abs(low), 1e-290):
        high = low + 1
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return math.floor(low / step) * step, math.ceil(high / step) * step, step


def _places(part: ChartPart) -> list[float]:
    """Where each value stands: by its number in a scatter chart, else at equal distances."""
    numbers = [float(x) for x in part.x if not isinstance(x, str)]
    if part.chart == "scatter" and len(numbers) == len(part.x) and max(numbers) > min(numbers):
        return [(x - min(numbers)) / (max(numbers) - min(numbers)) * (WIDTH - 10) + 5 for x in numbers]
    return [(i + 0.5) * WIDTH / len(part.x) for i in range(len(part.x))]


def _bars(series: Heights, places: Sequence[float], zero: float) -> Iterator[Mark]:
    wide = WIDTH / len(places) * 0.7 / len(series)
    for number, heights in enumerate(series):
        for place, height in zip(places, heights, strict=False):
            if height is not None:
                left = place + (number - len(series) / 2) * wide
                yield Mark("bar", number, (left, min(zero, height), wide * 0.94, abs(height - zero)))


def _dots(series: Heights, places: Sequence[float], zero: float) -> Iterator[Mark]:
    for number, heights in enumerate(series):
        for place, height in zip(places, heights, strict=False):
            if height is not None:
                yield Mark("dot", number, (place, height))


def _lines(series: Heights, places: Sequence[float], zero: float) -> Iterator[Mark]:
    for number, heights in enumerate(series):
        points = list(zip(places, heights, strict=False))
        for (ax, ay), (bx, by) in pairwise(points):
            if ay is not None and by is not None:
                yield Mark("line", number, (ax, ay, bx, by))
    yield from _dots(series, places, zero)


def _pie(sizes: Sequence[float], labels: Sequence[str]) -> Plot | None:
    total = sum(sizes)
    if not 0 < total < math.inf:
        return None
    marks, start = [], 0.0
    for number, size in enumerate(sizes):
        end = start + size / total
        steps = max(2, round((end - start) * 90))
        turns = [(start + (end - start) * i / steps) * math.tau for i in range(steps + 1)]
        ring = [place for turn in turns for place in (75 + 72 * math.sin(turn), 75 + 72 * math.cos(turn))]
        if size:
            marks.append(Mark("slice", number, (75.0, 75.0, *ring)))
        start = end
    return Plot(marks, [f"{label} ({size / total:.0%})" for label, size in zip(labels, sizes, strict=False)])


def _ticks(low: float, high: float, step: float) -> list[tuple[float, str]]:
    steps = min(12, round((high - low) / step))
    return [(i * step / (high - low) * HEIGHT, f"{low + i * step:,.6g}") for i in range(steps + 1)]


def _labels(labels: Sequence[str], places: Sequence[float]) -> list[tuple[float, str]]:
    every = max(1, math.ceil(len(places) / _MOST_LABELS))
    return [(place, label[:_LONGEST_LABEL]) for place, label in list(zip(places, labels, strict=False))[::every]]
