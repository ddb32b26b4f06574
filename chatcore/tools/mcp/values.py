"""What is known of servers of the Model Context Protocol, and how much of what they say is taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

State = Literal["starting", "ready", "away"]

MAX_MESSAGE: Final = 4 * 2**20
"""Bytes of one message of a server."""
MAX_TOOLS: Final = 500
MAX_SCHEMA: Final = 32_000
"""Characters of JSON of a tool's schema."""
MAX_DESCRIPTION: Final = 2_000


@dataclass(frozen=True)
class RemoteTool:
    """A tool as a server lists it. `name`: the server's own; `shown`: what a model knows it by, unique among all.
    `read_only`: the server says so of itself, which nobody checks."""

    server: str
    name: str
    shown: str
    title: str
    description: str
    schema: Mapping[str, Any]
    read_only: bool


@dataclass(frozen=True)
class Health:
    """How a server does. `since`: seconds on the wall clock since it is so. `said`: why it is away, a sentence.
    `round_trip_ms`: of its last answer. `kept_out`: tools whose description cannot be used."""

    server: str
    state: State
    since: float
    said: str = ""
    tools: int = 0
    kept_out: int = 0
    round_trip_ms: int | None = None
