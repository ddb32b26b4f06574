"""What this process counts for machines, in Prometheus's form; `api/metrics.py` hands it out.

One call where a thing happens. Counters begin at 0 with the process; whoever reads several processes adds them up.
Labels have few values: names of models and providers of the configuration, tiers, outcomes; never a person, a
conversation or a word. Names and units follow https://prometheus.io/docs/practices/naming/.
"""

import platform
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

import chatcore

_MOST_NAMES: Final = 500
"""Different models and providers that get a label of their own; a catalog that grows for ever does not fill memory."""
_OTHER: Final = "other"
_NANO: Final = 1e9

_WORD_BUCKETS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
_CALL_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300)
_STORE_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5, 30)
_WRITE_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY: Final = CollectorRegistry()


def _counter(name: str, says: str, *labels: str) -> Counter:
    return Counter(f"chatcore_{name}", says, labels, registry=REGISTRY)


def _histogram(name: str, says: str, buckets: Iterable[float], *labels: str) -> Histogram:
    return Histogram(f"chatcore_{name}_seconds", says, labels, registry=REGISTRY, buckets=tuple(buckets))


_BEGUN = _counter("turns_started", "Questions that this process began to answer.", "model", "provider")
_ENDED = _counter("turns_ended", "Questions that were answered, or not, by outcome.", "model", "provider", "outcome")
_FOLLOWERS = Gauge("chatcore_followers", "Tabs and clients that follow replies written here.", registry=REGISTRY)
_RECOVERED = _counter("turns_recovered", "Replies that a dead process left, stored as interrupted by this one.")
_CALLS = _counter("calls", "Calls to models, every attempt, by outcome.", "model", "provider", "outcome")
_TOKENS = _counter("tokens", "Tokens of calls; cached are among prompt, reasoning among completion.", "model", "kind")
_COST = _counter("cost_usd", "What calls cost in US dollars, as far as it is known.", "model", "provider")
_UNPRICED = _counter("unpriced_calls", "Calls whose cost is unknown.", "model")
_SAVED = _counter("cache_saved_usd", "What replies from the cache cost when they were given first.", "model")
_LOOKUPS = _counter("cache_lookups", "Questions that an earlier reply might have answered, by result.", "result")
_FIRST_WORD = _histogram(
    "call_first_token", "From a call's start to its first token.", _WORD_BUCKETS, "model", "provider"
)
_CALL = _histogram(
    "call_duration", "From a call's start to its end, where it was not cut.", _CALL_BUCKETS, "model", "provider"
)
_STORE = _histogram("turn_store", "From a reply's last word to its commit.", _STORE_BUCKETS)
_STORE_FAILURES = _counter("turn_store_failures", "Commits of replies that failed and are tried again.", "of")
_REFUSED = _counter("refusals", "Questions that were refused: by a limit, a budget, a breaker.", "kind", "tier")
_WAIT = _histogram("db_write_wait", "From asking for a write to its beginning.", _WRITE_BUCKETS)
_WRITE = _histogram("db_write", "From a write's beginning to its commit.", _WRITE_BUCKETS)
_WRITE_RETRIES = _counter("db_write_retries", "Writes tried again as the database was busy.")
_WRITE_FAILURES = _counter("db_write_failures", "Writes that failed because the database did not answer.")
_WORKERS = _counter("gateway_worker_restarts", "Gateway workers that ended and were started again.")

Info("chatcore_build", "What runs.", registry=REGISTRY).info(
    {"version": chatcore.__version__, "python": platform.python_version()}
)
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_names: set[str] = set()
_lock = threading.Lock()


def turn_started(model: str, provider: str) -> None:
    """A question is being answered by this process."""
    _BEGUN.labels(_known(model), _known(provider)).inc()


def turn_ended(model: str, provider: str, outcome: str, saved_nano_usd: int = 0) -> None:
    """A turn's end is known. `outcome`: as in the ledger. `saved_nano_usd`: by an earlier reply."""
    _ENDED.labels(_known(model), _known(provider), outcome).inc()
    if saved_nano_usd:
        _SAVED.labels(_known(model)).inc(saved_nano_usd / _NANO)


def followed() -> AbstractContextManager[object]:
    """Somebody follows a reply inside the `with`."""
    return _FOLLOWERS.track_inprogress()


def turns_recovered(turns: int) -> None:
    """Replies of dead processes were stored as interrupted."""
    _RECOVERED.inc(turns)


def call_ended(
    model: str,
    provider: str,
    outcome: str,
    tokens: Mapping[str, int],
    cost_nano_usd: int | None,
    ttft_ms: int | None,
    latency_ms: int,
) -> None:
    """A call to a model has ended. `tokens`: counts by kind. Times are milliseconds from its start.

    The duration counts for whole and stopped replies: failures would flatter it.
    """
    names = (_known(model), _known(provider))
    _CALLS.labels(*names, outcome).inc()
    for kind, count in tokens.items():
        _TOKENS.labels(names[0], kind).inc(max(count, 0))
    if cost_nano_usd is None:
        _UNPRICED.labels(names[0]).inc()
    else:
        _COST.labels(*names).inc(max(cost_nano_usd, 0) / _NANO)
    if ttft_ms is not None:
        _FIRST_WORD.labels(*names).observe(ttft_ms / 1000)
    if outcome in ("ok", "stopped", "truncated"):
        _CALL.labels(*names).observe(latency_ms / 1000)


def turn_stored(seconds: float) -> None:
    """A reply is in the database, `seconds` after its last word."""
    _STORE.observe(seconds)


def store_failed(of: str) -> None:
    """A commit of replies failed: of a `group` of turns, or of one `turn` alone."""
    _STORE_FAILURES.labels(of).inc()


def refused(kind: str, tier: str) -> None:
    """A question was refused. `kind`: as in `limit_hits`."""
    _REFUSED.labels(kind, _known(tier)).inc()


def cache_looked_up(*, hit: bool) -> None:
    """An earlier reply was looked for."""
    _LOOKUPS.labels("hit" if hit else "miss").inc()


def written(waited: float, took: float) -> None:
    """A transaction was committed. Seconds in the queue, and from its beginning."""
    _WAIT.observe(waited)
    _WRITE.observe(took)


def write_retried() -> None:
    """A busy database: the transaction is tried again."""
    _WRITE_RETRIES.inc()


def write_failed() -> None:
    """The database did not answer, or was busy for too long."""
    _WRITE_FAILURES.inc()


def worker_restarted() -> None:
    """The gateway's worker ended, and another is started."""
    _WORKERS.inc()


def gauge(name: str, says: str, values: Mapping[tuple[str, ...], float], labels: tuple[str, ...] = ()) -> Metric:
    """A value as it is at the moment of reading, for `exposition`. `values`: by the labels' values."""
    family = GaugeMetricFamily(f"chatcore_{name}", says, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def exposition(accept: str, gauges: Iterable[Metric] = ()) -> tuple[bytes, str]:
    """Everything counted, and `gauges`, in the form that an Accept header asks for; and its content type."""
    try:
        encode, content_type = choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is none
        encode, content_type = choose_encoder("")
    return encode(_Together([*gauges])), content_type


class _Together:
    """All that is counted and some gauges, as the encoders want them: as one registry."""

    def __init__(self, gauges: Iterable[Metric]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from self._gauges


def _known(name: str) -> str:
    """The name itself, `other` where too many different ones have come."""
    if name in _names:
        return name
    with _lock:
        if len(_names) >= _MOST_NAMES:
            return _OTHER
        _names.add(name)
    return name
