"""Replies with a chart, a table or a component: fenced blocks that the chat page draws.

Each public function answers one kind of question, and returns None where the question is of another kind.
"""

import json
import random
import re
from typing import Any, Final

from chatcore.gateway.demo.reader import Reading, says

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_OWN_FIGURES: Final = re.compile(r"(?<![\w.,-])-?\d{1,9}(?:\.\d{1,4})?(?![\w.]*\w)")


def chart(reading: Reading) -> str | None:
    """A chart of the question's own figures, or of a year of invented ones; a table and key figures with it."""
    if not says(reading, r"\b(?:charts?|plot|dashboard)\b|\bgraph (?:of|for|with)\b"):
        return None
    asked = says(reading, r"\b(line|bar|pie|scatter)\b")
    kind = asked.group(1).lower() if asked else "bar"
    subject = _subject(reading)
    own = [_short(float(found)) for found in _OWN_FIGURES.findall(reading.question)][:30]
    values = own if len(own) > 1 else _invented(subject, 5 if kind == "pie" else 12)
    names: list[str | int] = [*range(1, len(values) + 1)] if values is own else [*_MONTHS[: len(values)]]
    drawn = [abs(value) for value in values] if kind == "pie" else values
    source = "The figures are the ones from your message" if values is own else "The figures are invented"
    return "\n\n".join(
        [
            f"{source}; a demo model has no others. Here is **{subject}** as a {kind} chart:",
            _block("chart", chart=kind, title=subject, x=names, series=[{"name": subject, "values": drawn}]),
            "The same as a table:",
            _block("table", columns=["Place" if values is own else "Month", subject], rows=_rows(names, drawn)),
            "And in short:",
            _block("component", name="metrics", props={"items": _key_figures(values)}),
            "Each of these is a fenced block of JSON in my reply; any model can write one.",
        ]
    )


def component(reading: Reading) -> str | None:
    """A timeline, a checklist's steps or a progress bar, where one is asked for as a component."""
    if not says(reading, r"\b(?:components?|timeline|progress bar|callout)\b"):
        return None
    events = [
        {"when": "Week 1", "title": "Ask", "text": "Three people who will use it."},
        {"when": "Week 2", "title": "Try", "text": "The smallest version."},
        {"when": "Week 3", "title": "Decide"},
    ]
    steps = [{"title": event["title"], "done": place == 0} for place, event in enumerate(events)]
    note = {"kind": "info", "title": "A demo", "text": "The frame is general, and **nothing** in it is known."}
    return "\n\n".join(
        [
            "These are some of the components that a reply can hold:",
            _block("component", name="timeline", props={"items": events}),
            _block("component", name="steps", props={"items": steps}),
            _block("component", name="progress", props={"label": "Done", "value": 0.33}),
            _block("component", name="callout", props=note),
        ]
    )


def _subject(reading: Reading) -> str:
    found = says(
        reading, r"\b(?:chart|graph|plot|dashboard)s?\b\s+(?:of|for|about|with|showing)\s+([^\d.,;:?!\n]{3,60})"
    )
    words = (
        re.sub(r"^(?:our|my|the|your|an?)\s+|\s+(?:and|as|in|from|for|of|to)$", "", found.group(1).strip())
        if found
        else ""
    )
    return f"{words[:1].upper()}{words[1:]}" if len(words) > 2 else "Figures"


def _invented(subject: str, count: int) -> list[float]:
    """A year that grows with its ups and downs, always the same for the same subject."""
    chance = random.Random(subject.lower())
    start, growth = chance.randint(20, 80), chance.uniform(0.01, 0.08)
    return [round(start * (1 + growth) ** month * chance.uniform(0.85, 1.15)) for month in range(count)]


def _short(value: float) -> float:
    """A whole number without its `.0`."""
    return int(value) if value.is_integer() else round(value, 4)


def _rows(names: list[str | int], values: list[float]) -> list[list[str | int | float]]:
    return [[name, value] for name, value in zip(names, values, strict=True)]


def _key_figures(values: list[float]) -> list[dict[str, Any]]:
    total, change = float(sum(values)), float(values[-1] - values[0])
    return [
        {"label": "Total", "value": _short(total)},
        {"label": "Mean", "value": round(total / len(values), 2)},
        {"label": "Last", "value": values[-1], "delta": _short(change)},
    ]


def _block(language: str, **body: Any) -> str:
    return f"```{language}\n{json.dumps(body, ensure_ascii=False)}\n```"
