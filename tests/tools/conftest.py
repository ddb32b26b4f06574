"""A person who may run code, and the tool as a turn has it."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database
from chatcore.flags import FlagStore
from chatcore.tools import ToolCall, ToolResult
from chatcore.tools.execute_code import CodeRunner
from tests.conftest import add_person, skip_or_fail


@dataclass
class House:
    """`ann` may run code; `root` switches it on and off."""

    ann: Principal
    root: Principal
    attachments: Attachments
    flags: FlagStore
    runner: CodeRunner

    def run(self, code: str, *attachments: str) -> ToolResult:
        """What comes of a call."""
        (tool,) = self.runner.tools(self.ann, None, ["execute_code"])
        return asyncio.run(tool.run({"code": code}, self.call(*attachments)))

    def call(self, *attachments: str) -> ToolCall:
        none: Any = None
        return ToolCall("call_1", self.ann, None, "conv_1", "msg_1", "turn_1", "trace_1", none, attachments)


@pytest.fixture
def house(database: Database, settings: Settings) -> House:
    """Running code is on, and the sandbox has been tried."""
    attachments, flags = Attachments(database, settings), FlagStore(database, settings)
    root = add_person(database, "root", role="operator")
    flags.set(root, execute_code=True)
    runner = CodeRunner(attachments, flags, [settings.data_dir])
    if why := tried(runner):
        skip_or_fail(why)
    return House(add_person(database, "ann"), root, attachments, flags, runner)


def tried(runner: CodeRunner) -> str:
    """Why it cannot run code, when it has found that out."""
    deadline = time.monotonic() + 60
    while "finding out" in (why := runner.why_not()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return why
