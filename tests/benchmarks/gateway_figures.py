"""What `bench_gateway` saw, beside the provider's own account: figures, tables, and what is held."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from tests.benchmarks.gateway_lanes import Answer, Reply
from tests.benchmarks.gateway_place import DEAD
from tests.benchmarks.watch import spread

MOST_CPU: Final = 1.05  # of bare litellm's
MOST_FIRST_MS: Final = 2.0  # more than bare litellm adds
MOST_FAILOVER_MS: Final = 50.0
Answers = Mapping[str, Mapping[str, Sequence[Answer]]]
Rows = list[tuple[str, ...]]

NAMES: Final = {
    "direct": "the provider asked directly (httpx)",
    "bare": "bare litellm",
    "gateway": "Chatcore's gateway",
    "turn": "a whole turn of Chatcore",
    "proxy": "LiteLLM proxy",
}


@dataclass(frozen=True)
class First:
    """Milliseconds added to a first word: before the provider had the question, after it spoke, and in all.

    `dead`: milliseconds of providers that failed before, in which nothing is added.
    """

    added: float
    before: float
    after: float
    dead: float = 0.0


@dataclass(frozen=True)
class Cpu:
    """Microseconds of CPU for each word of a round: the process that asks, and the one behind it."""

    asking: float
    behind: float

    @property
    def whole(self) -> float:
        return self.asking + self.behind


@dataclass
class Taken:
    """By occasion and lane: the first words of each round, and the CPU of each round."""

    firsts: dict[str, dict[str, list[list[First]]]] = field(default_factory=dict)
    cpu: dict[str, dict[str, list[Cpu]]] = field(default_factory=dict)

    def all(self, occasion: str, lane: str) -> list[First]:
        """The first words of all rounds."""
        return [first for one in self.firsts.get(occasion, {}).get(lane, []) for first in one]


def account(answers: Answers, log: list[dict[str, Any]], words: Callable[[str], int]) -> tuple[Taken, list[str]]:
    """The figures, and what is wrong with replies. `words`: how many a whole reply of an occasion has."""
    said: dict[str, list[dict[str, Any]]] = {}
    for call in log:
        said.setdefault(str(call["messages"][-1]["content"]), []).append(call)
    taken, faults = Taken(), []
    for occasion, lanes in answers.items():
        for lane, rounds in lanes.items():
            for answer in rounds:
                good = [reply for reply in answer.replies if not (reply.fault or reply.words != words(occasion))]
                faults += [_fault(occasion, words(occasion), one) for one in answer.replies if one not in good]
                firsts = [first_of(reply, said.get(reply.question, [])) for reply in good]
                taken.firsts.setdefault(occasion, {}).setdefault(lane, []).append(firsts)
                if occasion in ("one stream", "streams"):
                    share = 1e6 / max(sum(reply.words for reply in answer.replies), 1)
                    cpu = Cpu(answer.cpu * share, answer.cpu_behind * share)
                    taken.cpu.setdefault(occasion, {}).setdefault(lane, []).append(cpu)
    return taken, faults


def _fault(occasion: str, words: int, reply: Reply) -> str:
    return " ".join(f"{occasion}: {reply.question}: {reply.words} of {words} words. {reply.fault}".split())


def first_of(reply: Reply, mine: list[dict[str, Any]]) -> First:
    """What was added to one first word. `mine`: the provider's calls for the question, the last one being the good one.

    The time of a dead provider ends when it ends, at the latest when the next one is asked.
    """
    good = mine[-1]
    dead = sum(min(call["ended"], later["started"]) - call["started"] for call, later in pairwise(mine))
    before = good["started"] - reply.asked - dead
    after = reply.first - good["first_word_at"]
    return First((before + after) * 1000, before * 1000, after * 1000, dead * 1000)


def _percentiles(firsts: list[First], part: str, *shares: float) -> list[float]:
    return list(spread([getattr(first, part) for first in firsts], *shares))


def first_rows(taken: Taken, streams: int) -> Rows:
    """The table of first words."""
    titles = {
        "single": "one after the other",
        "together": f"{streams} at the same moment",
        "streams": f"{streams} within a second, all running",
    }
    head = ("added to the first word, ms", "", "questions", "p50", "p99", "p50 on the way there", "p50 on the way back")
    rows: Rows = [(*head, "p99 beside the proxy's")]
    for occasion, title in titles.items():
        for lane, name in NAMES.items():
            firsts = taken.all(occasion, lane)
            p50, p99 = _percentiles(firsts, "added", 50, 99)
            (there,), (back,) = _percentiles(firsts, "before", 50), _percentiles(firsts, "after", 50)
            (beside,) = _percentiles(taken.all(occasion, "proxy"), "added", 99)
            figures = (f"{p50:.1f}", f"{p99:.1f}", f"{there:.1f}", f"{back:.1f}", f"{p99 / beside:.2f}")
            rows.append((title, name, str(len(firsts)), *figures))
    return rows


def cpu_rows(taken: Taken, streams: int) -> Rows:
    """The table of CPU: medians of the rounds."""
    titles = {"one stream": "1 stream, 20 words/s", "streams": f"{streams} streams, 20 words/s each"}
    rows: Rows = [("CPU for each word, µs", "", "asking process", "behind it", "together", "ratio to bare litellm")]
    for occasion, title in titles.items():
        for lane, name in NAMES.items():
            cpu = taken.cpu.get(occasion, {}).get(lane, [])
            if cpu:
                parts = [statistics.median(getattr(one, part) for one in cpu) for part in ("asking", "behind", "whole")]
                rows.append((title, name, *(f"{one:.0f}" for one in parts), f"{cpu_ratio(taken, occasion, lane):.2f}"))
    return rows


def cpu_ratio(taken: Taken, occasion: str, lane: str) -> float:
    """To bare litellm's of the same round; the median."""
    lanes = taken.cpu[occasion]
    return statistics.median(one.whole / bare.whole for one, bare in zip(lanes[lane], lanes["bare"], strict=True))


def failover_rows(taken: Taken) -> Rows:
    """The table of what a failover adds: beside the same lane's questions that needed none."""
    rows: Rows = [("failover before the first word, ms", "", "questions", "dead provider's own", "p50", "p95", "more")]
    for dead in DEAD:
        for lane in taken.firsts.get(dead, {}):
            firsts = taken.all(dead, lane)
            p50, p95 = _percentiles(firsts, "added", 50, 95)
            (own,) = _percentiles(firsts, "dead", 50)
            figures = (f"{own:.0f}", f"{p50:.1f}", f"{p95:.1f}", f"{failover(taken, dead, lane):.1f}")
            rows.append((dead.removeprefix("dead-"), NAMES[lane], str(len(firsts)), *figures))
    return rows


def failover(taken: Taken, dead: str, lane: str) -> float:
    """Milliseconds, p95 of the questions that met a dead provider less p50 of those that met none."""
    (p95,), (plain,) = (
        _percentiles(taken.all(dead, lane), "added", 95),
        _percentiles(taken.all("single", lane), "added", 50),
    )
    return p95 - plain


def beside_bare(taken: Taken, occasion: str) -> float:
    """Milliseconds that the gateway adds to a first word more than bare litellm does: the median of the rounds'."""
    lanes = taken.firsts[occasion]
    rounds = zip(lanes["gateway"], lanes["bare"], strict=True)
    pairs = [[_percentiles(one, "added", 50)[0] for one in pair] for pair in rounds]
    return statistics.median(ours - bare for ours, bare in pairs)


def verdicts(taken: Taken) -> tuple[list[str], list[str]]:
    """What is held and what is not, a sentence each."""
    checks: list[tuple[bool, str]] = []
    for occasion in taken.cpu:
        ratio = cpu_ratio(taken, occasion, "gateway")
        checks.append(
            (ratio <= MOST_CPU, f"CPU for each word, {occasion}: {ratio:.2f} of bare litellm's, mark {MOST_CPU}")
        )
    more = beside_bare(taken, "single")
    checks.append((more <= MOST_FIRST_MS, f"first word: {more:.1f} ms more than bare litellm, mark {MOST_FIRST_MS:g}"))
    for occasion in ("single", "together"):
        for lane in ("gateway", "turn"):
            for share in (50, 99):
                (ours,), (theirs,) = (_percentiles(taken.all(occasion, one), "added", share) for one in (lane, "proxy"))
                text = f"first word, {occasion}, {NAMES[lane]}: p{share} {ours:.1f} ms, the proxy {theirs:.1f}"
                checks.append((ours < theirs, text))
    for dead in (one for one in DEAD if one in taken.firsts):
        adds = failover(taken, dead, "turn")
        text = f"failover, {dead.removeprefix('dead-')}: p95 adds {adds:.1f} ms, mark {MOST_FAILOVER_MS:g}"
        checks.append((adds <= MOST_FAILOVER_MS, text))
    return [text for held, text in checks if held], [text for held, text in checks if not held]


def markdown(rows: Rows) -> str:
    """A Markdown table; the first row is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
