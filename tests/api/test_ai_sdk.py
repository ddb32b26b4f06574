"""The AI SDK's own client, npm's `ai`, unmodified: ask, regenerate, edit, be cut, resume.

`npm ci` in tests/node installs it, and the Node that it needs.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.asking import SLOW, Client
from tests.conftest import skip_or_fail

NODE = Path(__file__).parents[1] / "node"


@pytest.fixture(scope="module")
def node() -> Path:
    found = NODE / "node_modules" / ".bin" / "node"
    if not found.exists():
        skip_or_fail("npm's `ai` is not installed: run `npm ci` in tests/node")
    return found


def run(node: Path, client: Client, model: str) -> dict[str, Any]:
    """What the client saw of a conversation with this model."""
    key = client.http.headers["authorization"].removeprefix("Bearer ")
    command = [str(node), "chat.mjs", str(client.http.base_url).rstrip("/"), key, model]
    ended = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout)
    return seen


def stored(client: Client) -> tuple[str, list[Any]]:
    conversation_id = client.core.conversations.resolve(client.chat.who, "made-by-node")
    return conversation_id, list(client.chat.messages(conversation_id))


def test_it_asks_regenerates_edits_is_cut_and_resumes(client: Client, node: Path) -> None:
    seen = run(node, client, SLOW)
    _, messages = stored(client)
    assert seen["errors"] == []
    looks = [seen[name] for name in ("asked", "regenerated", "edited", "resumed")]
    assert {one["status"] for one in looks} == {"ready"}
    assert len({one["id"] for one in looks}) == 4, looks
    assert [one.content for one in messages if one.role == "user"] == ["hello, better", "and then?"]
    assert [one.id for one in messages if one.role == "assistant"] == [seen["edited"]["id"], seen["resumed"]["id"]]
    assert messages[1].content == seen["edited"]["text"]
    assert seen["asked"]["metadata"]["modelUsed"] == f"openai/{SLOW}"


def test_one_that_was_cut_in_mid_reply_has_it_whole_from_its_first_word(client: Client, node: Path) -> None:
    seen = run(node, client, SLOW)
    _, messages = stored(client)
    assert len(seen["cut"]["text"]) < len(seen["resumed"]["text"])
    assert seen["resumed"]["text"].startswith(seen["cut"]["text"])
    assert messages[-1].content == seen["resumed"]["text"]
    assert messages[-1].status == "complete"


def test_it_sees_what_a_model_thinks_and_calls(client: Client, node: Path) -> None:
    thought = run(node, client, "reasoning")["asked"]
    assert thought["reasoning"]
    assert thought["text"]
    (tool,) = run(node, client, "tools")["asked"]["tools"]
    assert tool["state"] == "input-available"
    assert isinstance(tool["input"], dict)


def test_it_is_told_what_failed(client: Client, node: Path) -> None:
    seen = run(node, client, "500")
    assert seen["asked"]["status"] == "error"
    assert "cannot be reached right now" in seen["errors"][0]
