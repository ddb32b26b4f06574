"""One Core and one hostile provider for all tests of turns: the gateway worker takes two seconds to start."""

import secrets
from collections.abc import Iterator

import pytest

from chatcore.bootstrap import Core
from tests.chat import Chat, running_core
from tests.hostile import HostileProvider

BEHAVIOURS = [
    "ok;n=20", "ok;n=40;rate=20", "ok;n=4000", "401", "403", "404", "408", "429;after=7", "500", "502", "503", "hang",
    "slow;first=1;n=5", "slow;first=1;n=20;rate=40",
    "cut;n=40;at=12", "cut;at=0", "end;n=10", "stall;n=20;at=10", "garbage;n=20", "nousage;n=20",
    "md", "reasoning", "cached", "overflow", "refused", "empty", "length", "tools", "bigchunk", "notjson",
    "usagecum;n=10", "control", "comments;n=10", "crlf;n=10",
    "dribble;n=30", "blocks",
]  # fmt: skip
IN_TOOL_LOOPS = ["script", "script;how=forever", "embed", "ok;n=4"]


@pytest.fixture(scope="session")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    with running_core(tmp_path_factory.mktemp("core"), provider, [*BEHAVIOURS, *IN_TOOL_LOOPS]) as core:
        yield core


@pytest.fixture
def chat(core: Core, provider: HostileProvider) -> Chat:
    """A new person at the shared Core."""
    return Chat(core, provider, f"person-{secrets.token_hex(4)}")
