"""Running what a model asks for: arguments are checked, some tools wait for the person's yes, a round runs at once.

Nothing runs before the call stands in the database, and the next request waits until its result does: so a turn that
is gone on with after a crash knows what was done.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jsonschema
import referencing
import referencing.exceptions

from chatcore import tracing
from chatcore.conversations.parts import parse
from chatcore.conversations.text import clean
from chatcore.errors import ChatcoreError
from chatcore.gateway import Delta
from chatcore.tools import MAX_RESULT, Offered, ToolCall, ToolFailed, ToolResult
from chatcore.turns import tool_calls
from chatcore.turns.tool_calls import Called, Ran

log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 16
"""Calls of one round; a model that asks for more is told so."""
MAX_ARGUMENTS: Final = 64 * 1024
"""Characters of a call's arguments."""
_MAX_PARTS: Final = 2 * 2**20  # characters of JSON that a call's further parts may have
_BROKEN: Final = "The tool failed on our side, and nothing came of it."
_REFUSED: Final = "The person did not allow this call. Go on without it, and do not ask for it again."
_UNANSWERED: Final = "The person did not answer whether this call may be made, so it was not made."
_STOPPED: Final = "Stopped before it had ended."
_LAST_WORDS: Final = 3.0  # seconds that a stopped tool may take to end


class InvalidCall(ToolFailed):
    """The model asks for what there is not, or with arguments that do not fit."""

    code = "bad_tool_call"


@dataclass(frozen=True)
class Around:
    """What calls of tools need of their turn. `call_of`: what a tool is told. `tell`: followers see it. `stored`:
    returns when all that was told stands in the database. `decided`: waits for the person's word to a call.
    `patience`: seconds that it waits."""

    call_of: Callable[[str], ToolCall]
    tell: Callable[[Delta], None]
    stored: Callable[[], Awaitable[None]]
    decided: Callable[[str], Awaitable[bool]]
    patience: float


class ToolRuns:
    """The tools of one turn. Belongs to the engine's loop."""

    def __init__(self, offered: Sequence[Offered], around: Around, stop: asyncio.Event, *, told: bool = True) -> None:
        """`told`: the model learns of them; else only the turn itself runs them."""
        self._told = told
        self._offered = {one.name: one for one in offered}
        self._around = around
        self._stop = stop
        self._invalid: Counter[str] = Counter()

    @property
    def confused(self) -> str:
        """The name of a tool that the model called a second time in a way that cannot be; else empty."""
        return next((name or "a tool without a name" for name, times in self._invalid.items() if times > 1), "")

    def schemas(self) -> list[dict[str, Any]]:
        """What a model is told of them, in OpenAI's form."""
        return [{"type": "function", "function": _function(one)} for one in self._offered.values() if self._told]

    def has(self, name: str) -> bool:
        """Whether there is this tool."""
        return name in self._offered

    async def run(self, calls: Sequence[Called]) -> list[Ran]:
        """Run a round. Never raises for what a tool does. Ends early, with what there is, when the turn is stopped."""
        await self._around.stored()
        tasks = [asyncio.ensure_future(self._run(call, number)) for number, call in enumerate(calls)]
        stopper = asyncio.ensure_future(self._stop.wait())
        try:
            while running := [task for task in tasks if not task.done()]:
                await asyncio.wait([*running, stopper], return_when=asyncio.FIRST_COMPLETED)
                if stopper.done():
                    for task in running:
                        task.cancel()
                    await asyncio.wait(running, timeout=_LAST_WORDS)
                    break
        finally:
            stopper.cancel()
            for task in tasks:
                task.cancel()
        return [
            task.result() if task.done() else Ran(call, "error", _STOPPED)
            for call, task in zip(calls, tasks, strict=True)
        ]

    async def _run(self, call: Called, number: int) -> Ran:
        began = time.monotonic()
        with tracing.span(f"execute_tool {call.name[:64]}", {"gen_ai.tool.name": call.name[:64]}):
            result = await self._result(call, number)
        ran = _kept(call, result, round((time.monotonic() - began) * 1000))
        log.info("tool ended", extra={"tool": call.name[:64], "state": ran.state, "duration_ms": ran.duration_ms})
        self._around.tell(ran.delta())
        return ran

    async def _result(self, call: Called, number: int) -> ToolResult:
        try:
            if number >= MOST_AT_ONCE:
                raise ToolFailed(f"Not run: at most {MOST_AT_ONCE} calls are made at once.")
            offered, arguments = self._checked(call)
            if offered.asks_first and (refusal := await self._refused(call)):
                return ToolResult(refusal, failed=True)
            return await self._done(offered, arguments, call)
        except ChatcoreError as error:
            return ToolResult(str(error), failed=True)
        except asyncio.CancelledError:
            return ToolResult(_STOPPED, failed=True)
        except Exception:
            log.exception("a tool failed", extra={"tool": call.name[:64]})
            return ToolResult(_BROKEN, failed=True)

    async def _done(self, offered: Offered, arguments: Mapping[str, Any], call: Called) -> ToolResult:
        seconds = offered.tool.spec.timeout
        try:
            async with asyncio.timeout(seconds):
                return await offered.tool.run(arguments, self._around.call_of(call.id))
        except TimeoutError:
            raise ToolFailed(f"The tool did not end within {seconds:g} seconds, so it was ended.") from None

    def _checked(self, call: Called) -> tuple[Offered, Mapping[str, Any]]:
        """The tool and its arguments. Raises `InvalidCall`."""
        try:
            offered = self._offered.get(call.name)
            if offered is None:
                there = ", ".join(self._offered) or "none"
                raise InvalidCall(f"There is no tool of this name. There are: {there}.")
            return offered, _arguments(offered, call.arguments)
        except InvalidCall:
            self._invalid[call.name] += 1
            raise

    async def _refused(self, call: Called) -> str:
        """Why the call may not be made; empty where the person says yes."""
        self._around.tell(tool_calls.asking(call))
        try:
            async with asyncio.timeout(self._around.patience):
                said_yes = await self._around.decided(call.id)
        except TimeoutError:
            return _UNANSWERED
        if said_yes:
            self._around.tell(tool_calls.approved(call))
        return "" if said_yes else _REFUSED


def _function(offered: Offered) -> dict[str, Any]:
    spec = offered.tool.spec
    return {"name": spec.name, "description": spec.description, "parameters": dict(spec.parameters)}


def _arguments(offered: Offered, text: str) -> Mapping[str, Any]:
    """Raises `InvalidCall`."""
    if len(text) > MAX_ARGUMENTS:
        raise InvalidCall(f"The arguments have {len(text):,} characters; the most is {MAX_ARGUMENTS:,}.")
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise InvalidCall("The arguments are not valid JSON. Call it again with a JSON object.") from None
    try:
        _check(found, dict(offered.tool.spec.parameters))
    except jsonschema.ValidationError as error:
        place = f" at {error.json_path}" if error.json_path != "$" else ""
        raise InvalidCall(f"The arguments do not fit{place}: {error.message[:300]}") from None
    except (jsonschema.SchemaError, referencing.exceptions.Unresolvable, RecursionError):
        raise InvalidCall("The schema of this tool cannot be used, so it cannot be called.") from None
    if not isinstance(found, dict):
        raise InvalidCall("The arguments have to be a JSON object.")
    return found


def _check(arguments: Any, schema: dict[str, Any]) -> None:
    """Raises `ValidationError`, `SchemaError`. What a schema refers to elsewhere is never fetched."""
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    kind(schema, registry=referencing.Registry()).validate(arguments)


def _kept(call: Called, result: ToolResult, duration_ms: int) -> Ran:
    """What is kept of a result: clean text of bounded length, and the parts that are valid."""
    text = clean(result.text)
    if len(text) > MAX_RESULT:
        text = f"{text[:MAX_RESULT]}\n[The result was cut off: it has {len(text):,} characters.]"
    found = (parse(part) for part in result.parts)
    parts = tuple(part.model_dump(mode="json", exclude_none=True) for part in found if part is not None)
    if len(parts) < len(result.parts) or len(json.dumps([dict(part) for part in parts])) > _MAX_PARTS:
        log.warning("parts of a tool's result were left out", extra={"tool": call.name[:64]})
        parts = () if len(parts) == len(result.parts) else parts
    return Ran(call, "error" if result.failed else "success", text, duration_ms, parts)
