"""Tools for the tests of turns, and a Core with agents that have them."""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.db.tables import Agent as AgentRow
from chatcore.errors import NotFound
from chatcore.ids import new_id
from chatcore.tools import Tool, ToolCall, ToolChoice, ToolResult, ToolSpec
from tests.chat import Chat

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


class Scripted:
    """A tool that does what its name says, and remembers each call."""

    def __init__(self, name: str, **spec: Any) -> None:
        self.spec = ToolSpec(name, f"Does {name}.", NUMBER, **spec)
        self.calls: list[tuple[int, ToolCall]] = []
        self.cancelled = 0
        self.go_on = threading.Event()
        self.running = 0
        self.most_at_once = 0

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        self.calls.append((arguments["n"], call))
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            return await self._done(arguments["n"], call)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def _done(self, n: int, call: ToolCall) -> ToolResult:
        match self.spec.name:
            case "double":
                return ToolResult(f"{2 * n}")
            case "wait":
                while not self.go_on.is_set():
                    await asyncio.sleep(0.005)
                return ToolResult("waited")
            case "refuse":
                raise NotFound("There is no such number.")
            case "break":
                raise RuntimeError("secret /path")
            case "long":
                return ToolResult("x" * n)
            case "chart":
                series = [{"name": "n", "values": [n]}]
                chart = {"type": "chart", "chart": "bar", "title": "T", "x": ["a"], "series": series}
                return ToolResult("drawn", ({**chart}, {"type": "chart", "chart": "nonsense"}))
            case "ask_model":
                said = await call.models.complete([{"role": "user", "content": f"inside {n}"}], model="ok;n=4")
                return ToolResult(said)
            case "embed":
                vectors = await call.models.embed(["one", "three"], "embed")
                return ToolResult(json.dumps(vectors))
        return ToolResult("done")


NAMES = ("double", "wait", "refuse", "break", "long", "chart", "ask_model", "embed")


class Source:
    """New tools for each test, so that nobody counts another's calls."""

    def __init__(self) -> None:
        self.made = {name: Scripted(name) for name in NAMES}
        self.made["slow"] = Scripted("slow", timeout=0.2)
        self.made["slow"].spec = ToolSpec("wait_short", "Waits.", NUMBER, timeout=0.2)

    def choices(self, who: Principal) -> Sequence[ToolChoice]:
        return [ToolChoice(name, name.title(), tool.spec.description) for name, tool in self.made.items()]

    def tools(self, who: Principal, agent: Agent | None, names: Sequence[str]) -> Sequence[Tool]:
        return [self.made[name] for name in names if name in self.made]


def agent_with(chat: Chat, *tools: str | dict[str, Any], **values: Any) -> str:
    """The id of a new agent of the person's tenant that has these tools."""
    agent_id = new_id("agent")
    kept = [one if isinstance(one, dict) else {"name": one, "asks_first": None} for one in tools]

    def work(session: Session) -> None:
        session.execute(
            insert(AgentRow).values(
                id=agent_id, tenant_id=chat.who.tenant_id, slug=agent_id, name="With tools", tools=kept, **values
            )
        )

    chat.core.db.write(work)
    return agent_id


def script(*rounds: Sequence[Any]) -> str:
    """A question by which the hostile provider's `script` calls these tools, round after round."""
    return json.dumps(list(rounds))
