"""Leases: one holder at a time, for a time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import update

from chatcore.db import Database, leases
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
