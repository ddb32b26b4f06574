"""What is counted for machines: names, units, labels that stay few, and where the counts come from."""

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from chatcore import metrics
from chatcore.config import PROJECT_ROOT, Settings
from chatcore.db import Database
from chatcore.errors import DatabaseError
from chatcore.flags import FlagStore
from chatcore.shared import Shared
from chatcore.usage.limits import Limits
from tests.conftest import add_person

metrics.start()
DASHBOARD = PROJECT_ROOT / "docs" / "grafana" / "chatcore.json"
GAUGES = {
    "turns_active", "ready", "gateway_worker_ready", "database_up", "breaker_state", "breakers_open_own_keys",
    "alerts_firing",
}  # fmt: skip


def value(name: str, **labels: str) -> float:
    return metrics.registry().get_sample_value(f"chatcore_{name}", labels) or 0.0


def grown(work: Callable[[], object], name: str, **labels: str) -> float:
    """By how much a value grew while something was done."""
    before = value(name, **labels)
    work()
    return value(name, **labels) - before


def exposed() -> set[str]:
    """The names of all samples that a scrape may hold."""
    gauges = [metrics.gauge(name, "x", {(): 1}) for name in GAUGES]
    text = metrics.exposition("", gauges)[0].decode()
    samples = {one.name for family in text_string_to_metric_families(text) for one in family.samples}
    # A counter or histogram with labels has no sample before the first one is counted.
    for family in metrics.registry().collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        samples |= {family.name + suffix for suffix in suffixes}
    return samples


def test_a_command_neither_counts_nor_loads_what_counts() -> None:
    code = (
        "import sys, chatcore.bootstrap; from chatcore import metrics; metrics.written(0, 0);"
        "metrics.refused('budget', 'free'); sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_every_name_is_ours_or_the_process_and_says_its_unit() -> None:
    for family in metrics.registry().collect():
        assert re.fullmatch(r"(chatcore|process|python)_[a-z_]+", family.name)
        assert family.documentation
        if family.type == "histogram" and family.name.startswith("chatcore"):
            assert family.name.endswith("_seconds")


def test_both_forms_can_be_read() -> None:
    metrics.turn_stored(0.004)
    text, plain = metrics.exposition("text/plain")
    assert plain.startswith("text/plain")
    assert any(family.name == "chatcore_turn_store_seconds" for family in text_string_to_metric_families(text.decode()))
    body, openmetrics = metrics.exposition("application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert openmetrics.startswith("application/openmetrics-text")
    assert body.decode().endswith("# EOF\n")


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/plain; version=x", "text/plain;version=", "application/json", "😀"]
)
def test_any_accept_header_gets_an_answer(accept: str) -> None:
    body, content_type = metrics.exposition(accept)
    assert b"chatcore_build_info" in body
    assert content_type.startswith("text/plain")


def test_money_is_in_dollars_and_unknown_cost_is_counted_apart() -> None:
    def call(nano: int | None) -> None:
        metrics.call_ended("m1", "p1", "ok", {"prompt": 3}, nano, 100, 2000)

    assert grown(lambda: call(1_500_000_000), "cost_usd_total", model="m1", provider="p1") == pytest.approx(1.5)
    assert grown(lambda: call(None), "cost_usd_total", model="m1", provider="p1") == 0
    assert grown(lambda: call(None), "unpriced_calls_total", model="m1") == 1


def test_a_failure_counts_as_a_call_and_not_as_a_duration() -> None:
    def fail() -> None:
        metrics.call_ended("m2", "p2", "error", {}, 0, None, 30)

    assert grown(fail, "calls_total", model="m2", provider="p2", outcome="error") == 1
    assert grown(fail, "call_duration_seconds_count", model="m2", provider="p2") == 0
    assert grown(fail, "call_first_token_seconds_count", model="m2", provider="p2") == 0


def test_names_without_end_share_one_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_names", set())
    monkeypatch.setattr(metrics, "_MOST_NAMES", 3)
    for number in range(10):
        metrics.refused("requests", f"tier-{number}")
    tiers = {
        sample.labels["tier"]
        for family in metrics.registry().collect() if family.name == "chatcore_refusals" for sample in family.samples
    }  # fmt: skip
    assert {f"tier-{number}" for number in range(3)} | {"other"} <= tiers
    assert "tier-3" not in tiers


def test_fifty_models_are_told_quickly_and_in_little_room() -> None:
    for number in range(50):
        metrics.call_ended(f"model-{number}", "acme", "ok", {"prompt": 1, "completion": 1}, 1, 100, 2000)
        metrics.turn_ended(f"model-{number}", "acme", "ok")
    took, counting = [], []  # beside it, what this machine takes at this moment to count to half a million
    for _ in range(5):
        began = time.thread_time()
        body, _ = metrics.exposition("")
        took.append(time.thread_time() - began)
        began = time.thread_time()
        _ = [number for number in range(500_000)]  # noqa: C416
        counting.append(time.thread_time() - began)
    assert median(took) < 5 * median(counting)
    assert len(body) < 500_000


def test_a_write_is_timed(database: Database) -> None:
    assert grown(lambda: database.write(lambda _: None), "db_write_seconds_count") == 1
    assert grown(lambda: database.write(lambda _: None), "db_write_wait_seconds_count") == 1


def test_a_database_that_is_away_is_counted(database: Database) -> None:
    def away(_: Session) -> None:
        raise OperationalError("x", {}, Exception("gone"))

    def work() -> None:
        with pytest.raises(DatabaseError):
            database.write(away)

    assert grown(work, "db_write_failures_total") == 1


def test_a_refusal_is_counted_and_logged_once_it_is_stored(database: Database, settings: Settings) -> None:
    flags = FlagStore(database, settings)
    limits = Limits(database, flags, Shared(None))
    who = add_person(database, "ada")
    labels = {"kind": "budget", "tier": who.tier}
    lines: list[logging.LogRecord] = []
    heard = logging.getLogger("chatcore.usage.limits")
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign]
    heard.addHandler(handler)
    heard.setLevel(logging.INFO)

    def undone() -> None:
        def work(session: Session) -> None:
            limits.count(session, who, "budget", "gpt")
            raise ValueError

        with pytest.raises(ValueError):
            database.write(work)

    try:
        assert grown(undone, "refusals_total", **labels) == 0
        assert grown(lambda: limits.refused(who, "budget", "gpt"), "refusals_total", **labels) == 1
    finally:
        heard.removeHandler(handler)
        heard.setLevel(logging.NOTSET)
    assert [line.getMessage() for line in lines] == ["question refused"]
    assert {"user_id": who.user_id, "tenant_id": who.tenant_id, "kind": "budget", "model": "gpt"}.items() <= vars(
        lines[0]
    ).items()


# ---- the dashboard


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def test_the_dashboard_has_a_row_for_each_question() -> None:
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == ["Traffic", "Speed", "Reliability", "Cost", "Limits", "Cache", "Persistence"]
    assert dashboard()["schemaVersion"] >= 39
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])


def test_every_name_on_the_dashboard_is_counted() -> None:
    known = exposed()
    for panel in panels():
        for target in panel["targets"]:
            names = set(re.findall(r"\b(?:chatcore|process|python)_[a-z_]+", target["expr"]))
            assert names, panel["title"]
            assert names <= known, (panel["title"], names - known)


def test_every_panel_says_its_unit_and_lies_in_the_grid() -> None:
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"]


def test_panels_do_not_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
