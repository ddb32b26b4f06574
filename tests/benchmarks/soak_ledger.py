"""The ledger against the provider's own log, row by row: `python -m tests.benchmarks.soak_ledger`.

Turns of every behaviour of the hostile provider, eight at once, some stopped by their person. Each question carries a
marker, by which its call is found in the provider's log.
"""

import argparse
import itertools
import random
import secrets
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Final

from sqlalchemy import select

from chatcore.bootstrap import Core
from chatcore.db.tables import Message, UsageMetric
from tests.benchmarks.running import table
from tests.chat import COMPLETION_PRICE, PROMPT_PRICE, Chat, running_core
from tests.hostile import BEHAVIOURS, Call, HostileProvider

# Short enough for hundreds of turns; what needs a clock to fail is given a small one by `tests.chat`.
NAMED: Final = {
    "words": "words;n=600;para=60", "slow": "slow;first=0.5;n=5", "ok": "ok;n=30", "stall": "stall;n=20;at=5",
    "flaky": "flaky;fails=3",
}  # fmt: skip
STATUSES: Final = ("401", "403", "404", "408", "429;after=0", "429;after=9", "500", "502", "503")
PACED: Final = ("ok;n=40;rate=20", "reasoning;n=20;rate=20", "nousage;n=20;rate=20")
BEHAVED: Final = (*(NAMED.get(name, name) for name in BEHAVIOURS), *STATUSES, *PACED)
AT_ONCE: Final = 8
# Their usage stands behind the line at which the call has failed, or has been left.
UNREACHED: Final = ("garbage",)


@dataclass(frozen=True)
class Turn:
    """What was asked. `stop_after`: seconds after which the person stopped it, None where they did not."""

    model: str
    marker: str
    turn_id: str
    stop_after: float | None


def one(chat: Chat, model: str, stop_after: float | None) -> Turn:
    """Ask, perhaps stop, and wait for the end."""
    marker = secrets.token_hex(8)
    asked = chat.ask(model, f"please answer {marker}")
    if stop_after is not None:
        time.sleep(stop_after)
        chat.core.turns.stop(chat.who, str(asked.turn_id))
    chat.words(asked)
    return Turn(model, marker, str(asked.turn_id), stop_after)


def plan(turns: int, seed: int) -> Iterator[tuple[str, float | None]]:
    """Every behaviour in turn; one in six is stopped at a moment of its own."""
    chance = random.Random(seed)
    for model in itertools.islice(itertools.cycle(BEHAVED), turns):
        yield model, chance.uniform(0.0, 1.2) if chance.random() < 1 / 6 else None


def run(chat: Chat, turns: int, seed: int) -> list[Turn]:
    """All turns, eight at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda wanted: one(chat, *wanted), plan(turns, seed)))


def exact_cost(row: UsageMetric) -> int:
    """Nano-USD, from the prices in the configuration, in decimal arithmetic of its own."""
    total = row.prompt_tokens * Decimal(str(PROMPT_PRICE)) + row.completion_tokens * Decimal(str(COMPLETION_PRICE))
    return int((total * 10**9).to_integral_value(ROUND_HALF_EVEN))


def faults_of(turn: Turn, rows: list[UsageMetric], calls: list[Call], message: Message) -> list[str]:
    """Where the ledger and the provider tell two stories."""
    if len(rows) != 1:
        return [f"{len(rows)} rows"]
    row, reported = rows[0], calls[0].usage if calls else None
    said = bool(message.content)
    found = []
    if len(calls) > 1 or (not calls and turn.stop_after is None):
        found.append(f"{len(calls)} calls for one row")
    if row.outcome == "running" or row.settled_at is None or row.latency_ms is None:
        found.append("not settled")
    if row.cost_nano_usd != exact_cost(row):
        found.append(f"cost {row.cost_nano_usd} instead of {exact_cost(row)}")
    if message.cost_nano_usd != row.cost_nano_usd:
        found.append("the message tells another cost")
    if row.usage_source == "provider":
        told = (reported or {}).get("prompt_tokens"), (reported or {}).get("completion_tokens")
        if told != (row.prompt_tokens, row.completion_tokens):
            found.append(f"tokens {row.prompt_tokens}+{row.completion_tokens} instead of {told}")
    elif reported is not None and row.outcome != "stopped" and calls[0].behaviour not in UNREACHED:
        found.append(f"the provider reported {reported['total_tokens']} tokens, the row says {row.usage_source}")
    if said and row.usage_source == "none":
        found.append("words without tokens")
    if said and row.completion_tokens == 0:
        found.append("words without completion tokens")
    if turn.stop_after is None and row.outcome == "stopped":
        found.append("stopped by nobody")
    return found


def compare(core: Core, provider: HostileProvider, turns: list[Turn]) -> dict[str, list[str]]:
    """Faults by model; under "" what belongs to no turn: calls or rows too many."""
    rows: dict[str | None, list[UsageMetric]] = defaultdict(list)
    for row in core.db.read(lambda session: session.scalars(select(UsageMetric)).all()):
        rows[row.turn_id].append(row)
    messages = {m.turn_id: m for m in core.db.read(lambda session: session.scalars(select(Message)).all())}
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in provider.log:
        calls[str(call.messages[-1]["content"]).removeprefix("please answer ")].append(call)
    found: dict[str, list[str]] = defaultdict(list)
    for turn in turns:
        found[turn.model] += faults_of(turn, rows[turn.turn_id], calls[turn.marker], messages[turn.turn_id])
    found[""] += [f"a row of no turn: {key}" for key in rows.keys() - {turn.turn_id for turn in turns}]
    found[""] += [f"a call of no turn: {key}" for key in calls.keys() - {turn.marker for turn in turns}]
    return found


def report(core: Core, turns: list[Turn], found: dict[str, list[str]]) -> str:
    """A line for each behaviour."""
    rows = {row.turn_id: row for row in core.db.read(lambda session: session.scalars(select(UsageMetric)).all())}
    lines: list[tuple[str, ...]] = [("behaviour", "turns", "outcomes", "tokens from", "tokens", "nano-USD", "faults")]
    for model in dict.fromkeys(turn.model for turn in turns):
        mine = [rows[turn.turn_id] for turn in turns if turn.model == model and turn.turn_id in rows]
        outcomes, sources = Counter(row.outcome for row in mine), Counter(row.usage_source for row in mine)
        lines.append(
            (
                model,
                str(len(mine)),
                ", ".join(f"{count} {name}" for name, count in outcomes.most_common()),
                ", ".join(f"{count} {name}" for name, count in sources.most_common()),
                f"{sum(row.prompt_tokens + row.completion_tokens for row in mine):,}",
                f"{sum(row.cost_nano_usd or 0 for row in mine):,}",
                "; ".join(f"{count}× {words}" for words, count in Counter(found.get(model, [])).items()) or "none",
            )
        )
    return table(lines)


def soak(folder: Path, turns: int, seed: int) -> int:
    """Print the tables; the number of faults."""
    with HostileProvider() as provider, running_core(folder, provider, list(dict.fromkeys(BEHAVED))) as core:
        began = time.monotonic()
        chat = Chat(core, provider, "ada")
        asked = run(chat, turns, seed)
        took = time.monotonic() - began
        found = compare(core, provider, asked)
        print(report(core, asked, found))
        reported = [call.usage["total_tokens"] for call in provider.log if call.usage]
        rows = core.db.read(lambda session: session.scalars(select(UsageMetric)).all())
        believed = [row.prompt_tokens + row.completion_tokens for row in rows if row.usage_source == "provider"]
        print(f"\n{len(asked)} turns in {took:.0f} s, {len(rows)} ledger rows, {len(provider.log)} calls in its log")
        print(f"{len(rows) - len(provider.log)} of them stopped before anything was sent")
        print(f"tokens that the provider reported: {sum(reported):,}; in rows marked `provider`: {sum(believed):,}")
        count = sum(map(len, found.values()))
        print(f"{count} faults", *found.get("", []), sep="\n")
        return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak_ledger", description=__doc__)
    parser.add_argument("--turns", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chatcore-ledger-") as temporary:
        sys.exit(1 if soak(Path(temporary), arguments.turns, arguments.seed) else 0)
