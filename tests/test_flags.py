"""Flags: who may change what, what is stored and what of it is believed, and that every process soon knows."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, event, select
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.accounts.principal import ROLES, Role
from chatcore.config import Settings, load_settings
from chatcore.config_file import Access
from chatcore.db import Database, upgrade
from chatcore.db.tables import AuditEntry, Setting, Tenant, User
from chatcore.errors import Forbidden, InvalidInput
from chatcore.flags import DEFAULT_LIMITS, Flags, FlagStore, LimitRule, parse

SWITCHES = ["streaming", "gateway", "cache", "failover", "rate_limits", "auto_failover", "tools", "execute_code"]
RULE = LimitRule("tier", "free", "tokens", "hour", 5000)
PRICES = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}


def person(role: Role, tenant: str = "tenant_1") -> Principal:
    username = f"{role}-{tenant}"
    return Principal(f"user_{username}", tenant, username, role.title(), role)


OPERATOR = person("operator")


def settle(database: Database) -> Database:
    """Everybody whom the tests name, of two tenants, written into a database."""

    def work(session: Session) -> None:
        for tenant in ("tenant_1", "tenant_2"):
            session.add(Tenant(id=tenant, name=tenant))
            session.flush()
            for who in (person(role, tenant) for role in ROLES):
                row = User(id=who.user_id, tenant_id=tenant, username=who.username, name=who.name, role=who.role)
                session.add(row)

    database.write(work)
    return database


@pytest.fixture
def database(database: Database) -> Database:
    return settle(database)


@pytest.fixture
def any_database(any_database: Database) -> Database:
    return settle(any_database)


@pytest.fixture
def store(database: Database, settings: Settings) -> FlagStore:
    return FlagStore(database, settings)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database for the tests in which nothing may be written."""
    folder = tmp_path_factory.mktemp("data")
    database = Database(URL.create("sqlite", database=str(folder / "chatcore.db")))
    upgrade(database)
    yield settle(database)
    database.close()


def stored(database: Database) -> dict[str, Any]:
    row = database.read(lambda session: session.get(Setting, "flags"))
    return dict(row.value) if row else {}


def put(database: Database, value: Any) -> None:
    def work(session: Session) -> None:
        row = session.get(Setting, "flags") or Setting(key="flags", value={})
        row.value = value
        session.add(row)

    database.write(work)


def entries(database: Database) -> list[AuditEntry]:
    statement = select(AuditEntry).where(AuditEntry.action == "flags.change").order_by(AuditEntry.id)
    return database.read(lambda session: list(session.scalars(statement)))


def until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


# --- what holds without ---------------------------------------------------------------------------------------------


def test_everything_is_on_and_the_tiers_have_their_limits(store: FlagStore) -> None:
    assert store.now == Flags()
    assert all(getattr(store.now, name) for name in SWITCHES if name != "execute_code")
    assert store.now.limits == DEFAULT_LIMITS
    assert [(rule.name, rule.of, rule.per, rule.amount) for rule in DEFAULT_LIMITS] == [
        ("free", "requests", "day", 100),
        ("pro", "requests", "day", 1000),
    ]


@pytest.mark.parametrize("name", ["cache", "rate_limits"])
def test_the_config_file_says_what_holds_until_it_is_changed(database: Database, tmp_path: Path, name: str) -> None:
    (tmp_path / "config.yaml").write_text(f"chatcore: {{{name}: false}}")
    store = FlagStore(database, load_settings({"CHATCORE_SECRET_KEY": "x"}, root=tmp_path))
    assert getattr(store.now, name) is False
    store.set(OPERATOR, **{name: True})
    assert getattr(store.now, name) is True
    store.set(OPERATOR, **{name: None})
    assert getattr(store.now, name) is False, "back to what the file says"
    assert stored(database) == {}


# --- changing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_switched_and_taken_back(any_database: Database, settings: Settings, name: str) -> None:
    store = FlagStore(any_database, settings)
    before = getattr(store.now, name)
    assert before is (name != "execute_code"), "what is dangerous is off until somebody switches it on"
    store.set(OPERATOR, **{name: not before})
    changed = [one for one in SWITCHES if getattr(store.now, one) != getattr(Flags(), one)]
    assert changed == [name], "and nothing else"
    assert stored(any_database) == {name: not before}
    store.set(OPERATOR, **{name: None})
    assert store.now == Flags()


CHANGES: list[tuple[str, Any, Any]] = [
    ("disabled_providers", ["openai", "acme", "openai"], ("acme", "openai")),
    ("disabled_providers", ("acme",), ("acme",)),
    ("disabled_providers", [], ()),
    ("degraded_providers", ["openai", "acme", "openai"], ("acme", "openai")),
    ("primary", "acme/large", "acme/large"),
    ("fallback", "acme/small", "acme/small"),
    ("limits", [RULE], (RULE,)),
    ("limits", [vars(RULE)], (RULE,)),
    ("limits", [], ()),
    ("limits", [LimitRule("user", "usr_1", "requests", "day", 0)], (LimitRule("user", "usr_1", "requests", "day", 0),)),
    ("access", {"acme/large": Access(roles=["admin"])}, {"acme/large": Access(roles=["admin"])}),
    ("access", {"acme/large": {"tiers": ["pro"], "tenants": ["Acme"]}},
     {"acme/large": Access(tiers=["pro"], tenants=["Acme"])}),
    ("access", {}, {}),
    ("prices", {"tenant_1": {"m": PRICES}}, {"tenant_1": {"m": PRICES}}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "found"), CHANGES)
def test_what_is_set_is_what_everybody_reads(
    any_database: Database, settings: Settings, name: str, value: Any, found: Any
) -> None:
    store = FlagStore(any_database, settings)
    store.set(OPERATOR, **{name: value})
    assert getattr(store.now, name) == found
    assert FlagStore(any_database, settings).now == store.now
    store.set(OPERATOR, **{name: None})
    assert store.now == Flags()


def test_a_change_leaves_the_others_as_they_are(store: FlagStore) -> None:
    store.set(OPERATOR, cache=False, primary="m")
    store.set(OPERATOR, failover=False)
    store.set(OPERATOR, primary=None)
    assert (store.now.cache, store.now.failover, store.now.primary) == (False, False, None)


@pytest.mark.parametrize("role", ["admin", "member"])
def test_only_an_operator_may_change_flags(store: FlagStore, database: Database, role: Role) -> None:
    with pytest.raises(Forbidden, match="Only an operator"):
        store.set(person(role), cache=False)
    assert store.now == Flags()
    assert stored(database) == {}
    assert entries(database) == []


BAD: list[tuple[str, Any]] = [
    *((name, value) for name in SWITCHES for value in ("off", 0, 1, [], {})),
    ("unknown", True),
    ("__class__", True),
    ("primary", 5), ("primary", ["m"]), ("primary", {}), ("primary", True), ("primary", ""),
    ("fallback", 5), ("fallback", ["m"]), ("fallback", ""),
    ("disabled_providers", "openai"), ("disabled_providers", 5), ("disabled_providers", [["a"]]),
    ("disabled_providers", [5]), ("disabled_providers", {"openai": True}),
    ("limits", 5), ("limits", "x"), ("limits", [5]), ("limits", ["ab"]), ("limits", [None]), ("limits", {}),
    ("limits", [{}]),
    *(("limits", [vars(RULE) | wrong]) for wrong in (
        {"scope": "planet"}, {"of": "words"}, {"per": "second"}, {"scope": []}, {"name": ""}, {"name": None},
        {"name": 5}, {"amount": -1}, {"amount": 1.5}, {"amount": "9"}, {"amount": None}, {"amount": True},
        {"amount": 10**12 + 1}, {"color": "red"})),
    ("access", 5), ("access", ["m"]), ("access", {"m": 5}), ("access", {"m": {"role": ["admin"]}}),
    ("access", {"m": {"roles": "admin"}}),
    ("prices", 5), ("prices", "x"), ("prices", {"tenant_1": 5}), ("prices", {"tenant_1": {"m": 5}}),
    *(("prices", {"tenant_1": {"m": {"input_cost_per_token": wrong}}})
      for wrong in ("", "x", "-1", "NaN", "Infinity", "-Infinity", None, [], True, "1e999999", "1e-999999")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: str(value)[:60])
def test_what_makes_no_sense_is_refused_in_a_sentence(
    untouched: Database, settings: Settings, name: str, value: Any
) -> None:
    store = FlagStore(untouched, settings)
    with pytest.raises(InvalidInput, match=r"^[A-ZÄ-Ü_a-z].*\.$"):
        store.set(OPERATOR, **{name: value})
    assert stored(untouched) == {}
    assert entries(untouched) == []


def test_of_several_changes_none_is_made_when_one_makes_no_sense(store: FlagStore) -> None:
    with pytest.raises(InvalidInput):
        store.set(OPERATOR, cache=False, gateway="off")
    assert store.now == Flags()


# --- what is stored -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: str(value)[:60])
def test_a_stored_value_that_makes_no_sense_is_left_out_and_logged(
    name: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"failover": False} if name != "failover" else {"streaming": False}
    with caplog.at_level(logging.WARNING):
        found = parse({name: value} | good, Flags(cache=False))
    assert found == Flags(**{"cache": False, **good})  # type: ignore[arg-type]
    assert [record.__dict__.get("flag") for record in caplog.records] == [name]


@pytest.mark.parametrize("value", [[], [1], "x", 5, True])
def test_a_row_that_is_no_mapping_is_left_out(database: Database, settings: Settings, value: Any) -> None:
    put(database, value)
    store = FlagStore(database, settings)
    assert store.now == Flags()
    store.set(OPERATOR, cache=False)
    assert stored(database) == {"cache": False}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([one.name for one in fields(Flags)]) | st.text(max_size=5), JSON, max_size=5))
def test_whatever_is_stored_there_are_flags_to_go_by(value: dict[str, Any]) -> None:
    found = parse(value, Flags())
    assert all(isinstance(getattr(found, name), bool) for name in SWITCHES if name != "execute_code")
    assert all(isinstance(rule, LimitRule) for rule in found.limits)
    assert all(isinstance(one, str) for one in found.disabled_providers)
    assert all(one is None or isinstance(one, str) for one in (found.primary, found.fallback))
    assert all(isinstance(one, Access) for one in found.access.values())
    for models in found.prices.values():
        for prices in models.values():
            assert all(float(price) >= 0 for price in prices.values())


def test_a_bad_row_is_told_once_and_not_each_second(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    put(database, {"gateway": "off"})
    store = FlagStore(database, settings)
    for _ in range(5):
        store.refresh()
    assert len([record for record in caplog.records if record.__dict__.get("flag") == "gateway"]) == 1
    put(database, {"gateway": "off", "cache": False})
    store.refresh()
    assert store.now == Flags(cache=False)


# --- other processes ------------------------------------------------------------------------------------------------


@pytest.fixture
def others(any_database: Database, settings: Settings) -> Iterator[tuple[FlagStore, FlagStore]]:
    """Two processes on one database, as far as flags go."""
    other_end = Database(any_database.url)
    one, other = FlagStore(any_database, settings), FlagStore(other_end, settings)
    one.start()
    other.start()
    yield one, other
    one.stop()
    other.stop()
    other_end.close()


def test_another_process_knows_within_five_seconds(others: tuple[FlagStore, FlagStore]) -> None:
    one, other = others
    began = time.monotonic()
    one.set(OPERATOR, gateway=False, limits=[RULE], primary="m")
    assert one.now.gateway is False, "the one that changed it knows at once"
    until(lambda: other.now == one.now, 5)
    other.set(OPERATOR, gateway=None, limits=None, primary=None)
    until(lambda: one.now == Flags(), 5)
    assert time.monotonic() - began < 10


def test_a_row_that_makes_no_sense_does_not_end_the_reading(
    others: tuple[FlagStore, FlagStore], any_database: Database
) -> None:
    one, other = others
    for value in ([1], "x", {"access": [1]}, {"limits": 5, "prices": "x"}):
        put(any_database, value)
        time.sleep(1.1)  # the time of a look
    one.set(OPERATOR, cache=False)
    until(lambda: other.now.cache is False, 5)


def test_changes_at_the_same_time_do_not_undo_each_other(any_database: Database, settings: Settings) -> None:
    store = FlagStore(any_database, settings)
    store.set(OPERATOR, primary="m")
    threads = [threading.Thread(target=store.set, args=(OPERATOR,), kwargs={name: False}) for name in SWITCHES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    store.refresh()
    assert not any(getattr(store.now, name) for name in SWITCHES if name != "execute_code")
    assert store.now.primary == "m"


def test_a_database_that_is_away_leaves_the_last_flags(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store = FlagStore(database, settings)
    store.set(OPERATOR, cache=False)
    away = threading.Event()

    @event.listens_for(database.engine, "before_cursor_execute")
    def _refuse(*_: Any) -> None:
        if away.is_set():
            import sqlite3

            from sqlalchemy.exc import OperationalError

            raise OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error"))

    away.set()
    store.start()
    until(lambda: "could not be read" in caplog.text, 5)
    assert store.now.cache is False
    away.clear()
    put(database, {})
    until(lambda: store.now.cache is True, 5)
    store.stop()


def test_starting_twice_is_starting_once_and_stopping_ends_it(store: FlagStore) -> None:
    def running() -> int:
        return len([thread for thread in threading.enumerate() if thread.name == "flags"])

    before = running()
    store.start()
    store.start()
    assert running() == before + 1
    store.stop()
    assert running() == before


def test_reading_them_asks_the_database_nothing(store: FlagStore, database: Database) -> None:
    asked: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    assert store.now.cache
    assert store.configured.cache
    assert asked == []
    store.refresh()
    assert len([one for one in asked if one.startswith("SELECT")]) == 1


# --- a tenant's prices ----------------------------------------------------------------------------------------------


def test_an_admin_sets_the_prices_of_the_own_tenant(any_database: Database, settings: Settings) -> None:
    store = FlagStore(any_database, settings)
    store.set_prices(person("admin"), "m", PRICES)
    store.set_prices(person("admin", "tenant_2"), "m", {"input_cost_per_token": "3e-6"})
    store.set_prices(person("operator"), "n", PRICES)
    assert store.now.prices == {
        "tenant_1": {"m": PRICES, "n": PRICES},
        "tenant_2": {"m": {"input_cost_per_token": "3e-6"}},
    }
    store.set_prices(person("admin"), "m", None)
    assert store.now.prices["tenant_1"] == {"n": PRICES}
    assert "m" in store.now.prices["tenant_2"], "another tenant's stay"


def test_a_member_sets_no_prices(store: FlagStore, database: Database) -> None:
    with pytest.raises(Forbidden, match="Only an admin"):
        store.set_prices(person("member"), "m", PRICES)
    assert stored(database) == {}


@pytest.mark.parametrize("price", ["", "x", "-0.1", "NaN", "Infinity", None, [], True])
def test_a_price_that_is_none_is_refused(untouched: Database, settings: Settings, price: Any) -> None:
    with pytest.raises(InvalidInput):
        FlagStore(untouched, settings).set_prices(person("admin"), "m", {"input_cost_per_token": price})
    assert stored(untouched) == {}


def test_prices_set_in_two_processes_at_once_both_hold(any_database: Database, settings: Settings) -> None:
    one, other = FlagStore(any_database, settings), FlagStore(any_database, settings)
    one.set_prices(person("admin"), "m", PRICES)
    other.set_prices(person("admin", "tenant_2"), "m", PRICES)  # it has not looked since
    other.set_prices(person("admin", "tenant_2"), "n", PRICES)
    one.set_prices(person("admin"), "n", PRICES)
    one.refresh()
    assert one.now.prices == {"tenant_1": {"m": PRICES, "n": PRICES}, "tenant_2": {"m": PRICES, "n": PRICES}}


# --- changes made of what there is ----------------------------------------------------------------------------------


def and_one_more(rule: LimitRule) -> Callable[[Flags], dict[str, Any]]:
    return lambda now: {"limits": [*now.limits, rule]}


def test_a_change_is_made_of_what_is_stored_and_not_of_what_was_last_read(
    any_database: Database, settings: Settings
) -> None:
    one, other = FlagStore(any_database, settings), FlagStore(any_database, settings)
    theirs = LimitRule("model", "m", "requests", "minute", 1)
    one.change(OPERATOR, and_one_more(RULE))
    assert other.now.limits == DEFAULT_LIMITS, "it has not looked since"
    other.change(OPERATOR, and_one_more(theirs))
    one.refresh()
    assert one.now.limits == other.now.limits == (*DEFAULT_LIMITS, RULE, theirs)


def test_limits_added_at_the_same_time_all_hold(any_database: Database, settings: Settings) -> None:
    ends = [Database(any_database.url) for _ in range(2)]
    stores = [FlagStore(end, settings) for end in ends]
    rules = [LimitRule("user", f"usr_{number}", "requests", "day", number) for number in range(10)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(stores[rule.amount % 2].change, OPERATOR, and_one_more(rule)) for rule in rules]:
            done.result(20)
    assert set(FlagStore(any_database, settings).now.limits) == {*DEFAULT_LIMITS, *rules}
    for end in ends:
        end.close()


def test_a_change_that_fails_in_its_making_changes_nothing(store: FlagStore, database: Database) -> None:
    def fails(_: Flags) -> dict[str, Any]:
        raise InvalidInput("No.")

    for changes in (fails, lambda _: {"cache": False, "limits": 5}):
        with pytest.raises(InvalidInput):
            store.change(OPERATOR, changes)
    assert stored(database) == {}
    assert entries(database) == []


@pytest.mark.parametrize("role", ["admin", "member"])
def test_only_an_operator_changes_flags_and_access(untouched: Database, settings: Settings, role: Role) -> None:
    store = FlagStore(untouched, settings)
    with pytest.raises(Forbidden, match="Only an operator"):
        store.change(person(role), and_one_more(RULE))
    with pytest.raises(Forbidden, match="Only an operator"):
        store.set_access(person(role), "m", Access())
    assert stored(untouched) == {}


def test_who_may_use_a_model_is_said_and_taken_back(any_database: Database, settings: Settings) -> None:
    one, other = FlagStore(any_database, settings), FlagStore(any_database, settings)
    pro, everybody = Access(tiers=["pro"]), Access()
    one.set_access(OPERATOR, "m", pro)
    other.set_access(OPERATOR, "n", everybody)
    assert other.now.access == {"m": pro, "n": everybody}
    one.set_access(OPERATOR, "m", None)
    assert one.now.access == {"n": everybody}
    one.set_access(OPERATOR, "n", None)
    assert stored(any_database) == {}
    assert [entry.details for entry in entries(any_database)][1:3] == [
        {"access": str({"n": everybody.model_dump()})}, {"access": str({"m": None})},
    ]  # fmt: skip


# --- audit ----------------------------------------------------------------------------------------------------------


def test_every_change_is_in_the_audit_log(any_database: Database, settings: Settings) -> None:
    ada = person("operator", "tenant_2")
    store = FlagStore(any_database, settings)
    store.set(ada, cache=False, primary="m")
    store.set(ada, cache=None, limits=[RULE])
    store.set_prices(ada, "m", PRICES)
    found = entries(any_database)
    assert [(one.tenant_id, one.user_id) for one in found] == [(ada.tenant_id, ada.user_id)] * 3
    assert found[0].details == {"cache": False, "primary": "m"}
    assert found[1].details["cache"] is None
    assert "5000" in found[1].details["limits"]
    assert "0.000002" in str(found[2].details)


def test_an_admin_s_audit_log_holds_no_other_tenant_s_prices(store: FlagStore, database: Database) -> None:
    store.set_prices(person("admin", "tenant_2"), "secret-model", {"input_cost_per_token": "0.0777"})
    store.set_prices(person("admin"), "m", PRICES)
    store.set_prices(person("admin"), "m", None)
    for entry in entries(database)[1:]:
        assert "'m'" in entry.details["prices"]
        assert "0777" not in str(entry.details)
        assert "secret-model" not in str(entry.details)


def test_the_first_changes_of_two_processes_at_once_both_hold(any_database: Database, settings: Settings) -> None:
    ends = [Database(any_database.url) for _ in range(2)]
    stores = [FlagStore(end, settings) for end in ends]
    barrier = threading.Barrier(2)

    def change(store: FlagStore, name: str) -> None:
        barrier.wait(10)
        store.set(OPERATOR, **{name: False})

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(change, store, name) for store, name in zip(stores, SWITCHES[:2], strict=True)]:
            done.result(20)
    assert stored(any_database) == dict.fromkeys(SWITCHES[:2], False)
    for end in ends:
        end.close()


def test_a_long_value_is_cut_in_the_audit_log(store: FlagStore, database: Database) -> None:
    rules = [LimitRule("user", f"usr_{number}", "requests", "day", 5) for number in range(200)]
    store.set(OPERATOR, limits=rules)
    assert len(entries(database)[0].details["limits"]) == 500
    assert len(store.now.limits) == 200
