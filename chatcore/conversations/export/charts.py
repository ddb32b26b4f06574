"""Charts as calls of the page's drawing functions. Lengths are points over a field of 430 × 150."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from chatcore.conversations.export.document import one_line
from chatcore.conversations.export.typst_code import array, block, call, literal, words
from chatcore.conversations.parts import ChartPart

_WIDTH: Final = 430.0
_HEIGHT: Final = 150.0
_MOST_POINTS: Final = 500  # in all series together; more are read in the table, or elsewhere
_MOST_LABELS: Final = 8


def drawing(part: ChartPart) -> str:
    """The chart without its table; empty where there is nothing that can be drawn."""
    series = [one.values for one in part.series]
    known = [float(value) for values in series for value in values if value is not None]
    if not known or len(part.x) * len(series) > _MOST_POINTS:
        return ""
    if part.chart == "pie":
        return _pie([float(value or 0) for value in series[0]], [one_line(str(x)) for x in part.x])
    low, high, step = _scale(known)
    places = _places(part)
    heights = [[None if v is None else (v - low) / (high - low) * _HEIGHT for v in values] for values in series]
    shapes = {"bar": _bars, "scatter": _dots, "line": _lines}[part.chart]
    marks = block(shapes(heights, places, -low / (high - low) * _HEIGHT))
    names = array(words(one_line(one.name)) for one in part.series if one.name)
    return call("plot", marks, _ticks(low, high, step), _labels([one_line(str(x)) for x in part.x], places), names)


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
        return [(x - min(numbers)) / (max(numbers) - min(numbers)) * (_WIDTH - 10) + 5 for x in numbers]
    return [(i + 0.5) * _WIDTH / len(part.x) for i in range(len(part.x))]


Heights = Sequence[Sequence[float | None]]


def _bars(series: Heights, places: Sequence[float], zero: float) -> Iterator[str]:
    wide = _WIDTH / len(places) * 0.7 / len(series)
    for number, heights in enumerate(series):
        for place, height in zip(places, heights, strict=False):
            if height is not None:
                left = place + (number - len(series) / 2) * wide
                y, tall = min(zero, height), abs(height - zero)
                yield call("bar", str(number), *(_pt(value) for value in (left, y, wide * 0.94, tall)))


def _dots(series: Heights, places: Sequence[float], zero: float) -> Iterator[str]:
    for number, heights in enumerate(series):
        for place, height in zip(places, heights, strict=False):
            if height is not None:
                yield call("dot", str(number), _pt(place), _pt(height))


def _lines(series: Heights, places: Sequence[float], zero: float) -> Iterator[str]:
    for number, heights in enumerate(series):
        points = list(zip(places, heights, strict=False))
        for (ax, ay), (bx, by) in pairwise(points):
            if ay is not None and by is not None:
                yield call("stroke-line", str(number), *(_pt(value) for value in (ax, ay, bx, by)))
    yield from _dots(series, places, zero)


def _pie(sizes: Sequence[float], labels: Sequence[str]) -> str:
    total = sum(sizes)
    if not 0 < total < math.inf:
        return ""
    marks, start = [], 0.0
    for number, size in enumerate(sizes):
        end = start + size / total
        steps = max(2, round((end - start) * 90))
        turns = [start + (end - start) * i / steps for i in range(steps + 1)]
        ring = [f"({_pt(75 + 72 * math.sin(t * math.tau))}, {_pt(75 - 72 * math.cos(t * math.tau))})" for t in turns]
        if size:
            marks.append(call("slice", str(number), f"({_pt(75)}, {_pt(75)})", *ring))
        start = end
    shares = [f"{label} ({size / total:.0%})" for label, size in zip(labels, sizes, strict=False)]
    return call("pie", block(marks), array(words(share) for share in shares))


def _ticks(low: float, high: float, step: float) -> str:
    steps = min(12, round((high - low) / step))
    pairs = ((i * step / (high - low) * _HEIGHT, f"{low + i * step:,.6g}") for i in range(steps + 1))
    return array(f"({_pt(y)}, {literal(words)})" for y, words in pairs)


def _labels(labels: Sequence[str], places: Sequence[float]) -> str:
    every = max(1, math.ceil(len(places) / _MOST_LABELS))
    pairs = list(zip(places, labels, strict=False))[::every]
    return array(f"({_pt(place)}, {literal(label[:18])})" for place, label in pairs)


def _pt(value: float) -> str:
    return f"{value:.2f}pt"
