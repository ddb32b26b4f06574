"""The breaker: when it opens, for how long, who is let through to try, and what processes tell each other by Redis."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.gateway.breaker import COUNTED, Breakers
from chatcore.shared import Shared
from tests.redis_server import RedisServer

A = "model#1@shared"
OWN = "model#1@pkey_1"
OTHER = "model#2@shared"
NOT_COUNTED = ["provider_error", "context_too_long", "refused_content", "breaker_open", "error", ""]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers(Shared(None), now=clock)


def fail(breakers: Breakers, times: int = 5, breaker: str = A, code: str = "provider_down") -> None:
    for _ in range(times):
        breakers.started(breaker)
        breakers.failed(breaker, code)


def try_and_fail(breakers: Breakers, clock: Clock) -> float:
    """Wait until it is due, let the trial fail; for how long it is open then."""
    clock.now += breakers.wait(A)
    assert breakers.claim(A)
    fail(breakers, 1)
    return breakers.wait(A)


# --- opening and closing --------------------------------------------------------------------------------------------


def test_one_that_nobody_called_admits(breakers: Breakers) -> None:
    assert breakers.admits(A)
    assert breakers.claim(A)
    assert breakers.wait(A) == 0
    assert breakers.known() == []


@pytest.mark.parametrize("code", sorted(COUNTED))
def test_five_failures_in_a_row_open_it_for_half_a_minute(breakers: Breakers, clock: Clock, code: str) -> None:
    fail(breakers, 4, code=code)
    assert breakers.admits(A)
    fail(breakers, 1, code=code)
    assert not breakers.admits(A)
    assert not breakers.claim(A)
    assert breakers.wait(A) == 30
    clock.now += 29.9
    assert not breakers.admits(A)
    clock.now += 0.1
    assert breakers.admits(A)


@pytest.mark.parametrize("code", NOT_COUNTED)
def test_a_request_that_is_wrong_itself_opens_nothing(breakers: Breakers, code: str) -> None:
    fail(breakers, 4)
    fail(breakers, 50, code=code)
    assert breakers.admits(A)
    fail(breakers, 1)
    assert not breakers.admits(A), "nor does it break the row"


def test_an_answer_breaks_the_row(breakers: Breakers) -> None:
    for _ in range(10):
        fail(breakers, 4)
        breakers.succeeded(A)
    assert breakers.admits(A)
    assert breakers.health(A).failures == 0


def test_how_many_and_how_long_are_settings(clock: Clock) -> None:
    breakers = Breakers(Shared(None), 2, 7.0, now=clock)
    fail(breakers, 1)
    assert breakers.admits(A)
    fail(breakers, 1)
    assert breakers.wait(A) == 7


def test_each_deployment_and_key_counts_for_itself(breakers: Breakers) -> None:
    fail(breakers, 5, OWN, "bad_key")
    assert not breakers.admits(OWN)
    assert breakers.admits(A), "somebody's own bad key stops nobody else"
    assert breakers.admits(OTHER)
    fail(breakers, 5)
    breakers.succeeded(OWN)
    assert breakers.admits(OWN)
    assert not breakers.admits(A)


def test_one_call_tries_it_and_no_other_meanwhile(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    clock.now += 30
    assert breakers.claim(A)
    assert not breakers.admits(A)
    assert not breakers.claim(A)
    breakers.started(A)
    assert not breakers.admits(A)
    clock.now += 60
    assert not breakers.admits(A), "a slow trial is still the one trial"


def test_of_many_threads_one_has_the_trial(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    clock.now += 30
    barrier = threading.Barrier(16)

    def claim(_: int) -> bool:
        barrier.wait()
        return breakers.claim(A)

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(claim, range(16))) == 1


def test_a_claim_of_a_closed_one_holds_up_nobody(breakers: Breakers) -> None:
    fail(breakers, 4)
    assert all(breakers.claim(A) for _ in range(10))


def test_a_claim_that_leads_to_no_call_is_forgotten(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    clock.now += 30
    assert breakers.claim(A, pause=3)
    clock.now += 5.9
    assert not breakers.claim(A)
    clock.now += 0.1
    assert breakers.claim(A)


def test_a_trial_that_is_answered_closes_it(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    clock.now += 30
    breakers.started(A)
    breakers.succeeded(A)
    assert all(breakers.claim(A) for _ in range(10))
    fail(breakers, 4)
    assert breakers.admits(A), "and the row begins anew"
    fail(breakers, 1)
    assert breakers.wait(A) == 30, "and so does the time"


def test_each_trial_that_fails_doubles_the_time_up_to_five_minutes(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    waits = [breakers.wait(A), *(try_and_fail(breakers, clock) for _ in range(6))]
    assert waits == [30, 60, 120, 240, 300, 300, 300]


@pytest.mark.parametrize("code", NOT_COUNTED)
def test_a_trial_that_tells_nothing_leaves_the_next_one_to_tell(breakers: Breakers, clock: Clock, code: str) -> None:
    fail(breakers)
    clock.now += 30
    breakers.started(A)
    breakers.failed(A, code)
    assert breakers.claim(A)


def test_a_trial_that_somebody_stopped_leaves_the_next_one_to_tell(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    clock.now += 30
    breakers.started(A)
    breakers.released(A)
    assert breakers.claim(A)


def test_a_trial_that_never_ends_is_forgotten(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    clock.now += 30
    breakers.started(A)
    clock.now += 120
    assert breakers.claim(A)


def test_calls_that_ran_already_when_it_opened_do_not_double_the_time(breakers: Breakers, clock: Clock) -> None:
    """A hundred at once fail together: that is one outage, not ninety-six trials."""
    for _ in range(100):
        breakers.started(A)
    for _ in range(100):
        clock.now += 0.01
        breakers.failed(A, "provider_down")
    assert breakers.wait(A) <= 30
    clock.now += 30
    assert breakers.admits(A)


def test_failures_without_end_are_counted_without_end(breakers: Breakers, clock: Clock) -> None:
    breakers.say(A, "closed")
    fail(breakers, 3000)
    assert breakers.admits(A)
    breakers.say(A, None)
    fail(breakers)
    for _ in range(1500):
        assert try_and_fail(breakers, clock) <= 300


# --- Retry-After ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "wait"), [(None, 30), (1.0, 30), (90.0, 90), (600.0, 600), (10_000.0, 3600)])
def test_it_is_open_as_long_as_the_provider_asked(
    breakers: Breakers, clock: Clock, asked: float | None, wait: float
) -> None:
    fail(breakers, 4, code="rate_limited")
    breakers.failed(A, "rate_limited", asked)
    assert breakers.wait(A) == wait


def test_one_that_is_open_is_left_alone_longer_when_a_late_answer_asks_for_it(breakers: Breakers, clock: Clock) -> None:
    fail(breakers)
    clock.now += 10
    breakers.failed(A, "rate_limited", 90.0)
    assert breakers.wait(A) == 90
    breakers.failed(A, "rate_limited", 5.0)
    assert breakers.wait(A) == 90


def test_what_a_provider_asks_for_opens_nothing_by_itself(breakers: Breakers) -> None:
    breakers.failed(A, "rate_limited", 90.0)
    assert breakers.admits(A)


# --- an operator's word ---------------------------------------------------------------------------------------------


def test_opened_by_hand_it_stays_open_whatever_happens(breakers: Breakers, clock: Clock) -> None:
    breakers.say(A, "open")
    breakers.succeeded(A)
    clock.now += 10_000
    assert not breakers.admits(A)
    assert not breakers.claim(A)
    assert breakers.wait(A) == 30


def test_closed_by_hand_it_stays_closed_whatever_happens(breakers: Breakers) -> None:
    breakers.say(A, "closed")
    fail(breakers, 50)
    assert breakers.admits(A)
    assert all(breakers.claim(A) for _ in range(10))


def test_closing_by_hand_closes_one_that_had_opened(breakers: Breakers) -> None:
    fail(breakers)
    breakers.say(A, "closed")
    assert breakers.admits(A)


def test_a_word_taken_back_leaves_it_to_judge_from_the_start(breakers: Breakers) -> None:
    breakers.say(A, "closed")
    fail(breakers, 50)
    breakers.say(A, None)
    assert breakers.admits(A)
    fail(breakers, 4)
    assert breakers.admits(A)
    fail(breakers, 1)
    assert not breakers.admits(A)


# --- health ---------------------------------------------------------------------------------------------------------


def test_health_of_one_that_nobody_called(breakers: Breakers) -> None:
    found = breakers.health(A)
    assert (found.deployment, found.key, found.state, found.word) == ("model#1", "shared", "closed", None)
    assert (found.calls, found.failed, found.last_ok_at, found.last_failed_at) == (0, 0, None, None)
    assert breakers.known() == [], "looking is not calling"


def test_health_tells_what_happened(breakers: Breakers, clock: Clock) -> None:
    breakers.started(A)
    breakers.succeeded(A)
    ok_at = clock.now
    clock.now += 5
    fail(breakers, 5, code="timeout")
    found = breakers.health(A)
    assert (found.state, found.failures, found.calls, found.failed) == ("open", 5, 6, 5)
    assert (found.last_error, found.last_ok_at, found.last_failed_at) == ("timeout", ok_at, clock.now)
    assert found.open_until == clock.now + 30
    clock.now += 30
    assert breakers.health(A).state == "trial"
    breakers.succeeded(A)
    found = breakers.health(A)
    assert (found.state, found.open_until, found.last_error) == ("closed", None, "timeout")


def test_health_of_an_own_key_names_it(breakers: Breakers) -> None:
    fail(breakers, 1, "a@b/model@2#1@pkey_1")
    found = breakers.health("a@b/model@2#1@pkey_1")
    assert (found.deployment, found.key) == ("a@b/model@2#1", "pkey_1")
    assert breakers.known() == ["a@b/model@2#1@pkey_1"]


@pytest.mark.parametrize(("word", "state"), [("open", "open"), ("closed", "closed")])
def test_health_tells_the_word_and_keeps_the_counts(breakers: Breakers, word: str, state: str) -> None:
    fail(breakers, 6)
    breakers.say(A, word)  # type: ignore[arg-type]
    found = breakers.health(A)
    assert (found.word, found.state, found.open_until) == (word, state, None)
    assert (found.calls, found.failed, found.last_error) == (6, 6, "provider_down")


ACTS = st.lists(
    st.sampled_from(
        ["fail", "fail", "fail", "ok", "stop", "wrong", "start", "claim", "open", "closed", "none", "wait"]
    ),
    max_size=60,
)


@given(ACTS)
def test_it_never_says_one_thing_and_does_another(acts: list[str]) -> None:
    clock = Clock()
    breakers = Breakers(Shared(None), now=clock)
    row, word = 0, None
    for act in acts:
        match act:
            case "fail":
                breakers.failed(A, "timeout")
                row += 1
            case "ok":
                breakers.succeeded(A)
                row = 0
            case "stop":
                breakers.released(A)
            case "wrong":
                breakers.failed(A, "provider_error")
            case "start":
                breakers.started(A)
            case "claim":
                breakers.claim(A)
            case "wait":
                clock.now += 45
            case _:
                row, word = 0, None if act == "none" else act
                breakers.say(A, word)  # type: ignore[arg-type]
        health = breakers.health(A)
        assert breakers.admits(A) == (breakers.wait(A) == 0)
        assert (health.state == "open") == (breakers.wait(A) > 0)
        assert health.failures == row
        if word is not None:
            assert breakers.admits(A) == (word == "closed")
        elif row < 5:
            assert breakers.admits(A)


# --- what is forgotten ----------------------------------------------------------------------------------------------


HOUR = 3600.0


def test_own_keys_that_nobody_uses_are_forgotten_after_an_hour(breakers: Breakers, clock: Clock) -> None:
    for number in range(50):
        fail(breakers, 1, f"model#1@pkey_{number}")
    fail(breakers, 1)
    clock.now += HOUR - 1
    breakers.started(OTHER)
    assert len(breakers.known()) == 52
    clock.now += 61
    breakers.started(OTHER)
    assert breakers.known() == [A, OTHER]


@pytest.mark.parametrize("act", ["started", "succeeded", "failed"])
def test_own_keys_that_are_used_stay(breakers: Breakers, clock: Clock, act: str) -> None:
    fail(breakers, 2, OWN)
    for _ in range(3):
        clock.now += HOUR - 100
        breakers.failed(OWN, "timeout") if act == "failed" else getattr(breakers, act)(OWN)
    breakers.started(OTHER)
    assert breakers.known() == [OWN, OTHER]


def test_an_operators_word_on_an_own_key_stands_until_it_is_taken_back(breakers: Breakers, clock: Clock) -> None:
    breakers.say(OWN, "open")
    clock.now += 10 * HOUR
    breakers.started(A)
    assert not breakers.admits(OWN)
    breakers.say(OWN, None)
    clock.now += 2 * HOUR
    breakers.started(A)
    assert breakers.known() == [A]


def test_an_own_key_is_left_alone_as_long_as_its_provider_asked(breakers: Breakers, clock: Clock) -> None:
    fail(breakers, 4, OWN)
    breakers.failed(OWN, "rate_limited", HOUR)
    clock.now += HOUR - 1
    breakers.started(A)
    assert breakers.wait(OWN) == 1


def test_the_breaker_of_nobody_lets_everything_through_and_is_not_kept(breakers: Breakers) -> None:
    fail(breakers, 20, "")
    breakers.succeeded("")
    breakers.failed("", "provider_error")
    breakers.released("")
    breakers.say("", "open")
    assert breakers.admits("")
    assert breakers.claim("")
    assert breakers.wait("") == 0
    assert breakers.known() == []
    assert breakers.health("").calls == 0


# --- several processes over one Redis -------------------------------------------------------------------------------

SEEN = 2.0  # seconds within which what one process knows is known to the others


def until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@dataclass
class Processes:
    """Breakers as separate processes would have them."""

    url: str
    made: list[tuple[Breakers, Shared]] = field(default_factory=list)

    def one(self, now: Callable[[], float] = time.time) -> Breakers:
        shared = Shared(self.url)
        breakers = Breakers(shared, now=now)
        breakers.start()
        self.made.append((breakers, shared))
        return breakers

    def end(self, breakers: Breakers) -> None:
        breakers.close()
        next(shared for one, shared in self.made if one is breakers).close()


@pytest.fixture
def processes(server: RedisServer) -> Iterator[Processes]:
    processes = Processes(server.url)
    yield processes
    for breakers, _ in processes.made:
        processes.end(breakers)


def test_opened_by_one_is_open_for_the_others(processes: Processes) -> None:
    one, other = processes.one(), processes.one()
    fail(one)
    until(lambda: not other.admits(A), SEEN)
    assert other.wait(A) == pytest.approx(one.wait(A), abs=0.1)
    assert other.health(A).state == "open"
    assert other.admits(OTHER)


def test_who_starts_later_knows_it_too(processes: Processes) -> None:
    one = processes.one()
    fail(one)
    later = processes.one()
    until(lambda: not later.admits(A), SEEN)


def test_failures_of_all_processes_count_together(processes: Processes) -> None:
    some = [processes.one() for _ in range(5)]
    for each in some:
        fail(each, 1)
    until(lambda: not any(each.admits(A) for each in some), SEEN)


def test_an_answer_to_any_process_breaks_the_row(processes: Processes, server: RedisServer) -> None:
    one, other = processes.one(), processes.one()
    fail(one, 4)
    with server.client() as redis:
        until(lambda: redis.hget("chatcore:breaker-failures", A) == "4", SEEN)
        time.sleep(1.2)  # until the other has looked
        other.succeeded(A)
        until(lambda: redis.hget("chatcore:breaker-failures", A) is None, SEEN)
        fail(other, 4)
        until(lambda: redis.hget("chatcore:breaker-failures", A) == "4", SEEN)
    assert other.admits(A)


def test_closed_by_one_is_closed_for_the_others(processes: Processes) -> None:
    one, other = processes.one(), processes.one()
    fail(one)
    until(lambda: not other.admits(A), SEEN)
    other.succeeded(A)
    assert other.admits(A)
    until(lambda: one.admits(A), SEEN)
    assert one.health(A).failures == 0
    time.sleep(1.2)
    assert other.admits(A), "and it stays closed"
    assert one.admits(A)


@pytest.mark.parametrize("word", ["open", "closed"])
def test_a_word_said_to_one_holds_for_the_others_until_it_is_taken_back(processes: Processes, word: str) -> None:
    one, other = processes.one(), processes.one()
    fail(one)
    until(lambda: not other.admits(A), SEEN)
    one.say(A, word)  # type: ignore[arg-type]
    until(lambda: other.health(A).word == word, SEEN)
    assert other.admits(A) == (word == "closed")
    later = processes.one()
    until(lambda: later.health(A).word == word, SEEN)
    other.say(A, None)
    until(lambda: one.health(A).word is None and later.health(A).word is None, SEEN)
    until(lambda: one.admits(A) and other.admits(A) and later.admits(A), SEEN)


def test_the_time_doubles_whichever_process_made_the_trial(processes: Processes, server: RedisServer) -> None:
    clock = Clock()
    one, other = (Breakers(Shared(server.url), now=clock) for _ in range(2))
    for each in (one, other):
        each.start()
    try:
        fail(one)
        until(lambda: not other.admits(A), SEEN)
        for trying, watching, wait in ((other, one, 60), (one, other, 120)):
            clock.now += trying.wait(A)
            assert trying.claim(A)
            fail(trying, 1)
            assert trying.wait(A) == wait
            until(lambda watching=watching, wait=wait: watching.wait(A) == wait, SEEN)  # type: ignore[misc]
    finally:
        one.close()
        other.close()


def test_a_longer_wait_that_a_provider_asks_for_is_told_to_the_others(processes: Processes) -> None:
    one, other = processes.one(), processes.one()
    fail(one)
    until(lambda: not other.admits(A), SEEN)
    one.failed(A, "rate_limited", 300.0)
    until(lambda: other.wait(A) > 290, SEEN)


def test_a_word_does_not_flicker_while_it_spreads(processes: Processes) -> None:
    one, other = processes.one(), processes.one()
    for word in ("open", "closed") * 3:
        one.say(A, word)  # type: ignore[arg-type]
        deadline = time.monotonic() + 0.7
        while time.monotonic() < deadline:
            assert one.health(A).word == word
            time.sleep(0.005)
    until(lambda: other.health(A).word == "closed", SEEN)


def test_the_later_word_holds(processes: Processes) -> None:
    one, other = processes.one(), processes.one()
    one.say(A, "open")
    time.sleep(0.01)
    other.say(A, "closed")
    until(lambda: one.health(A).word == "closed", SEEN)
    time.sleep(1.2)
    assert other.health(A).word == "closed"


def test_while_redis_is_away_each_goes_on_by_itself(processes: Processes, server: RedisServer) -> None:
    one, other = processes.one(), processes.one()
    server.kill()
    began = time.monotonic()
    fail(one)
    assert not one.admits(A)
    assert other.admits(A)
    one.succeeded(A)
    one.say(A, "open")
    assert not one.admits(A)
    assert time.monotonic() - began < 0.1, "nothing here waits for Redis"


def test_redis_that_comes_back_empty_forgets_no_open_breaker(processes: Processes, server: RedisServer) -> None:
    one, other = processes.one(), processes.one()
    fail(one)
    until(lambda: not other.admits(A), SEEN)
    server.kill()
    fail(other, 5, OTHER)
    time.sleep(3.2)  # a failure that is older than a few looks
    server.start()
    until(lambda: not one.admits(OTHER), SEEN + 2)
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert not one.admits(A)
        assert not other.admits(A)
        time.sleep(0.02)
    later = processes.one()
    until(lambda: not later.admits(A), SEEN)


def test_what_was_closed_while_redis_was_away_is_closed_for_all_when_it_is_back(
    processes: Processes, server: RedisServer
) -> None:
    one, other = processes.one(), processes.one()
    fail(one)
    until(lambda: not other.admits(A), SEEN)
    server.kill()
    other.succeeded(A)
    server.start()
    until(lambda: one.admits(A), SEEN + 2)
    assert other.admits(A)


def test_a_word_outlives_redis(processes: Processes, server: RedisServer) -> None:
    one, other = processes.one(), processes.one()
    one.say(A, "open")
    one.say(OTHER, "open")
    until(lambda: other.health(A).word == other.health(OTHER).word == "open", SEEN)
    server.kill()
    other.say(OTHER, None)  # taken back while nobody could hear it
    other.say(OWN, "open")
    server.start()
    until(lambda: one.health(OTHER).word is None and one.health(OWN).word == "open", SEEN + 2)
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert one.health(A).word == other.health(A).word == "open"
        assert other.health(OTHER).word is None
        time.sleep(0.02)
    later = processes.one()
    until(lambda: later.health(A).word == "open" and later.health(OWN).word == "open", SEEN)
    assert later.health(OTHER).word is None


@pytest.mark.parametrize("junk", ["", "x", "[]", "{}", '{"until": "soon"}', '{"until": null, "failures": 5, "at": 1}'])
def test_what_makes_no_sense_in_redis_stops_nobody_from_listening(
    processes: Processes, server: RedisServer, junk: str
) -> None:
    with server.client() as redis:
        for key in ("chatcore:breakers", "chatcore:breaker-words"):
            redis.hset(key, "junk#1@shared", junk)
    one, other = processes.one(), processes.one()
    fail(one)
    one.say(OTHER, "open")
    until(lambda: not other.admits(A) and not other.admits(OTHER), SEEN)
    assert other.admits("junk#1@shared")


def test_no_key_and_no_words_of_a_provider_stand_in_redis(processes: Processes, server: RedisServer) -> None:
    one = processes.one()
    fail(one, 5, OWN)
    with server.client() as redis:
        until(lambda: bool(redis.hget("chatcore:breakers", OWN)), SEEN)
        found = json.loads(str(redis.hget("chatcore:breakers", OWN)))
    assert all(isinstance(value, int | float) for value in found.values())


HASHES = ("chatcore:breakers", "chatcore:breaker-words", "chatcore:breaker-failures", "chatcore:breaker-failed-at")


def kept(server: RedisServer) -> list[set[str]]:
    """The breakers in each hash."""
    with server.client() as redis:
        return [set(redis.hkeys(name)) for name in HASHES]


def test_own_keys_that_nobody_uses_are_forgotten_in_redis_too(
    processes: Processes, server: RedisServer, clock: Clock
) -> None:
    one, other = processes.one(clock), processes.one(clock)
    for number in range(20):
        fail(one, 1, f"model#1@pkey_{number}")
    fail(one, 5, OWN)
    fail(one, 5)
    other.say("model#2@pkey_2", "closed")
    other.say("model#3@pkey_3", "closed")
    other.say("model#3@pkey_3", None)
    until(lambda: len(kept(server)[2]) == 21 and len(kept(server)[1]) == 2, SEEN)
    until(lambda: {OWN, A, "model#2@pkey_2"} <= {*one.known()} & {*other.known()}, SEEN)
    clock.now += HOUR - 1
    time.sleep(1.2)  # until both have looked
    assert len(kept(server)[2]) == 21, "they count for an hour"
    clock.now += 62
    word = {"model#2@pkey_2"}
    until(lambda: kept(server) == [{A} | word, word, {A}, set()], SEEN)
    until(lambda: one.known() == other.known() == [A, *word], SEEN)
    time.sleep(1.2)  # nobody brings them back
    assert kept(server) == [{A} | word, word, {A}, set()]
    assert one.known() == other.known() == [A, *word]


def test_an_own_key_that_is_used_is_not_told_again_and_again(
    processes: Processes, server: RedisServer, clock: Clock
) -> None:
    one = processes.one(clock)
    fail(one, 1, OWN)
    one.succeeded(OWN)
    until(lambda: kept(server)[0] == {OWN}, SEEN)
    for _ in range(2):
        clock.now += HOUR - 100
        one.succeeded(OWN)
    until(lambda: kept(server) == [set()] * 4, SEEN)
    deadline = time.monotonic() + 1.2
    while time.monotonic() < deadline:
        assert kept(server)[0] == set()
    assert one.health(OWN).calls == 1


def test_the_failures_of_an_own_key_count_together_and_an_answer_breaks_their_row(
    processes: Processes, server: RedisServer
) -> None:
    one, other = processes.one(), processes.one()
    fail(one, 4, OWN)
    until(lambda: kept(server)[2] == kept(server)[3] == {OWN}, SEEN)
    fail(other, 1, OWN)
    until(lambda: not one.admits(OWN) and not other.admits(OWN), SEEN)
    one.succeeded(OWN)
    until(lambda: kept(server)[2] == kept(server)[3] == set() and other.admits(OWN), SEEN)


def test_nobody_is_not_told_of(processes: Processes, server: RedisServer) -> None:
    one = processes.one()
    fail(one, 5, "")
    fail(one, 1)
    until(lambda: kept(server)[2] == {A}, SEEN)
    assert kept(server)[0] == set()


def test_closing_ends_its_threads(processes: Processes) -> None:
    one = processes.one()
    fail(one)
    one.close()
    fail(one)  # a call that ends after the gateway does
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("breakers")]
