"""How long from starting the process to the first page, and what it weighs.

    python -m tests.benchmarks.bench_start [--runs 3] [--sessions 100]

The first run begins with an empty folder, the others with its database. Ends with status 1 when a mark is not held.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.bench_load import warm_up
from tests.benchmarks.running import App, Meter, Place, hostile, table
from tests.benchmarks.streamlit_client import Tab

MOST_SECONDS = 3.0
MOST_MEGABYTES = 400.0


async def first_page(app: App) -> float:
    """Seconds from the process's start until the sign-in page was drawn in a tab."""
    async with Tab(app.url) as tab:
        assert not tab.errors(), tab.errors()
    return time.time() - app.started


async def many(app: App, cookie: str, count: int) -> tuple[float, float]:
    """Open so many tabs, and weigh the page process and its children: MB."""
    await warm_up(app, cookie)
    tabs = [Tab(app.url, "/", {"chatcore_session": cookie}) for _ in range(count)]
    for tab in tabs:
        await tab.open()
    meter = Meter(app.pid)
    meter.sample()
    for tab in tabs:
        await tab.close()
    return meter.own_rss / 2**20, meter.children_rss / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=100, help="tabs open when the memory is read; 0: skip")
    options = parser.parse_args()
    rows, held = [("run", "served", "first page drawn", "mark")], True
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder, hostile() as url:
        place = Place(Path(folder), {"warm": "ok;n=5"}, url)
        for run in range(options.runs):
            with place.app() as app:
                served = time.time() - app.started
                drawn = asyncio.run(first_page(app))
            rows.append(
                (f"{run + 1}{' (empty folder)' if run == 0 else ''}", f"{served:.2f} s", f"{drawn:.2f} s", "3 s")
            )
            held &= served <= MOST_SECONDS
        if options.sessions:
            cookie = place.people(1)[0]
            with place.app() as app:
                page, children = asyncio.run(many(app, cookie, options.sessions))
            weight = f"{page + children:.0f} MB", f"{page:.0f} page + {children:.0f} children"
            rows.append((f"with {options.sessions} tabs open", *weight, f"{MOST_MEGABYTES:.0f} MB"))
            held &= page + children <= MOST_MEGABYTES
    print(table(rows))
    print("held" if held else "NOT HELD")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
