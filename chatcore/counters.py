"""The families of what is counted for machines. They need Prometheus's client, which takes its time to import: apps
load this module when they start (`metrics.start`), commands never.
"""

import platform
from collections.abc import Iterable
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

import chatcore

_WORD_BUCKETS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)
_CALL_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300)
_STORE_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5, 30)
_WRITE_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Counters:
    """All families, each at 0, in a registry of their own. `metrics` says when which of them grows."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.begun = self._counter("turns_started", "Questions that this process began to answer.", "model", "provider")
        self.ended = self._counter(
            "turns_ended", "Questions that were answered, or not, by outcome.", "model", "provider", "outcome"
        )
        self.followers = Gauge(
            "chatcore_followers", "Tabs and clients that follow replies written here.", registry=self.registry
        )
        self.recovered = self._counter(
            "turns_recovered", "Replies that a dead process left, stored as interrupted by this one."
        )
        self.calls = self._counter(
            "calls", "Calls to models, every attempt, by outcome.", "model", "provider", "outcome"
        )
        self.tokens = self._counter(
            "tokens", "Tokens of calls; cached are among prompt, reasoning among completion.", "model", "kind"
        )
        self.cost = self._counter(
            "cost_usd", "What calls cost in US dollars, as far as it is known.", "model", "provider"
        )
        self.unpriced = self._counter("unpriced_calls", "Calls whose cost is unknown.", "model")
        self.saved = self._counter(
            "cache_saved_usd", "What replies from the cache cost when they were given first.", "model"
        )
        self.lookups = self._counter(
            "cache_lookups", "Questions that an earlier reply might have answered, by result.", "result"
        )
        self.first_word = self._histogram(
            "call_first_token", "From a call's start to its first token.", _WORD_BUCKETS, "model", "provider"
        )
        self.call = self._histogram(
            "call_duration", "From a call's start to its end, where it was not cut.", _CALL_BUCKETS, "model", "provider"
        )
        self.store = self._histogram("turn_store", "From a reply's last word to its commit.", _STORE_BUCKETS)
        self.store_failures = self._counter(
            "turn_store_failures", "Commits of replies that failed and are tried again.", "of"
        )
        self.refused = self._counter(
            "refusals", "Questions that were refused: by a limit, a budget, a breaker.", "kind", "tier"
        )
        self.wait = self._histogram("db_write_wait", "From asking for a write to its beginning.", _WRITE_BUCKETS)
        self.write = self._histogram("db_write", "From a write's beginning to its commit.", _WRITE_BUCKETS)
        self.write_retries = self._counter("db_write_retries", "Writes tried again as the database was busy.")
        self.write_failures = self._counter(
            "db_write_failures", "Writes that failed because the database did not answer."
        )
        self.workers = self._counter("gateway_worker_restarts", "Gateway workers that ended and were started again.")
        self.last_look = Gauge(
            "chatcore_alerts_last_look_timestamp_seconds",
            "When this process last looked at all alert rules, in seconds since 1970; 0 where another one does.",
            registry=self.registry,
        )
        self.rule_failures = self._counter("alert_rule_failures", "Alert rules that a look could not evaluate.")
        Info("chatcore_build", "What runs.", registry=self.registry).info(
            {"version": chatcore.__version__, "python": platform.python_version()}
        )
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"chatcore_{name}", says, labels, registry=self.registry)

    def _histogram(self, name: str, says: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(f"chatcore_{name}_seconds", says, labels, registry=self.registry, buckets=tuple(buckets))
