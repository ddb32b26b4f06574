"""When an alert fires, holds and recovers: the rules that hold for whatever is seen, in whatever order."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chatcore.alerts.state import QUIET, QUIET_AT_LEAST, Standing, Terms, Word, step

TERMS = Terms(for_seconds=120, cooldown_seconds=600)
FAILOVER = replace(TERMS, failover=True)
Look = tuple[bool | None, float]

looks = st.lists(
    st.tuples(st.sampled_from([True, False, None]), st.sampled_from([0.0, 30.0, 60.0, 120.0])), max_size=60
)


def walk(terms: Terms, seen: list[Look]) -> list[tuple[Standing, Word | None]]:
    """Where it stood after each look, with a cool-down that is counted by the same time."""
    standing, found, since_told = QUIET, [], float("inf")
    for broken, elapsed in seen:
        since_told += elapsed
        standing, word = step(standing, terms, broken, elapsed, since_told >= terms.cooldown_seconds)
        if word == "firing":
            since_told = 0.0
        found.append((standing, word))
    return found


def words(found: list[tuple[Standing, Word | None]]) -> list[Word]:
    return [word for _, word in found if word]


def test_what_is_never_broken_stays_quiet() -> None:
    assert walk(TERMS, [(False, 60), (None, 60)] * 5)[-1] == (QUIET, None)


def test_it_fires_after_it_held_for_long_enough_and_tells_once() -> None:
    found = walk(TERMS, [(True, 60)] * 30)
    assert [standing.state for standing, _ in found[:4]] == ["pending", "pending", "firing", "firing"]
    assert words(found) == ["firing"]


def test_a_rule_without_duration_fires_at_once() -> None:
    assert walk(Terms(0, 600), [(True, 60)])[-1][1] == "firing"


def test_what_stops_before_it_fired_is_forgotten() -> None:
    assert words(walk(TERMS, [(True, 60), (False, 60), (True, 60), (None, 60), (True, 60)])) == []


def test_it_recovers_once() -> None:
    assert words(walk(TERMS, [(True, 60)] * 5 + [(False, 60)] * 5)) == ["firing", "recovered"]


def test_too_few_calls_to_tell_hold_it_until_the_cool_down_is_over() -> None:
    quiet = int(max(TERMS.cooldown_seconds, QUIET_AT_LEAST) // 60)
    found = walk(TERMS, [(True, 60)] * 3 + [(None, 60)] * (quiet - 1))
    assert found[-1][0].state == "firing"
    assert words(walk(TERMS, [(True, 60)] * 3 + [(None, 60)] * quiet)) == ["firing", "recovered"]


def test_within_the_cool_down_it_fires_in_silence() -> None:
    again = [(True, 60.0)] * 3
    assert words(walk(TERMS, [*again, (False, 60), *again, (False, 60)])) == ["firing", "recovered"]


def test_what_fired_in_silence_is_told_when_it_outlasts_the_cool_down() -> None:
    assert words(walk(TERMS, [(True, 60)] * 3 + [(False, 60)] + [(True, 60)] * 20)) == [
        "firing", "recovered", "firing",
    ]  # fmt: skip


def test_without_a_channel_nothing_is_told_and_later_it_is() -> None:
    standing, word = step(QUIET, Terms(0, 600), True, 0, may_tell=False)
    assert (standing.state, standing.told, word) == ("firing", False, None)
    assert step(standing, Terms(0, 600), True, 60, may_tell=True)[1] == "firing"


def test_a_provider_is_put_aside_and_released_on_probation_after_the_cool_down() -> None:
    found = walk(FAILOVER, [(True, 60)] * 3 + [(None, 60)] * 10)
    assert [standing.aside for standing, _ in found] == ["", ""] + ["aside"] * 10 + ["probation"]


def test_while_it_is_aside_nothing_that_is_seen_counts() -> None:
    found = walk(FAILOVER, [(True, 60)] * 3 + [(False, 60)] * 9)
    assert found[-1][0].aside == "aside"


def test_on_probation_it_recovers_with_good_calls_and_is_put_aside_again_with_bad_ones() -> None:
    released = [(True, 60.0)] * 3 + [(None, 60.0)] * 10
    assert words(walk(FAILOVER, [*released, (False, 60)])) == ["firing", "recovered"]
    again = walk(FAILOVER, [*released, (True, 60)])
    assert again[-1][0].aside == "aside"
    assert words(again) == ["firing"]


def test_when_failover_is_switched_off_the_provider_is_measured_as_before() -> None:
    aside = walk(FAILOVER, [(True, 60)] * 3)[-1][0]
    assert step(aside, TERMS, False, 60, may_tell=True) == (QUIET, "recovered")
    assert step(aside, TERMS, True, 60, may_tell=True)[0].aside == ""


@given(
    seen=looks, failover=st.booleans(), held=st.sampled_from([0, 60, 300]), cooldown=st.sampled_from([60, 600, 3600])
)
def test_notices_alternate_and_firing_ones_keep_their_distance(
    seen: list[Look], failover: bool, held: int, cooldown: int
) -> None:
    found = walk(Terms(held, cooldown, failover), seen)
    told = words(found)
    assert told == [("firing", "recovered")[number % 2] for number in range(len(told))]
    times, clock = [], 0.0
    for (_, elapsed), (_, word) in zip(seen, found, strict=True):
        clock += elapsed
        if word == "firing":
            times.append(clock)
    assert all(later - earlier >= cooldown for earlier, later in pairwise(times))


@given(seen=looks, held=st.sampled_from([60, 300]))
def test_nothing_fires_before_it_was_broken_for_long_enough(seen: list[Look], held: int) -> None:
    broken_for = None
    for (broken, elapsed), (standing, _) in zip(seen, walk(Terms(held, 600), seen), strict=True):
        broken_for = None if not broken else 0.0 if broken_for is None else broken_for + elapsed
        if standing.state == "firing":
            return
        if standing.state == "pending":
            assert broken_for is not None
            assert broken_for < held


@given(seen=looks)
def test_only_a_rule_with_failover_puts_anything_aside(seen: list[Look]) -> None:
    assert all(standing.aside == "" for standing, _ in walk(TERMS, seen))


@given(seen=looks, failover=st.booleans())
def test_a_standing_that_is_not_firing_owes_nothing(seen: list[Look], failover: bool) -> None:
    for standing, _ in walk(replace(TERMS, failover=failover), seen):
        if standing.state != "firing":
            assert (standing.told, standing.aside) == (False, "")
