"""10,000 pages of documents: how quickly they are indexed beside small writes as chats make them, and found.

    python -m tests.benchmarks.bench_knowledge                     SQLite, and PostgreSQL where one answers
    python -m tests.benchmarks.bench_knowledge --pages 1000 --only sqlite
    python -m tests.benchmarks.bench_knowledge --vectors 100000    a scan over so many vectors besides

A page has 3,000 characters of made-up words, as unevenly spread as those of a language. Beside the indexing one row is
written every 50 ms, and the ratio says what that costs over a time without indexing; a search is timed beside one of
a base with a single page. Ends with status 1 when a mark is not held.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import insert, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.config import Settings, load_settings
from chatcore.db import Database, upgrade
from chatcore.db.tables import KnowledgeDocument, Setting, utcnow
from chatcore.knowledge import Knowledge, vectors
from tests.benchmarks.bench_lists import postgres, timed
from tests.benchmarks.bench_search import vocabulary
from tests.benchmarks.running import table
from tests.benchmarks.watch import spread
from tests.conftest import add_person

MOST_MS: Final = 200.0
_PAGE: Final = 3_000  # characters
_DOCUMENT: Final = 100  # pages
_EVERY: Final = 0.05
_DIMENSIONS: Final = 1_536
_FIRST: Final = 10**9  # number of the first passage whose vector is made up


class Library:
    """Made-up documents. `unicorn` stands on 1 page of 1,000, `seldom` on 1 of 100, `everywhere` on each."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(7)
        self._words = np.array(vocabulary(self._rng), dtype=object)
        chances = 1 / np.arange(3, len(self._words) + 3)
        self._sums = np.cumsum(chances / chances.sum())
        self._pages = 0

    def page(self) -> str:
        self._pages += 1
        places = np.searchsorted(self._sums, self._rng.random(520)).clip(max=len(self._words) - 1)
        words = [str(word) for word in self._words[places]]
        words[40] = "unicorn" if self._pages % 1000 == 500 else "seldom" if self._pages % 100 == 50 else "everywhere"
        lines = [" ".join(words[start : start + 80]).capitalize() + "." for start in range(0, len(words), 80)]
        return "everywhere. " + "\n\n".join(lines)[:_PAGE]

    def document(self, pages: int) -> bytes:
        return "\n\n".join(f"# Page {number}\n\n{self.page()}" for number in range(pages)).encode()


class SmallWrites:
    """One row every 50 ms, as a chat's tick writes it, on a thread of its own; milliseconds of each."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.took: list[float] = []

    def __enter__(self) -> "SmallWrites":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stopping.wait(_EVERY):
            number += 1
            row = {"key": f"bench-{id(self)}-{number}", "value": {"n": number}, "updated_at": utcnow()}
            start = time.perf_counter()
            self._db.write(partial(_insert, row))
            self.took.append((time.perf_counter() - start) * 1000)


def _insert(row: dict[str, Any], session: Session) -> None:
    session.execute(insert(Setting).values(**row))


def indexed(db: Database, knowledge: Knowledge, ann: Principal, pages: int) -> tuple[list[tuple[str, ...]], str]:
    """Fill a base; the table's rows, and its id."""
    with SmallWrites(db) as alone:
        time.sleep(5)
    library, base_id = Library(), knowledge.create(ann, "Library")
    for number in range(max(1, pages // _DOCUMENT)):
        knowledge.add(ann, base_id, f"Volume {number}.md", library.document(min(_DOCUMENT, pages)))
    start = time.monotonic()
    with SmallWrites(db) as beside:
        knowledge.start()
        while knowledge.base(ann, base_id).working:
            time.sleep(0.2)
    seconds = time.monotonic() - start
    base = knowledge.base(ann, base_id)
    rows: list[tuple[str, ...]] = [
        ("indexed", f"{pages:,} pages, {base.passages:,} passages", f"{seconds:.0f} s, {pages / seconds:.0f} a s")
    ]
    for name, writes in (("alone", alone), ("while indexing", beside)):
        p50, p95 = spread(writes.took, 50, 95)
        rows.append((f"small writes {name}", f"{len(writes.took)}", f"p50 {p50:.1f}, p95 {p95:.1f} ms"))
    return rows, base_id


def found(knowledge: Knowledge, ann: Principal, base_id: str, times: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """The table's rows, and what is not held."""
    single = knowledge.create(ann, "One page")
    knowledge.add(ann, single, "page.md", Library().document(1))
    while knowledge.base(ann, single).working:
        time.sleep(0.05)
    rows: list[tuple[str, ...]] = []
    faults = []
    for question in (
        "Where does the unicorn live?", "seldom", "everywhere", "ba ko ri tes everywhere",
        "unicorn seldom bak koba rita", "Is there nothing at all about submarines?",
    ):  # fmt: skip
        p50, p95 = spread(timed(partial(knowledge.search, ann, [base_id], question), times), 50, 95)
        small, _ = spread(timed(partial(knowledge.search, ann, [single], question), times), 50, 95)
        rows.append((question, f"{p50:.1f}", f"{p95:.1f}", f"{p50 / small:.1f}"))
        if p95 > MOST_MS:
            faults.append(f"{question}: {p95:.0f} ms > {MOST_MS:g} ms")
    return rows, faults


def scanned(db: Database, document: Any, count: int, times: int) -> tuple[float, float, float, float]:
    """Milliseconds (p50, p95) and the share of the ten truly nearest that is found, of a search over made-up vectors
    that lie in clusters; and milliseconds of the whole scan in memory, without the database."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(200, _DIMENSIONS)).astype(np.float32)
    made = centres[rng.integers(200, size=count)] + rng.normal(size=(count, _DIMENSIONS)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    for start in range(0, count, 64):
        part = made[start : start + 64]
        numbers = range(_FIRST + start, _FIRST + start + len(part))
        db.write(partial(_add, document, numbers, part))
    questions = made[rng.integers(count, size=times)] + rng.normal(size=(times, _DIMENSIONS)).astype(np.float32) * 0.01
    took, right, whole = [], 0, []
    for question in questions:
        start_at = time.perf_counter()
        rows = db.read(partial(_nearest, document, question.tolist()))
        took.append((time.perf_counter() - start_at) * 1000)
        start_at = time.perf_counter()
        truly = np.argsort(-(made @ question))[:10] + _FIRST
        whole.append((time.perf_counter() - start_at) * 1000)
        right += len(set(rows) & set(truly.tolist()))
    (p50, p95), (in_memory,) = spread(took, 50, 95), spread(whole, 50)
    return p50, p95, right / (10 * times), in_memory


def _add(document: Any, numbers: Sequence[int], part: Any, session: Session) -> None:
    vectors.add(session, document, "bench", numbers, part)


def _nearest(document: Any, question: list[float], session: Session) -> list[int]:
    return vectors.nearest(session, [document.base_id], "bench", question, 10)


def run(kind: str, settings: Settings, db: Database, options: argparse.Namespace) -> list[str]:
    """Fill, measure, print; what is not held."""
    upgrade(db)
    ann, knowledge = add_person(db, "ann"), Knowledge(db, settings)
    rows, base_id = indexed(db, knowledge, ann, options.pages)
    print(table([(kind, "how many", "measured"), *rows]))
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    searches, faults = found(knowledge, ann, base_id, options.times)
    print(table([(f"{kind}: {options.times} searches each", "p50 ms", "p95 ms", "of one page's"), *searches]))
    knowledge.stop()
    return [f"{kind}: {fault}" for fault in faults]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=50, help="how often each search is timed")
    parser.add_argument("--vectors", type=int, default=0)
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    options = parser.parse_args()
    faults: list[str] = []
    with ExitStack() as stack:
        places: dict[str, Callable[[Settings], Any]] = {
            "sqlite": lambda settings: settings.database_url,
            "postgres": lambda _: stack.enter_context(postgres()),
        }
        for kind, url in places.items():
            if options.only not in (None, kind):
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatcore-bench-")))
            settings = load_settings({"CHATCORE_DATA_DIR": str(folder)}, root=folder)
            try:
                db = Database(url(settings))
            except OperationalError:
                print("\nPostgreSQL: skipped, no server answers at CHATCORE_TEST_POSTGRES_URL")
                continue
            faults += run(kind, settings, db, options)
            if options.vectors:
                faults += _vectors(kind, db, options)
            db.close()
    print("\n" + "\n".join(f"NOT HELD: {fault}" for fault in faults) if faults else "\nheld")
    return 1 if faults else 0


def _vectors(kind: str, db: Database, options: argparse.Namespace) -> list[str]:
    document = db.read(lambda session: session.scalars(select(KnowledgeDocument)).first())
    p50, p95, right, whole = scanned(db, document, options.vectors, options.times)
    print(f"{kind}: {options.vectors:,} vectors of {_DIMENSIONS}: p50 {p50:.0f}, p95 {p95:.0f} ms, "
          f"{100 * right:.0f} % of the ten nearest; all of them in memory {whole:.0f} ms")  # fmt: skip
    return [f"{kind}: vectors, {p95:.0f} ms > {MOST_MS:g} ms"] if p95 > MOST_MS else []


if __name__ == "__main__":
    sys.exit(main())
