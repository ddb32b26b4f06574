"""Tools of servers of the Model Context Protocol, which an admin names in the config file.

Servers' instructions are not put into the prompt, and what they say of their tools decides nothing but whether a tool
asks first where the admin has not said it.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.config import Settings
from chatcore.config_file import McpServer, resolved
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database
from chatcore.errors import ConfigError, Forbidden, NotFound
from chatcore.tools.access import may_use
from chatcore.tools.mcp.results import result
from chatcore.tools.mcp.server import Server
from chatcore.tools.mcp.values import Health, RemoteTool
from chatcore.tools.values import Tool, ToolCall, ToolChoice, ToolResult, ToolSpec

__all__ = ["Health", "McpServers"]

PREFIX: Final = "mcp/"
_SHORTEST: Final = 8  # characters of a value that is worth keeping out of logs
_GRACE: Final = 5.0


class McpServers:
    """All of this process's servers. `start` and `close` belong to the engine's loop, the rest to anybody."""

    def __init__(self, db: Database, settings: Settings, attachments: Attachments) -> None:
        """Raises `ConfigError` for a server that can be none."""
        self._db = db
        self._attachments = attachments
        self._named = dict(settings.file.mcp_servers)
        self._environment = settings.environment
        self._servers: dict[str, Server] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        for name, one in self._named.items():
            _require_whole(name, one)

    async def start(self) -> None:
        """Connect to all of them, in the background."""
        self._loop = asyncio.get_running_loop()
        for name, one in self._named.items():
            server = self._servers[name] = Server(name, one, self._environment, partial(self._taken, name))
            self._tasks.append(asyncio.create_task(server.run()))

    async def close(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def secrets(self) -> list[str]:
        """Values of headers and variables, for whoever keeps them out of logs."""
        values = [value for one in self._named.values() for value in (*one.headers.values(), *one.env.values())]
        found = [str(resolved(value, self._environment)[0] or "") for value in values]
        return [one for one in found if len(one) >= _SHORTEST]

    def health(self, who: Principal) -> list[Health]:
        """How each server does. For admins. Raises `Forbidden`."""
        if not who.is_admin:
            raise Forbidden("Only an admin sees the MCP servers.")
        return [server.health for server in self._servers.values()]

    def reconnect(self, who: Principal, name: str) -> None:
        """Connect to one anew. For operators. Raises `Forbidden`, `NotFound`."""
        if who.role != "operator":
            raise Forbidden("Only an operator can connect an MCP server anew.")
        server = self._servers.get(name)
        if server is None or self._loop is None:
            raise NotFound("There is no such MCP server.")
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(server.reconnect)

    def choices(self, who: Principal) -> Sequence[ToolChoice]:
        """Each server as a whole, and each of its tools."""
        found: list[ToolChoice] = []
        for name, server in self._allowed(who).items():
            why = "" if server.health.state == "ready" else server.health.said or "It is being connected to."
            about = server.settings.description or f"All tools of the MCP server {name}."
            found.append(ToolChoice(f"{PREFIX}{name}", name, about, ":material/hub:", why_not=why))
            for tool in server.tools:
                label = f"{name}: {tool.title}"
                found.append(
                    ToolChoice(
                        f"{PREFIX}{name}/{tool.name}", label, tool.description[:200], ":material/hub:",
                        self._asks(server, tool), why,
                    )
                )  # fmt: skip
        return found

    def tools(self, who: Principal, agent: Agent | None, names: Sequence[str]) -> Sequence[Tool]:
        """Those of servers that answer now."""
        wanted = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
        if not wanted:
            return []
        found: list[Tool] = []
        for name, server in self._allowed(who).items():
            if server.health.state != "ready":
                continue
            found += [
                McpTool(server, tool, self._attachments, asks_first=self._asks(server, tool))
                for tool in server.tools
                if name in wanted or f"{name}/{tool.name}" in wanted
            ]
        return found

    def _allowed(self, who: Principal) -> Mapping[str, Server]:
        return {
            name: server
            for name, server in self._servers.items()
            if may_use(self._db, who, server.settings.access)
        }  # fmt: skip

    @staticmethod
    def _asks(server: Server, tool: RemoteTool) -> bool:
        asks = server.settings.asks_first
        return not tool.read_only if asks is None else tool.name in asks

    def _taken(self, name: str) -> set[str]:
        return {tool.shown for other, server in self._servers.items() if other != name for tool in server.tools}


class McpTool:
    """One tool of a server."""

    def __init__(self, server: Server, tool: RemoteTool, attachments: Attachments, *, asks_first: bool) -> None:
        self._server = server
        self._tool = tool
        self._attachments = attachments
        self.spec = ToolSpec(
            tool.shown, f"{tool.title}. {tool.description}"[:2_000], tool.schema, asks_first,
            server.settings.timeout + _GRACE,
        )  # fmt: skip

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """See `tools.Tool`."""
        found = await self._server.call(self._tool.name, arguments)
        return await result(found, call, self._attachments)


def _require_whole(name: str, one: McpServer) -> None:
    if bool(one.command) == bool(one.url):
        raise ConfigError(f"mcp_servers: {name} needs a command or a url, and not both.")
    if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 40:
        raise ConfigError(f"mcp_servers: the name {name[:60]} has other signs than letters, digits, - and _.")
