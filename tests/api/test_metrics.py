"""`GET /metrics`: who may read it, and what it says when parts of the house are away."""

import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_network
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from chatcore.api import middleware, routes
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import Alert
from chatcore.errors import DatabaseError
from chatcore.gateway import Health
from chatcore.ids import new_id
from chatcore.usage.live import Live
from tests.chat import until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

TOKEN = "a-token-of-some-length"


def health(deployment: str, state: Any, key: str = "shared") -> Health:
    return Health(deployment, key, state, None, 0, None, None, None, None, 0, 0)


@pytest.fixture
def core(database: Database, settings: Settings) -> Any:
    known = [health("gpt#1", "closed"), health("gpt#2", "open"), health("gpt#1", "open", "pkey_1")]
    return SimpleNamespace(
        settings=settings, db=database, accounts=None, attachments=None, live=Live(database),
        turns=SimpleNamespace(is_running=True, running=3), gateway=SimpleNamespace(warm=True, health=lambda: known),
    )  # fmt: skip


def client(core: Any, *, peer: str = "127.0.0.1", host: str = "localhost:8501", base: str = "") -> TestClient:
    app = Starlette(routes=routes(core, base), middleware=middleware(core, base))
    return TestClient(app, base_url=f"http://{host}", client=(peer, 40_000))


@pytest.fixture
def here(core: Any) -> Iterator[TestClient]:
    with client(core) as opened:
        yield opened


def samples(http: TestClient, path: str = "/metrics", **headers: str) -> dict[tuple[str, ...], float]:
    answer = http.get(path, headers=headers)
    assert answer.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_whoever_is_on_this_machine_reads_it(here: TestClient) -> None:
    answer = here.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("peer", "host"), [("::1", "[::1]:8501"), ("127.0.0.9", "127.0.0.1"), ("::1", "localhost")])
def test_loopback_has_several_names(core: Any, peer: str, host: str) -> None:
    with client(core, peer=peer, host=host) as http:
        assert http.get("/metrics").status_code == 200


def test_a_stranger_finds_nothing(core: Any) -> None:
    with client(core, peer="203.0.113.5") as http:
        answer = http.get("/metrics")
    assert answer.status_code == 404
    assert "CHATCORE_METRICS_TOKEN" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "203.0.113.5"}, {"Forwarded": "for=127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"}, {"Via": "1.1 proxy"}, {"X-Forwarded-Proto": "https"},
        {"Host": "chat.example.org"}, {"Host": "rebound.example:8501"}, {"Host": ""},
    ],
)  # fmt: skip
def test_what_a_proxy_on_this_machine_passes_on_is_not_local(here: TestClient, headers: dict[str, str]) -> None:
    assert here.get("/metrics", headers=headers).status_code == 404


def test_a_stranger_who_says_to_be_local_finds_nothing(core: Any) -> None:
    core.settings = replace(core.settings, trusted_proxies=(ip_network("203.0.113.0/24"),))
    with client(core, peer="203.0.113.5") as http:
        assert http.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 404


def test_the_token_opens_it_from_anywhere(core: Any) -> None:
    core.settings = replace(core.settings, metrics_token=TOKEN)
    with client(core, peer="203.0.113.5", host="chat.example.org") as http:
        assert http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        answer = http.get("/metrics")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


@pytest.mark.parametrize("given", ["Bearer wrong", TOKEN, f"Basic {TOKEN}", "Bearer ", f"bearer {TOKEN}x", "Bearer ä"])
def test_a_wrong_token_opens_nothing_not_even_here(core: Any, given: str) -> None:
    core.settings = replace(core.settings, metrics_token=TOKEN)
    with client(core) as http:
        assert http.get("/metrics", headers={"Authorization": given.encode()}).status_code == 401


def test_with_a_token_nobody_reads_it_without_not_even_here(core: Any) -> None:
    """Another program on this machine, and a proxy here that says nothing of itself, look like the machine."""
    core.settings = replace(core.settings, metrics_token=TOKEN)
    with client(core) as http:
        assert http.get("/metrics").status_code == 401
        assert http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_no_token_is_not_an_empty_one(core: Any) -> None:
    with client(core, peer="203.0.113.5") as http:
        assert http.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_it_stands_under_the_base_path(core: Any) -> None:
    with client(core, base="/chat") as http:
        assert http.get("/chat/metrics").status_code == 200
        assert http.get("/metrics").status_code == 404


def test_openmetrics_where_it_is_asked_for(here: TestClient) -> None:
    answer = here.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_the_present_state_is_told(here: TestClient) -> None:
    found = samples(here)
    assert found["chatcore_turns_active",] == 3
    assert found["chatcore_ready",] == 1
    assert found["chatcore_gateway_worker_ready",] == 1
    assert found["chatcore_database_up",] == 1
    assert (found["chatcore_breaker_state", "gpt#1"], found["chatcore_breaker_state", "gpt#2"]) == (0, 2)
    assert found["chatcore_breakers_open_own_keys",] == 1
    assert not any("pkey" in label for labels in found for label in labels)


def test_alerts_that_fire_are_counted_by_severity(core: Any, here: TestClient) -> None:
    assert samples(here)["chatcore_alerts_firing", "critical"] == 0
    values = {"value": 1.0, "peak": 1.0, "threshold": 0.5, "rule_id": "r"}
    for state, severity in (
        ("firing", "critical"),
        ("firing", "warning"),
        ("recovered", "critical"),
        ("pending", "warning"),
    ):
        alert = {"id": new_id("alert"), "tenant_id": "t", "state": state, "severity": severity, **values}
        core.db.write(lambda session, alert=alert: session.add(Alert(**alert)))
    found = samples(here)
    assert (found["chatcore_alerts_firing", "critical"], found["chatcore_alerts_firing", "warning"]) == (1, 1)


def test_a_database_that_is_away_does_not_keep_a_scrape_waiting(core: Any) -> None:
    def away() -> dict[str, int]:
        raise DatabaseError("away")

    def hangs() -> dict[str, int]:
        time.sleep(1.5)
        return {}

    for firing in (away, hangs):
        core.live = SimpleNamespace(firing=firing)
        with client(core) as http:
            found = samples(http)
        assert found["chatcore_database_up",] == 0
        assert ("chatcore_alerts_firing", "critical") not in found


def test_a_scrape_is_quick(here: TestClient) -> None:
    here.get("/metrics")
    took = []
    for _ in range(10):
        began = time.perf_counter()
        here.get("/metrics")
        took.append(time.perf_counter() - began)
    assert median(took) < 0.25  # 10 ms where nothing else runs


class Hanging:
    """A database that does not answer, until the end of the test."""

    def __init__(self) -> None:
        self.looks = 0
        self.ended = threading.Event()

    def __call__(self) -> dict[str, int]:
        self.looks += 1
        self.ended.wait(30)
        return {}


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.ended.set()


def test_while_a_look_hangs_every_further_scrape_is_told_at_once(core: Any, hanging: Hanging) -> None:
    core.live = SimpleNamespace(firing=hanging)
    with client(core) as http:
        assert samples(http)["chatcore_database_up",] == 0
        for _ in range(40):  # more than there are threads for work that waits
            began = time.monotonic()
            assert samples(http)["chatcore_database_up",] == 0
            assert time.monotonic() - began < 2
        assert hanging.looks == 1
        hanging.ended.set()
        until(lambda: samples(http)["chatcore_database_up",] == 1)


def test_scrapes_at_the_same_time_share_a_look(core: Any) -> None:
    looks = []

    def slow() -> dict[str, int]:
        looks.append(1)
        time.sleep(0.3)
        return {}

    core.live = SimpleNamespace(firing=slow)
    with client(core) as http, ThreadPoolExecutor(4) as pool:
        ups = [found["chatcore_database_up",] for found in pool.map(lambda _: samples(http), range(4))]
    assert ups == [1] * 4
    assert len(looks) < 4


def test_a_hanging_database_is_not_ready_and_that_is_told_within_seconds(core: Any, hanging: Hanging) -> None:
    core.db = SimpleNamespace(ping=hanging)
    with client(core) as http:
        for patience in (5.0, 0.5, 0.5):
            began = time.monotonic()
            answer = http.get("/api/ready")
            assert (answer.status_code, answer.json()["database"]) == (503, False)
            assert time.monotonic() - began < patience
        assert hanging.looks == 1
