"""A PDF of 200 messages, beside one of an empty conversation.

    python -m tests.benchmarks.bench_pdf
    python -m tests.benchmarks.bench_pdf --messages 2000

Half of the messages are questions, half are replies of about 2,000 characters with headings, lists, a table and
highlighted code. The ratio says what the messages cost over starting the compiler and reading the fonts. Ends with
status 1 when 200 messages take longer than the mark.
"""

import argparse
import resource
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from chatcore.conversations import Message
from chatcore.conversations.export import Document, to_pdf
from tests.benchmarks.running import table

MARK_SECONDS: Final = 5.0
_START: Final = datetime(2026, 1, 5, 9, tzinfo=UTC)
_REPLY: Final = """## Attempt {n}

The *first* thing to look at is **how often** the function runs; see [the guide](https://example.org/guide?n={n}).

- It reads the file `data-{n}.csv` once
- It keeps {n} rows
  1. in order
  2. without copies

```python
def total(rows: list[dict[str, float]], name: str = "value") -> float:
    \"\"\"The sum of one column.\"\"\"
    found = 0.0
    for number, row in enumerate(rows):
        if name in row:  # rows may lack it
            found += row[name] * {n}
    return found
```

| Step | Time (ms) | Note |
|:-----|----------:|------|
| read | {n} | from the disk |
| sum  | 3.5 | in memory |

> Measure first, then change. ✅

"""
_PROSE: Final = "What follows is a paragraph of ordinary words, as long as those that models like to write. " * 10


def conversation(count: int) -> Document:
    """A document of `count` messages."""
    messages = []
    for n in range(count):
        asked = n % 2 == 0
        content = f"And what about number {n}? It is slow." if asked else _REPLY.replace("{n}", str(n)) + _PROSE
        at = _START + timedelta(minutes=n)
        messages.append(Message(f"msg_{n}", None, "user" if asked else "assistant", content, "complete", at))
    return Document("How to make it quick", tuple(messages), _START)


def measure(document: Document, rounds: int = 5) -> tuple[float, int]:
    """Median seconds of making the PDF, and its bytes."""
    seconds, size = [], 0
    for _ in range(rounds):
        start = time.perf_counter()
        size = len(to_pdf(document))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=200)
    count = parser.parse_args().messages
    empty, empty_size = measure(conversation(0))
    full, size = measure(conversation(count))
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows = [
        ("document", "seconds", "ratio", "MB"),
        ("empty", f"{empty:.2f}", "1.0", f"{empty_size / 1e6:.2f}"),
        (f"{count} messages", f"{full:.2f}", f"{full / empty:.1f}", f"{size / 1e6:.2f}"),
    ]
    print(table(rows))
    print(f"Largest compiler process: {megabytes:.0f} MB.")
    return int(count <= 200 and full > MARK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
