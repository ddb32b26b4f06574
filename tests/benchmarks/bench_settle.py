"""What the rollups cost when a call is settled, beside the same settle without them, while a hundred replies stream.

    python -m tests.benchmarks.bench_settle                    SQLite, and PostgreSQL where one answers
    python -m tests.benchmarks.bench_settle --only sqlite --turns 0

The ledger has 100,000 calls of 200 people and 20 models before. A settle is the transaction from its first statement to
its commit, as it is inside the app: it waits for its turn in the writer's queue before, which is not counted but shown.
`by ten` is the end of ten replies in one transaction, each call's share. With and without take turns, so that both have
the same company. PostgreSQL is the server at `CHATCORE_TEST_POSTGRES_URL`, in a database made and dropped here. Ends
with status 1 when the mark is not held.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from unittest.mock import patch

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.bootstrap import Core
from chatcore.usage import demo_data, ledger, rollups
from chatcore.usage.rollup_jobs import RollupJobs
from tests.benchmarks.bench_lists import postgres
from tests.benchmarks.bench_stored import engine
from tests.benchmarks.running import Place, hostile, table
from tests.benchmarks.watch import spread

MOST_MS: Final = 5.0
CALLS: Final = 100_000
RATE: Final = 20  # words a second of each reply
_END: Final = ledger.Settlement(
    "ok", prompt_tokens=900, completion_tokens=250, usage_source="provider", cost_nano_usd=4_000_000, ttft_ms=420,
    latency_ms=5_300,
)  # fmt: skip


@dataclass
class Times:
    """Milliseconds: of the transaction, and of the wait before it."""

    took: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)


def settle(core: Core, who: Principal, models: Sequence[str], count: int, times: Times) -> None:
    """Open `count` calls, and settle them in one transaction. Times are shared by them."""

    def opened(session: Session) -> list[str]:
        return [
            ledger.open_call(session, ledger.NewCall(who.tenant_id, who.user_id, "openai", model, model, "trace"))
            for model in models[:count]
        ]

    ids, began = core.db.write(opened), [0.0]

    def work(session: Session) -> None:
        began[0] = time.perf_counter()
        for row_id in ids:
            ledger.settle_call(session, row_id, _END)

    asked = time.perf_counter()
    core.db.write(work)
    times.took.append((time.perf_counter() - began[0]) * 1000 / count)
    times.waited.append((began[0] - asked) * 1000)


@contextlib.contextmanager
def without() -> Iterator[None]:
    """As it was before there were rollups."""
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    with patch.object(rollups, "note", nothing):
        yield


def run(place: Place, name: str, turns: int, rounds: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """The table's rows and what is not held."""
    found: dict[tuple[int, bool], Times] = {(count, kept): Times() for count in (1, 10) for kept in (False, True)}
    with engine(place) as (core, who):
        made = demo_data.make(core.db, who.tenant_id, days=60, rows=CALLS, people=200, models=20)
        assert made.calls == CALLS
        asked = [core.turns.ask(who, None, f"stream {number}", model="stream") for number in range(turns)]
        until = time.monotonic() + 60
        while core.turns.engine.active < turns and time.monotonic() < until:
            time.sleep(0.05)
        models = [f"gpt-{number}" for number in range(10)]
        for number in range(rounds + 10):
            for (count, kept), times in found.items():
                with contextlib.nullcontext() if kept else without():
                    settle(core, who, models, count, times if number >= 10 else Times())
        streaming = core.turns.engine.active
        RollupJobs(core.db).catch_up()
        for one in asked:
            core.turns.engine.stop(one.turn_id or "")
    return _rows(found, f"{name}, {streaming} stream")


def _rows(found: dict[tuple[int, bool], Times], name: str) -> tuple[list[tuple[str, ...]], list[str]]:
    rows, faults = [], []
    for (count, kept), times in found.items():
        p50, p95, most = spread(times.took, 50, 95, 100)
        (bare,) = spread(found[count, False].took, 50)
        (waited,) = spread(times.waited, 95)
        what = f"{name}: {'by ten, each' if count > 1 else 'one call'}, {'with' if kept else 'without'} rollups"
        rows.append((what, f"{p50:.2f}", f"{p95:.2f}", f"{most:.1f}", f"{p50 / bare:.1f}", f"{waited:.1f}"))
        if kept and not p95 <= MOST_MS:
            faults.append(f"{what}: {p95:.1f} ms > {MOST_MS:g} ms")
    return rows, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100, help="replies that stream meanwhile")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--only", choices=("sqlite", "postgres"))
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = [
        ("settling, milliseconds", "p50", "p95", "most", "ratio of p50", "waited before, p95")
    ]
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder, hostile() as url:
        models = {"stream": f"ok;n={RATE * 300};rate={RATE}"}
        for kind in ("sqlite", "postgres"):
            if options.only in (None, kind):
                place = Place(Path(folder) / kind, models, url)
                with contextlib.ExitStack() as stack:
                    if kind == "postgres" and not _on_postgres(place, stack):
                        faults += ["no PostgreSQL answers"] if options.only else []
                        continue
                    more, wrong = run(place, kind, options.turns, options.rounds)
                    rows, faults = rows + more, faults + wrong
    print(table(rows))
    for fault in faults:
        print("NOT HELD:", fault)
    return 1 if faults else 0


def _on_postgres(place: Place, stack: contextlib.ExitStack) -> bool:
    try:
        url = stack.enter_context(postgres())
    except OperationalError:
        return False
    place.environment["CHATCORE_DATABASE_URL"] = url.render_as_string(hide_password=False)
    return True


if __name__ == "__main__":
    sys.exit(main())
