"""What the HTTP API costs: beside the provider itself and beside the LiteLLM proxy.

    python -m tests.benchmarks.bench_api                              makes the proxy's environment: minutes
    python -m tests.benchmarks.bench_api --proxy-venv /tmp/proxyvenv  made there once, used again
    python -m tests.benchmarks.bench_api --messages 1000000           and reads of so many messages

The whole app runs as `streamlit run app.py` starts it, over one hostile provider on the same loopback. Added to the
first word is the time from asking to seeing it, less the same of asking the provider directly, in the same round.
Prints Markdown; ends with status 1 when a word is lost or a mark is not held.
"""

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from tests.benchmarks.gateway_lanes import NUMBER, Http, Lane
from tests.benchmarks.gateway_place import MODELS, PROVIDER_KEY, PROXY_KEY, install, proxy, words_of, write_config
from tests.benchmarks.running import App, Meter, Place, hostile
from tests.benchmarks.seed_conversations import seed_conversations

TOGETHER: Final = 100
WITHIN: Final = 3.0  # seconds in which they begin
READERS, TURNS = 300, 15
STALLED: Final = 100
MARKS: Final = {
    "alone p50": 10.0,
    "together p95": 100.0,
    "a stalled reader, KB": 64.0,
    "GET p95": 50.0,
}  # ms but where it says


class Chat(Http):
    """`POST /api/v1/chat`: a turn that is stored, as the AI SDK's stream."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key, {})
        self._url = f"{url}/api/v1/chat"

    async def words(self, model: str, question: str) -> AsyncIterator[str]:
        body = {"message": question, "model": model}
        async with self._client.stream("POST", self._url, json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if '"text-delta"' in line:
                    yield json.loads(line[6:])["delta"]


@dataclass
class Figures:
    """What was found, by row and lane; `broken`: what was not whole."""

    first: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


async def alone(lanes: dict[str, Lane], times: int, found: Figures) -> None:
    """One question after the other, each lane in turn."""
    for number in range(times):
        for name, lane in lanes.items():
            await _ask(lane, name, "alone", "single", f"{name} alone {number}", found)


async def together(lanes: dict[str, Lane], found: Figures) -> None:
    """A hundred questions that begin within three seconds, lane after lane."""
    for name, lane in lanes.items():

        async def one(number: int, name: str = name, lane: Lane = lane) -> None:
            await asyncio.sleep(WITHIN * number / TOGETHER)
            await _ask(lane, name, "together", "together", f"{name} together {number}", found)

        await asyncio.gather(*(one(number) for number in range(TOGETHER)))


async def _ask(lane: Lane, name: str, what: str, model: str, question: str, found: Figures) -> None:
    reply = await lane.ask(model, question)
    if reply.fault or reply.words != words_of(model):
        found.broken.append(f"{question}: {reply.words} words {reply.fault}")
    found.first.setdefault((what, name), []).append((reply.first - reply.asked) * 1000)


async def readers(app: App, key: str, found: Figures) -> None:
    """Three hundred readers of fifteen turns at twenty words a second, in the one process."""
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=app.url, headers=headers, timeout=60, limits=limits, trust_env=False) as http:

        async def ask(number: int) -> str:
            stream = http.stream("POST", "/api/v1/chat", json={"message": f"read along {number}", "model": "flow"})
            async with stream as answer:
                return answer.headers["x-conversation-id"]  # and hang up: the turn goes on

        async def read(conversation_id: str) -> None:
            words = 0
            async with http.stream("GET", f"/api/chat/{conversation_id}/stream") as answer:
                async for line in answer.aiter_lines():
                    if '"text-delta"' in line:
                        words += len(NUMBER.findall(json.loads(line[6:])["delta"]))
            if words != words_of("flow"):
                found.broken.append(f"a reader had {words} words")

        ids = await asyncio.gather(*(ask(number) for number in range(TURNS)))
        await asyncio.gather(*(read(ids[number % TURNS]) for number in range(READERS)))


def stalled(app: App, key: str) -> float:
    """KB of the app's memory for each reader that opened the stream of a long reply and takes nothing of it.

    Beside it stands the same reply without a reader, said before.
    """
    _much(app, key, 0)
    alone = _much(app, key, 0)
    return (_much(app, key, STALLED) - alone) / 1024 / STALLED


def _much(app: App, key: str, readers: int) -> int:
    """The app's memory near the end of a reply of 600 KB that takes ten seconds, in bytes."""
    with (
        httpx.Client(base_url=app.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as http,
        http.stream("POST", "/api/v1/chat", json={"message": "much", "model": "much"}) as answer,
    ):
        conversation_id = answer.headers["x-conversation-id"]
    opened = [_open(app, f"/api/chat/{conversation_id}/stream", key) for _ in range(readers)]
    time.sleep(8)
    meter = Meter(app.pid)
    meter.sample()
    for reader in opened:
        reader.close()
    time.sleep(5)
    return meter.own_rss


def _open(app: App, path: str, key: str) -> socket.socket:
    """A connection that asks and never reads."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = app.url.removeprefix("http://").rpartition(":")
    reader.connect((host, int(port)))
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    return reader


def reads(app: App, key: str, conversation_id: str) -> dict[str, float]:
    """The p95 of GETs, in ms."""
    paths = {
        "list": "/api/v1/chat", "list, page 200": "/api/v1/chat?offset=6000",
        "messages": f"/api/v1/chat/{conversation_id}", "search": "/api/v1/search?q=latency%20budget",
        "me": "/api/v1/me",
    }  # fmt: skip
    taken: dict[str, float] = {}
    with httpx.Client(
        base_url=app.url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
    ) as http:
        for name, path in paths.items():
            times = []
            for _ in range(45):
                began = time.perf_counter()
                http.get(path).raise_for_status()
                times.append((time.perf_counter() - began) * 1000)
            taken[name] = _p95(times[5:])
    return taken


def _p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--proxy-venv", type=Path, help="where the LiteLLM proxy's environment is, or is to be made")
    parser.add_argument("--times", type=int, default=40, help="questions one after the other")
    parser.add_argument("--messages", type=int, default=100_000, help="messages of the person whose lists are read")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-api-") as folder, ExitStack() as stack:
        venv = chosen.proxy_venv or Path(folder) / "proxy"
        install(venv)
        provider = stack.enter_context(hostile())
        place = Place(Path(folder) / "app", {"single": "ok"}, provider)
        _configure(place.folder / "config.yaml", provider)
        place.people(1)
        key = place.chatcore("keys", "add", "load000").split()[-1]
        conversation_id = _seed(place, chosen.messages)
        app = stack.enter_context(place.app())
        peer = stack.enter_context(proxy(venv, place.folder))
        lanes: dict[str, Lane] = {
            "direct": Http(provider, PROVIDER_KEY, MODELS), "completions": Http(f"{app.url}/v1", key, {}),
            "chat": Chat(app.url, key), "proxy": Http(peer.url, PROXY_KEY, {}),
        }  # fmt: skip
        found = Figures()
        asyncio.run(_speak(lanes, app, key, chosen.times, found))
        kilobytes, taken = stalled(app, key), reads(app, key, conversation_id)
    return _report(found, kilobytes, taken, chosen.messages)


async def _speak(lanes: dict[str, Lane], app: App, key: str, times: int, found: Figures) -> None:
    for lane in lanes.values():
        await lane.open()
        await lane.ask("single", "warm up")
    await alone(lanes, times, found)
    await together(lanes, found)
    await readers(app, key, found)
    for lane in lanes.values():
        await lane.close()


def _configure(path: Path, provider: str) -> None:
    write_config(path, provider)
    settings: dict[str, Any] = yaml.safe_load(path.read_text())
    settings["chatcore"] |= {"rate_limits": False}
    params = {"model": "openai/ok;n=60000;rate=6000", "api_base": provider, "api_key": PROVIDER_KEY}
    settings["model_list"].append({"model_name": "much", "litellm_params": params})
    path.write_text(yaml.safe_dump(settings))


def _seed(place: Place, messages: int) -> str:
    from sqlalchemy import func, select

    from chatcore.config import load_settings
    from chatcore.db import Database
    from chatcore.db.tables import Message, User

    db = Database(load_settings(place.environment, root=place.folder).database_url)
    who = db.read(lambda session: session.scalars(select(User).where(User.username == "load000")).one())
    seed_conversations(db, who.tenant_id, who.id, messages // 10, messages)
    longest = select(Message.conversation_id).group_by(Message.conversation_id).order_by(func.count().desc()).limit(1)
    found = str(db.read(lambda session: session.scalar(longest)))
    db.close()
    return found


def _report(found: Figures, kilobytes: float, taken: dict[str, float], messages: int) -> int:
    rows = ["| First word, ms | provider | added by completions | added by a turn | added by the LiteLLM proxy |"]
    rows.append("|---|---|---|---|---|")
    held: dict[str, float] = {}
    for what in ("alone", "together"):
        for name, of in (("p50", statistics.median), ("p95", _p95)):
            direct = of(found.first[what, "direct"])
            added = [of(found.first[what, lane]) - direct for lane in ("completions", "chat", "proxy")]
            rows.append(f"| {what}, {name} | {direct:.0f} | " + " | ".join(f"{one:.1f}" for one in added) + " |")
            held[f"{what} {name}"] = max(added[:2])
    print("\n".join(rows))
    print(f"\n{READERS} readers of {TURNS} turns: {'each had every word' if not found.broken else 'see below'}")
    print(f"a stalled reader: {kilobytes:.0f} KB")
    print(f"GET p95, {messages:,} messages: " + ", ".join(f"{name} {one:.0f} ms" for name, one in taken.items()))
    held |= {"a stalled reader, KB": kilobytes, "GET p95": max(taken.values())}
    missed = [f"{name}: {held[name]:.1f} of {mark:g}" for name, mark in MARKS.items() if held[name] > mark]
    for line in [*found.broken[:20], *(f"not held: {one}" for one in missed)]:
        print(line)
    return 1 if found.broken or missed else 0


if __name__ == "__main__":
    sys.exit(main())
