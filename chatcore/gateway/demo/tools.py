"""Calling a tool, and telling what came back.

Each public function answers one kind of question, and returns None where the question is of another kind.
"""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from chatcore.gateway.demo import maths as sums
from chatcore.gateway.demo import tool_use
from chatcore.gateway.demo.reader import Reading, says

NO_TOOLS = (
    "This chat has no tools switched on, so the call below is only for show: it is what a model sends when it wants a "
    "tool to be run, and nothing was run."
)
_SHOWN = {
    "type": "function",
    "function": {
        "name": "demo_lookup",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}


def shown_call(reading: Reading) -> dict[str, Any] | None:
    """A call for show, where a tool is asked for and none is offered."""
    return (
        tool_call(reading, [_SHOWN])
        if says(reading, r"\b(?:use|call|run|try) (?:a|the|your|any|some) tools?\b")
        else None
    )


def tool_call(reading: Reading, tools: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A call of the tool that is asked for, by its name or as `use a tool`; None where none is."""
    functions = [tool["function"] for tool in tools if tool.get("function", {}).get("name")]
    asked = reading.question.lower()
    named = [
        f
        for f in functions
        if re.search(rf"\b{re.escape(f['name'].lower().replace('_', ' '))}\b", asked.replace("_", " "))
    ]
    wanted = [(function, given) for function in functions if (given := tool_use.arguments(reading, function))]
    if wanted and not named:
        return _call(reading, *wanted[0])
    if not functions or not (named or re.search(r"\b(?:use|call|run|try) (?:a|the|your|any|some) tools?\b", asked)):
        return None
    function = (named or functions)[0]
    if given := tool_use.arguments(reading, function):
        return _call(reading, function, given)
    schema = function.get("parameters") or {}
    needed = schema.get("required") or list(schema.get("properties") or {})
    arguments = {key: _argument(key, (schema.get("properties") or {}).get(key, {}), reading) for key in needed}
    return _call(reading, function, arguments)


def _call(reading: Reading, function: dict[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    call_id = f"call_{zlib.crc32((reading.seed + function['name']).encode()):08x}"
    body = {"name": function["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"index": 0, "id": call_id, "type": "function", "function": body}


def _argument(key: str, about: dict[str, Any], reading: Reading) -> Any:
    if about.get("enum"):
        return about["enum"][0]
    number = says(reading, r"-?\d+(?:\.\d+)?")
    found = sums.find_sum(reading.question) if key in {"expression", "formula"} else None
    match about.get("type", "string"):
        case "integer":
            return int(float(number.group())) if number else 1
        case "number":
            return float(number.group()) if number else 1.0
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            return {}
    return found.asked if found else reading.topic or reading.question[:80]


def from_results(reading: Reading) -> str:
    """What came back from the tools, told without adding to it."""
    if said := tool_use.answer(reading.tool_results):
        return said
    shown = "\n\n".join(f"```\n{result[:1500]}\n```" for result in reading.tool_results)
    many = "The tool answered" if len(reading.tool_results) == 1 else f"{len(reading.tool_results)} tools answered"
    return f"{many}, and this is what came back, word for word:\n\n{shown}\n\nA real model would go on from there."
