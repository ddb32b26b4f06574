"""One server: a task that connects, lists its tools, and connects again when it is lost.

The session is opened and closed in that task alone. Calls come from the tasks of turns: one that is cancelled leaves
the session and the others as they are.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from chatcore.config_file import McpServer, resolved
from chatcore.errors import ChatcoreError
from chatcore.tools.mcp.listing import usable
from chatcore.tools.mcp.values import MAX_TOOLS, Health, RemoteTool, State
from chatcore.tools.values import ToolFailed

log = logging.getLogger(__name__)

_CONNECTS_WITHIN: Final = 20.0  # seconds to its first list of tools
_LIVES: Final = 30.0  # seconds between two looks whether it still answers
_ANSWERS_WITHIN: Final = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_REFUSALS: Final = (-32600, -32601, -32602, -32603)
"""JSON-RPC's codes of errors that a server means: an invalid request, method or parameter, and one of its own."""
_AWAY: Final = "This MCP server cannot be reached now."
_LOST: Final = "The MCP server was lost while it worked on this; it is not known whether it was done."


class Server:
    """Belongs to the engine's loop; `health` and `tools` may be read from any thread."""

    def __init__(
        self,
        name: str,
        settings: McpServer,
        environment: Mapping[str, str],
        taken: Callable[[], set[str]],
    ) -> None:
        """`environment`: ours, for what the settings refer to. `taken`: names that models know tools of others by."""
        self.name = name
        self.settings = settings
        self._environment = environment
        self._taken = taken
        self._session: Any = None
        self._lost = asyncio.Event()
        self._again = asyncio.Event()
        self._listing: asyncio.Task[None] | None = None
        self.tools: tuple[RemoteTool, ...] = ()
        self.health = Health(name, "starting", time.time())

    async def run(self) -> None:
        """Connect for ever; cancel it to end."""
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            why = await self._lived()
            if time.monotonic() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            self._became("away", why)
            self._again.clear()
            try:
                await asyncio.wait_for(self._again.wait(), pause * random.uniform(0.7, 1.3))
            except TimeoutError:
                pass  # the pause is over
            pause = min(2 * pause, _LONGEST_PAUSE)

    def reconnect(self) -> None:
        """Connect anew, now."""
        self._again.set()
        self._lost.set()

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """The SDK's result of a call. Raises `ToolFailed`."""
        session = self._session
        if session is None:
            raise ToolFailed(f"{_AWAY} {self.health.said}".strip())
        began = time.monotonic()
        asked = asyncio.ensure_future(session.call_tool(tool, dict(arguments)))
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait([asked, lost], return_when=asyncio.FIRST_COMPLETED, timeout=self.settings.timeout)
            if not asked.done():
                late = f"The MCP server did not answer within {self.settings.timeout:g} seconds."
                raise ToolFailed(_LOST if lost.done() else late)
            found = asked.result()
        except ChatcoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK and a server raise anything; all of it becomes a sentence
            raise ToolFailed(self._sentence(error)) from None
        finally:
            lost.cancel()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        self._answered(began)
        return found

    # ---- one life

    async def _lived(self) -> str:
        """From a connection to its end; why it ended."""
        self._lost.clear()
        try:
            async with self._connected() as session:
                self._session = session
                while not self._lost.is_set():
                    await self._looked()
                return "The connection ended."
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the SDK's task groups raise groups of anything
            log.info("an MCP server is away", extra={"server": self.name, "raised": _innermost(error)})
            return self._why(error)
        finally:
            self._session = None
            self._lost.set()
            if self._listing is not None:
                self._listing.cancel()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        from mcp import ClientSession  # a second, and most instances have no server

        async with (
            self._streams() as (incoming, outgoing),
            ClientSession(incoming, outgoing, message_handler=self._noticed) as session,
        ):
            async with asyncio.timeout(_CONNECTS_WITHIN):
                await session.initialize()
                await self._list(session)
            yield session

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[tuple[Any, Any]]:
        settings = self.settings
        if settings.url:
            from mcp.client.streamable_http import streamable_http_client

            from chatcore.tools.mcp import web

            headers = self._values(settings.headers)
            async with web.client(headers, allow_private=settings.allow_private) as client:
                address = web.checked(str(self._value(settings.url)))
                async with streamable_http_client(address, http_client=client) as (incoming, outgoing):
                    yield incoming, outgoing
            return
        from chatcore.tools.mcp import stdio

        args = [str(self._value(one)) for one in settings.args]
        command, env = str(self._value(settings.command or "")), self._values(settings.env)
        started = stdio.program(self.name, command, args, env, self._environment, self._lost.set)
        async with started as (incoming, outgoing):
            yield incoming, outgoing

    async def _list(self, session: Any) -> None:
        from mcp_types import PaginatedRequestParams

        began, listed, cursor = time.monotonic(), list[Any](), None
        while len(listed) <= MAX_TOOLS:
            params = PaginatedRequestParams(cursor=cursor) if cursor else None
            page = await session.list_tools(params=params)
            listed += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        wanted = set(self.settings.allowed_tools)
        listed = [one for one in listed if not wanted or one.name in wanted]
        found, kept_out = usable(self.name, listed, self._taken())
        self.tools = tuple(found)
        self._became("ready", "", len(found), kept_out)
        self._answered(began)

    async def _looked(self) -> None:
        """Wait a while; then see whether it still answers."""
        try:
            await asyncio.wait_for(self._lost.wait(), _LIVES)
        except TimeoutError:
            began = time.monotonic()
            async with asyncio.timeout(_ANSWERS_WITHIN):
                await self._session.send_ping()
            self._answered(began)

    async def _noticed(self, message: Any) -> None:
        """It says that its tools have changed; a failure of the way to it ends this life."""
        if isinstance(message, Exception):
            self._lost.set()
            return
        changed = type(message).__name__ == "ToolListChangedNotification" and self._session is not None
        if changed and (self._listing is None or self._listing.done()):
            self._listing = asyncio.create_task(self._list_again())

    async def _list_again(self) -> None:
        try:
            async with asyncio.timeout(_CONNECTS_WITHIN):
                await self._list(self._session)
        except Exception as error:  # noqa: BLE001 - whatever it is, the session is not to be trusted any more
            log.info("an MCP server's tools could not be listed again", extra={"raised": type(error).__name__})
            self._lost.set()

    # ---- what is known of it

    def _became(self, state: State, said: str, tools: int = 0, kept_out: int = 0) -> None:
        before = self.health
        since = before.since if before.state == state else time.time()
        self.health = Health(self.name, state, since, said, tools or len(self.tools), kept_out, before.round_trip_ms)

    def _answered(self, began: float) -> None:
        took = round((time.monotonic() - began) * 1000)
        self.health = Health(**{**vars(self.health), "round_trip_ms": took})

    def _value(self, value: str) -> str:
        found, missing = resolved(value, self._environment)
        if missing:
            raise ToolFailed(f"Its configuration names the variable {missing[0]}, which is not set.")
        return str(found)

    def _values(self, values: Mapping[str, str]) -> dict[str, str]:
        return {name: self._value(value) for name, value in values.items()}

    def _why(self, error: BaseException) -> str:
        """A sentence that holds nothing of what the server or the system said."""
        for one in _all(error):
            if isinstance(one, ChatcoreError):
                return str(one)
            if isinstance(one, TimeoutError):
                return "It did not answer in time."
            if isinstance(one, FileNotFoundError):
                return "Its program is not there."
            if isinstance(one, PermissionError):
                return "Its program may not be started."
        return "It cannot be reached, or does not speak the protocol."

    def _sentence(self, error: BaseException) -> str:
        """Why a call failed. What is no answer of the server's own ends this life: it connects anew."""
        codes = {getattr(getattr(one, "error", None), "code", None) for one in _all(error)}
        if codes.intersection(_REFUSALS):
            return "The MCP server refused the call: its arguments may be wrong."
        if not isinstance(error, ValueError | RuntimeError):
            self._lost.set()
            return _LOST
        return "The MCP server gave an answer that makes no sense."


def _all(error: BaseException) -> Sequence[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [inner for one in error.exceptions for inner in _all(one)]
    return [error, *([*_all(error.__cause__)] if error.__cause__ is not None else [])]


def _innermost(error: BaseException) -> str:
    return type(_all(error)[0]).__name__
