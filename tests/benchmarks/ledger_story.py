"""Whether the ledger and the provider's own log tell one story: rows and calls, one by one, to the token and the
nano-dollar. Used by `soak_ledger`.

A call is found by the marker in its question. Questions with one marker are asked one after the other, and so are the
calls of one model for it, so the n-th row of a model is the n-th call of that model.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from sqlalchemy import select

from chatcore.bootstrap import Core
from chatcore.db.tables import Message, UsageMetric
from tests.chat import COMPLETION_PRICE, PROMPT_PRICE
from tests.hostile import Call, HostileProvider

MOST_ROWS: Final = 6  # three tries of a model, three of the one behind it
# Their usage stands behind the line at which the call has failed, or cannot be right and is not believed.
UNREACHED: Final = ("garbage", "wrongusage")
UNPRICED: Final = "unpriced"


@dataclass(frozen=True)
class Ask:
    """What was asked. `stop_after`: seconds after which the person stopped it, None where they did not."""

    model: str
    marker: str
    conversation_id: str
    stop_after: float | None


@dataclass
class Story:
    """What was found. `faults`: by model; under "" what belongs to no question. `left`: calls that reported usage
    which nobody read any more, as they were stopped or had been given up. `unsent`: rows stopped before a call."""

    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    pairs: list[tuple[UsageMetric, Call]] = field(default_factory=list)
    cached: list[UsageMetric] = field(default_factory=list)
    unsent: list[UsageMetric] = field(default_factory=list)
    left: list[tuple[UsageMetric, Call]] = field(default_factory=list)

    @property
    def found(self) -> dict[str, list[str]]:
        """The models that have faults."""
        return {model: faults for model, faults in self.faults.items() if faults}

    @property
    def billed(self) -> list[tuple[UsageMetric, Call]]:
        """The pairs whose tokens the provider counted."""
        return [(row, call) for row, call in self.pairs if row.usage_source == "provider"]


def compare(core: Core, provider: HostileProvider, asks: Sequence[Ask]) -> Story:
    """The whole ledger beside the whole log of the provider."""
    rows, messages = _by_conversation(core)
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(provider.log, key=lambda one: one.started):
        calls[_marker(call)].append(call)
    jobs: dict[str, list[Ask]] = defaultdict(list)
    for ask in asks:
        jobs[ask.marker].append(ask)
    story = Story()
    for marker, job in jobs.items():
        mine = [rows.pop(ask.conversation_id, []) for ask in job]
        for ask, own in zip(job, mine, strict=True):
            story.faults[ask.model] += _asked(ask, own, messages[ask.conversation_id])
        _job(story, job[0].model, [row for own in mine for row in own], calls.pop(marker, []))
    story.faults[""] += [f"a row of no question: {row.model}" for own in rows.values() for row in own]
    story.faults[""] += [f"a call of no question: {call.model}" for own in calls.values() for call in own]
    return story


def _by_conversation(core: Core) -> tuple[dict[str | None, list[UsageMetric]], dict[str, list[Message]]]:
    rows: dict[str | None, list[UsageMetric]] = defaultdict(list)
    # The turns of a conversation follow one another, and so do their ids.
    ordered = select(UsageMetric).order_by(UsageMetric.turn_id, UsageMetric.attempt)
    for row in core.db.read(lambda session: session.scalars(ordered).all()):
        rows[row.conversation_id].append(row)
    messages: dict[str, list[Message]] = defaultdict(list)
    replies = select(Message).where(Message.role == "assistant").order_by(Message.id)
    for message in core.db.read(lambda session: session.scalars(replies).all()):
        messages[message.conversation_id].append(message)
    return rows, messages


def _marker(call: Call) -> str:
    """What follows `please answer` in the question."""
    asked = (str(one["content"]) for one in call.messages if "please answer " in str(one["content"]))
    return next(asked, "").removeprefix("please answer ")


def _asked(ask: Ask, rows: Sequence[UsageMetric], messages: Iterable[Message]) -> list[str]:
    """What is wrong with the turns of a question as such."""
    found = []
    turns: dict[str | None, list[UsageMetric]] = defaultdict(list)
    for row in rows:
        turns[row.turn_id].append(row)
    for message in messages:
        mine = turns.pop(message.turn_id, [])
        costs = [row.cost_nano_usd for row in mine]
        if message.cost_nano_usd != (None if None in costs else sum(cost or 0 for cost in costs)):
            found.append("the message tells another cost")
        numbers = [row.attempt for row in mine]
        # One that was taken back, as a silent call spoke meanwhile, leaves a gap.
        if numbers != sorted(set(numbers)) or numbers[:1] not in ([], [1]):
            found.append(f"the attempts are numbered {numbers}")
        if not 1 <= len(mine) <= MOST_ROWS:
            found.append(f"{len(mine)} rows of one turn")
        if message.content and all(row.usage_source == "none" for row in mine) and not _said_again(mine):
            found.append("words without tokens")
        if ask.stop_after is None and len(mine) == 1 and mine[0].outcome == "stopped":
            found.append("stopped by nobody")
        if message.status == "streaming":
            found.append("has no end")
    return [*found, *(["rows of no message"] if turns else [])]


def _said_again(rows: Sequence[UsageMetric]) -> bool:
    """A reply from the cache has words and no tokens, also where it was stopped in its middle."""
    return len(rows) == 1 and rows[0].outcome in ("cached", "stopped")


def _job(story: Story, model: str, rows: Sequence[UsageMetric], calls: Sequence[Call]) -> None:
    """The rows and the calls of one marker."""
    faults = story.faults[model]
    asked = [row for row in rows if row.outcome != "cached"]
    for row in rows:
        faults += _row(row)
        if row.outcome == "cached":
            story.cached.append(row)
            faults += _repeated(row, rows)
    named = {row.provider_model.removeprefix("openai/") for row in asked} | {call.model for call in calls}
    for target in sorted(named):
        mine = [row for row in asked if row.provider_model == f"openai/{target}"]
        theirs = [call for call in calls if call.model == target]
        mine, unsent = _sent(mine, len(theirs))
        story.unsent += unsent
        if len(mine) != len(theirs):
            faults.append(f"{len(theirs)} calls for {len(mine)} rows")
            continue
        for row, call in zip(mine, theirs, strict=True):
            story.pairs.append((row, call))
            faults += _pair(story, row, call)


def _sent(rows: list[UsageMetric], calls: int) -> tuple[list[UsageMetric], list[UsageMetric]]:
    """The rows without those that were stopped before anything was sent, where there are more rows than calls."""
    kept, unsent = list(rows), []
    for counted in (("none",), ("none", "estimated")):
        for row in reversed(rows):
            if len(kept) > calls and row in kept and row.outcome == "stopped" and row.usage_source in counted:
                kept.remove(row)
                unsent.append(row)
    return kept, unsent


def exact_cost(row: UsageMetric) -> int | None:
    """Nano-USD, from the prices in the configuration, in decimal arithmetic of its own."""
    if row.model == UNPRICED:
        return None
    total = row.prompt_tokens * Decimal(str(PROMPT_PRICE)) + row.completion_tokens * Decimal(str(COMPLETION_PRICE))
    return int((total * 10**9).to_integral_value(ROUND_HALF_EVEN))


def _row(row: UsageMetric) -> list[str]:
    found = []
    if row.outcome == "running" or row.settled_at is None or row.latency_ms is None:
        found.append("not settled")
    if row.cost_nano_usd != exact_cost(row):
        found.append(f"cost {row.cost_nano_usd} instead of {exact_cost(row)}")
    if row.usage_source == "none" and (row.prompt_tokens or row.completion_tokens):
        found.append("tokens that nobody counted")
    if row.cache_hit != (row.outcome == "cached") or (row.saved_nano_usd and not row.cache_hit):
        found.append("saved without a hit")
    return found


def _repeated(row: UsageMetric, rows: Sequence[UsageMetric]) -> list[str]:
    """A reply from the cache saves what the one that it repeats has cost."""
    first = next((one for one in rows if one.outcome == "ok" and one.model == row.model), None)
    if first is None:
        return ["repeats what nobody said"]
    if row.saved_nano_usd != (first.cost_nano_usd or 0):
        return [f"saved {row.saved_nano_usd} instead of {first.cost_nano_usd}"]
    return []


def _pair(story: Story, row: UsageMetric, call: Call) -> list[str]:
    """A row and its call."""
    given_up = row.outcome == "stopped" or (row.outcome == "timeout" and call.ended_how == "closed_by_client")
    if row.usage_source == "provider":
        told, written = _told(call.usage or {}), _written(row)
        return [] if told == written else [f"tokens {written} instead of {told}"]
    if call.usage is not None:
        story.left.append((row, call))
        if not given_up and call.behaviour not in UNREACHED:
            return [f"the provider reported {call.usage['total_tokens']} tokens, the row says {row.usage_source}"]
    if call.status >= 400 and row.usage_source != "none" and not given_up:
        return ["a refused call has tokens"]
    if call.words and row.usage_source == "none" and not given_up:
        return [f"{call.words} words of {row.outcome} without tokens"]
    return []


def _told(usage: dict[str, Any]) -> tuple[int, ...]:
    prompt = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    completion = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0), prompt, completion


def _written(row: UsageMetric) -> tuple[int, ...]:
    return row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.reasoning_tokens
