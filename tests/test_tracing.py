"""Spans as a collector receives them, over a real socket; without one, or with one that hangs, nobody waits."""

import gzip
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from chatcore import tracing
from chatcore.bootstrap import Core
from chatcore.config import PROJECT_ROOT
from chatcore.ids import new_id
from tests.chat import Chat, running_core, until
from tests.hostile import HostileProvider

WORDS = "planted-words-of-a-question"


class Collector:
    """Takes OTLP over HTTP. `hangs`: takes the connection and answers nothing until it is closed."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.raw = b""
        done = self._done = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hangs:
                    done.wait(20)
                collector.take(self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: standard error is for the tests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        self.paths.append(path)
        self.raw += body
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append({one.key: one.value.string_value for one in sent.resource.attributes})
            self.spans += [span for scope in sent.scope_spans for span in scope.spans]

    def close(self) -> None:
        self._done.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def collecting(*, hangs: bool = False) -> Iterator[Collector]:
    collector = Collector(hangs=hangs)
    try:
        yield collector
    finally:
        collector.close()


@pytest.fixture
def quiet() -> Iterator[None]:
    """No spans but the test's own, and no thread that goes on sending them."""
    tracing.close()
    yield
    tracing.close()
    for thread in threading.enumerate():
        if thread.name == "traces-end":
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Core, HostileProvider, Collector]]:
    """One Core for the tests of what arrives: its gateway worker takes a while to start."""
    tracing.close()
    router = {"num_retries": 0, "fallbacks": [{"500": ["ok;n=5"]}]}
    with collecting() as collector, HostileProvider() as provider:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        models = ["ok;n=20", "500", "ok;n=5", "401"]
        with running_core(tmp_path_factory.mktemp("core"), provider, models, router=router, environ=environ) as core:
            yield core, provider, collector


def facts(span: Span) -> dict[str, Any]:
    """A span's attributes as Python values."""
    found = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        found[one.key] = (
            [each.string_value for each in one.value.array_value.values]
            if kind == "array_value"
            else getattr(one.value, kind or "")
        )
    return found


# ---- where to


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host:4318"}, "http://host:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host:4318/base/"}, "http://host:4318/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://host/own"}, "http://host/own"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/x"},
            "http://b/x",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_variables_of_the_specification_say_where_to(environment: dict[str, str], url: str | None) -> None:
    assert tracing.endpoint(environment) == url


def test_without_an_endpoint_nothing_is_imported() -> None:
    code = (
        "import sys; from chatcore import bootstrap, tracing; tracing.set_up({})\n"
        "with tracing.span('turn', {}, 'trace_x') as one: one.set({'a': 1}); one.failed('x')\n"
        "tracing.begin('chat', {}).end(); tracing.close()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True, timeout=60)


@given(st.text(max_size=40))
def test_any_trace_id_is_a_number_of_128_bits_or_none(text: str) -> None:
    number = tracing._number(text)
    assert number is None or 0 < number < 2**128


def test_a_trace_id_of_ours_is_the_same_number() -> None:
    one, other = tracing._number(new_id("trace")), tracing._number(new_id("trace"))
    assert one is not None
    assert other is not None
    assert abs((one >> 80) / 1000 - time.time()) < 60
    assert one < other


# ---- what arrives


def sent(core: Core, collector: Collector, trace_id: str, count: int) -> list[Span]:
    """The spans of a trace of ours, once all of them have arrived."""
    until(lambda: core.turns.running == 0)
    wanted = (tracing._number(trace_id) or 0).to_bytes(16)

    def arrived() -> list[Span]:
        assert tracing._provider is not None
        tracing._provider.force_flush()
        return [span for span in collector.spans if span.trace_id == wanted]

    until(lambda: len(arrived()) >= count)
    return arrived()


def test_an_answered_turn_is_a_trace(traced: tuple[Core, HostileProvider, Collector]) -> None:
    core, provider, collector = traced
    chat = Chat(core, provider, "ada")
    asked = chat.ask("ok;n=20", WORDS)
    said = chat.words(asked)
    row = chat.ledger(asked.turn_id)
    spans = {span.name: span for span in sent(core, collector, row.trace_id, 3)}
    turn, call, store = spans["turn"], spans["chat ok;n=20"], spans["store"]
    assert collector.paths[0] == "/v1/traces"
    assert collector.resources[0]["service.name"] == "chatcore"
    assert call.parent_span_id == store.parent_span_id == turn.span_id
    assert not turn.parent_span_id
    assert facts(turn)["chatcore.trace_id"] == row.trace_id
    assert facts(turn)["gen_ai.conversation.id"] == asked.conversation_id
    assert facts(turn)["chatcore.status"] == "complete"
    found = facts(call)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.request.model"] == "openai/ok;n=20"
    assert found["gen_ai.usage.input_tokens"] == row.prompt_tokens
    assert found["gen_ai.usage.output_tokens"] == row.completion_tokens
    assert found["gen_ai.response.finish_reasons"] == ["stop"]
    assert found["chatcore.outcome"] == "ok"
    assert found["chatcore.cost_usd"] == pytest.approx((row.cost_nano_usd or 0) / 1e9)
    assert call.kind == Span.SPAN_KIND_CLIENT
    assert turn.status.code == Status.STATUS_CODE_UNSET
    assert turn.end_time_unix_nano >= store.end_time_unix_nano >= call.end_time_unix_nano
    assert WORDS.encode() not in collector.raw
    assert said.encode() not in collector.raw


def test_each_attempt_is_a_span_and_what_failed_says_why(traced: tuple[Core, HostileProvider, Collector]) -> None:
    core, provider, collector = traced
    chat = Chat(core, provider, "bob")
    reply = chat.answer("500")
    assert reply.status == "complete"
    spans = {span.name: span for span in sent(core, collector, reply.meta["trace_id"], 4)}
    assert set(spans) == {"turn", "chat 500", "chat ok;n=5", "store"}
    assert spans["chat 500"].status.code == Status.STATUS_CODE_ERROR
    assert facts(spans["chat 500"])["error.type"] == "provider_down"
    assert spans["chat ok;n=5"].status.code == spans["turn"].status.code == Status.STATUS_CODE_UNSET


def test_a_turn_that_failed_says_why(traced: tuple[Core, HostileProvider, Collector]) -> None:
    core, provider, collector = traced
    reply = Chat(core, provider, "cleo").answer("401")
    assert reply.status == "failed"
    turn = next(span for span in sent(core, collector, reply.meta["trace_id"], 3) if span.name == "turn")
    assert turn.status.code == Status.STATUS_CODE_ERROR
    assert facts(turn)["error.type"] == "bad_key"


def test_what_breaks_inside_a_span_says_its_name_and_not_its_words(quiet: None) -> None:
    with collecting() as collector:
        tracing.set_up({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
        with pytest.raises(ValueError), tracing.span("turn", {}, new_id("trace")):
            raise ValueError(WORDS)
        tracing.close()
        assert facts(collector.spans[0])["error.type"] == "ValueError"
        assert WORDS.encode() not in collector.raw


# ---- collectors that are away


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.parametrize("hangs", [False, True])
def test_a_collector_that_is_away_or_hangs_holds_nobody_up(quiet: None, hangs: bool) -> None:
    with collecting(hangs=True) as collector:
        url = collector.url if hangs else f"http://127.0.0.1:{closed_port()}"
        tracing.set_up({"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        began = time.monotonic()
        for _ in range(3000):  # more than the queue holds
            with tracing.span("turn", {}):
                pass
        assert time.monotonic() - began < 3
        ending = time.monotonic()
        tracing.close()
        assert time.monotonic() - ending < tracing._FLUSH_WITHIN + 1


def test_what_the_sdk_complains_of_is_a_line_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    tracing._hear_the_sdk()
    heard = logging.getLogger("chatcore.tracing")
    heard.addHandler(caplog.handler)
    try:
        for handler in logging.getLogger("opentelemetry").handlers:
            handler._again_at = 0.0  # type: ignore[attr-defined]
        for _ in range(3):
            logging.getLogger("opentelemetry.exporter").error("no collector")
        logging.getLogger("opentelemetry.exporter").info("nothing to say")
    finally:
        heard.removeHandler(caplog.handler)
    ours = [record.getMessage() for record in caplog.records if record.name == "chatcore.tracing"]
    assert set(ours) == {"traces: no collector"}
    assert len(ours) <= 2  # one line, heard by the test's own handler and perhaps by pytest's
