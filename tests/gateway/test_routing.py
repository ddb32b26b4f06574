"""The way of a request: what is tried after which failure, after what pause, how often, and that it ends."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.errors import (
    BadKey,
    ContextTooLong,
    ModelUnavailable,
    ProviderDown,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    RefusedContent,
    Truncated,
)
from chatcore.gateway.breaker import Breakers
from chatcore.gateway.catalog import Model
from chatcore.gateway.prices import Prices
from chatcore.gateway.routing import Instead, Line, Route, Step
from chatcore.shared import Shared

DOWN = ProviderDown("Down.")
PASSING: list[ProviderError] = [DOWN, ProviderTimeout("Silent."), RateLimited("Slow down."), Truncated("Cut.")]
NO_USE: list[ProviderError] = [BadKey("No."), ModelUnavailable("Unknown.")]
REJECTED = ProviderError("It did not accept the request.")
TOO_LONG = ContextTooLong("Too long.")
REFUSED = RefusedContent("No.")
EVERY: list[ProviderError] = [*PASSING, *NO_USE, REJECTED, TOO_LONG, REFUSED, RateLimited("Wait.", 0.4),
                              RateLimited("Wait.", 3.0), RateLimited("Wait.", 60.0)]  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def step(name: str, number: int = 1, *, order: int = 0, weight: float = 1.0, window: int | None = None) -> Step:
    deployment = f"{name}#{number}"
    model = Model(
        name, name.title(), "acme", f"acme/{name}", Prices(), deployment=deployment, order=order, weight=weight,
        context_window=window,
    )  # fmt: skip
    return Step(model, f"{deployment}@shared")


def line(*steps: Step, tries: int = 3) -> Line:
    return Line(steps, tries)


def many(name: str, count: int, tries: int = 3) -> Line:
    """A model with deployments that are tried in their order."""
    return line(*(step(name, number, order=number) for number in range(1, count + 1)), tries=tries)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers() -> Breakers:
    return Breakers(Shared(None))


Make = Callable[..., Route]


@pytest.fixture
def make(breakers: Breakers, clock: Clock) -> Make:
    def route(*lines: Line, **options: object) -> Route:
        return Route(lines, breakers, chance=random.Random(7), now=clock, **options)  # type: ignore[arg-type]

    return route


def walk(route: Route, *errors: ProviderError, said: bool = False) -> list[str]:
    """The deployments that are called when each call fails with the next of the errors, the last one repeated."""
    return [called.model.deployment for called in calls(route, *errors, said=said)]


def calls(route: Route, *errors: ProviderError, said: bool = False) -> Iterator[Step]:
    found, count = route.first(), 0
    while found is not None:
        yield found
        found = route.after(found, errors[min(count, len(errors) - 1)], said=said)
        count += 1
        assert count < 100, "it does not end"


def open_(breakers: Breakers, *deployments: str) -> None:
    for one in deployments:
        breakers.say(f"{one}@shared", "open")


# --- order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.code)
def test_what_may_pass_is_tried_on_the_other_deployment_then_again_then_on_the_fallback(
    make: Make, error: ProviderError
) -> None:
    route = make(many("a", 2), many("b", 1, tries=2), many("c", 1, tries=1))
    assert walk(route, error) == ["a#1", "a#2", "a#1", "b#1", "b#1", "c#1"]


@pytest.mark.parametrize("error", NO_USE, ids=lambda error: error.code)
def test_a_refused_key_or_an_unknown_model_ends_that_deployment_only(make: Make, error: ProviderError) -> None:
    route = make(many("a", 2), many("b", 1, tries=2))
    assert walk(route, error) == ["a#1", "a#2", "b#1"]


def test_a_request_that_was_not_accepted_is_not_sent_to_the_same_model_again(make: Make) -> None:
    assert walk(make(many("a", 2), many("b", 2), many("c", 1)), REJECTED) == ["a#1", "b#1", "c#1"]


@pytest.mark.parametrize("error", [TOO_LONG, REFUSED], ids=lambda error: error.code)
def test_what_is_wrong_with_the_question_ends_the_route_where_nothing_is_configured_for_it(
    make: Make, error: ProviderError
) -> None:
    assert walk(make(many("a", 2), many("b", 1)), error) == ["a#1"]


def test_nothing_is_left_where_nothing_was(make: Make) -> None:
    assert make().first() is None
    assert make(line()).first() is None
    assert walk(make(line(), many("b", 1, tries=1)), DOWN) == ["b#1"]


@pytest.mark.parametrize("tries", [1, 2, 3, 6])
def test_a_model_is_tried_as_often_as_it_says_all_deployments_together(make: Make, tries: int) -> None:
    assert len(walk(make(many("a", 3, tries=tries)), DOWN)) == tries


def test_the_deployment_that_failed_least_comes_next(make: Make) -> None:
    assert walk(make(many("a", 3, tries=7)), DOWN) == ["a#1", "a#2", "a#3", "a#1", "a#2", "a#3", "a#1"]


def test_the_lowest_order_comes_first_whatever_the_weights() -> None:
    steps = [step("a", 1, order=2, weight=1000), step("a", 2, order=1, weight=0.001), step("a", 3, order=3)]
    for seed in range(50):
        route = Route([line(*steps)], None, chance=random.Random(seed))
        assert walk(route, DOWN) == ["a#2", "a#1", "a#3"]


def test_of_one_order_the_weights_say_how_calls_are_spread() -> None:
    steps, chance = [step("a", 1, weight=3), step("a", 2, weight=1)], random.Random(1)
    firsts = Counter(walk(Route([line(*steps, tries=1)], None, chance=chance), DOWN)[0] for _ in range(4000))
    assert firsts["a#1"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_without_breakers_it_makes_the_calls_of_its_line() -> None:
    assert walk(Route([line(step("a"), tries=1)], None), DOWN) == ["a#1"]


def test_asking_for_the_first_call_twice_is_asking_once(make: Make) -> None:
    """The transaction that opens its ledger row may be run again."""
    route = make(many("a", 1, tries=1), many("b", 1, tries=1))
    first = route.first()
    assert route.first() == first
    assert first is not None
    assert first.model.deployment == "a#1"
    following = route.after(first, DOWN, said=False)
    assert following is not None
    assert following.model.deployment == "b#1"


# --- breakers -------------------------------------------------------------------------------------------------------


def test_an_open_breaker_is_passed_over(make: Make, breakers: Breakers) -> None:
    open_(breakers, "a#1", "b#1")
    assert walk(make(many("a", 2, tries=2), many("b", 1), many("c", 1, tries=1)), DOWN) == ["a#2", "a#2", "c#1"]


def test_a_breaker_that_opens_on_the_way_is_passed_over(make: Make, breakers: Breakers) -> None:
    route = make(many("a", 1), many("b", 1, tries=1))
    first = route.first()
    assert first is not None
    open_(breakers, "a#1")
    following = route.after(first, DOWN, said=False)
    assert following is not None
    assert following.model.name == "b"


def test_all_open_is_a_refusal_that_says_when_to_come_back(breakers: Breakers, make: Make) -> None:
    for deployment in ("a#1", "b#1"):
        for _ in range(5):
            breakers.failed(f"{deployment}@shared", "provider_down", 12.4 if deployment == "b#1" else 40.0)
    route = make(many("a", 1), many("b", 1))
    assert route.first() is None
    refusal = route.refusal()
    assert refusal.retry_after == pytest.approx(30, abs=1), "the sooner of the two"
    assert str(refusal) == (
        "A has failed several times in a row and is not asked for now. "
        "Try again in 30 seconds, or choose another model."
    )


def test_a_refusal_never_says_zero_seconds(make: Make) -> None:
    route = make(many("a", 1))
    assert "Try again in 1 seconds" in str(route.refusal())
    assert Route([], None).refusal().retry_after > 0


def test_of_many_requests_one_is_the_trial() -> None:
    """A breaker that is due lets one call through, however many ask before that call has begun."""
    wall = Clock()
    breakers = Breakers(Shared(None), now=wall)
    for _ in range(5):
        breakers.failed("a#1@shared", "provider_down")
    wall.now += 31
    firsts = [Route([many("a", 1), many("b", 1)], breakers).first() for _ in range(50)]
    assert Counter(found.model.name for found in firsts if found) == {"a": 1, "b": 49}


def test_a_trial_that_was_never_begun_is_soon_given_to_another() -> None:
    wall = Clock()
    breakers = Breakers(Shared(None), now=wall)
    for _ in range(5):
        breakers.failed("a#1@shared", "provider_down")
    wall.now += 31
    assert Route([many("a", 1)], breakers).first() is not None
    wall.now += 15
    assert Route([many("a", 1)], breakers).first() is not None


# --- pauses ---------------------------------------------------------------------------------------------------------


def test_the_same_deployment_is_asked_again_after_a_pause_that_grows(make: Make) -> None:
    pauses = [one.pause for one in calls(make(many("a", 1, tries=4)), DOWN)]
    assert pauses[0] == 0
    for pause, longest in zip(pauses[1:], (0.25, 0.5, 1.0), strict=True):
        assert longest / 2 <= pause <= longest


def test_pauses_differ_so_that_a_crowd_does_not_come_back_at_once(breakers: Breakers) -> None:
    found = {[*calls(Route([many("a", 1, tries=2)], breakers), DOWN)][1].pause for _ in range(20)}
    assert len(found) > 10


def test_another_deployment_is_asked_at_once(make: Make) -> None:
    found = list(calls(make(many("a", 3), many("b", 1, tries=1)), RateLimited("Wait.", 3.0)))
    assert [one.pause for one in found] == [0, 0, 0, 0]


@pytest.mark.parametrize("wait", [0.1, 2.0, 4.9, 5.0])
def test_a_retry_after_within_the_limit_is_obeyed(make: Make, wait: float) -> None:
    found = list(calls(make(many("a", 1, tries=2)), RateLimited("Wait.", wait)))
    assert [one.model.deployment for one in found] == ["a#1", "a#1"]
    assert found[1].pause == pytest.approx(max(wait, 0.2), abs=1e-6 if wait > 1 else 0.1)


@pytest.mark.parametrize("wait", [5.01, 60.0, 86_400.0])
def test_a_retry_after_beyond_it_is_not_waited_for(make: Make, wait: float) -> None:
    assert walk(make(many("a", 1)), RateLimited("Wait.", wait)) == ["a#1"]
    assert walk(make(many("a", 1), many("b", 1, tries=1)), RateLimited("Wait.", wait)) == ["a#1", "b#1"]


def test_the_limit_is_for_all_waits_of_a_request_together(make: Make) -> None:
    found = list(calls(make(many("a", 1, tries=9)), RateLimited("Wait.", 2.0)))
    assert [one.pause for one in found] == [0, 2.0, 2.0], "a third wait would make six seconds"


def test_the_limit_is_a_setting(make: Make) -> None:
    found = list(calls(make(many("a", 1, tries=2), retry_after_limit=20.0), RateLimited("Wait.", 15.0)))
    assert found[1].pause == 15.0


def test_with_a_fallback_nobody_waits_longer_than_a_second(make: Make) -> None:
    lines = [many("a", 1), many("b", 1, tries=1)]
    assert walk(make(*lines), RateLimited("Wait.", 0.9), DOWN)[:2] == ["a#1", "a#1"]
    assert walk(make(*lines), RateLimited("Wait.", 1.1), DOWN) == ["a#1", "b#1"]


def test_a_fallback_that_cannot_be_asked_is_no_reason_not_to_wait(make: Make, breakers: Breakers) -> None:
    open_(breakers, "b#1")
    found = list(calls(make(many("a", 1, tries=2), many("b", 1)), RateLimited("Wait.", 3.0), DOWN))
    assert [(one.model.deployment, one.pause) for one in found] == [("a#1", 0), ("a#1", 3.0)]


def test_a_retry_after_holds_when_another_deployment_was_asked_meanwhile(make: Make, clock: Clock) -> None:
    route = make(many("a", 2))
    first = route.first()
    assert first is not None
    second = route.after(first, RateLimited("Wait.", 3.0), said=False)
    assert second is not None
    assert (second.model.deployment, second.pause) == ("a#2", 0)
    clock.now += 1
    third = route.after(second, RateLimited("Wait.", 4.0), said=False)
    assert third is not None
    assert (third.model.deployment, third.pause) == ("a#1", 2.0), "two of its three seconds are left"


def test_who_asked_to_be_left_alone_comes_after_who_did_not(make: Make) -> None:
    found = list(calls(make(many("a", 2, tries=4)), RateLimited("Wait.", 60.0), DOWN))
    assert [one.model.deployment for one in found] == ["a#1", "a#2", "a#2", "a#2"]


def test_a_retry_after_of_one_deployment_says_nothing_of_a_fallback(make: Make) -> None:
    found = list(calls(make(many("a", 1, tries=1), many("b", 1, tries=2)), RateLimited("Wait.", 4.0), DOWN))
    assert [one.model.deployment for one in found] == ["a#1", "b#1", "b#1"]
    assert [found[1].pause, found[2].pause < 0.3] == [0, True]


# --- once words were said -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.code)
def test_after_words_no_deployment_is_asked_twice(make: Make, error: ProviderError) -> None:
    assert walk(make(many("a", 2), many("b", 1)), error, said=True) == ["a#1", "a#2", "b#1"]


def test_after_words_a_lone_model_is_the_end(make: Make) -> None:
    assert walk(make(many("a", 1)), Truncated("Cut."), said=True) == ["a#1"]


# --- too long, refused ----------------------------------------------------------------------------------------------


def test_too_long_goes_to_what_is_configured_for_it(make: Make) -> None:
    route = make(many("a", 2), many("b", 1), instead=Instead(too_long=(many("long", 1, tries=2), many("longer", 1))))
    assert walk(route, TOO_LONG, DOWN) == ["a#1", "long#1", "long#1", "longer#1", "longer#1", "longer#1"]


def test_too_long_goes_else_to_fallbacks_of_a_larger_window(make: Make) -> None:
    lines = [line(step("a", window=8_000)), line(step("same", window=8_000)), line(step("unknown")),
             line(step("small", window=4_000)), line(step("large", window=32_000), tries=1)]  # fmt: skip
    assert walk(make(*lines), TOO_LONG, DOWN) == ["a#1", "large#1"]


def test_of_several_deployments_the_largest_window_counts(make: Make) -> None:
    behind = line(step("b", 1, window=4_000), step("b", 2, window=32_000), tries=1)
    assert len(walk(make(line(step("a", window=8_000)), behind), TOO_LONG, DOWN)) == 2


def test_what_is_too_long_for_the_larger_one_too_has_nowhere_to_go(make: Make) -> None:
    lines = [line(step("a", window=1)), line(step("b", window=2)), line(step("c", window=3))]
    assert walk(make(*lines, instead=Instead(too_long=(line(step("b", window=2)),))), TOO_LONG) == ["a#1", "b#1"]
    assert walk(make(*lines), TOO_LONG) == ["a#1", "b#1", "c#1"], "each is larger than the one before"


def test_refused_content_goes_to_what_is_configured_for_it_alone(make: Make) -> None:
    refused = Instead(refused=(many("open", 1, tries=1),))
    assert walk(make(many("a", 2), many("b", 1), instead=refused), REFUSED, DOWN) == ["a#1", "open#1"]
    assert walk(make(many("a", 2), many("b", 1), instead=refused), REFUSED) == ["a#1", "open#1"]


def test_a_refusal_is_no_reason_for_what_is_configured_for_length_and_the_other_way_round(make: Make) -> None:
    assert walk(make(many("a", 1), instead=Instead(too_long=(many("long", 1),))), REFUSED) == ["a#1"]
    assert walk(make(many("a", 1), instead=Instead(refused=(many("open", 1),))), TOO_LONG) == ["a#1"]


def test_what_a_fallback_finds_too_long_or_refuses_goes_on_as_if_the_first_had(make: Make) -> None:
    instead = Instead(too_long=(many("long", 1, tries=1),), refused=(many("open", 1, tries=1),))
    for first in (DOWN, REJECTED, NO_USE[0]):
        for error, last in ((TOO_LONG, "long#1"), (REFUSED, "open#1")):
            route = make(many("a", 1, tries=1), many("b", 1), instead=instead)
            assert walk(route, first, error, DOWN) == ["a#1", "b#1", last], (first.code, error.code)


def test_money_is_reserved_for_everything_that_may_be_called(make: Make) -> None:
    instead = Instead(too_long=(many("long", 1),), refused=(many("open", 1),))
    route = make(many("a", 2), many("b", 1), instead=instead)
    assert [one.model.deployment for one in route.steps] == ["a#1", "a#2", "b#1", "long#1", "open#1"]


# --- beside a silent call -------------------------------------------------------------------------------------------


def first_of(route: Route) -> Step:
    found = route.first()
    assert found is not None
    return found


def test_beside_a_silent_call_another_deployment_is_asked_else_a_fallback(make: Make) -> None:
    route = make(many("a", 2), many("b", 1))
    running = [first_of(route).breaker]
    for wanted in ("a#2", "b#1"):
        found = route.beside(running)
        assert found is not None
        assert (found.model.deployment, found.pause) == (wanted, 0)
        running.append(found.breaker)
    assert route.beside(running) is None


def test_a_call_beside_counts_as_a_try(make: Make) -> None:
    route = make(many("a", 2, tries=2))
    first = first_of(route)
    second = route.beside([first.breaker])
    assert second is not None
    assert route.after(second, DOWN, said=False) is None
    assert route.beside([]) is None


def test_beside_asks_no_open_breaker_and_nobody_who_asked_to_be_left_alone(make: Make, breakers: Breakers) -> None:
    open_(breakers, "b#1")
    route = make(many("a", 2), many("b", 1))
    second = route.after(first_of(route), RateLimited("Wait.", 3.0), said=False)
    assert second is not None
    assert route.beside([second.breaker]) is None


def test_what_a_call_beside_does_not_accept_is_not_sent_to_that_model_again(make: Make) -> None:
    route = make(many("a", 1, tries=1), many("b", 1, tries=3), many("c", 1, tries=1))
    beside = route.beside([first_of(route).breaker])
    assert beside is not None
    following = route.after(beside, REJECTED, said=False)
    assert following is not None
    assert following.model.name == "c"


# --- whatever happens -----------------------------------------------------------------------------------------------


@dataclass
class World:
    lines: list[Line]
    instead: Instead
    open: list[str]
    limit: float


NAMES = "abcdef"


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Models that each have deployments and tries, in any order, some of them twice."""

    def one(name: str) -> Line:
        count = draw(st.integers(0, 3))
        steps = [
            step(name, number, order=draw(st.integers(0, 1)), weight=draw(st.sampled_from([0.1, 1.0, 5.0])),
                 window=draw(st.sampled_from([None, 10, 20])))
            for number in range(1, count + 1)
        ]  # fmt: skip
        return line(*steps, tries=draw(st.integers(1, 4)))

    made = {name: one(name) for name in NAMES}
    some = st.lists(st.sampled_from(NAMES), max_size=4, unique=True).map(lambda names: tuple(made[n] for n in names))
    every = [one.breaker for each in made.values() for one in each.steps]
    opened = draw(st.lists(st.sampled_from(every), unique=True, max_size=4)) if every else []
    instead = Instead(draw(st.none() | some), draw(st.none() | some))
    return World(list(draw(some)), instead, opened, draw(st.sampled_from([0.0, 1.0, 5.0, 20.0])))


@given(worlds(), st.data())
def test_a_route_always_ends_within_its_tries_its_pauses_and_its_breakers(world: World, data: st.DataObject) -> None:
    breakers, clock = Breakers(Shared(None)), Clock()
    for one in world.open:
        breakers.say(one, "open")
    tries = {one.name: one.tries for one in [*world.lines, *(world.instead.too_long or ()),
                                             *(world.instead.refused or ())]}  # fmt: skip
    route = Route(
        world.lines, breakers, instead=world.instead, retry_after_limit=world.limit, chance=random.Random(1), now=clock
    )
    asked: list[Step] = []
    spoken: set[str] = set()
    waited: dict[str, float] = {}
    found = route.first()
    while found is not None:
        assert found.breaker not in world.open
        assert found.breaker not in spoken, "asked again after words"
        assert found.model in [one.model for one in route.steps], "money was reserved for it"
        clock.now += found.pause
        assert clock.now >= waited.get(found.breaker, 0.0) - 1e-6, "asked before its Retry-After"
        asked.append(found)
        if data.draw(st.booleans()) and (beside := route.beside([found.breaker])):
            assert beside.breaker not in {*world.open, *spoken, found.breaker}
            assert clock.now >= waited.get(beside.breaker, 0.0) - 1e-6, "asked before its Retry-After"
            asked.append(beside)
        error, said = data.draw(st.sampled_from(EVERY)), data.draw(st.booleans())
        if said:
            spoken.add(found.breaker)
        if isinstance(error, RateLimited) and error.retry_after:
            waited[found.breaker] = clock.now + error.retry_after
        found = route.after(found, error, said=said)
    counts = Counter(one.model.name for one in asked)
    assert all(count <= tries[name] for name, count in counts.items())
    assert sum(one.pause for one in asked) <= max(world.limit, 1.0) + 1e-9


@given(st.integers(0, 2**32), st.lists(st.sampled_from(EVERY), min_size=1, max_size=12))
def test_the_same_chance_makes_the_same_way(seed: int, errors: list[ProviderError]) -> None:
    clock = Clock()

    def way() -> list[tuple[str, float]]:
        lines = [line(step("a", 1), step("a", 2), step("a", 3)), line(step("b"), tries=2)]
        route = Route(lines, Breakers(Shared(None)), chance=random.Random(seed), now=clock)
        return [(one.model.deployment, one.pause) for one in calls(route, *errors)]

    assert way() == way()
