"""What the cache saves of a thousand questions, of which three in ten were asked before:
`python -m tests.benchmarks.bench_cache`.

Counted by the ledger and by the provider's own log; told as the usage page tells it.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Final

from chatcore.db.tables import utcnow
from chatcore.turns import TurnSettings
from chatcore.usage import Filter
from pages.ui import figures, usage_parts
from tests.chat import Chat, running_core
from tests.hostile import HostileProvider

MODEL: Final = "ok;n=60"
AT_ONCE: Final = 8
_ITS_TURN: Final = 40  # a question is repeated at least so many questions later: its first reply has ended by then


def plan(questions: int, repeated: float, seed: int) -> list[str]:
    """Questions of the same length, of which this share repeats an earlier one."""
    chance = random.Random(seed)
    fresh = questions - round(questions * repeated)
    asked = [f"please answer question number {number}" for number in range(fresh)]
    gap = min(_ITS_TURN, fresh // 2)
    again = [(chance.randrange(fresh - gap), chance.random()) for _ in range(questions - fresh)]
    places = [(number + 0.0, text) for number, text in enumerate(asked)]
    places += [(number + gap + share * (fresh - number - gap), asked[number]) for number, share in again]
    return [text for _, text in sorted(places)]


def ask_all(chat: Chat, model: str, questions: Sequence[str]) -> None:
    """Ask each in a conversation of its own, eight at once, and wait for the ends."""
    settings = TurnSettings(temperature=0.0)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda text: chat.words(chat.ask(model, text, settings=settings)), questions))


def main(questions: int, repeated: float, seed: int) -> None:
    """Print what was saved."""
    with (
        tempfile.TemporaryDirectory(prefix="chatcore-cache-") as folder,
        HostileProvider() as provider,
        running_core(Path(folder), provider, [MODEL], first_word=20) as core,
    ):
        chat = Chat(core, provider, "ada")
        began, now = time.monotonic(), utcnow()
        ask_all(chat, MODEL, plan(questions, repeated, seed))
        took = time.monotonic() - began
        sums = core.usage.totals(chat.who, Filter(now - timedelta(days=1), now + timedelta(days=1)))
        print(f"{sums.calls:,} questions in {took:.0f} s, {len(provider.log):,} calls in the provider's log")
        print(f"cost {figures.usd(sums.cost_nano_usd)}, without the cache ", end="")
        print(figures.usd((sums.cost_nano_usd or 0) + sums.saved_nano_usd))
        print(f"the usage page says: {usage_parts.saved(sums)}; exactly {sums.share_saved:.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_cache", description=__doc__)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--repeated", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    main(given.questions, given.repeated, given.seed)
