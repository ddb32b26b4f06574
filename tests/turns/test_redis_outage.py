"""Redis stopped in mid-run: turns, limits, breakers and the cache go on, and with it back it is used again."""

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from chatcore.bootstrap import Core
from chatcore.errors import LimitExceeded
from chatcore.flags import LimitRule
from chatcore.turns import TurnSettings
from tests.chat import Chat, running_core, until
from tests.conftest import add_person
from tests.hostile import HostileProvider
from tests.redis_server import RedisServer

GOOD, PACED, DEAD = "ok;n=5", "ok;n=20;rate=20", "503"
COLD: Final = TurnSettings(temperature=0.0)
SLOWER: Final = 1.0  # seconds: the most that a turn may wait for a Redis that is not there


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


def keys(server: RedisServer, kind: str) -> int:
    with server.client() as redis:
        return len(list(redis.scan_iter(f"chatcore:{kind}*")))


def hget(server: RedisServer, breaker: str) -> object:
    with server.client() as redis:
        return redis.hget("chatcore:breakers", breaker)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, server: RedisServer, provider: HostileProvider) -> Iterator[Core]:
    folder, variables = tmp_path_factory.mktemp("outage"), {"CHATCORE_REDIS_URL": server.url}
    router = {"num_retries": 0, "fallbacks": [{DEAD: [GOOD]}]}
    own = {"breaker_failures": 3, "breaker_seconds": 300}
    with running_core(
        folder, provider, [GOOD, PACED, DEAD], None, router, variables, first_word=20, rate_limits=True, **own
    ) as core:
        yield core


@pytest.fixture
def ada(core: Core, server: RedisServer, provider: HostileProvider) -> Chat:
    """A new person, with a Redis that is there and is used."""
    if server.process is None:
        server.start()
    server.go_on()
    mark = secrets.token_hex(4)
    ada = Chat(core, provider, f"ada-{mark}", tenant=mark)
    until(lambda: core.shared.call(lambda redis: bool(redis.ping()), lambda: False))
    return ada


def seconds(chat: Chat, question: str) -> float:
    """How long a turn takes, from asking to its stored end."""
    began = time.monotonic()
    assert chat.answer(GOOD, question, settings=COLD).status == "complete"
    return time.monotonic() - began


def hundred(chat: Chat) -> float:
    """The longest of a hundred turns, eight at once."""
    with ThreadPoolExecutor(8) as pool:
        return max(pool.map(lambda number: seconds(chat, f"{secrets.token_hex(4)} {number}"), range(100)))


def limit(core: Core, amount: int) -> None:
    operator = add_person(core.db, f"operator-{secrets.token_hex(4)}", role="operator")
    core.flags.set(operator, limits=[LimitRule("tier", "free", "requests", "day", amount)])


def admitted(chat: Chat, times: int) -> int:
    """How many of so many questions were let through."""
    through = 0
    for number in range(times):
        try:
            chat.answer(GOOD, f"question {number}")
        except LimitExceeded:
            continue
        through += 1
    return through


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_no_turn_waits_for_a_redis_that_is_gone(ada: Chat, server: RedisServer, how: str) -> None:
    limit(ada.core, 10_000)
    usual = hundred(ada)
    server.kill() if how == "killed" else server.hang()
    during = hundred(ada)
    server.start() if how == "killed" else server.go_on()
    back = hundred(ada)
    print(f"the longest of 100 turns: {usual:.2f} s, with Redis {how} {during:.2f} s, with it back {back:.2f} s")
    assert during <= usual + SLOWER
    assert back <= usual + SLOWER


def test_replies_on_their_way_go_on(ada: Chat, server: RedisServer) -> None:
    limit(ada.core, 10_000)
    asked = [ada.ask(PACED, f"question {number}") for number in range(10)]
    server.kill()
    for one in asked:
        ada.words(one)
    server.start()
    assert {ada.reply(one).status for one in asked} == {"complete"}


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_nobody_gets_more_than_their_limit(ada: Chat, server: RedisServer, how: str) -> None:
    limit(ada.core, 6)
    assert admitted(ada, 3) == 3
    assert keys(server, f"limits:requests/day/person/{ada.who.user_id}") or keys(server, "limits")
    server.kill() if how == "killed" else server.hang()
    assert admitted(ada, 5) == 3
    server.start() if how == "killed" else server.go_on()
    until(lambda: ada.core.shared.call(lambda redis: bool(redis.ping()), lambda: False))
    assert admitted(ada, 2) == 0


def test_the_cache_goes_on_in_the_table_and_comes_back(ada: Chat, server: RedisServer) -> None:
    limit(ada.core, 10_000)

    def is_served(question: str) -> bool:
        return "cached" in ada.answer(GOOD, question, settings=COLD).meta

    assert [is_served("first"), is_served("first")] == [False, True]
    kept = keys(server, "cache:reply")
    server.kill()
    assert [is_served("second"), is_served("second")] == [False, True], "in the table meanwhile"
    server.start()
    until(lambda: ada.core.shared.call(lambda redis: bool(redis.ping()), lambda: False))
    assert kept
    assert keys(server, "cache:reply") == 0
    assert [is_served("third"), is_served("third")] == [False, True]
    assert keys(server, "cache:reply") == 1


def test_a_breaker_opens_without_redis_and_is_told_when_it_is_back(ada: Chat, server: RedisServer) -> None:
    limit(ada.core, 10_000)
    breaker = f"{DEAD}#1@shared"
    server.kill()
    for number in range(3):
        assert ada.answer(DEAD, f"question {number}").model == GOOD
    assert not ada.core.gateway.breakers.admits(breaker)
    asked = ada.ask(DEAD)
    ada.words(asked)
    assert [row.model for row in ada.ledger_rows(asked.turn_id)] == [GOOD], "the dead one is passed over"
    server.start()
    until(lambda: hget(server, breaker), 20)
    assert not ada.core.gateway.breakers.admits(breaker)


def test_what_is_counted_after_it_came_back_is_in_redis(ada: Chat, server: RedisServer) -> None:
    limit(ada.core, 10_000)
    server.kill()
    ada.answer(GOOD)
    server.start()
    until(lambda: ada.core.shared.call(lambda redis: bool(redis.ping()), lambda: False))
    assert keys(server, "limits") == 0
    ada.answer(GOOD)
    assert keys(server, "limits") == 1
