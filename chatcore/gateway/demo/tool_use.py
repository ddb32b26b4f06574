"""When a demo model uses the tools that Chatcore has, unasked, and how it answers from what they say.

It chooses by words of the question, and its calls are real: what comes back is what the tool found.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from chatcore.gateway.demo.reader import Reading, says

Arguments = Mapping[str, Any]
_NUMBERS: Final = re.compile(r"-?\d+(?:\.\d+)?")
_MOST_PASSAGES: Final = 3
_SQL: Final = (
    "SELECT model, COUNT(*) AS calls, SUM(prompt_tokens + completion_tokens) AS tokens, ROUND(SUM(cost_usd), 4) AS usd "
    "FROM calls GROUP BY model ORDER BY calls DESC"
)
_SQL_BY_DAY: Final = (
    "SELECT day, COUNT(*) AS calls, SUM(prompt_tokens + completion_tokens) AS tokens FROM calls GROUP BY day "
    "ORDER BY day"
)


def arguments(reading: Reading, function: Mapping[str, Any]) -> Arguments | None:
    """What this tool is called with for this question; None where it is not for this tool."""
    recipe = _RECIPES.get(str(function.get("name")))
    return recipe(reading, function) if recipe else None


def answer(results: Sequence[str]) -> str | None:
    """The answer from what tools of Chatcore said; None where that is not clear."""
    result = results[-1]
    if passages := _passages(result):
        said = "\n\n".join(f"> {text} [{number}]" for number, text in passages[:_MOST_PASSAGES])
        return f"This is what the documents say:\n\n{said}\n\nThe sources below open each passage."
    if re.match(r"[\d,]+ rows", result):
        return (
            f"The query gave {result.partition('.')[0]}: they stand in the table, and in the chart where there is one."
        )
    return None


def _passages(result: str) -> list[tuple[str, str]]:
    found = re.findall(r"^\[(\d+)\] [^\n]*\n((?:> ?[^\n]*\n?)+)", result, re.M)
    return [(number, _sentence(re.sub(r"(?m)^> ?", "", text))) for number, text in found]


def _sentence(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 300 else f"{plain[:300].rsplit(' ', 1)[0]}…"


def _search(reading: Reading, _: Mapping[str, Any]) -> Arguments | None:
    asks = says(reading, r"\?|^(?:what|who|how|why|when|where|which|find|look|search|explain|tell|does|is|are|can)\b")
    return {"question": reading.question[:1_000]} if asks and len(reading.question) > 8 else None


def _query(reading: Reading, function: Mapping[str, Any]) -> Arguments | None:
    databases = function.get("parameters", {}).get("properties", {}).get("database", {}).get("enum") or []
    if "usage" not in databases or not says(
        reading, r"\b(?:usage|costs?|spent|spend|tokens?|calls|models? do I use)\b"
    ):
        return None
    if says(reading, r"\b(?:by|each|per|every) day\b|\bdaily\b|\btrend\b"):
        return {"database": "usage", "sql": _SQL_BY_DAY, "chart": {"kind": "line", "x": "day", "y": ["tokens"]}}
    return {"database": "usage", "sql": _SQL, "chart": {"kind": "bar", "x": "model", "y": ["calls"]}}


def _code(reading: Reading, _: Mapping[str, Any]) -> Arguments | None:
    if not says(reading, r"\b(?:run|execute|compute|calculate|simulate|plot|histogram|python|standard deviation)\b"):
        return None
    numbers = [float(number) for number in _NUMBERS.findall(reading.question)]
    given = numbers if len(numbers) > 2 else [2.0, 3.0, 5.0, 7.0, 11.0, 13.0]
    code = (
        "import numpy as np\nimport matplotlib.pyplot as plt\n\n"
        f"values = np.array({given})\n"
        'print(f"n={len(values)} mean={values.mean():.3f} deviation={values.std():.3f}")\n'
        'plt.bar(range(len(values)), values)\nplt.title("The values")\n'
    )
    return {"code": code}


def _report(reading: Reading, _: Mapping[str, Any]) -> Arguments | None:
    if not says(reading, r"\b(?:report|pdf)\b"):
        return None
    topic = reading.topic or "The question"
    chart = {"chart": "bar", "title": "Made up", "x": ["A", "B", "C"], "series": [{"name": "n", "values": [3, 5, 2]}]}
    markdown = (
        f"## {topic}\n\nThis report was made by a demo model: its figures are made up.\n\n"
        f"```chart\n{json.dumps(chart)}\n```\n\n| Part | Figure |\n| --- | ---: |\n| A | 3 |\n| B | 5 |\n| C | 2 |\n"
    )
    return {"title": topic[:100], "markdown": markdown, "format": "pdf"}


def _video(reading: Reading, _: Mapping[str, Any]) -> Arguments | None:
    return {"question": reading.question[:500]} if says(reading, r"\b(?:video|clip|recording|film)\b") else None


_RECIPES: Final[Mapping[str, Callable[[Reading, Mapping[str, Any]], Arguments | None]]] = {
    "query_database": _query,
    "execute_code": _code,
    "generate_report": _report,
    "analyze_video": _video,
    "search_knowledge": _search,
}
