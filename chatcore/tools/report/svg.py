"""Charts as SVG that stands inside a page: shapes and words, and nothing that can run or load."""

from collections.abc import Iterator
from html import escape
from typing import Final

from chatcore.conversations.export.plotting import HEIGHT, WIDTH, Mark, Plot, plot
from chatcore.conversations.parts import ChartPart

COLOURS: Final = ("#3b63b8", "#d9822b", "#2e8b6f", "#b5485d", "#7a5bb0", "#5b7083", "#b59a2f", "#3f9bb5")
"""Of the series, those of the PDF."""
_LEFT: Final = 46.0  # room for the words of the grid
_TOP: Final = 6.0
_BELOW: Final = 20.0


def drawing(part: ChartPart) -> str:
    """The chart without its table, with the names of its series below; empty where there is nothing to be drawn."""
    made = plot(part)
    if made is None:
        return ""
    is_pie = part.chart == "pie"
    width, height = (HEIGHT, HEIGHT) if is_pie else (_LEFT + WIDTH + 4, _TOP + HEIGHT + _BELOW)
    left, top = (0.0, 0.0) if is_pie else (_LEFT, _TOP)
    shapes = "".join([*_grid(made), *(_shape(mark, left, top) for mark in made.marks)])
    kind = "pie" if is_pie else "plot"
    said = escape(part.title or f"A {part.chart} chart")
    svg = f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{said}">{shapes}</svg>'
    return svg + _legend(made.names)


def _grid(made: Plot) -> Iterator[str]:
    for y, said in made.ticks:
        at = _TOP + HEIGHT - y
        yield f'<line class="grid" x1="{_LEFT:g}" x2="{_LEFT + WIDTH:g}" y1="{at:.2f}" y2="{at:.2f}"/>'
        yield f'<text x="{_LEFT - 5:g}" y="{at + 2.5:.2f}" text-anchor="end">{escape(said)}</text>'
    for x, said in made.labels:
        yield f'<text x="{_LEFT + x:.2f}" y="{_TOP + HEIGHT + 13:g}" text-anchor="middle">{escape(said)}</text>'


def _shape(mark: Mark, left: float, top: float) -> str:
    colour = COLOURS[mark.number % len(COLOURS)]
    bottom = top + HEIGHT
    match mark.shape:
        case "bar":
            x, y, wide, tall = mark.at
            place = f'x="{left + x:.2f}" y="{bottom - y - tall:.2f}" width="{wide:.2f}" height="{tall:.2f}"'
            return f'<rect {place} fill="{colour}"/>'
        case "dot":
            x, y = mark.at
            return f'<circle cx="{left + x:.2f}" cy="{bottom - y:.2f}" r="2" fill="{colour}"/>'
        case "line":
            ax, ay, bx, by = mark.at
            ends = f'x1="{left + ax:.2f}" y1="{bottom - ay:.2f}" x2="{left + bx:.2f}" y2="{bottom - by:.2f}"'
            return f'<line {ends} stroke="{colour}" stroke-width="1.4"/>'
        case "slice":
            corners = zip(mark.at[::2], mark.at[1::2], strict=True)
            points = " ".join(f"{left + x:.2f},{bottom - y:.2f}" for x, y in corners)
            return f'<polygon class="slice" points="{points}" fill="{colour}"/>'


def _legend(names: list[str]) -> str:
    if not names:
        return ""
    items = (
        f'<li><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'
