"""The watch: one process of several, a database that is away, providers that are put aside."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import delete, select, update
from sqlalchemy.engine import URL

from chatcore import metrics
from chatcore.alerts.notices import Notice
from chatcore.alerts.rules import Rule
from chatcore.bootstrap import Core, open_core
from chatcore.config import PROJECT_ROOT, Settings, load_settings
from chatcore.db import Database, leases, upgrade
from chatcore.db.tables import Alert, AuditEntry, Lease, UsageMetric, utcnow
from chatcore.watch import LEASE, Watch
from tests.alerts.alerting import House
from tests.chat import Chat, until
from tests.conftest import add_person
from tests.hostile import HostileProvider
from tests.proxy import Proxy
from tests.receivers import Mailbox, Webhooks, mailbox, webhooks


@pytest.fixture
def hooks() -> Iterator[Webhooks]:
    with webhooks() as server:
        yield server


@pytest.fixture
def mails() -> Iterator[Mailbox]:
    with mailbox() as server:
        yield server


@pytest.fixture
def house(any_database: Database, settings: Settings) -> Iterator[House]:
    house = House(any_database, settings)
    house.without_defaults()
    yield house
    house.close()


# ---- one process of several


def test_two_real_processes_tell_a_webhook_and_a_mailbox_once(
    any_database: Database, tmp_path: Path, hooks: Webhooks, mails: Mailbox
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"chatcore": {"alert_seconds": 1}}))
    settings = load_settings(
        {"CHATCORE_SECRET_KEY": "for tests", "CHATCORE_DATA_DIR": str(tmp_path / "data")}, root=tmp_path
    )
    house = House(any_database, settings)
    house.without_defaults()
    house.clock.wall = utcnow()
    mail = house.alerts.add_channel(house.root, "email", "Ops", mails.fields(), instance=True)
    house.alerts.save_rule(
        house.root, Rule("Errors", "error_rate", 5, 60, min_calls=5, channels=(house.hook(hooks.url()), mail))
    )
    house.calls(10, "error")
    url = any_database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.alerts.watching", url, str(tmp_path)]
    processes = [
        subprocess.Popen(command, cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
    ]
    try:
        until(lambda: hooks.got and mails.got, 30)
        house.db.write(lambda session: session.execute(delete(UsageMetric)))
        house.clock.wall = utcnow()
        house.calls(10)
        until(lambda: len(hooks.got) > 1 and len(mails.got) > 1, 30)
    finally:
        for process in processes:
            process.communicate(b"", 20)
    assert hooks.words() == ["firing", "recovered"]
    assert [mail["Subject"] for mail in mails.got] == ["[warning] Errors", "[recovered] Errors"]
    assert [process.returncode for process in processes] == [0, 0]
    house.close()


def test_only_who_has_the_lease_looks(house: House, hooks: Webhooks) -> None:
    house.alerts.save_rule(house.root, Rule("Errors", "error_rate", 5, channels=(house.hook(hooks.url()),)))
    house.calls(10, "error")
    house.db.write(lambda session: leases.take(session, LEASE, "another", 60))
    house.rounds(3)
    assert not house.alerts.firing(house.root)
    house.db.write(lambda session: session.execute(update(Lease).values(until=utcnow() - timedelta(seconds=1))))
    house.rounds()
    assert house.alerts.firing(house.root)


def test_a_watch_that_stops_leaves_the_lease_to_others(house: House) -> None:
    first, second = house.watches
    first.round()
    first.start()
    first.stop()
    assert house.db.read(lambda session: list(session.scalars(select(Lease.name)))) == []
    second.round()
    assert house.db.read(lambda session: list(session.scalars(select(Lease.name)))) == [LEASE]


def test_a_channel_that_hangs_holds_up_neither_the_others_nor_the_next_round(
    database: Database, settings: Settings, hooks: Webhooks
) -> None:
    house = House(database, settings, seconds=0.5)
    house.without_defaults()
    channels = (house.hook(hooks.url("/hang")), house.hook(hooks.url()))
    house.alerts.save_rule(house.root, Rule("Errors", "error_rate", 5, channels=channels))
    house.calls(10, "error")
    began = time.monotonic()
    house.rounds(2)
    assert time.monotonic() - began < 20  # it hangs for ever
    assert hooks.words() == ["firing"]
    told = house.alerts.firing(house.root)[0].told
    assert sorted(one.state for one in told) == ["queued", "sent"]
    house.close()


def test_two_processes_that_go_round_each_second_tell_once_though_a_channel_hangs(
    any_database: Database, settings: Settings, hooks: Webhooks
) -> None:
    house = House(any_database, settings, seconds=4)
    house.without_defaults()
    house.clock.wall = utcnow()
    channels = (house.hook(hooks.url("/hang")), house.hook(hooks.url()))
    house.alerts.save_rule(house.root, Rule("Errors", "error_rate", 5, 3600, min_calls=5, channels=channels))
    house.calls(10, "error")
    first, second = (Watch(db, side, 0.3) for db, side in zip(house.databases, house.sides, strict=True))
    first.start()
    until(lambda: hooks.paths, 10)
    second.start()
    until(lambda: [one.tries for one in house.alerts.firing(house.root)[0].told] == [1, 1], 20)
    for one in (first, second):
        one.stop()
    assert sorted(hooks.paths) == ["/hang", "/hook"]
    house.close()


# ---- a database that is away


def test_an_sqlite_file_that_was_moved_away_is_told_once_by_each_process_and_so_is_its_return(
    database: Database, settings: Settings, hooks: Webhooks
) -> None:
    house = House(database, settings)
    house.hook(hooks.url())
    house.rounds()
    path = Path(str(database.url.database))
    path.rename(path.with_suffix(".away"))
    house.rounds()
    assert hooks.got == [], "one round may be an accident"
    house.rounds(4)
    assert [one["title"] for one in hooks.got] == ["[critical] Chatcore's database does not answer"] * 2
    path.with_suffix(".away").rename(path)
    house.rounds(3)
    assert hooks.words() == ["firing", "firing", "recovered", "recovered"]
    house.close()


@pytest.mark.postgres
def test_a_postgresql_that_hangs_is_told_once_and_so_is_its_return(
    postgres_url: URL, settings: Settings, hooks: Webhooks
) -> None:
    with closing(Proxy(str(postgres_url.host), postgres_url.port or 5432)) as proxy:
        database = Database(postgres_url.set(host="127.0.0.1", port=proxy.port))
        upgrade(database)
        house = House(database, settings)
        house.hook(hooks.url())
        watch = Watch(database, house.alerts, 60, now=house.clock.now, monotonic=house.clock.monotonic, patience=0.4)
        watch.round()
        proxy.hang()
        for _ in range(3):
            watch.round()
        assert hooks.words() == ["firing"]
        proxy.go_on()

        def is_back() -> bool:
            watch.round()
            return len(hooks.got) > 1

        until(is_back)
        assert hooks.words() == ["firing", "recovered"]
        house.close()
        database.close()


@pytest.mark.postgres
def test_a_watch_stops_though_its_postgresql_hangs(
    postgres_url: URL, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatcore.watch._GIVING_BACK", 0.3)
    with closing(Proxy(str(postgres_url.host), postgres_url.port or 5432)) as proxy:
        database = Database(postgres_url.set(host="127.0.0.1", port=proxy.port))
        upgrade(database)
        house = House(database, settings)
        watch = Watch(database, house.alerts, 3600)
        watch.start()
        proxy.hang()
        began = time.monotonic()
        watch.stop()
        assert time.monotonic() - began < 5
        proxy.go_on()
        house.close()
        database.close()


@pytest.mark.postgres
def test_a_postgresql_that_refuses_everybody_is_told(postgres_url: URL, settings: Settings, hooks: Webhooks) -> None:
    proxy = Proxy(str(postgres_url.host), postgres_url.port or 5432)
    database = Database(postgres_url.set(host="127.0.0.1", port=proxy.port))
    upgrade(database)
    house = House(database, settings)
    house.hook(hooks.url())
    house.watches[0].round()
    proxy.close()
    for _ in range(3):
        house.watches[0].round()
    assert hooks.words() == ["firing"]
    house.close()
    database.close()


def test_a_database_that_goes_away_before_the_first_round_is_told(
    database: Database, settings: Settings, hooks: Webhooks
) -> None:
    house = House(database, settings)
    house.hook(hooks.url())
    Path(str(database.url.database)).unlink()
    for _ in range(3):
        house.watches[0].round()
    assert hooks.words() == ["firing"]
    house.close()


def test_a_process_learns_where_to_tell_it_when_it_starts(
    database: Database, settings: Settings, hooks: Webhooks
) -> None:
    house = House(database, settings)
    house.hook(hooks.url())
    side, watch = house.sides[1], house.watches[1]
    watch.start()
    until(lambda: side.tell(Notice("test", "t", "b")), 10)
    watch.stop()
    assert hooks.words() == ["test"]
    house.close()


def test_rules_that_cannot_be_evaluated_are_told_once_and_so_is_their_end(
    database: Database, settings: Settings, hooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(database, settings)
    house.without_defaults()
    house.hook(hooks.url())
    house.alerts.save_rule(house.root, Rule("Errors", "error_rate", 5))
    with monkeypatch.context() as broken:
        broken.setattr("chatcore.alerts.looks.read", lambda *_: 1 / 0)
        house.rounds(2)
        assert hooks.got == []
        house.rounds(3)
    assert [one["title"] for one in hooks.got] == ["[critical] Chatcore's alert rules fail"]
    assert "cannot evaluate Errors" in hooks.got[0]["message"]
    house.rounds(2)
    assert hooks.words() == ["firing", "recovered"]
    house.close()


def test_a_look_that_fails_as_a_whole_is_told_too(
    database: Database, settings: Settings, hooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(database, settings)
    house.hook(hooks.url())
    monkeypatch.setattr("chatcore.alerts.service.looks.look", lambda *_, **__: 1 / 0)
    for _ in range(4):
        house.watches[0].round()
    assert [one["title"] for one in hooks.got] == ["[critical] Chatcore's alert rules fail"]
    house.close()


def test_the_moment_of_the_last_good_look_is_counted(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(database, settings)
    house.without_defaults()
    house.alerts.save_rule(house.root, Rule("Errors", "error_rate", 5))
    registry = metrics.registry()

    def value(name: str) -> float:
        return registry.get_sample_value(f"chatcore_{name}") or 0.0

    began, failed = time.time(), value("alert_rule_failures_total")
    house.rounds()
    good = value("alerts_last_look_timestamp_seconds")
    assert began <= good <= time.time()
    monkeypatch.setattr("chatcore.alerts.looks.read", lambda *_: 1 / 0)
    house.rounds()
    assert value("alerts_last_look_timestamp_seconds") == good
    assert value("alert_rule_failures_total") == failed + 1
    house.close()


def test_without_a_channel_an_absent_database_is_only_logged(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(database, settings)
    house.rounds()
    Path(str(database.url.database)).unlink()
    house.rounds(3)
    assert "the database does not answer" in caplog.text
    house.close()


# ---- failover by itself


def config(url: str) -> dict[str, Any]:
    """`bad` always fails at openai, `fine` is well there; behind both is `good`, of another provider."""

    def entry(name: str, model: str) -> dict[str, Any]:
        parameters = {"model": model, "api_base": url, "api_key": "sk-hostile-0123456789abcdef"}
        return {"model_name": name, "litellm_params": parameters}

    return {
        "model_list": [
            entry("bad", "openai/500"), entry("fine", "openai/ok;n=3"), entry("good", "groq/ok;n=5"),
            entry("lonely", "openai/ok;n=4"),
        ],
        "router_settings": {"num_retries": 0, "fallbacks": [{"bad": ["good"]}, {"fine": ["good"]}]},
        "chatcore": {
            "ollama": False, "rate_limits": False, "breaker_failures": 1000, "alert_seconds": 3600, "cache": False,
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Core, HostileProvider]]:
    folder = tmp_path_factory.mktemp("core")
    with ExitStack() as stack:
        provider = stack.enter_context(HostileProvider())
        (folder / "config.yaml").write_text(yaml.safe_dump(config(provider.url)))
        environ = {"CHATCORE_DATA_DIR": str(folder / "data"), "CHATCORE_CONFIG": str(folder / "config.yaml")}
        core = open_core(load_settings(environ, root=folder))
        core.start()
        until(lambda: core.gateway.warm, 60)
        yield core, provider
        core.close()


def providers(chat: Chat, model: str) -> list[str]:
    """Whom a question went to, one after the other."""
    asked = chat.ask(model)
    chat.words(asked)
    assert chat.reply(asked).status == "complete"
    return [row.provider for row in chat.ledger_rows(asked.turn_id)]


def later(core: Core, seconds: int) -> None:
    """As if the last look had been so long ago."""

    def work(session: Any) -> None:
        for alert in session.scalars(select(Alert).where(Alert.state == "firing")):
            alert.updated_at -= timedelta(seconds=seconds)

    core.db.write(work)


def test_a_provider_that_fails_is_asked_last_and_comes_back_by_itself(core: tuple[Core, HostileProvider]) -> None:
    opened, provider = core
    root = add_person(opened.db, "root", role="operator")
    for rule in opened.alerts.rules(root):
        if not rule.failover:
            opened.alerts.delete_rule(root, rule.id)
    [rule] = opened.alerts.rules(root)
    opened.alerts.save_rule(root, replace(rule, min_calls=3, cooldown_seconds=60))
    chat = Chat(opened, provider, "ada")
    for _ in range(3):
        assert providers(chat, "bad") == ["openai", "groq"]
    opened.watch.round()
    assert opened.flags.now.degraded_providers == ("openai",)
    [firing] = opened.alerts.firing(root)
    assert (firing.subject, firing.value, firing.aside) == ("openai", 100.0, "aside")
    assert providers(chat, "bad") == ["groq"]
    assert providers(chat, "fine") == ["groq"]
    assert providers(chat, "lonely") == ["openai"], "where nobody else can answer it is asked all the same"

    later(opened, 61)
    opened.watch.round()
    assert opened.flags.now.degraded_providers == ()
    assert opened.alerts.firing(root)[0].aside == "probation"
    for _ in range(3):
        assert providers(chat, "bad") == ["openai", "groq"]
    opened.watch.round()
    assert opened.flags.now.degraded_providers == ("openai",), "it still fails"

    later(opened, 61)
    opened.watch.round()
    for _ in range(3):
        assert providers(chat, "fine") == ["openai"]
    opened.watch.round()
    assert opened.flags.now.degraded_providers == ()
    assert not opened.alerts.firing(root)
    statement = select(AuditEntry).where(AuditEntry.action.like("provider.%")).order_by(AuditEntry.id)
    entries = opened.db.read(lambda session: list(session.scalars(statement)))
    assert [one.action for one in entries] == ["provider.aside", "provider.back"] * 2
    assert {one.details["name"] for one in entries} == {"openai"}
    assert {one.user_id for one in entries} == {None}


def test_with_the_flag_off_nothing_is_put_aside(core: tuple[Core, HostileProvider]) -> None:
    opened, provider = core
    root = add_person(opened.db, "other-root", role="operator")
    opened.db.write(lambda session: session.execute(delete(UsageMetric)))
    opened.flags.set(root, auto_failover=False)
    chat = Chat(opened, provider, "grace")
    for _ in range(3):
        providers(chat, "bad")
    opened.watch.round()
    assert [one.aside for one in opened.alerts.firing(root)] == [""]
    assert opened.flags.now.degraded_providers == ()
    assert providers(chat, "bad") == ["openai", "groq"]
    opened.flags.set(root, auto_failover=None)
