"""Importing a file of 50 MB: how long it takes, and what the rest of the process feels meanwhile. SQLite.

    python -m tests.benchmarks.bench_import
    python -m tests.benchmarks.bench_import --mb 200 --messages 40

A thread wants to wake every 20 ms and notes how late it was; another reads the list of recent conversations ten times a
second, and a third writes nothing, as often: so long the words of a running reply wait. All stand beside the same on
the idle process. Ends with status 1 when a mark is not held.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chatcore.accounts import Principal
from chatcore.config import load_settings
from chatcore.conversations import Conversations
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.exchange import Imports
from chatcore.db import Database, upgrade
from tests.benchmarks.running import table
from tests.benchmarks.watch import spread
from tests.conftest import add_person

TICK: Final = 0.02
MOST_LATE_MS: Final = 50.0  # p95
MOST_RECENT_MS: Final = 50.0  # p95
MOST_WRITE_MS: Final = 100.0  # p95
_WORDS: Final = (
    *("the", "index", "of", "a", "table", "is", "read", "before", "its", "rows", "and", "what", "stands", "there"),
    *("decides", "how", "many", "pages", "come", "from", "disk", "größe", "naïve", "数据", "latency", "budget"),
)


def write_file(path: Path, megabytes: int, messages: int) -> int:
    """A file in ChatGPT's form; returns its conversations."""
    rng = random.Random(1)
    conversations = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        while file.tell() < megabytes * 2**20:
            file.write("," if conversations else "")
            json.dump(_conversation(rng, conversations, messages), file, ensure_ascii=False)
            conversations += 1
        file.write("]")
    return conversations


def _conversation(rng: random.Random, number: int, messages: int) -> dict[str, Any]:
    begun = 1_700_000_000 + number * 100
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": ["0"]}}
    for place in range(messages):
        answer = place % 2 == 1
        content = " ".join(rng.choices(_WORDS, k=220 if answer else 40))
        body = {
            "id": str(place),
            "author": {"role": "assistant" if answer else "user", "name": None, "metadata": {}},
            "create_time": begun + place + 0.25,
            "content": {"content_type": "text", "parts": [content]},
            "status": "finished_successfully",
            "weight": 1.0,
            "metadata": {"model_slug": "gpt-4o", "timestamp_": "absolute"} if answer else {},
            "recipient": "all",
        }
        parent = str(place - 1) if place else "root"
        mapping[str(place)] = {"id": str(place), "message": body, "parent": parent, "children": [str(place + 1)]}
    times = {"create_time": begun, "update_time": begun + messages}
    last = {"current_node": str(messages - 1), "conversation_id": f"c{number}", "title": f"Talk {number}"}
    return {**times, **last, "mapping": mapping}


@dataclass
class Feel:
    """What others would feel, in milliseconds: how late a timer wakes, how long the list of recent ones takes, and how
    long an empty write.
    """

    db: Database
    who: Principal
    late: list[float] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Feel":
        self._threads = [threading.Thread(target=work) for work in (self._tick, self._read, self._write)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self._threads:
            thread.join()

    def _tick(self) -> None:
        while not self.ended.is_set():
            due = time.perf_counter() + TICK
            time.sleep(TICK)
            self.late.append((time.perf_counter() - due) * 1000)

    def _read(self) -> None:
        conversations = Conversations(self.db)
        while not self.ended.wait(0.1):
            start = time.perf_counter()
            conversations.recent(self.who)
            self.recent.append((time.perf_counter() - start) * 1000)

    def _write(self) -> None:
        while not self.ended.wait(0.1):
            start = time.perf_counter()
            self.db.write(lambda session: None)
            self.written.append((time.perf_counter() - start) * 1000)

    def row(self, name: str) -> tuple[str, ...]:
        cells = []
        for values in (self.late, self.recent, self.written):
            (p95,) = spread(values, 95)
            cells += [f"{p95:.1f} ms", f"{max(values):.1f} ms"]
        return name, *cells


def measure(folder: Path, options: argparse.Namespace) -> list[str]:
    """Make the file, import it, print; what is not held."""
    settings = load_settings({"CHATCORE_DATA_DIR": str(folder / "data")}, root=folder)
    db = Database(settings.database_url)
    upgrade(db)
    ann, bob = add_person(db, "ann"), add_person(db, "bob")
    imports = Imports(db, settings, Attachments(db, settings))
    path = folder / "conversations.json"
    conversations = write_file(path, options.mb, options.messages)
    size = path.stat().st_size / 2**20
    with Feel(db, bob) as idle:
        time.sleep(5)
    memory = _peak()
    fractions = set()
    with Feel(db, bob) as busy:
        start = time.perf_counter()
        started = imports.start(ann, path.name, path)
        while (found := imports.get(ann, started.id)).state == "running":
            fractions.add(round(found.fraction, 2))
            time.sleep(0.05)
        seconds = time.perf_counter() - start
    assert (found.state, found.added) == ("done", conversations), found
    again = time.perf_counter()
    second = imports.start(ann, path.name, path)
    while (repeated := imports.get(ann, second.id)).state == "running":
        time.sleep(0.05)
    assert (repeated.unchanged, repeated.messages) == (conversations, 0), repeated
    print(f"{size:.0f} MB, {conversations:,} conversations, {found.messages:,} messages: {seconds:.1f} s,", end=" ")
    print(f"{size / seconds:.1f} MB/s; again, nothing new: {time.perf_counter() - again:.1f} s")
    print(f"peak memory {_peak():.0f} MB, before {memory:.0f} MB; {len(fractions)} steps of progress were seen")
    head = ("", "timer late p95", "max", "recent p95", "max", "write p95", "max")
    print(table([head, idle.row("idle"), busy.row("importing")]))
    db.close()
    marks = (
        ("a timer is late", busy.late, MOST_LATE_MS),
        ("recent", busy.recent, MOST_RECENT_MS),
        ("a write", busy.written, MOST_WRITE_MS),
    )
    return [f"{name}: p95 over {mark:g} ms" for name, values, mark in marks if not next(spread(values, 95)) <= mark]


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mb", type=int, default=50)
    parser.add_argument("--messages", type=int, default=20, help="in each conversation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = measure(Path(folder), options)
    for fault in faults:
        print(f"NOT HELD: {fault}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
