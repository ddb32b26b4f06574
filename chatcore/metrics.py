"""What this process counts for machines, in Prometheus's form; `api/metrics.py` hands it out.

One call where a thing happens. Counters begin at 0 when the app starts; whoever reads several processes adds them up.
Labels have few values: names of models and providers of the configuration, tiers, outcomes; never a person, a
conversation or a word. Names and units follow https://prometheus.io/docs/practices/naming/.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from chatcore.counters import Counters

_MOST_NAMES: Final = 500
"""Different models and providers that get a label of their own; a catalog that grows for ever does not fill memory."""
_OTHER: Final = "other"
_NANO: Final = 1e9

_on: "Counters | None" = None
_names: set[str] = set()
_lock = threading.Lock()


def start() -> None:
    """Count from now on. Before, nothing is: a command has nobody to tell it to, and need not load what counts."""
    global _on
    from chatcore.counters import Counters

    with _lock:
        _on = _on or Counters()


def registry() -> "CollectorRegistry":
    """All that is counted."""
    start()
    assert _on is not None
    return _on.registry


def turn_started(model: str, provider: str) -> None:
    """A question is being answered by this process."""
    if _on is not None:
        _on.begun.labels(_known(model), _known(provider)).inc()


def turn_ended(model: str, provider: str, outcome: str, saved_nano_usd: int = 0) -> None:
    """A turn's end is known. `outcome`: as in the ledger. `saved_nano_usd`: by an earlier reply."""
    if _on is None:
        return
    _on.ended.labels(_known(model), _known(provider), outcome).inc()
    if saved_nano_usd:
        _on.saved.labels(_known(model)).inc(saved_nano_usd / _NANO)


def followed() -> AbstractContextManager[object]:
    """Somebody follows a reply inside the `with`."""
    return nullcontext() if _on is None else _on.followers.track_inprogress()


def turns_recovered(turns: int) -> None:
    """Replies of dead processes were stored as interrupted."""
    if _on is not None:
        _on.recovered.inc(turns)


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
    if _on is None:
        return
    names = (_known(model), _known(provider))
    _on.calls.labels(*names, outcome).inc()
    for kind, count in tokens.items():
        _on.tokens.labels(names[0], kind).inc(max(count, 0))
    if cost_nano_usd is None:
        _on.unpriced.labels(names[0]).inc()
    else:
        _on.cost.labels(*names).inc(max(cost_nano_usd, 0) / _NANO)
    if ttft_ms is not None:
        _on.first_word.labels(*names).observe(ttft_ms / 1000)
    if outcome in ("ok", "stopped", "truncated"):
        _on.call.labels(*names).observe(latency_ms / 1000)


def turn_stored(seconds: float) -> None:
    """A reply is in the database, `seconds` after its last word."""
    if _on is not None:
        _on.store.observe(seconds)


def store_failed(of: str) -> None:
    """A commit of replies failed: of a `group` of turns, or of one `turn` alone."""
    if _on is not None:
        _on.store_failures.labels(of).inc()


def refused(kind: str, tier: str) -> None:
    """A question was refused. `kind`: as in `limit_hits`."""
    if _on is not None:
        _on.refused.labels(kind, _known(tier)).inc()


def cache_looked_up(*, hit: bool) -> None:
    """An earlier reply was looked for."""
    if _on is not None:
        _on.lookups.labels("hit" if hit else "miss").inc()


def written(waited: float, took: float) -> None:
    """A transaction was committed. Seconds in the queue, and from its beginning."""
    if _on is not None:
        _on.wait.observe(waited)
        _on.write.observe(took)


def write_retried() -> None:
    """A busy database: the transaction is tried again."""
    if _on is not None:
        _on.write_retries.inc()


def write_failed() -> None:
    """The database did not answer, or was busy for too long."""
    if _on is not None:
        _on.write_failures.inc()


def worker_restarted() -> None:
    """The gateway's worker ended, and another is started."""
    if _on is not None:
        _on.workers.inc()


def alerts_looked_at() -> None:
    """All alert rules were looked at, by this process."""
    if _on is not None:
        _on.last_look.set_to_current_time()


def alert_rule_failed() -> None:
    """An alert rule could not be evaluated."""
    if _on is not None:
        _on.rule_failures.inc()


def gauge(name: str, says: str, values: Mapping[tuple[str, ...], float], labels: tuple[str, ...] = ()) -> "Metric":
    """A value as it is at the moment of reading, for `exposition`. `values`: by the labels' values."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"chatcore_{name}", says, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def exposition(accept: str, gauges: Iterable["Metric"] = ()) -> tuple[bytes, str]:
    """Everything counted, and `gauges`, in the form that an Accept header asks for; and its content type."""
    from prometheus_client.exposition import choose_encoder

    try:
        encode, content_type = choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is none
        encode, content_type = choose_encoder("")
    return encode(_Together([*gauges])), content_type


class _Together:
    """All that is counted and some gauges, as the encoders want them: as one registry."""

    def __init__(self, gauges: Iterable["Metric"]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator["Metric"]:
        yield from registry().collect()
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
