"""Rate limits: waits that are true to the second, rules that meet, Redis that comes and goes, refusals counted."""

import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis, RedisError
from sqlalchemy import URL, func, select

from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import LimitHit, utcnow
from chatcore.errors import Forbidden, LimitExceeded
from chatcore.flags import FlagStore, LimitRule
from chatcore.ids import new_id
from chatcore.shared import Shared
from chatcore.usage.limit_windows import OwnWindows, Window
from chatcore.usage.limits import Limits, LimitState, RuleExceeded
from tests.conftest import skip_or_fail
from tests.redis_server import RedisServer
from tests.serving import free_port

_REDIS: Final = os.environ.get("CHATCORE_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
REDIS_URL: Final = urlsplit(_REDIS)._replace(path="/5").geturl()
OPERATOR: Final = Principal("user_op", "tenant_op", "op", "Op", "operator")
MODEL: Final = "acme/large"


class Clock:
    """Stands in for `time.time`, and moves when told. Quarters of a second are exact."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def flags(database: Database, settings: Settings) -> FlagStore:
    return FlagStore(database, settings)


@pytest.fixture
def local(database: Database, flags: FlagStore) -> Limits:
    return Limits(database, flags, Shared(None))


@pytest.fixture
def redis_url() -> Iterator[str]:
    with Redis.from_url(REDIS_URL, socket_connect_timeout=2, socket_timeout=2) as redis:
        try:
            redis.ping()
        except RedisError:
            skip_or_fail("no Redis answers at CHATCORE_TEST_REDIS_URL")
        yield REDIS_URL
        for key in redis.scan_iter("chatcore:limits:*"):
            redis.delete(key)


Make = Callable[[str | None], Limits]


@pytest.fixture
def make(database: Database, flags: FlagStore) -> Iterator[Make]:
    """A `Limits` of a process of its own, as far as windows go, over a Redis."""
    made: list[Shared] = []

    def one(url: str | None) -> Limits:
        made.append(Shared(url))
        return Limits(database, flags, made[-1])

    yield one
    for shared in made:
        shared.close()


@pytest.fixture(params=["in process", "redis"])
def pair(request: pytest.FixtureRequest, local: Limits, make: Make) -> tuple[Limits, Limits]:
    """Two `Limits` that know of each other's requests: one and the same, or two that share a Redis."""
    if request.param == "in process":
        return local, local
    url = request.getfixturevalue("redis_url")
    return make(url), make(url)


def rule(scope: Any, name: str, amount: int, per: Any = "minute", of: Any = "requests") -> LimitRule:
    return LimitRule(scope, name, of, per, amount)


def person(tenant: str = "", tier: str = "free", role: Any = "member") -> Principal:
    user_id = new_id("user")
    return Principal(user_id, tenant or new_id("tenant"), user_id, "Somebody", role, tier=tier)


def set_rules(flags: FlagStore, *rules: LimitRule) -> None:
    flags.set(OPERATOR, limits=rules)


def admitted(limits: Limits, who: Principal, tries: int = 20, model: str = MODEL) -> int:
    """How many of the tries, one request each, are let through."""
    count = 0
    for _ in range(tries):
        try:
            limits.admit(who, model)
        except LimitExceeded:
            continue
        count += 1
    return count


def refusal(limits: Limits, who: Principal, model: str = MODEL, count: int = 1) -> RuleExceeded:
    with pytest.raises(RuleExceeded) as caught:
        limits.admit(who, model, count)
    return caught.value


def asked(limits: Limits, who: Principal, count: int) -> int:
    """0 when let through, else the wait that was told."""
    try:
        limits.admit(who, MODEL, count)
    except RuleExceeded as error:
        return error.retry_after
    return 0


def charge(limits: Limits, who: Principal, tokens: int, model: str = MODEL) -> None:
    limits.charge(tenant_id=who.tenant_id, user_id=who.user_id, tier=who.tier, model=model, tokens=tokens)


def used(limits: Limits, who: Principal) -> list[int]:
    return [state.used for state in limits.states(who)]


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits for something to be so; fails when it is not within the seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


def test_the_wait_is_true_to_the_second(pair: tuple[Limits, Limits], flags: FlagStore, clock: Clock) -> None:
    asks, other = pair
    set_rules(flags, rule("tier", "free", 2))
    who, start = person(), clock.now
    asks.admit(who, MODEL)
    clock.now += 10.5
    asks.admit(who, MODEL)
    clock.now += 1.0
    error = refusal(other, who)
    assert error.retry_after == 49, "the first leaves just after 48.5 s"
    told = clock.now
    clock.now = told + error.retry_after - 1
    assert refusal(other, who).retry_after == 1
    clock.now = told + error.retry_after
    other.admit(who, MODEL)
    assert clock.now - start > 60


def test_an_entry_of_exactly_the_window_s_age_still_counts(
    pair: tuple[Limits, Limits], flags: FlagStore, clock: Clock
) -> None:
    asks, other = pair
    set_rules(flags, rule("tier", "free", 1))
    who = person()
    asks.admit(who, MODEL)
    clock.now += 30
    error = refusal(other, who)
    assert error.retry_after == 31
    clock.now += 30
    assert refusal(other, who).retry_after == 1
    clock.now += 1
    other.admit(who, MODEL)


@pytest.mark.parametrize(("per", "seconds"), [("minute", 60), ("hour", 3600), ("day", 86_400)])
def test_windows_are_as_long_as_they_say(local: Limits, flags: FlagStore, clock: Clock, per: str, seconds: int) -> None:
    set_rules(flags, rule("tier", "free", 1, per))
    who = person()
    local.admit(who, MODEL)
    assert refusal(local, who).retry_after == seconds + 1
    clock.now += seconds
    refusal(local, who)
    clock.now += 0.25
    local.admit(who, MODEL)


def test_several_at_once_are_let_through_all_or_none(
    pair: tuple[Limits, Limits], flags: FlagStore, clock: Clock
) -> None:
    asks, other = pair
    set_rules(flags, rule("tier", "free", 4))
    who = person()
    for _ in range(3):
        asks.admit(who, MODEL)
        clock.now += 5
    error = refusal(other, who, count=3)
    assert error.retry_after == 51, "two of the three must have left: the second does just after 50 s"
    assert used(other, who) == [3], "a refused comparison takes nothing"
    told = clock.now
    clock.now = told + 50
    refusal(other, who, count=3)
    clock.now = told + 51
    other.admit(who, MODEL, 3)
    assert used(asks, who) == [4]


def test_what_fits_is_counted_as_often_as_asked(pair: tuple[Limits, Limits], flags: FlagStore) -> None:
    asks, other = pair
    set_rules(flags, rule("tier", "free", 4))
    who = person()
    asks.admit(who, MODEL, 4)
    refusal(other, who)


def test_the_longest_wait_is_told(pair: tuple[Limits, Limits], flags: FlagStore, clock: Clock) -> None:
    asks, other = pair
    set_rules(flags, rule("tier", "free", 1), rule("tier", "free", 1, "hour"))
    who = person()
    asks.admit(who, MODEL)
    clock.now += 0.5
    error = refusal(other, who)
    assert (error.retry_after, error.rule.per) == (3600, "hour")


def test_who_is_refused_by_one_rule_uses_nothing_of_another(
    pair: tuple[Limits, Limits], flags: FlagStore, clock: Clock
) -> None:
    asks, other = pair
    tenant = new_id("tenant")
    set_rules(flags, rule("tenant", tenant, 10), rule("model", MODEL, 3), rule("tier", "free", 5))
    who = person(tenant)
    assert admitted(asks, who) == 3
    assert admitted(other, who) == 0
    assert {state.rule.scope: state.used for state in other.states(who)} == {"tenant": 3, "tier": 3}
    assert admitted(other, who, model="small") == 2


def test_a_person_s_own_rule_replaces_their_tier_s_of_the_same_kind(local: Limits, flags: FlagStore) -> None:
    more, fewer, other = person(), person(), person()
    rules = [rule("user", more.user_id, 7), rule("tier", "free", 3), rule("user", fewer.user_id, 1)]
    set_rules(flags, *rules, rule("tier", "free", 5, "hour"))
    assert admitted(local, more) == 5, "the tier's hour still holds"
    assert admitted(local, fewer) == 1
    assert admitted(local, other) == 3


def test_of_two_rules_of_one_kind_the_smaller_holds(local: Limits, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 5), rule("tier", "free", 2), rule("tier", "free", 9))
    assert admitted(local, person()) == 2


def test_the_default_is_a_hundred_a_day_for_free_and_a_thousand_for_pro(local: Limits) -> None:
    assert admitted(local, person(), 110) == 100
    assert admitted(local, person(tier="pro"), 1010) == 1000
    assert admitted(local, person(tier="unheard of"), 1010) == 1010


def test_a_change_of_tier_holds_at_once_and_what_was_used_stays_used(local: Limits, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 3), rule("tier", "pro", 10))
    who = person()
    assert admitted(local, who) == 3
    pro = replace(who, tier="pro")
    assert admitted(local, pro) == 7
    assert admitted(local, who) == 0


def test_a_changed_amount_holds_at_once_and_forgets_nothing(
    pair: tuple[Limits, Limits], flags: FlagStore, clock: Clock
) -> None:
    asks, other = pair
    set_rules(flags, rule("tier", "free", 5))
    who = person()
    for _ in range(5):
        asks.admit(who, MODEL)
        clock.now += 1
    set_rules(flags, rule("tier", "free", 2))
    error = refusal(other, who)
    assert error.retry_after == 59, "the second youngest must have left"
    assert [(one.left, one.resets_in) for one in other.states(who)] == [(0, 59)]
    set_rules(flags, rule("tier", "free", 6))
    assert admitted(other, who) == 1
    set_rules(flags, rule("tier", "free", 2))
    clock.now += 57.5
    refusal(other, who)
    clock.now += 1.5
    assert admitted(other, who) == 0, "the one that came after is young"


def test_a_rule_of_all_people_counts_them_together_and_nobody_else(
    pair: tuple[Limits, Limits], flags: FlagStore
) -> None:
    asks, other = pair
    tenant = new_id("tenant")
    set_rules(flags, rule("tenant", tenant, 4))
    ann, bob, stranger = person(tenant), person(tenant), person()
    assert admitted(asks, ann, 3) == 3
    assert admitted(other, bob, 3) == 1
    assert admitted(other, stranger, 6) == 6
    assert [state.used for state in asks.states(bob)] == [4]


def test_a_rule_of_a_model_counts_the_people_of_each_tenant_together(
    pair: tuple[Limits, Limits], flags: FlagStore
) -> None:
    asks, other = pair
    tenant = new_id("tenant")
    set_rules(flags, rule("model", MODEL, 2))
    ann, bob, stranger = person(tenant), person(tenant), person()
    assert admitted(asks, ann, 1) == 1
    assert admitted(other, bob, 3) == 1
    assert admitted(other, stranger, 3) == 2
    assert admitted(other, bob, 3, model="small") == 3
    assert other.states(bob) == []


def test_nothing_is_let_through_by_a_rule_of_zero(local: Limits, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 0), rule("tier", "pro", 0, "day", "tokens"), rule("model", "dear", 0, "day"))
    assert str(refusal(local, person())) == "You may use 0 requests a minute. Ask an admin for a higher limit."
    error = refusal(local, person(tier="pro"))
    assert str(error) == "You may use 0 tokens a day. Ask an admin for a higher limit."
    assert error.retry_after == 86_400
    assert str(refusal(local, person(tier="max"), "dear")) == (
        "Your organisation may use 0 requests to dear a day. Choose another model, or ask an admin for a higher limit."
    )
    assert [(state.used, state.left, state.resets_in) for state in local.states(person())] == [(0, 0, 0)]


def test_more_at_once_than_there_ever_is_are_refused_without_a_promise(local: Limits, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 2), rule("tier", "free", 5, "hour"))
    who = person()
    assert str(refusal(local, who, count=3)) == (
        "You may use 2 requests a minute, and this asks for 3 at once. Ask fewer models at a time."
    )
    assert used(local, who) == [0, 0]


def test_switched_off_nothing_is_refused_or_counted(local: Limits, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 1), rule("tier", "free", 5, of="tokens"))
    who = person()
    flags.set(OPERATOR, rate_limits=False)
    assert admitted(local, who, 9) == 9
    charge(local, who, 100)
    assert local.states(who) == []
    flags.set(OPERATOR, rate_limits=True)
    assert admitted(local, who) == 1


@pytest.mark.parametrize(
    ("of", "tenant", "model", "waits", "sentence"),
    [
        (("requests", "day", 100), False, False, 86_401,
         "You have used your 100 requests for today. Try again in 86401 seconds (about 24 hours)."),
        (("requests", "minute", 1), False, False, 61,
         "You have used your 1 request for this minute. Try again in 61 seconds."),
        (("tokens", "hour", 20_000), False, False, 3600,
         "You have used your 20,000 tokens for this hour. Try again in 3600 seconds (about 60 minutes)."),
        (("requests", "hour", 5), True, False, 3601,
         "Your organisation has used its 5 requests for this hour. Try again in 3601 seconds (about 60 minutes)."),
        (("requests", "minute", 5), False, True, 61,
         "Your organisation has used its 5 requests to acme/large for this minute. Try again in 61 seconds."),
        (("tokens", "minute", 5), False, True, 60,
         "Your organisation has used its 5 tokens of acme/large for this minute. Try again in 60 seconds."),
    ],
)  # fmt: skip
def test_the_sentence_says_what_was_used_and_how_long_to_wait(
    local: Limits, flags: FlagStore, clock: Clock, of: Any, tenant: bool, model: bool, waits: int, sentence: str
) -> None:
    who, (what, per, amount) = person(), of
    scope, name = ("tenant", who.tenant_id) if tenant else ("model", MODEL) if model else ("tier", "free")
    set_rules(flags, rule(scope, name, amount, per, what))
    if what == "requests":
        for _ in range(amount):
            local.admit(who, MODEL)
    else:
        charge(local, who, amount)
    error = refusal(local, who)
    assert (str(error), error.retry_after) == (sentence, waits)
    told = re.search(r"[Tt]ry again in (\d+) seconds", str(error))
    assert told
    assert int(told[1]) == error.retry_after
    assert error.rule == rule(scope, name, amount, per, what)


def test_a_comparison_is_told_that_too_little_is_left(local: Limits, flags: FlagStore, clock: Clock) -> None:
    set_rules(flags, rule("tier", "free", 4))
    who = person()
    local.admit(who, MODEL, 2)
    assert str(refusal(local, who, count=3)) == (
        "You have fewer than 3 of your 4 requests for this minute left. Try again in 61 seconds."
    )


def test_tokens_are_charged_after_the_call_and_end_with_their_window(
    local: Limits, flags: FlagStore, clock: Clock
) -> None:
    set_rules(flags, rule("tier", "free", 100, of="tokens"))
    who, start = person(), clock.now
    local.admit(who, MODEL)
    charge(local, who, 99)
    clock.now = start + 20.5
    local.admit(who, MODEL, 5)
    charge(local, who, 500)
    error = refusal(local, who)
    assert error.retry_after == 40
    assert local.states(who) == [LimitState(error.rule, 599, 0, 40)]
    clock.now += 39
    assert refusal(local, who).retry_after == 1
    clock.now += 1
    local.admit(who, MODEL)
    assert local.states(who) == [LimitState(error.rule, 0, 100, 0)]


def test_tokens_count_for_the_person_their_tenant_and_the_model(pair: tuple[Limits, Limits], flags: FlagStore) -> None:
    asks, other = pair
    tenant = new_id("tenant")
    set_rules(
        flags,
        rule("tenant", tenant, 50, of="tokens"),
        rule("model", MODEL, 30, of="tokens"),
        rule("tier", "free", 20, of="tokens"),
    )
    ann, bob, cy, stranger = person(tenant), person(tenant), person(tenant), person()
    charge(asks, ann, 20)
    assert refusal(other, ann, "small").rule.scope == "tier"
    other.admit(bob, MODEL)
    charge(asks, bob, 15)
    assert refusal(other, bob).rule.scope == "model"
    other.admit(bob, "small")
    charge(asks, cy, 15, "small")
    assert refusal(other, bob, "small").rule.scope == "tenant"
    other.admit(stranger, MODEL)


@pytest.mark.parametrize("tokens", [0, -5])
def test_a_call_without_tokens_begins_no_window(local: Limits, flags: FlagStore, clock: Clock, tokens: int) -> None:
    set_rules(flags, rule("tier", "free", 10, of="tokens"))
    who = person()
    charge(local, who, tokens)
    assert [state.resets_in for state in local.states(who)] == [0]


def test_redis_tells_a_true_wait_for_tokens(make: Make, redis_url: str, flags: FlagStore, database: Database) -> None:
    set_rules(flags, rule("tier", "free", 10, of="tokens"))
    who = person()
    charge(make(redis_url), who, 10)
    asks = make(redis_url)
    with Redis.from_url(redis_url) as redis:
        key = f"chatcore:limits:tokens/minute/person/{who.user_id}"
        for milliseconds in (59_999, 59_300, 30_500, 5_000, 1_400):
            redis.pexpire(key, milliseconds)
            before, told, after = redis.pttl(key), refusal(asks, who).retry_after, redis.pttl(key)
            assert after < told * 1000 <= before + 1000, "not too early, and not a second too late"
        redis.pexpire(key, 1)
        until(lambda: not redis.exists(key))
    asks.admit(who, MODEL)


def test_states_show_what_is_left_and_when_there_is_more(
    pair: tuple[Limits, Limits], flags: FlagStore, clock: Clock
) -> None:
    asks, other = pair
    who = person()
    rules = [rule("tenant", who.tenant_id, 9, "hour"), rule("tier", "free", 3), rule("user", who.user_id, 50, "day")]
    set_rules(flags, *rules, rule("model", MODEL, 5), rule("tier", "pro", 1))
    asks.admit(who, MODEL)
    clock.now += 10.5
    asks.admit(who, MODEL)
    assert other.states(who) == [
        LimitState(rules[0], 2, 7, 3590),
        LimitState(rules[1], 2, 1, 50),
        LimitState(rules[2], 2, 48, 86_390),
    ]
    clock.now += 50
    assert [state.used for state in other.states(who)] == [2, 1, 2]


STEPS = st.lists(st.tuples(st.sampled_from([0, 0.25, 0.75, 1, 7.5, 29, 59.75, 60, 61, 1800, 3600]), st.integers(1, 3)))
LADDER: Final = {f"t{amount}": {60: amount, 3600: 2 * amount} for amount in range(1, 6)}


def expected_wait(told: dict[float, int], limits: dict[int, int], now: float, count: int) -> float:
    """By plain counting: 0, or after how many whole seconds `count` fit, or infinity."""
    if any(count > amount for amount in limits.values()):
        return math.inf

    def fits(at: float) -> bool:
        return all(
            sum(number for time, number in told.items() if time >= at - seconds) + count <= amount
            for seconds, amount in limits.items()
        )

    return next(wait for wait in range(3602) if fits(now + wait))


@given(steps=STEPS, tier=st.sampled_from(sorted(LADDER)))
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_never_more_than_the_amount_in_any_window(
    pair: tuple[Limits, Limits], flags: FlagStore, clock: Clock, steps: list[tuple[float, int]], tier: str
) -> None:
    if len(flags.now.limits) != 2 * len(LADDER):
        pairs = [(one, seconds, amount) for one, rules in LADDER.items() for seconds, amount in rules.items()]
        set_rules(flags, *(rule("tier", one, amount, {60: "minute", 3600: "hour"}[per]) for one, per, amount in pairs))
    who, let_through = person(tier=tier), dict[float, int]()
    for number, (gap, count) in enumerate(steps):
        clock.now += gap
        wait = expected_wait(let_through, LADDER[tier], clock.now, count)
        told = asked(pair[number % 2], who, count)
        if wait == math.inf:
            assert told > 0
        else:
            assert told == wait
        if not told:
            let_through[clock.now] = let_through.get(clock.now, 0) + count


def test_many_at_once_get_no_more_than_there_is(pair: tuple[Limits, Limits], flags: FlagStore) -> None:
    tenant = new_id("tenant")
    set_rules(flags, rule("tenant", tenant, 40, "day"), rule("tier", "free", 30, "day"))
    people = [person(tenant) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(lambda n: admitted(pair[n % 2], people[n], 12), range(8)))
    assert sum(counts) == 40
    assert used(pair[0], people[0])[0] == 40
    assert [used(pair[1], one)[1] for one in people] == counts, "who was refused by one rule used nothing of the other"


def test_an_own_full_window_is_not_lost_with_a_redis_that_forgets(make: Make, redis_url: str, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 3, "day"))
    limits, who = make(redis_url), person()
    assert admitted(limits, who) == 3
    with Redis.from_url(redis_url) as redis:
        assert redis.delete(f"chatcore:limits:requests/day/person/{who.user_id}") == 1
        refusal(limits, who)
        assert used(limits, who) == [3]
        assert not redis.exists(f"chatcore:limits:requests/day/person/{who.user_id}"), "a refusal counts nothing"


def test_what_redis_keeps_ends_with_its_window(make: Make, redis_url: str, flags: FlagStore) -> None:
    who = person()
    set_rules(flags, rule("tier", "free", 5, "hour"), rule("tenant", who.tenant_id, 5, "minute", "tokens"))
    limits = make(redis_url)
    limits.admit(who, MODEL)
    charge(limits, who, 1)
    with Redis.from_url(redis_url) as redis:
        assert 3590 < redis.ttl(f"chatcore:limits:requests/hour/person/{who.user_id}") <= 3600
        assert 50 < redis.ttl(f"chatcore:limits:tokens/minute/tenant/{who.tenant_id}") <= 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def share(one: Limits, other: Limits) -> bool:
    """Whether a new person's request to one is known to the other."""
    who = person(tier="probe")
    one.admit(who, MODEL)
    return used(other, who) == [1]


def test_a_redis_that_stops_and_comes_back(make: Make, server: RedisServer, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 10, "day"), rule("tier", "probe", 10, "day"))
    one, other, who = make(server.url), make(server.url), person()
    assert admitted(one, who, 4) == 4
    assert admitted(other, who, 3) == 3
    server.kill()
    assert admitted(one, who) == 6, "its own four stay counted, the other's it cannot know"
    assert admitted(other, who) == 7
    assert not share(one, other)
    server.start()
    until(lambda: share(one, other) and share(other, one))
    assert admitted(one, who) == 0, "full of its own requests, whatever an empty Redis says"
    late = person()
    assert admitted(one, late, 6) + admitted(other, late) == 10


def test_a_redis_that_hangs_is_not_waited_for(make: Make, server: RedisServer, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 50, "day"), rule("tier", "probe", 10, "day"))
    one, other, who = make(server.url), make(server.url), person()
    assert share(one, other)
    server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert admitted(one, who, 60) == 50
        charge(one, who, 10)
        assert time.monotonic() - began < 6, "each of the 60 waited for it"
    finally:
        server.process.send_signal(signal.SIGCONT)
    until(lambda: share(one, other) and share(other, one))


def test_who_waits_for_a_redis_that_hangs_gets_no_more_than_there_is(
    make: Make, server: RedisServer, flags: FlagStore
) -> None:
    set_rules(flags, rule("tier", "free", 3, "day"))
    limits, who, together = make(server.url), person(), threading.Barrier(8)

    def ask(_: int) -> int:
        together.wait(10)
        return admitted(limits, who, 1)

    server.process.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(ask, range(8))) == 3
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_with_a_redis_that_was_never_there_the_own_windows_decide(make: Make, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 3, "day"))
    limits = make(f"redis://127.0.0.1:{free_port()}/0")
    assert admitted(limits, person()) == 3


def test_no_thread_is_started_for_a_window(local: Limits, flags: FlagStore) -> None:
    set_rules(flags, rule("tier", "free", 5), rule("tier", "free", 5, of="tokens"))

    def timers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]

    until(lambda: not timers())
    for _ in range(30):
        who = person()
        local.admit(who, MODEL)
        charge(local, who, 1)
        assert timers() == []


def test_windows_of_people_who_are_gone_are_dropped(clock: Clock) -> None:
    own = OwnWindows()
    requests, tokens = rule("tier", "free", 3), rule("tier", "free", 3, of="tokens")
    for number in range(500):
        own.take([Window(requests, f"r{number}")], 1)
        own.charge([Window(tokens, f"t{number}")], 1)
    assert (len(own.events), len(own.storage)) == (500, 500)
    clock.now += 61
    own.take([Window(requests, "r")], 1)
    assert (list(own.events), len(own.storage), len(own.expirations)) == (["r"], 0, 0)
    assert len(own.locks) <= 1


def test_a_window_in_use_keeps_only_what_counts(clock: Clock) -> None:
    own, window = OwnWindows(), Window(rule("tier", "free", 3), "r")
    for _ in range(200):
        assert own.waits([window], 3) == [0]
        own.take([window], 3)
        clock.now += 60.25
    assert len(own.events["r"]) <= 6


def hits(db: Database) -> int:
    return db.read(lambda session: session.scalar(select(func.sum(LimitHit.hits)))) or 0


def test_refusals_are_counted_by_minute_tier_and_kind(any_database: Database, settings: Settings) -> None:
    limits = Limits(any_database, FlagStore(any_database, settings), Shared(None))
    tenant, since = new_id("tenant"), utcnow() - timedelta(minutes=1)
    free, bob, pro = person(tenant), person(tenant), person(tenant, "pro")
    for who, kind in [(free, "requests"), (free, "requests"), (bob, "requests"), (pro, "tokens"), (pro, "budget")]:
        limits.refused(who, kind, MODEL)
    limits.refused(free, "requests", "small")
    limits.refused(person(tier="free"), "requests", MODEL)
    admin = person(tenant, role="admin")
    counted: dict[tuple[str, str], int] = {}
    for one in limits.refusals(admin, since):
        assert (one.minute.second, one.minute.tzinfo) == (0, since.tzinfo)
        counted[one.tier, one.kind] = counted.get((one.tier, one.kind), 0) + one.hits
    assert counted == {("free", "requests"): 4, ("pro", "tokens"): 1, ("pro", "budget"): 1}
    assert limits.refusals(admin, utcnow() + timedelta(minutes=1)) == []
    with pytest.raises(Forbidden):
        limits.refusals(free, since)


def test_refusals_at_the_same_moment_are_all_counted(any_database: Database, settings: Settings) -> None:
    limits, who = Limits(any_database, FlagStore(any_database, settings), Shared(None)), person()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: limits.refused(who, "requests", MODEL), range(120)))
    assert hits(any_database) == 120
    rows = any_database.read(lambda session: session.scalar(select(func.count()).select_from(LimitHit)))
    assert rows is not None
    assert rows <= 2, "one row for each minute"


def test_a_refusal_stands_when_it_cannot_be_counted(
    settings: Settings, flags: FlagStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = Database(URL.create("sqlite", database=str(tmp_path / "no such folder" / "x.db")))
    Limits(away, flags, Shared(None)).refused(person(), "requests", MODEL)
    away.close()
    assert "could not be counted" in caplog.text


def test_a_refused_request_is_counted_by_what_refused_it(local: Limits, flags: FlagStore, database: Database) -> None:
    set_rules(flags, rule("tier", "free", 0, of="tokens"))
    who = person()
    error = refusal(local, who)
    local.refused(who, error.rule.of, MODEL)
    assert database.read(lambda session: session.scalars(select(LimitHit.kind)).all()) == ["tokens"]
