"""Clients that nobody here wrote, unmodified: PyPI's litellm and pydantic-ai. (`openai` has a file of its own.)"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.asking import QUICK, SLOW, Place, api_place
from tests.api.test_completions import Program

LITELLM = Path(__file__).with_name("litellm_client.py")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    models = [QUICK, SLOW, "tools", "reasoning", "429;after=7", "500"]
    with api_place(tmp_path_factory.mktemp("core"), models) as found:
        yield found


@pytest.fixture
def program(place: Place) -> Program:
    return Program(place)


def test_litellm(program: Program) -> None:
    """In a process of its own: it is large, and changes much when it is imported."""
    command = [sys.executable, str(LITELLM), program.url, program.key]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    seen: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert seen["whole"].startswith("[0] ")
    assert seen["whole"] == seen["streamed"]
    assert seen["usage"] == program.rows()[0].completion_tokens
    assert seen["tool"] == "weather"
    assert seen["errors"] == {"429;after=7": "RateLimitError", "500": "BadGatewayError", "nobody": "NotFoundError"}
    left = [row for row in program.rows() if row.outcome == "stopped"]
    assert len(left) == 1, "the stream that was closed"


def test_pydantic_ai_calls_a_tool_and_reads_its_result(program: Program) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    asked: list[str] = []
    provider = OpenAIProvider(base_url=program.url, api_key=program.key)
    agent = Agent(OpenAIChatModel("tools", provider=provider), system_prompt="Be brief.")

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "rain"

    async def ask() -> tuple[str, str]:
        answer = await agent.run("How is the weather?")
        async with agent.run_stream("And again?") as streamed:
            return answer.output, await streamed.get_output()

    whole, streamed = asyncio.run(ask())
    assert whole.startswith("[0] ")
    assert streamed.startswith("[0] ")
    assert asked
    assert {row.outcome for row in program.rows()} == {"ok"}
    assert len(program.rows()) >= 4, "each call of each run"
