"""The fault matrix, every cell through real sockets and the real worker: the reply, the database, the ledger, all equal
to the provider's own log. What is expected stands in `fault_matrix.py`."""

import re
import secrets
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from sqlalchemy import select

from chatcore.bootstrap import Core, open_core
from chatcore.config import load_settings
from chatcore.conversations import Message
from chatcore.db.tables import UsageMetric
from tests.chat import COMPLETION_PRICE, KEY, PROMPT_PRICE, Chat, until
from tests.conftest import add_person
from tests.hostile import Call, HostileProvider
from tests.turns import fault_matrix
from tests.turns.fault_matrix import BEHIND, BETWEEN_WORDS, MODES, SLOW_AFTER, Cell, Mode

_AT_ONCE: Final = 16  # cells that run at the same time; more would make the machine the slow provider
_BIG: Final = 1 << 20

CELLS: Final = list(fault_matrix.cells())


@dataclass(frozen=True)
class Seen:
    """What a cell left behind."""

    read: str
    reply: Message
    rows: list[UsageMetric]
    calls: list[Call]
    marker: str


PATIENT = (
    15.0,
    15.0,
)  # seconds, of models that are not silent: a machine that is for a moment ends none of their replies


def primary(cell: Cell) -> str:
    """The name of a cell's own model: no breaker of one cell is another's."""
    return f"primary-{CELLS.index(cell)}"


def fallback(cell: Cell) -> str:
    return "fallback" if cell.behind != "fallback dead too" else f"dead-{CELLS.index(cell)}"


def name(cell: Cell) -> str:
    return f"{cell.fault.name}, {cell.behind}, {cell.mode}"


def entry(model: str, behaviour: str, url: str, times: tuple[float, float] = PATIENT) -> dict[str, Any]:
    """`times`: seconds to the first word and between words."""
    prices = {"input_cost_per_token": PROMPT_PRICE, "output_cost_per_token": COMPLETION_PRICE}
    return {
        "model_name": model,
        "litellm_params": {"model": f"openai/{behaviour}", "api_base": url, "api_key": KEY},
        "model_info": {"first_word_timeout": times[0], "between_words_timeout": times[1], **prices},
    }


def config(urls: Mapping[str, str], slow_after: float | None) -> dict[str, Any]:
    """A config file with a primary for each cell, what stands behind it, and the short times."""
    models = [entry("fallback", "ok;n=5", urls[""])]
    fallbacks = []
    for number, cell in enumerate(CELLS):
        tagged = f"{cell.fault.model};tag={number}"
        times = (cell.fault.first_word, BETWEEN_WORDS) if waits(cell) else PATIENT
        models.append(entry(primary(cell), tagged, urls[cell.fault.at], times))
        if cell.behind == "fallback dead too":
            models.append(entry(fallback(cell), f"503;tag={number}", urls[""]))
        if cell.behind != "no fallback":
            fallbacks.append({primary(cell): [fallback(cell)]})
    own = {"rate_limits": False, "cache": False, "slow_after": slow_after}
    return {
        "model_list": models,
        "router_settings": {"fallbacks": fallbacks},
        "chatcore": {"ollama": False, "demo_models": False, **own},
    }


@contextmanager
def refused_port() -> Iterator[int]:
    """A port that is taken and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


class Plain(socketserver.BaseRequestHandler):
    """Speaks plain HTTP to whoever comes, as a server does that is taken for one with TLS."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@contextmanager
def plain_port() -> Iterator[int]:
    """A port where TLS is not understood."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def matrix_cores(folder: Path, provider: HostileProvider) -> Iterator[dict[bool, Core]]:
    """A Core for faults that are silent, and one for all others, where a busy machine's silence counts for nothing."""
    with refused_port() as refused, plain_port() as plain:
        urls = {
            "": provider.url,
            "refused": f"http://127.0.0.1:{refused}/v1",
            "dns": "http://provider.invalid/v1",
            "tls": f"https://127.0.0.1:{plain}/v1",
        }
        with (
            started(folder / "silent", config(urls, SLOW_AFTER)) as silent,
            started(folder / "others", config(urls, None)) as others,
        ):
            until(lambda: silent.gateway.warm and others.gateway.warm, 60)
            yield {True: silent, False: others}


@contextmanager
def started(folder: Path, file: dict[str, Any]) -> Iterator[Core]:
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(file))
    core = open_core(
        load_settings(
            {"CHATCORE_DATA_DIR": str(folder / "data"), "CHATCORE_CONFIG": str(folder / "config.yaml")}, root=folder
        )
    )
    core.start()
    try:
        yield core
    finally:
        core.close()


def run(core: Core, provider: HostileProvider, cell: Cell) -> Seen:
    marker = secrets.token_hex(8)
    chat = Chat(core, provider, f"person-{marker}")
    asked = chat.ask(primary(cell), f"hello {marker}")
    read = chat.words(asked)

    def rows_of(session: Any) -> list[UsageMetric]:
        mine = select(UsageMetric).where(UsageMetric.turn_id == asked.turn_id).order_by(UsageMetric.attempt)
        return list(session.scalars(mine))

    calls = [call for call in list(provider.log) if marker in str(call.messages)]
    return Seen(read, chat.reply(asked), core.db.read(rows_of), calls, marker)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Seen]]:
    """Every cell, run once: all that are streamed, then all that are whole."""
    found: dict[str, Seen] = {}
    folder = tmp_path_factory.mktemp("matrix")
    with HostileProvider() as provider, matrix_cores(folder, provider) as cores:
        operators = {silent: add_person(core.db, "operator", role="operator") for silent, core in cores.items()}
        for mode in MODES:
            for silent, core in cores.items():
                core.flags.set(operators[silent], streaming=mode == "stream")
            # Those that wait run first, beside all others.
            mine = sorted((cell for cell in CELLS if cell.mode == mode), key=lambda cell: not waits(cell))
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                ran = threads.map(lambda cell: run(cores[cell.fault.silent], provider, cell), mine)
                found |= {name(cell): one for cell, one in zip(mine, ran, strict=True)}
        yield found


def waits(cell: Cell) -> bool:
    return cell.fault.silent or any(row.end.outcome in ("timeout", "rate_limited") for row in cell.rows)


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\[(\d+)\]", text)]


def every_cell(test: Any) -> Any:
    return pytest.mark.parametrize("cell", CELLS, ids=name)(test)


@every_cell
def test_what_the_person_reads(seen: dict[str, Seen], cell: Cell) -> None:
    one = seen[name(cell)]
    assert numbers(one.reply.content) == cell.words
    assert one.read == one.reply.content
    errors = [part for part in one.reply.parts if part["type"] == "error"]
    sentence = cell.sentence(primary(cell), fallback(cell))
    assert [part["message"] for part in errors] == ([sentence] if sentence else [])
    assert [part["retryable"] for part in errors] == ([cell.answer.end.retryable] if sentence else [])
    assert KEY not in str(one.reply)
    if cell.fault.name == "1 MB chunk":
        assert len(one.reply.content) >= _BIG


@every_cell
def test_what_the_database_holds(seen: dict[str, Seen], cell: Cell) -> None:
    one = seen[name(cell)]
    answered = primary(cell) if cell.answer.who == "primary" else fallback(cell)
    assert (one.reply.status, one.reply.model) == (cell.status, answered)
    assert one.reply.finish_reason == cell.answer.end.finish
    assert one.reply.cost_nano_usd == sum(row.cost_nano_usd or 0 for row in one.rows)


@every_cell
def test_what_the_ledger_holds(seen: dict[str, Seen], cell: Cell) -> None:
    one = seen[name(cell)]
    who = {"primary": primary(cell), "fallback": fallback(cell)}
    assert [(row.model, row.outcome, row.error_type, row.usage_source) for row in one.rows] == [
        (who[row.who], row.end.outcome, row.end.error, row.end.source) for row in cell.rows
    ]
    assert [row.attempt for row in one.rows] == list(range(1, len(cell.rows) + 1))
    for row in one.rows:
        cost = row.prompt_tokens * PROMPT_PRICE * 1e9 + row.completion_tokens * COMPLETION_PRICE * 1e9
        assert row.cost_nano_usd == round(cost)
        assert (row.prompt_tokens > 0) == (row.usage_source != "none")


@every_cell
def test_the_ledger_equals_the_providers_own_log(seen: dict[str, Seen], cell: Cell) -> None:
    one = seen[name(cell)]
    reached = [row for row in one.rows if not cell.fault.at or row.model != primary(cell)]
    assert len(one.calls) == len(reached), "one row for each call, one call for each row"
    for row, call in zip(reached, one.calls, strict=True):
        assert row.provider_model == f"openai/{call.model}"
        counted = call.usage is not None and row.usage_source == "provider"
        assert counted == (row.usage_source == "provider")
        if counted:
            assert call.usage
            assert row.prompt_tokens == call.usage["prompt_tokens"]
            assert row.completion_tokens == call.usage["completion_tokens"]


@pytest.mark.parametrize(
    "cell",
    [cell for cell in CELLS if cell.rows[0].end.words and cell.rows[0].end.error and len(cell.rows) > 1],
    ids=name,
)
def test_the_next_model_is_given_the_words_that_stand(seen: dict[str, Seen], cell: Cell) -> None:
    _, *following = seen[name(cell)].calls
    assert following
    for call in following:
        said, asked = call.messages[-2:]
        assert (said["role"], asked["role"]) == ("assistant", "user")
        assert numbers(said["content"]) == list(range(cell.rows[0].end.words))
        assert "Continue" in asked["content"]


@pytest.mark.parametrize("mode", MODES)
def test_a_call_is_streamed_or_whole_as_the_flag_says(seen: dict[str, Seen], mode: Mode) -> None:
    streamed = {
        bool(call.params.get("stream")) for cell in CELLS if cell.mode == mode for call in seen[name(cell)].calls
    }
    assert streamed == {mode == "stream"}


def test_the_matrix_is_whole() -> None:
    assert len(CELLS) == len(fault_matrix.FAULTS) * len(BEHIND) * len(MODES)
    assert len({name(cell) for cell in CELLS}) == len(CELLS)


def test_the_page_is_current() -> None:
    assert fault_matrix.PAGE.read_text() == fault_matrix.page(), "run: python -m tests.turns.fault_matrix"
