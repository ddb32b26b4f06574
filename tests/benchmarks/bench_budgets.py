"""What budgets cost before and after a call: holding and giving back, and settling with and without them.

    python -m tests.benchmarks.bench_budgets                  SQLite, and PostgreSQL where one answers
    python -m tests.benchmarks.bench_budgets --only sqlite

One tenant has 1,000 people, each with a budget of their own, and 30,000 ledger rows. `one budget` is a person's month;
`six` are the person's, the team's and the tenant's, by day and month: the most that can apply. Each time is that of the
statements inside a transaction that is open already, as they run inside a turn's beginning and end; settling stands
beside the same settle of a tenant without any budget, and the bare UPDATE that it was before there were budgets. The
first line is the shortest thing that can be asked: on a busy machine all the others grow with it, the ratios are of the
tenth percentile, which waits for nobody.
PostgreSQL is the server at `CHATCORE_TEST_POSTGRES_URL`, in a database made and dropped here. Ends with status 1 when
the mark is not held, or the server that was asked for does not answer.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.db import Database, upgrade
from chatcore.db.tables import Budget, User, utcnow
from chatcore.ids import new_id
from chatcore.usage import budgets, demo_data, ledger
from tests.benchmarks.bench_lists import postgres
from tests.benchmarks.running import table
from tests.benchmarks.watch import spread
from tests.conftest import add_person

MOST_MS: Final = 3.0
PEOPLE: Final = 1_000
LEDGER_ROWS: Final = 30_000
_AMOUNT: Final = 10**15
_COST: Final = 1_000_000
_SETTLEMENT: Final = ledger.Settlement("ok", prompt_tokens=100, completion_tokens=100, cost_nano_usd=_COST)


@dataclass(frozen=True)
class People:
    """Somebody with no budget, with one and with six, each in a tenant of their own kind."""

    none: Principal
    one: Principal
    six: Principal


def fill(db: Database) -> People:
    """Three tenants; those with budgets have a thousand people."""
    upgrade(db)
    none = add_person(db, "none", tenant="Without")
    one, six = (_crowd(db, name) for name in ("one", "six"))
    db.write(lambda s: s.execute(update(User).where(User.id == six.user_id).values(team="Red")))
    demo_data.make(db, six.tenant_id, days=90, rows=LEDGER_ROWS)
    _budget(db, [(one, "user", one.user_id, "month")])
    for scope, scope_id in (("user", six.user_id), ("team", "Red"), ("tenant", "")):
        _budget(db, [(six, scope, scope_id, period) for period in ("day", "month")])
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return People(none, one, six)


def _crowd(db: Database, name: str) -> Principal:
    who = add_person(db, name, tenant=f"With {name}")
    ids = [new_id("user") for _ in range(PEOPLE)]
    rows = [
        {"id": id_, "tenant_id": who.tenant_id, "username": id_, "name": id_, "role": "member", "settings": {}}
        for id_ in ids
    ]
    db.write(lambda session: session.execute(insert(User), rows))
    _budget(db, [(who, "user", id_, "month") for id_ in ids])
    return who


def _budget(db: Database, wanted: Sequence[tuple[Principal, str, str, str]]) -> None:
    rows = [
        {
            "id": new_id("bud"), "tenant_id": who.tenant_id, "scope": scope, "scope_id": scope_id, "period": period,
            "amount_nano_usd": _AMOUNT, "hard": True,
        }
        for who, scope, scope_id, period in wanted
    ]  # fmt: skip
    db.write(lambda session: session.execute(insert(Budget), rows))


def timed(
    db: Database, ready: Callable[[Session], Any], work: Callable[[Session, Any], object], times: int
) -> list[float]:
    """Milliseconds of each `work` in a transaction of its own; the first ones are not counted."""
    found: list[float] = []

    def one(session: Session) -> None:
        given = ready(session)
        start = time.perf_counter()
        work(session, given)
        found.append((time.perf_counter() - start) * 1000)

    for _ in range(times + 20):
        db.write(one)
    return found[20:]


def cycle(who: Principal) -> Callable[[Session, str], None]:
    """What a turn costs: holding at its beginning, giving back at its end."""

    def work(session: Session, holder: str) -> None:
        budgets.hold(session, tenant_id=who.tenant_id, user_id=who.user_id, holder=holder, nano=_COST)
        budgets.release(session, holder)

    return work


def opened(who: Principal) -> Callable[[Session], str]:
    """A row that was opened, and what it may cost held."""

    def ready(session: Session) -> str:
        turn_id = new_id("turn")
        budgets.hold(session, tenant_id=who.tenant_id, user_id=who.user_id, holder=turn_id, nano=2 * _COST)
        return ledger.open_call(
            session,
            ledger.NewCall(who.tenant_id, who.user_id, "p", "m", "m", new_id("trace"), turn_id=turn_id),
        )

    return ready


def settle(session: Session, row_id: str) -> None:
    ledger.settle_call(session, row_id, _SETTLEMENT)


_BARE: Final = ledger._SETTLE
_TRIP: Final = text("SELECT 1")


def settle_bare(session: Session, row_id: str) -> None:
    """As it was before there were budgets: the UPDATE alone."""
    values = {name: getattr(_SETTLEMENT, name) for name in _SETTLEMENT.__dataclass_fields__ if name != "provider"}
    values["unit_prices"] = {}
    session.execute(_BARE, {"of": row_id, "settled_at": utcnow(), **values})


def measure(db: Database, people: People, times: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """The table's rows, and what is not held."""

    def holder(_session: Session) -> str:
        return new_id("turn")

    trip = timed(db, holder, lambda session, _: session.execute(_TRIP), times)
    bare = timed(db, opened(people.none), settle_bare, times)
    cases: list[tuple[str, list[float], list[float], float | None]] = [("one round trip", trip, trip, None)]
    none = timed(db, holder, cycle(people.none), times)
    for name, who in (("no budget", people.none), ("one budget", people.one), ("six", people.six)):
        cases.append((f"hold and release, {name}", timed(db, holder, cycle(who), times), none, MOST_MS))
    cases.append(("settle, the UPDATE alone", bare, bare, None))
    for name, who in (("no budget", people.none), ("one budget", people.one), ("six", people.six)):
        cases.append((f"settle, {name}", timed(db, opened(who), settle, times), bare, None))
    rows, faults = [], []
    for name, found, beside, mark in cases:
        p10, p50, p95 = spread(found, 10, 50, 95)
        (beside_p10,) = spread(beside, 10)
        times_ms = [f"{value:.2f} ms" for value in (p10, p50, p95)]
        rows.append((name, *times_ms, f"{mark:g} ms" if mark else "", f"{p10 / beside_p10:.1f}"))
        if mark is not None and not p95 <= mark:
            faults.append(f"{name}: {p95:.2f} ms > {mark:g} ms")
    return rows, faults


def run(url: URL, kind: str, times: int) -> list[str]:
    """Fill, measure, print; what is not held."""
    db = Database(url)
    try:
        rows, faults = measure(db, fill(db), times)
    finally:
        db.close()
    print(f"\n{PEOPLE:,} people and budgets in each tenant, {LEDGER_ROWS:,} ledger rows")
    print(table([(f"{kind}: {times} each", "p10", "p50", "p95", "mark", "p10 beside none / the UPDATE"), *rows]))
    return [f"{kind}, {fault}" for fault in faults]


@contextmanager
def sqlite() -> Iterator[URL]:
    with tempfile.TemporaryDirectory() as folder:
        yield URL.create("sqlite", database=str(Path(folder) / "chatcore.db"))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--times", type=int, default=1000, help="calls that are timed (default: 1000)")
    options.add_argument("--only", choices=("sqlite", "postgres"))
    chosen = options.parse_args()
    faults: list[str] = []
    for kind, place in (("sqlite", sqlite), ("postgres", postgres)):
        if chosen.only not in (None, kind):
            continue
        try:
            with place() as url:
                faults += run(url, kind, chosen.times)
        except OperationalError:
            print(f"{kind}: no server answers")
            faults += [f"{kind} does not answer"] if chosen.only else []
    print("\n".join(f"NOT HELD: {fault}" for fault in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
