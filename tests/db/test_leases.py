"""Leases: one holder at a time, for a time."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.engine import URL

from chatcore.db import Database, leases, upgrade
from chatcore.db.tables import Lease, utcnow


def take(db: Database, holder: str, name: str = "work") -> bool:
    return db.write(lambda session: leases.take(session, name, holder, 60))


def test_one_holder_at_a_time_who_may_go_on(any_database: Database) -> None:
    assert take(any_database, "ann")
    assert not take(any_database, "bob")
    assert take(any_database, "ann")
    assert take(any_database, "bob", "other work")


def test_a_lease_that_ran_out_is_anybodys(any_database: Database) -> None:
    take(any_database, "ann")
    past = update(Lease).values(until=utcnow() - timedelta(seconds=1))
    any_database.write(lambda session: session.execute(past))
    assert take(any_database, "bob")
    assert not take(any_database, "ann")


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=4_000), timedelta(seconds=125)])
def test_one_that_a_clock_ahead_of_ours_has_taken_holds_nobody_up(any_database: Database, ahead: timedelta) -> None:
    take(any_database, "ann")
    any_database.write(lambda session: session.execute(update(Lease).values(until=utcnow() + ahead)))
    assert take(any_database, "bob")
    assert not take(any_database, "ann"), "it is a lease like another now"


def test_a_clock_that_was_put_back_a_little_takes_it_from_nobody(any_database: Database) -> None:
    take(any_database, "ann")
    any_database.write(lambda session: session.execute(update(Lease).values(until=utcnow() + timedelta(seconds=100))))
    assert not take(any_database, "bob")


@pytest.mark.postgres
def test_hosts_whose_clocks_differ_ask_postgresql_what_time_it_is(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Database(postgres_url)) as database:
        upgrade(database)
        take(database, "ann")
        for hours in (-5, 5):
            monkeypatch.setattr(leases, "utcnow", lambda hours=hours: utcnow() + timedelta(hours=hours))
            assert not take(database, "bob")


def test_only_the_holder_gives_it_up(any_database: Database) -> None:
    take(any_database, "ann")
    any_database.write(lambda session: leases.release(session, "work", "bob"))
    assert not take(any_database, "bob")
    any_database.write(lambda session: leases.release(session, "work", "ann"))
    assert take(any_database, "bob")


def test_of_many_at_once_one_gets_it(any_database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: take(any_database, f"process {number}"), range(16)))
    assert sum(taken) == 1
