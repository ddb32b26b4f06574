"""A program that asks over HTTP: a whole Core behind a real server, and the hostile provider."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from chatcore.api import middleware, routes
from chatcore.bootstrap import Core
from chatcore.ids import new_id
from tests.chat import Chat, running_core
from tests.hostile import HostileProvider
from tests.serving import free_port

Place = tuple[Core, HostileProvider, str]
QUICK, SLOW, LONG = "ok;n=12", "ok;n=60;rate=20", "ok;n=1500"
MODELS = [QUICK, SLOW, LONG, "reasoning", "tools", "hang", "500", "length"]


@pytest.fixture(scope="module")
def asking_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with (
        HostileProvider() as provider,
        running_core(tmp_path_factory.mktemp("core"), provider, MODELS, first_word=15) as core,
    ):
        yield core, provider


@pytest.fixture(scope="module")
def asking_url(asking_core: tuple[Core, HostileProvider]) -> Iterator[str]:
    with serving(asking_core[0]) as url:
        yield url


@contextmanager
def api_place(folder: Path, models: list[str], **own: Any) -> Iterator[Place]:
    """A hostile provider, a Core over it whose state is below `folder`, and the address that it is served at."""
    with HostileProvider() as provider, running_core(folder, provider, models, **own) as core, serving(core) as url:
        yield core, provider, url


@contextmanager
def serving(core: Core) -> Iterator[str]:
    """The routes behind a real server, as Streamlit has them; yields its address."""
    port = free_port()
    app = Starlette(routes=routes(core), middleware=middleware(core))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@dataclass
class Client:
    """A person's program. `core`: what it talks to, to look into."""

    core: Core
    chat: Chat
    http: httpx.Client

    def ask(self, model: str, text: str = "hello", **more: Any) -> tuple[httpx.Response, list[dict[str, Any]]]:
        with self.http.stream("POST", "/api/v1/chat", json={"message": text, "model": model, **more}) as answer:
            return answer, chunks(answer.read())

    def refused(self, **body: Any) -> httpx.Response:
        return self.http.post("/api/v1/chat", json=body)


@pytest.fixture
def client(asking_core: tuple[Core, HostileProvider], asking_url: str) -> Iterator[Client]:
    chat = Chat(*asking_core, new_id("p"))
    _, key = asking_core[0].accounts.create_key(chat.who, "program")
    with httpx.Client(base_url=asking_url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as http:
        yield Client(asking_core[0], chat, http)


def chunks(sent: bytes) -> list[dict[str, Any]]:
    """The chunks of a whole stream, which has to end as one."""
    frames = [one for one in sent.split(b"\n\n") if one and not one.startswith(b":")]
    assert frames[-1] == b"data: [DONE]"
    return [json.loads(one.removeprefix(b"data: ")) for one in frames[:-1]]


def text_of(found: list[dict[str, Any]], kind: str = "text") -> str:
    return "".join(one["delta"] for one in found if one["type"] == f"{kind}-delta")
