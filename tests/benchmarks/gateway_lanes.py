"""One way to ask the hostile provider, as a process of its own that takes orders from `bench_gateway`.

    python -m tests.benchmarks.gateway_lanes LANE URL FOLDER [PID]

LANE: `direct` (httpx and JSON), `bare` (litellm), `gateway` (Chatcore's, its worker process included), `turn` (a whole
Core on SQLite, limits and budgets in force) or `proxy` (the LiteLLM proxy at URL, whose process is PID). An order is a
line of JSON on standard input, an answer one on standard output.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.gateway_place import LITELLM, MODELS, PROVIDER_KEY, PROXY_KEY, environment

NUMBER: Final = re.compile(r"\[\d+\]")
_PLENTY: Final = 10**12


@dataclass(frozen=True)
class Order:
    """Ask `questions` of `model`: one after the other, or all begun within `within` seconds."""

    model: str
    questions: list[str]
    within: float | None = None


@dataclass
class Reply:
    """One reply as it was seen. Times are `time.time()`; 0 for what did not come."""

    question: str
    asked: float = field(default_factory=time.time)
    first: float = 0.0
    last: float = 0.0
    words: int = 0
    fault: str = ""

    def take(self, text: str) -> None:
        """Text has come."""
        if text:
            self.last = time.time()
            self.first = self.first or self.last
            self.words += len(NUMBER.findall(text))


@dataclass(frozen=True)
class Answer:
    """The replies, and seconds of CPU: of the process that asked, and of the one that works for it."""

    replies: list[Reply]
    cpu: float
    cpu_behind: float


class Lane:
    """A way to ask. `behind`: the process that works for this one, None where there is none."""

    behind: int | None = None

    async def open(self) -> None:
        """Be ready for questions."""

    async def close(self) -> None:
        """End what was started."""

    def words(self, model: str, question: str) -> AsyncIterator[str]:
        """The reply as it comes."""
        raise NotImplementedError

    async def ask(self, model: str, question: str) -> Reply:
        """Follow one reply to its end. What goes wrong is in its `fault`."""
        reply = Reply(question)
        try:
            async for text in self.words(model, question):
                reply.take(text)
        except Exception as error:  # noqa: BLE001 - a fault of one reply is a finding, not the end
            reply.fault = f"{type(error).__name__}: {error}"[:300]
        return reply


class Http(Lane):
    """An OpenAI-shaped stream over httpx. `names`: the models by what the server calls them."""

    def __init__(self, url: str, key: str, names: dict[str, str], behind: int | None = None) -> None:
        self._url, self._names, self.behind = f"{url}/chat/completions", names, behind
        self._headers = {"Authorization": f"Bearer {key}"}

    async def open(self) -> None:
        import httpx

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        self._client = httpx.AsyncClient(timeout=60, limits=limits, trust_env=False, headers=self._headers)

    async def close(self) -> None:
        await self._client.aclose()

    async def words(self, model: str, question: str) -> AsyncIterator[str]:
        body: dict[str, Any] = {
            "model": self._names.get(model, model),
            "messages": [{"role": "user", "content": question}],
        }
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with self._client.stream("POST", self._url, json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        yield choice["delta"].get("content") or ""


class Bare(Lane):
    """litellm alone, set up as the worker sets it up."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def open(self) -> None:
        import litellm

        litellm.suppress_debug_info = True
        litellm.disable_streaming_logging = True
        litellm.drop_params = True
        litellm.disable_hf_tokenizer_download = True
        litellm.disable_aiohttp_transport = True
        litellm.telemetry = False
        self._complete = litellm.acompletion

    async def words(self, model: str, question: str) -> AsyncIterator[str]:
        stream = await self._complete(
            model=f"openai/{MODELS[model]}",
            api_base=self._url,
            api_key=PROVIDER_KEY,
            messages=[{"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},
            max_retries=0,
            num_retries=0,
        )
        async for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""


def _settings(folder: Path) -> Any:
    from chatcore.config import load_settings

    mine = {"CHATCORE_DATA_DIR": str(folder / "data"), "CHATCORE_CONFIG": str(folder / "config.yaml")}
    return load_settings(environment() | mine, root=folder)


class OurGateway(Lane):
    """`chatcore.gateway` with its worker process, and nothing of a turn."""

    def __init__(self, folder: Path) -> None:
        from chatcore.bootstrap import open_core

        self._core = open_core(_settings(folder))
        self._gateway = self._core.gateway

    async def open(self) -> None:
        await self._gateway.start()
        while not self._gateway.warm:
            await asyncio.sleep(0.05)
        self.behind = self._gateway.worker_pid

    async def close(self) -> None:
        await self._gateway.close()
        self._core.db.close()

    async def words(self, model: str, question: str) -> AsyncIterator[str]:
        from chatcore.gateway import CompletionRequest

        messages = [{"role": "user", "content": question}]
        attempt = self._gateway.attempt(CompletionRequest(self._gateway.catalog.get(model), messages, question))
        async for batch in attempt:
            yield "".join(delta.text for delta in batch if delta.kind == "text")


class Turn(Lane):
    """A question as a page asks it: stored, answered, followed in a thread, its end stored too."""

    def __init__(self, folder: Path) -> None:
        from chatcore.bootstrap import open_core
        from tests.conftest import add_person

        self._core = open_core(_settings(folder))
        self._who = add_person(self._core.db, "ada")
        self._threads = ThreadPoolExecutor(64)
        self._put_limits()

    def _put_limits(self) -> None:
        """Rules and budgets of every kind that nobody reaches."""
        from chatcore.db.tables import Budget, Setting

        rules = [
            {"scope": scope, "name": name, "of": of, "per": per, "amount": _PLENTY}
            for scope, name in (("tier", "free"), ("tenant", self._who.tenant_id))
            for of, per in (("requests", "minute"), ("requests", "day"), ("tokens", "hour"))
        ]
        budgets = [
            {"scope": scope, "scope_id": scope_id, "period": period, "amount_nano_usd": _PLENTY * 1000}
            for scope, scope_id in (("user", self._who.user_id), ("tenant", ""))
            for period in ("day", "month")
        ]

        def work(session: Any) -> None:
            session.add(Setting(key="flags", value={"limits": rules, "rate_limits": True}))
            for number, budget in enumerate(budgets):
                session.add(Budget(id=f"budget_{number}", tenant_id=self._who.tenant_id, **budget))

        self._core.db.write(work)

    async def open(self) -> None:
        self._core.start()
        while not self._core.gateway.warm:
            await asyncio.sleep(0.05)
        self.behind = self._core.gateway.worker_pid

    async def close(self) -> None:
        self._threads.shutdown()
        self._core.close()

    async def ask(self, model: str, question: str) -> Reply:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, model, question)

    def _ask(self, model: str, question: str) -> Reply:
        reply, turns = Reply(question), self._core.turns
        try:
            asked = turns.ask(self._who, None, question, model=model)
            for batch in turns.follow(self._who, str(asked.turn_id)):
                reply.take("".join(delta.text for delta in batch if delta.kind == "text"))
        except Exception as error:  # noqa: BLE001 - as in `Lane.ask`
            reply.fault = f"{type(error).__name__}: {error}"[:300]
        return reply


def lane(name: str, url: str, folder: Path, pid: int | None) -> Lane:
    """The lane called so. Raises `KeyError`."""
    made: dict[str, Callable[[], Lane]] = {
        "direct": lambda: Http(url, PROVIDER_KEY, MODELS),
        "bare": lambda: Bare(url),
        "gateway": lambda: OurGateway(folder / "gateway"),
        "turn": lambda: Turn(folder / "turn"),
        "proxy": lambda: Http(url, PROXY_KEY, {}, pid),
    }
    return made[name]()


async def carry_out(lane: Lane, order: Order) -> Answer:
    """Ask everything, and count the CPU."""
    own, behind = time.process_time(), _cpu(lane.behind)
    if order.within is None:
        replies = [await lane.ask(order.model, question) for question in order.questions]
    else:
        step = order.within / len(order.questions)
        waiting = (_later(lane, order.model, one, step * number) for number, one in enumerate(order.questions))
        replies = list(await asyncio.gather(*waiting))
    return Answer(replies, time.process_time() - own, _cpu(lane.behind) - behind)


async def _later(lane: Lane, model: str, question: str, seconds: float) -> Reply:
    await asyncio.sleep(seconds)
    return await lane.ask(model, question)


def _cpu(pid: int | None) -> float:
    """Seconds of CPU of a process, all its threads together, to the nanosecond: Linux's clock of another process."""
    return 0.0 if pid is None else time.clock_gettime(~pid << 3 | 2)


async def main(name: str, url: str, folder: Path, pid: int | None) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer
    running = lane(name, url, folder, pid)
    await running.open()
    print("{}", file=answers, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer = await carry_out(running, Order(**json.loads(line)))
        print(json.dumps(asdict(answer)), file=answers, flush=True)
    await running.close()


if __name__ == "__main__":
    os.environ |= LITELLM
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]) if sys.argv[4:] else None))
