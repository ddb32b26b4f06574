"""What one run of the chat page costs with a conversation of 1,000 messages, beside the same page with 10.

    python -m tests.benchmarks.bench_page [--runs 100] [--profile FILE]

`streamlit run app.py` with one tab and nobody else. Three numbers of each run: from sending the rerun until the tab
has the end of the run, the script's own time inside the server, and the CPU of its thread. The fairest mark on a busy
machine is the second, so that one is held; the first holds the tab's own work too. Ends with status 1 when a mark is
not held.
"""

import argparse
import asyncio
import csv
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from chatcore.db import Database
from chatcore.db.tables import Conversation, Message, User, utcnow
from chatcore.ids import new_id
from tests.benchmarks.bench_load import warm_up
from tests.benchmarks.running import App, Place, hostile, table
from tests.benchmarks.streamlit_client import Tab
from tests.benchmarks.watch import spread

MOST_MS: Final = 25.0
MOST_BYTES: Final = 60_000
LONG, SHORT = 1_000, 10
_QUESTION: Final = "How would you read the latency figures of last week, and what should we look at first? (part {})"
_ANSWER: Final = """Number {} in short: the median hardly moved, the slowest percent doubled, so look at what is rare.

- **Pauses of the collector** show up in every process at once and last some hundred milliseconds.
- **A full queue** shows up in one process only, and grows with the number of people who are asking.
- **A slow disk** shows up where something is written, and nowhere else.

```python
slow = [call for call in calls if call.latency_ms > 4 * median]
print(Counter(call.model for call in slow).most_common(3))
```

Start with the second: it is the cheapest to rule out. Draw waiting and working time apart, for one process and one
hour; where the waiting grows while the work does not, a queue is full and the rest of the search is short."""


@dataclass
class Cost:
    """Of each run: milliseconds seen by the tab, of the script, of its thread's CPU; bytes on the websocket."""

    seen: list[float] = field(default_factory=list)
    script: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    bytes_received: list[int] = field(default_factory=list)
    drawn: int = 0


def seed(session: Session, username: str, messages: int) -> str:
    """A conversation with so many messages, questions and answers in turn; its id."""
    who = session.execute(select(User.id, User.tenant_id).where(User.username == username)).one()
    owner: dict[str, Any] = {"tenant_id": who.tenant_id, "user_id": who.id}
    begun, conversation_id, parent, rows = utcnow() - timedelta(days=1), new_id("conv"), None, []
    for number in range(messages):
        at, message_id = begun + timedelta(seconds=number), new_id("msg")
        row = owner | {"id": message_id, "conversation_id": conversation_id, "parent_id": parent, "status": "complete"}
        row |= {"created_at": at, "updated_at": at, "metadata": {}}
        if number % 2:
            text = _ANSWER.format(number)
            row |= {"role": "assistant", "model": "warm", "provider": "openai", "prompt_tokens": 900}
            row |= {"completion_tokens": 210, "total_tokens": 1110, "cost_nano_usd": 1_320_000}
            row |= {"ttft_ms": 410, "latency_ms": 5200, "finish_reason": "stop"}
        else:
            text = _QUESTION.format(number)
            row |= {"role": "user", "model": None, "provider": None, "prompt_tokens": None, "finish_reason": None}
            row |= dict.fromkeys(("completion_tokens", "total_tokens", "cost_nano_usd", "ttft_ms", "latency_ms"))
        rows.append(row | {"content": text, "parts": [{"type": "text", "text": text}]})
        parent = message_id
    conversation = {"id": conversation_id, "title": f"{messages} messages", "head_message_id": parent, "settings": {}}
    conversation |= {"message_count": messages, "model": "warm", "last_message_at": at, "preview": text[:100]}
    session.execute(insert(Conversation.__table__), owner | conversation)  # type: ignore[arg-type]
    session.execute(insert(Message.__table__), rows)  # type: ignore[arg-type]
    return conversation_id


async def page(app: App, cookie: str, conversation: str, runs: int, notes: Path) -> Cost:
    """Open the conversation in a tab and run its page again and again, each time when the server is quiet."""
    cost = Cost()
    async with Tab(app.url, f"/?c={conversation}", {"chatcore_session": cookie}) as tab:
        for number in range(runs + 5):
            bytes_before, ended = tab.bytes_received, tab.runs_finished + 1
            noted = len(pages(notes))
            start = time.perf_counter()
            await tab.rerun()
            await tab.until(lambda ended=ended: tab.runs_finished >= ended and tab.idle, 30)  # type: ignore[misc]
            seen = time.perf_counter() - start
            while len(found := pages(notes)) == noted:
                await asyncio.sleep(0.005)
            if number >= 5:
                cost.seen.append(seen * 1000)
                cost.script.append(found[-1][0])
                cost.cpu.append(found[-1][1])
                cost.bytes_received.append(tab.bytes_received - bytes_before)
            await asyncio.sleep(0.05)
        cost.drawn = sum("Number " in text or "latency figures" in text for text in tab.texts())
        assert not tab.errors(), tab.errors()
    return cost


def pages(notes: Path) -> list[tuple[float, float]]:
    """Milliseconds and milliseconds of CPU of each whole run of a page so far."""
    with notes.open() as file:
        return [(float(spent), float(cpu)) for kind, spent, cpu in csv.reader(file) if kind == "page"]


def report(costs: dict[int, Cost]) -> tuple[list[tuple[str, ...]], list[str]]:
    """The table's rows, and what is not held."""
    long, short = costs[LONG], costs[SHORT]
    head = ("one run of the page", f"{LONG} messages: p50", "p95", "mark", f"{SHORT} messages: p50", "p95", "ratio")
    rows, faults = [head], []
    lines: list[tuple[str, list[float], list[float], str, float | None]] = [
        ("script, in the server", long.script, short.script, "ms", MOST_MS),
        ("CPU of its thread", long.cpu, short.cpu, "ms", None),
        ("seen by the tab", long.seen, short.seen, "ms", None),
        ("on the websocket", _kilo(long), _kilo(short), "kB", MOST_BYTES / 1000),
    ]
    for name, values, beside, unit, mark in lines:
        p50, p95 = spread(values, 50, 95)
        short50, short95 = spread(beside, 50, 95)
        marked = f"{mark:g} {unit} p50" if mark else ""
        cells = (f"{p50:.1f} {unit}", f"{p95:.1f} {unit}", marked, f"{short50:.1f} {unit}", f"{short95:.1f} {unit}")
        rows.append((name, *cells, f"{p50 / short50:.1f}"))
        if mark is not None and not p50 <= mark:
            faults.append(f"{name}: {p50:.1f} {unit} > {mark:g} {unit}")
    return rows, faults


def _kilo(cost: Cost) -> list[float]:
    return [size / 1000 for size in cost.bytes_received]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--profile", type=Path, help="write what the runs did there, for pstats; they get slower")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder, hostile() as url:
        place = Place(Path(folder), {"warm": "ok;n=5"}, url)
        notes = Path(folder) / "runs.csv"
        notes.touch()
        place.environment["BENCH_RUNS"] = str(notes)
        if options.profile:
            place.environment["BENCH_PROFILE"] = str(options.profile)
        cookie = place.people(1)[0]
        db = Database(URL.create("sqlite", database=str(Path(folder) / "data" / "chatcore.db")))
        made = {size: db.write(lambda session, size=size: seed(session, "load000", size)) for size in (LONG, SHORT)}
        db.close()
        with place.app(module="tests.benchmarks.metered") as app:
            asyncio.run(warm_up(app, cookie))
            costs = {
                size: asyncio.run(page(app, cookie, conversation, options.runs, notes))
                for size, conversation in made.items()
            }
    rows, faults = report(costs)
    print(table(rows))
    print(f"\n{costs[LONG].drawn} pieces of {LONG} messages drawn, {costs[SHORT].drawn} of {SHORT}")
    for fault in faults:
        print("NOT HELD:", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
