"""Charts as calls of the page's drawing functions."""

from chatcore.conversations.export.plotting import HEIGHT, Mark, plot
from chatcore.conversations.export.typst_code import array, block, call, literal, words
from chatcore.conversations.parts import ChartPart


def drawing(part: ChartPart) -> str:
    """The chart without its table; empty where there is nothing that can be drawn."""
    made = plot(part)
    if made is None:
        return ""
    marks, names = block(map(_mark, made.marks)), array(map(words, made.names))
    if part.chart == "pie":
        return call("pie", marks, names)
    ticks = array(f"({_pt(y)}, {literal(said)})" for y, said in made.ticks)
    labels = array(f"({_pt(place)}, {literal(said)})" for place, said in made.labels)
    return call("plot", marks, ticks, labels, names)


def _mark(mark: Mark) -> str:
    if mark.shape == "slice":
        corners = zip(mark.at[::2], mark.at[1::2], strict=True)
        return call("slice", str(mark.number), *(f"({_pt(x)}, {_pt(HEIGHT - y)})" for x, y in corners))
    name = "stroke-line" if mark.shape == "line" else mark.shape
    return call(name, str(mark.number), *map(_pt, mark.at))


def _pt(value: float) -> str:
    return f"{value:.2f}pt"
