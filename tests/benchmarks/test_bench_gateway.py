"""The figures of `bench_gateway` say what was seen, and its lanes see what the provider said."""

import asyncio
import math
import os
from pathlib import Path
from typing import Any

import pytest

from chatcore.config_file import parse_config
from tests.benchmarks.gateway_figures import (
    Cpu,
    First,
    Taken,
    account,
    cpu_ratio,
    failover,
    first_of,
    markdown,
    verdicts,
)
from tests.benchmarks.gateway_lanes import Answer, Http, Order, Reply, carry_out
from tests.benchmarks.gateway_place import DEAD, MODELS, words_of, write_config
from tests.hostile import HostileProvider


def call(question: str, started: float, first: float | None, ended: float) -> dict[str, Any]:
    times = {"started": started, "first_word_at": first, "ended": ended}
    return {"messages": [{"role": "user", "content": question}], **times}


def first(added: float) -> First:
    return First(added, added / 2, added / 2)


def test_what_the_provider_took_itself_is_not_added() -> None:
    reply = Reply("q", asked=10.0, first=10.09, last=10.2, words=5)
    found = first_of(reply, [call("q", 10.01, 10.06, 10.2)])
    assert found.before == pytest.approx(10)
    assert found.after == pytest.approx(30)
    assert found.added == pytest.approx(40)
    assert found.dead == 0


def test_the_time_of_a_dead_provider_is_its_own() -> None:
    reply = Reply("q", asked=10.0, first=10.79, last=11.0, words=5)
    dead = [call("q", 10.01, None, 10.11), call("q", 10.12, None, 11.0)]  # the second is left while it still hangs
    found = first_of(reply, [*dead, call("q", 10.72, 10.77, 11.0)])
    assert found.dead == pytest.approx(700)
    assert found.added == pytest.approx(40)


def test_only_whole_replies_count_and_the_others_are_named() -> None:
    whole, half = Reply("a", 1.0, 1.1, 1.2, 5), Reply("b", 1.0, 1.1, 1.2, 4)
    broken = Reply("c", 1.0, fault="ValueError: two\nlines")
    log = [call("a", 1.0, 1.05, 1.2), call("b", 1.0, 1.05, 1.2)]
    answers = {"single": {"direct": [Answer([whole, half, broken], 0.1, 0.0)]}}
    taken, faults = account(answers, log, lambda _: 5)
    assert len(taken.all("single", "direct")) == 1
    assert faults == ["single: b: 4 of 5 words.", "single: c: 0 of 5 words. ValueError: two lines"]


def test_cpu_is_counted_for_each_word_of_both_processes() -> None:
    answer = Answer([Reply("a", 1.0, 1.1, 1.2, 200), Reply("b", 1.0, 1.1, 1.2, 200)], cpu=0.04, cpu_behind=0.16)
    log = [call(name, 1.0, 1.05, 1.2) for name in "ab"]
    taken, _ = account({"streams": {"gateway": [answer]}}, log, lambda _: 200)
    (cpu,) = taken.cpu["streams"]["gateway"]
    assert (cpu.asking, cpu.behind, cpu.whole) == pytest.approx((100, 400, 500))


def taken(gateway: float, turn: float, proxy: float, cpu: float = 500.0, dead: float = 40.0) -> Taken:
    """Bare litellm: 10 ms and 500 µs."""
    added = {"bare": 10.0, "gateway": gateway, "turn": turn, "proxy": proxy}
    plain = {lane: [[first(one)] * 10] for lane, one in added.items()}
    over = {name: {"turn": [[first(turn + dead)] * 10]} for name in DEAD}
    used = {"one stream": {"bare": [Cpu(500, 0)], "gateway": [Cpu(cpu, 0)]}}
    return Taken({"single": plain, "together": plain} | over, used)


def test_marks_that_are_held() -> None:
    held, failed = verdicts(taken(gateway=11, turn=20, proxy=25))
    assert failed == []
    assert len(held) == 2 + 8 + len(DEAD)


@pytest.mark.parametrize(
    ("figures", "words", "count"),
    [
        (taken(12.5, 20, 25), "2.5 ms more than bare litellm", 1),
        (taken(11, 25, 25), "a whole turn of Chatcore: p99 25.0 ms, the proxy 25.0", 4),
        (taken(11, 20, 25, cpu=530), "one stream: 1.06 of bare", 1),
        (taken(11, 20, 25, dead=51), "hang: p95 adds 51.0 ms", len(DEAD)),
        (taken(math.nan, 20, 25), "nan ms more than bare litellm", 5),
    ],
)
def test_marks_that_are_not(figures: Taken, words: str, count: int) -> None:
    _, failed = verdicts(figures)
    assert len(failed) == count
    assert any(words in line for line in failed)


def test_ratios_are_taken_within_a_round() -> None:
    """A round on a busy machine makes both dearer."""
    used = {"bare": [Cpu(100, 0), Cpu(900, 0), Cpu(100, 0)], "gateway": [Cpu(50, 0), Cpu(450, 0), Cpu(60, 0)]}
    assert cpu_ratio(Taken(cpu={"streams": used}), "streams", "gateway") == 0.5


def test_failover_is_beside_questions_that_needed_none() -> None:
    plain, dead = [[first(5.0), first(10.0), first(90.0)]], [[first(20.0)] * 19 + [first(99.0)]]
    assert failover(Taken({"single": {"turn": plain}, "dead-503": {"turn": dead}}), "dead-503", "turn") == 10.0


def test_a_table_is_markdown() -> None:
    assert markdown([("a", "b"), ("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_the_configuration_is_one_that_chatcore_reads(tmp_path: Path) -> None:
    write_config(tmp_path / "config.yaml", "http://127.0.0.1:9/v1")
    file = parse_config((tmp_path / "config.yaml").read_bytes())
    assert [entry.model_name for entry in file.model_list] == [*MODELS, *DEAD]
    assert file.router_settings.fallbacks == [{name: ["single"]} for name in DEAD]
    assert not file.chatcore.model_extra


def test_a_lane_sees_what_the_provider_said() -> None:
    async def look(url: str) -> Answer:
        lane = Http(url, "sk-test", MODELS, behind=os.getpid())
        await lane.open()
        one = await carry_out(lane, Order("single", ["one"]))
        many = await carry_out(lane, Order("together", ["two", "three"], within=0.0))
        failed = await carry_out(lane, Order("dead-503", ["four"]))
        await lane.close()
        return Answer(one.replies + many.replies + failed.replies, one.cpu, one.cpu_behind)

    with HostileProvider() as provider:
        answer = asyncio.run(look(provider.url))
        log = list(provider.log)
    *good, failed = answer.replies
    assert [reply.words for reply in good] == [words_of("single"), words_of("together"), words_of("together")]
    for reply in good:
        (said,) = [one for one in log if one.messages[-1]["content"] == reply.question]
        assert said.first_word_at is not None
        assert reply.asked < said.started < said.first_word_at < reply.first < reply.last
    assert failed.words == 0
    assert "HTTPStatusError" in failed.fault
    assert answer.cpu > 0
    assert answer.cpu_behind == pytest.approx(answer.cpu, rel=0.2)  # the two clocks, on this same process
