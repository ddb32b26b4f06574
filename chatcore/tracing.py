"""Spans for OpenTelemetry: a turn, each call to a model inside it, and its being stored.

Nothing is imported and nothing happens unless `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is
set. The SDK reads the other variables that begin with `OTEL_` by itself. Attributes of calls follow OpenTelemetry's
semantic conventions for generative AI. Our trace id stands in `chatcore.trace_id`, and OpenTelemetry's is the same
number in hexadecimal. Words of a conversation stand in no span.

Spans leave in batches by a thread of the SDK's: no turn waits for a collector that is away or hangs.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import chatcore

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
_FLUSH_WITHIN: Final = 3.0  # seconds that the end of the process waits for a collector
_SAY_EVERY: Final = 60.0
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # as in `ids`

_provider: "TracerProvider | None" = None
_exporter: "OTLPSpanExporter | None" = None
_tracer: "Tracer | None" = None
_wanted: ContextVar[int | None] = ContextVar("wanted_trace_id", default=None)


class Span:
    """What takes time. Facts that are None are left out."""

    def __init__(self, real: Any = None) -> None:
        self._real = real

    def set(self, facts: Mapping[str, Any]) -> None:
        """Note facts under OpenTelemetry's names: text, numbers, truth values or lists of them."""
        if self._real is not None:
            self._real.set_attributes({name: value for name, value in facts.items() if value is not None})

    def failed(self, code: str) -> None:
        """It did not come to what was wanted. `code`: of one of our errors, or an outcome."""
        if self._real is not None:
            from opentelemetry.trace import StatusCode

            self._real.set_attribute("error.type", code)
            self._real.set_status(StatusCode.ERROR)

    def end(self) -> None:
        """It is over now. For spans that `begin` gave."""
        if self._real is not None:
            self._real.end()


_NONE: Final = Span()


def endpoint(environment: Mapping[str, str]) -> str | None:
    """Where traces go, by the variables that OpenTelemetry's specification names; None for nowhere."""
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return None
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if own := environment.get(_TRACES_ENDPOINT, "").strip():
        return own
    base = environment.get(_ENDPOINT, "").strip()
    return f"{base.rstrip('/')}/v1/traces" if base else None


def set_up(environment: Mapping[str, str]) -> None:
    """Begin to send spans, where the process's variables say where to. Twice is once."""
    global _provider, _tracer, _exporter
    url = endpoint(environment)
    if url is None or _tracer is not None:
        return
    if any("grpc" in environment.get(name, "").lower() for name in _PROTOCOLS):
        log.warning("traces are sent as http/protobuf; OTLP over gRPC is not spoken here")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _hear_the_sdk()
    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    facts = {"service.version": chatcore.__version__} | ({} if named else {"service.name": "chatcore"})
    _provider = TracerProvider(resource=Resource.create(facts), id_generator=_ids(), shutdown_on_exit=False)
    _exporter = OTLPSpanExporter(endpoint=url)
    _provider.add_span_processor(BatchSpanProcessor(_exporter))
    _tracer = _provider.get_tracer("chatcore", chatcore.__version__)


def close() -> None:
    """Send what is left, for some seconds at most; no spans are made from now on."""
    global _provider, _tracer, _exporter
    provider, exporter, _provider, _tracer, _exporter = _provider, _exporter, None, None, None
    if provider is not None:
        ending = threading.Thread(target=provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(_FLUSH_WITHIN)
        if ending.is_alive() and exporter is not None:
            exporter.shutdown()  # type: ignore[no-untyped-call]  # or it would try again for a minute


def span(name: str, facts: Mapping[str, Any], trace_id: str = "") -> AbstractContextManager[Span]:
    """Time what is done inside the `with`; what begins there is part of it. `trace_id`: of a span that is no part."""
    return nullcontext(_NONE) if _tracer is None else _inside(name, facts, trace_id)


def begin(name: str, facts: Mapping[str, Any], trace_id: str = "") -> Span:
    """A call to another service begins, inside the present span where there is one. Whoever asks calls `Span.end`."""
    if _tracer is None:
        return _NONE
    from opentelemetry.trace import SpanKind

    return _started(name, facts, trace_id, SpanKind.CLIENT)


@contextmanager
def _inside(name: str, facts: Mapping[str, Any], trace_id: str) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind, use_span

    begun = _started(name, facts, trace_id, SpanKind.INTERNAL)
    try:
        # What an exception says may hold words or keys: its name is enough.
        with use_span(begun._real, record_exception=False, set_status_on_exception=False):
            yield begun
    except BaseException as error:
        begun.failed(type(error).__name__)
        raise
    finally:
        begun.end()


def _started(name: str, facts: Mapping[str, Any], trace_id: str, kind: Any) -> Span:
    if _tracer is None:
        return _NONE
    token = _wanted.set(_number(trace_id))
    try:
        begun = Span(_tracer.start_span(name, kind=kind))
    finally:
        _wanted.reset(token)
    begun.set({**facts, "chatcore.trace_id": trace_id or None})
    return begun


def _number(trace_id: str) -> int | None:
    """The 128 bits of an id of ours; None where it has another form."""
    digits = trace_id.rpartition("_")[2]
    if len(digits) != 26 or any(digit not in _ALPHABET for digit in digits):
        return None
    value = 0
    for digit in digits:
        value = value << 5 | _ALPHABET.index(digit)
    return value if 0 < value < 2**128 else None


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return _wanted.get() or super().generate_trace_id()

    return Ids()


class _Heard(logging.Handler):
    """Once a minute: a collector that is away for a day is no news each second."""

    _again_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + _SAY_EVERY
            log.warning("traces: %s", record.getMessage())


def _hear_the_sdk() -> None:
    """What the SDK has to say about a collector becomes a line of ours, without keys and tracebacks."""
    theirs = logging.getLogger("opentelemetry")
    if not theirs.handlers:
        theirs.addHandler(_Heard(logging.WARNING))
        theirs.propagate = False
