"""Calls of tools as values: in the words of a running reply, in the parts of a stored one, in a request to a model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from chatcore.conversations import Message, part_blocks
from chatcore.gateway import Delta

State = Literal["success", "error"]

_OLD_RESULT: Final = 4_000  # characters that a model is sent of what a tool said to an earlier question
_UNKNOWN: Final = "It is not known whether this was done: Chatcore was interrupted. Do not do it again unasked."


@dataclass(frozen=True)
class Called:
    """A tool that a model asks for. `id`: unique in the turn. `arguments`: JSON as the model wrote it. `round`: from 1,
    0 where the turn itself asked before the model said anything. `at`: characters of text that were said before."""

    id: str
    name: str
    arguments: str
    round: int
    at: int

    def delta(self) -> Delta:
        """For followers, and for the chunks by which a dead process's turn is put together."""
        return Delta("tool_call", json.dumps(vars(self)))


@dataclass(frozen=True)
class Ran:
    """What came of a call. `result`: as the model is sent it. `parts`: further parts of the reply."""

    call: Called
    state: State
    result: str
    duration_ms: int = 0
    parts: tuple[Mapping[str, Any], ...] = ()

    def delta(self) -> Delta:
        """For followers, and for the chunks by which a dead process's turn is put together."""
        said = {"id": self.call.id, "state": self.state, "result": self.result, "duration_ms": self.duration_ms}
        return Delta("tool_result", json.dumps(said | {"parts": [dict(part) for part in self.parts]}))


def asking(call: Called) -> Delta:
    """The call waits for the person's yes."""
    return Delta("tool_result", json.dumps({"id": call.id, "state": "asking"}))


def approved(call: Called) -> Delta:
    """The person said yes, and it runs now."""
    return Delta("tool_result", json.dumps({"id": call.id, "state": "pending"}))


def called(deltas: Sequence[Delta], round_: int, at: int, taken: set[str]) -> list[Called]:
    """The calls among what a model said, with ids that none of the turn has had; `taken` holds those, and these too."""
    found = []
    for delta in deltas:
        if delta.kind != "tool_call":
            continue
        said = json.loads(delta.text)
        call_id = str(said.get("id") or "")[:200]
        if not call_id or call_id in taken:
            call_id = f"call_{len(taken) + 1}"
        taken.add(call_id)
        found.append(Called(call_id, str(said.get("name") or ""), str(said.get("arguments") or ""), round_, at))
    return found


def request_messages(said: str, ran: Sequence[Ran]) -> list[dict[str, Any]]:
    """A round in OpenAI's form: what the model said and asked for, and what it got."""
    return _round(said, [(_function(one.call.id, one.call.name, one.call.arguments), one.result) for one in ran])


def parts(deltas: Sequence[Delta]) -> list[dict[str, Any]]:
    """The parts that words and calls of tools make, in their order, without the reasoning. Empty where nothing was
    said. A call's further parts follow the calls of its round."""
    found: list[dict[str, Any]] = []
    text: list[str] = []
    calls: dict[str, dict[str, Any]] = {}
    after: list[dict[str, Any]] = []

    def close() -> None:
        found.extend(after)
        after.clear()
        found.extend(part_blocks.split("".join(text)))
        text.clear()

    for delta in deltas:
        if delta.kind == "text":
            text.append(delta.text)
        elif delta.kind == "tool_call":
            if text:
                close()
            said = json.loads(delta.text)
            calls[said["id"]] = {"type": "tool_call", "state": "pending", **said}
            found.append(calls[said["id"]])
        elif delta.kind == "tool_result":
            said = json.loads(delta.text)
            if said["state"] in ("success", "error") and said["id"] in calls:
                calls[said["id"]] |= {name: said[name] for name in ("state", "result", "duration_ms")}
                after += said["parts"]
    close()
    return found


def stored_messages(message: Message, *, whole: bool) -> list[dict[str, Any]]:
    """A stored reply in OpenAI's form, with the tools that were called in it. `whole`: results are not cut short."""
    sent: list[dict[str, Any]] = []
    place = 0
    for calls in _rounds(message):
        at = min(int(calls[0].get("at") or 0), len(message.content))
        function_results = [(_function(one["id"], one["name"], one["arguments"]), _told(one, whole)) for one in calls]
        sent += _round(message.content[place:at], function_results)
        place = at
    rest = message.content[place:]
    return [*sent, {"role": "assistant", "content": rest}] if rest.strip() else sent


def has_run(message: Message) -> bool:
    """Whether a tool was called in a stored reply, by a turn of ours."""
    return bool(_rounds(message))


def _rounds(message: Message) -> list[list[Mapping[str, Any]]]:
    found: list[list[Mapping[str, Any]]] = []
    for part in message.parts:
        if part.get("type") != "tool_call" or "round" not in part or not part.get("id"):
            continue
        if found and found[-1][0]["round"] == part["round"]:
            found[-1].append(part)
        else:
            found.append([part])
    return found


def _told(part: Mapping[str, Any], whole: bool) -> str:
    if part.get("state") == "pending":
        return _UNKNOWN
    result = str(part.get("result") or "")
    return result if whole or len(result) <= _OLD_RESULT else f"{result[:_OLD_RESULT]}\n[cut short]"


def _round(said: str, calls: Sequence[tuple[dict[str, Any], str]]) -> list[dict[str, Any]]:
    asked = {"role": "assistant", "content": said.strip() or None, "tool_calls": [function for function, _ in calls]}
    got = [{"role": "tool", "tool_call_id": function["id"], "content": result} for function, result in calls]
    return [asked, *got]


def _function(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """Providers want an object for arguments, also where the model wrote none that can be read."""
    try:
        is_object = isinstance(json.loads(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        is_object = False
    body = {"name": name or "unknown", "arguments": (arguments or "{}") if is_object else "{}"}
    return {"id": call_id, "type": "function", "function": body}
