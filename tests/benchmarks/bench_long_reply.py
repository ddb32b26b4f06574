"""Long replies: 6,000 words that the provider sends at once, and what a reply of 32 KB costs on the websocket.

    python -m tests.benchmarks.bench_long_reply

Ends with status 1 when a word is missing or a mark is not held.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.bench_load import warm_up
from tests.benchmarks.running import App, Place, calls, hostile, table
from tests.benchmarks.streamlit_client import Tab
from tests.benchmarks.watch import Watch
from tests.hostile.stream import word

AT_ONCE = 6000
PARAGRAPH = 60
MOST_SECONDS = 2.0
REPLY_BYTES = 32 * 1024
MOST_BYTES = 300_000


def words_for(size: int) -> int:
    """How many numbered words make a reply of so many bytes."""
    count = total = 0
    while total < size:
        total += len(word(count, PARAGRAPH).encode())
        count += 1
    return count


async def follow(app: App, cookie: str, model: str, words: int) -> tuple[Watch, float, bool]:
    """Ask once: the watch, when the run had ended, and whether every word stands once and in order."""
    watch = Watch(words)
    async with Tab(app.url, f"/?model={model}", {"chatcore_session": cookie}) as tab:
        await tab.ask(f"question {model}", watch)
        await tab.until(lambda: watch.complete and tab.idle, 180)
        return watch, time.time(), tab.numbers() == list(range(words)) and not tab.errors()


def measure(folder: Path, rate: float) -> tuple[list[tuple[str, ...]], bool]:
    """The table's rows, and whether all is held."""
    steady = words_for(REPLY_BYTES)
    with hostile() as url:
        models = {
            "at-once": f"ok;n={AT_ONCE};para={PARAGRAPH}",
            "steady": f"ok;n={steady};rate={rate:g};para={PARAGRAPH}",
            "warm": "ok;n=5",
        }
        place = Place(folder, models, url)
        cookie = place.people(1)[0]
        with place.app() as app:
            asyncio.run(warm_up(app, cookie))
            at_once, ended, whole = asyncio.run(follow(app, cookie, "at-once", AT_ONCE))
            sent = calls(url)[-1]["last_word_at"]
            long, _, also_whole = asyncio.run(follow(app, cookie, "steady", steady))
    shown = (at_once.last or float("inf")) - sent
    rows: list[tuple[str, ...]] = [
        ("", "measured", "mark"),
        (f"{AT_ONCE} words at once: last word on the screen after", f"{shown:.2f} s", f"{MOST_SECONDS:g} s"),
        ("  first word on the screen after", f"{(at_once.first or 0) - sent:.2f} s", ""),
        ("  script run ended after", f"{ended - sent:.2f} s", ""),
        ("  on the websocket", f"{at_once.bytes_received / 1000:.0f} kB", ""),
        (
            f"{REPLY_BYTES} bytes at {rate:g} words/s: on the websocket",
            f"{long.bytes_received / 1000:.0f} kB",
            "300 kB",
        ),
        ("  largest gap", f"{long.largest_gap:.2f} s", ""),
        ("every word once and in order", str(whole and also_whole), "True"),
    ]
    return rows, whole and also_whole and shown <= MOST_SECONDS and long.bytes_received <= MOST_BYTES


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=60.0, help="words a second of the 32 KB reply")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder:
        rows, held = measure(Path(folder), options.rate)
    print(table(rows))
    print("held" if held else "NOT HELD")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
