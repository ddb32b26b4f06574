"""What each tab of the usage page asks, timed on a database that `demo-data` filled.

    python -m tests.benchmarks.bench_usage sqlite:////data/big/chatcore.db
    python -m tests.benchmarks.bench_usage URL --small URL     beside another, smaller database
    python -m tests.benchmarks.bench_usage URL --ledger        beside the same answers by GROUP BY over the ledger
    python -m tests.benchmarks.bench_usage URL --tab Spend --days 400 --each    each question for itself

An admin of the tenant with the most calls asks; answers are not kept between two rounds, and the first round is not
counted. `cpu` is this process's, with SQLite the database's, too. `small` is how many times as long as there it takes,
`ledger` how many times longer the ledger takes. Ends with status 1 when a tab takes longer than the mark.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from statistics import quantiles
from typing import Any, Final
from unittest import mock

from sqlalchemy import event, func, select
from sqlalchemy.engine import make_url

from chatcore.accounts import Principal
from chatcore.db import Database
from chatcore.db.tables import UsageDaily, UsageMetric, utcnow
from chatcore.usage import Filter, Usage, cells, default_step, percentiles, zones
from tests.benchmarks.running import table

MOST_MS: Final = 300.0
Question = Callable[[], Any]


def asker(db: Database) -> Principal:
    """An admin of the tenant with the most calls."""
    statement = (
        select(UsageDaily.tenant_id)
        .where(UsageDaily.level == "month", UsageDaily.kind == "model")
        .group_by(UsageDaily.tenant_id)
        .order_by(func.sum(UsageDaily.calls).desc())
        .limit(1)
    )
    tenant = db.read(lambda session: session.scalar(statement))
    if tenant is None:
        sys.exit("There are no rollups in this database.")
    return Principal("user_bench", tenant, "bench", "Bench", "admin")


def tabs(usage: Usage, who: Principal, days: int) -> Mapping[str, Mapping[str, Question]]:
    """The questions of each tab with a range up to the end of today, by what they are called."""
    now = utcnow()
    end = zones.next_day(now, usage.zone(who))
    chosen = Filter(end - timedelta(days=days), end)
    before = chosen.previous(now)
    asked: dict[str, Question] = {
        "choices": partial(usage.choices, who),
        "totals": partial(usage.totals, who, chosen),
        "totals before": partial(usage.totals, who, before),
        "forecast": partial(usage.forecast, who),
        "month": partial(usage.series, who, Filter(zones.month_start(now, usage.zone(who)), end), "none", "day"),
        "budgets": partial(usage.budget_lines, who),
        "refusals": partial(usage.refusals, who, chosen),
        "people": partial(usage.adoption, who, chosen),
        "summary": partial(usage.adoption_summary, who, chosen),
        "summary before": partial(usage.adoption_summary, who, before),
        "percentiles": partial(usage.percentiles, who, chosen),
        "percentiles before": partial(usage.percentiles, who, before),
        "percentiles by model": partial(usage.percentiles, who, chosen, "model"),
        "percentiles over time": partial(usage.percentiles, who, chosen, "none", default_step(chosen)),
    }
    for by in ("none", "model", "provider", "agent", "user", "team", "tier", "error"):
        asked[f"series by {by}"] = partial(usage.series, who, chosen, by)  # type: ignore[arg-type]
        asked[f"by {by}"] = partial(usage.breakdown, who, chosen, by)  # type: ignore[arg-type]

    def people() -> None:
        """As the page does it: who they are is read once."""
        usage.series(who, chosen, "user", ranked=tuple(usage.breakdown(who, chosen, "user")["group"]))

    asked["people by step"] = people
    every = ("choices", "totals", "totals before")
    spend = (*every, "forecast", "month", "budgets")
    speed = ("percentiles", "percentiles before", "percentiles over time", "series by none")
    names = {
        "Spend": (*spend, "series by model", "by model"),
        "Spend by person": (*spend, "people by step"),
        "Spend by team": (*spend, "series by team", "by team"),
        "Spend by agent": (*spend, "series by agent", "by agent"),
        "Tokens": (*every, "series by model", "series by none", "by model"),
        "Speed": (*every, *speed, "series by model", "percentiles by model", "by model"),
        "Reliability": (*every, "series by none", "by error", "by provider", "refusals"),
        "Cache": (*every, *speed, "series by model", "by model"),
        "Adoption": ("choices", "people", "summary", "summary before", "by user"),
    }
    return {tab: {one: asked[one] for one in ones} for tab, ones in names.items()}


Took = list[tuple[float, float]]


def timed(ask: Callable[[], Any], rounds: int) -> Took:
    """Milliseconds of each round but the first: by the clock, and of this process's CPU."""
    found = []
    for number in range(rounds + 1):
        begun, worked = time.perf_counter(), time.process_time()
        ask()
        if number or not rounds:
            found.append(((time.perf_counter() - begun) * 1000, (time.process_time() - worked) * 1000))
    return found


def all_of(questions: Mapping[str, Question]) -> None:
    for ask in questions.values():
        ask()


@contextmanager
def from_ledger() -> Iterator[None]:
    """Questions find no rollup that answers them."""
    with mock.patch.object(cells, "KINDS", ()), mock.patch.object(percentiles, "KINDS", ()):
        yield


@contextmanager
def counted(db: Database) -> Iterator[list[str]]:
    """The statements that run meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    yield seen
    event.remove(db.engine, "before_cursor_execute", note)


def p95(took: Took) -> float:
    values = [one[0] for one in took]
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def p50(took: Took) -> float:
    return sorted(one[0] for one in took)[len(took) // 2]


def _words(took: Took) -> tuple[str, str, str]:
    cpu = sorted(one[1] for one in took)[len(took) // 2]
    return f"{p50(took):.0f}", f"{p95(took):.0f}", f"{cpu:.0f}"


def measure(db: Database, small: Database | None, days: int, arguments: argparse.Namespace) -> tuple[list[Any], bool]:
    rows, held = [], True
    of_small = tabs(Usage(small), asker(small), days) if small else {}
    for tab, questions in tabs(Usage(db), asker(db), days).items():
        if arguments.tab not in ("", tab):
            continue
        with counted(db) as statements:
            all_of(questions)
        if arguments.each:
            for name, ask in questions.items():
                rows.append((str(days), name, "", *_words(timed(ask, arguments.rounds)), "", ""))
        took = timed(partial(all_of, questions), arguments.rounds)
        beside, ledger = "", ""
        if small:
            beside = f"{p50(took) / p50(timed(partial(all_of, of_small[tab]), arguments.rounds)):.2f}×"
        if arguments.ledger:
            with from_ledger():
                ledger = f"{p50(timed(partial(all_of, questions), 0)) / p50(took):.0f}×"
        held &= p95(took) <= MOST_MS
        rows.append((str(days), tab, str(len(statements)), *_words(took), beside, ledger))
    return rows, held


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--small", default="")
    parser.add_argument("--ledger", action="store_true")
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--tab", default="")
    parser.add_argument("--days", type=int, nargs="*", default=[2, 30, 90, 400])
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    db = Database(make_url(arguments.url))
    small = Database(make_url(arguments.small)) if arguments.small else None
    calls = db.read(lambda session: session.scalar(select(func.count()).select_from(UsageMetric)))
    print(f"{calls:,} calls, {db.url.get_backend_name()}")
    rows, held = [], True
    for days in arguments.days:
        found, good = measure(db, small, days, arguments)
        rows, held = rows + found, held and good
    print(table([("days", "tab", "statements", "p50 ms", "p95 ms", "cpu ms", "small", "ledger"), *rows]))
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
