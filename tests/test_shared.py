"""Redis behind one verb: used where it answers, gone without where it does not, and nobody waits long for it."""

import itertools
import json
import logging
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from chatcore.errors import ConfigError
from chatcore.shared import PREFIX, TIMEOUT, Shared
from tests.redis_server import RedisServer
from tests.serving import free_port

KEY = f"{PREFIX}test-shared"
AWAY = "away"
ABOUT = TIMEOUT + 0.35  # what a busy machine adds


def until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def shared(server: RedisServer) -> Iterator[Shared]:
    shared = Shared(server.url)
    assert answer(shared) == "1"
    yield shared
    shared.close()


def answer(shared: Shared) -> str:
    """What Redis says, or that it is away."""

    def work(redis: Any) -> str:
        redis.set(KEY, "1")
        return str(redis.get(KEY))

    return shared.call(work, lambda: AWAY)


def timed(shared: Shared) -> tuple[str, float]:
    began = time.monotonic()
    return answer(shared), time.monotonic() - began


@contextmanager
def listener(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something at a port that accepts connections and is no Redis."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        ended = threading.Event()
        taken: list[socket.socket] = []

        def accept() -> None:
            while not ended.is_set():
                try:
                    connection = listening.accept()[0]
                except TimeoutError:
                    continue
                taken.append(connection)
                behave(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"
        ended.set()
        thread.join(10)
        for connection in taken:
            connection.close()


def test_without_one_configured_everything_goes_its_own_way() -> None:
    shared = Shared(None)
    assert not shared.is_configured
    assert answer(shared) == AWAY
    shared.close()


def test_one_that_answers_is_used(shared: Shared) -> None:
    assert shared.is_configured
    assert answer(shared) == "1"
    assert shared.call(lambda redis: redis.get(f"{KEY}-nothing"), lambda: AWAY) is None, "None is an answer too"


@pytest.mark.parametrize("stored", [b"\xff\xfe", b"nan", b"[" * 200_000], ids=["bytes", "word", "deep"])
def test_what_makes_no_sense_is_no_answer_and_is_told_once(
    shared: Shared, server: RedisServer, stored: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with Redis.from_url(server.url) as redis:
        redis.set(f"{KEY}-strange", stored)

    def work(redis: Any) -> str:
        text = redis.get(f"{KEY}-strange")
        return str(int(text) if len(text) < 10 else json.loads(text))

    assert [shared.call(work, lambda: AWAY) for _ in range(3)] == [AWAY] * 3
    assert answer(shared) == "1", "Redis itself is used on"
    [record] = [record for record in caplog.records if record.name == "chatcore.shared"]
    assert record.message == "what Redis holds makes no sense, going on without it"
    assert vars(record)["error"] in ("UnicodeDecodeError", "ValueError", "RecursionError")


def test_many_values_of_which_one_makes_no_sense_do_not_mix_up_the_next_answer(
    shared: Shared, server: RedisServer
) -> None:
    with Redis.from_url(server.url) as redis:
        redis.hset(f"{KEY}-hash", mapping={"a": b"\xff", "b": b"2", "c": b"3"})
    assert shared.call(lambda redis: str(redis.hgetall(f"{KEY}-hash")), lambda: AWAY) == AWAY
    assert [answer(shared) for _ in range(3)] == ["1"] * 3


def test_our_own_mistakes_are_no_answer_either_but_a_stop_is(shared: Shared) -> None:
    def mistaken(_: Any) -> str:
        raise KeyError("ours")

    def stopped(_: Any) -> str:
        raise KeyboardInterrupt

    assert shared.call(mistaken, lambda: AWAY) == AWAY
    with pytest.raises(KeyboardInterrupt):
        shared.call(stopped, lambda: AWAY)


def test_nobody_listens_there() -> None:
    shared = Shared(f"redis://127.0.0.1:{free_port()}/0")
    found, seconds = timed(shared)
    assert (found, seconds < ABOUT) == (AWAY, True)
    shared.close()


def test_one_that_accepts_and_never_answers_costs_a_quarter_of_a_second_once() -> None:
    with listener(lambda _: None) as url:
        shared = Shared(url)
        found, seconds = timed(shared)
        assert found == AWAY
        assert TIMEOUT * 0.8 < seconds < ABOUT
        for _ in range(20):
            found, seconds = timed(shared)
            assert (found, seconds < 0.05) == (AWAY, True), "it is left in peace"
        shared.close()


def test_one_that_hangs_up_or_speaks_another_language() -> None:
    def rude(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.shutdown(socket.SHUT_RDWR)

    for behave in (lambda one: one.shutdown(socket.SHUT_RDWR), rude):
        with listener(behave) as url:
            shared = Shared(url)
            found, seconds = timed(shared)
            assert (found, seconds < ABOUT) == (AWAY, True)
            shared.close()


def test_one_that_stops_in_the_middle(shared: Shared, server: RedisServer) -> None:
    server.process.send_signal(signal.SIGSTOP)
    try:
        found, seconds = timed(shared)
        assert found == AWAY
        assert seconds < ABOUT
        assert timed(shared)[1] < 0.05
    finally:
        server.process.send_signal(signal.SIGCONT)
    until(lambda: answer(shared) == "1", 5)


def test_many_threads_wait_together_and_not_one_after_another(shared: Shared, server: RedisServer) -> None:
    server.process.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: timed(shared), range(8)))
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert {one for one, _ in found} == {AWAY}
    assert max(seconds for _, seconds in found) < ABOUT + 0.3


def test_it_is_tried_again_after_a_second_and_not_before(shared: Shared, server: RedisServer) -> None:
    server.kill()
    tried: list[float] = []

    def work(redis: Any) -> str:
        tried.append(time.monotonic())
        return str(redis.get(KEY))

    deadline = time.monotonic() + 3.5
    while time.monotonic() < deadline:
        assert shared.call(work, lambda: AWAY) == AWAY
        time.sleep(0.01)
    assert 2 <= len(tried) <= 4
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(tried))


def test_one_that_comes_back_is_used_again(
    shared: Shared, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        server.kill()
        assert answer(shared) == AWAY
        server.start()
        until(lambda: answer(shared) == "1", 3)
        assert all(answer(shared) == "1" for _ in range(50)), "and goes on being used"
    said = [record.message for record in caplog.records if record.name == "chatcore.shared"]
    assert said == ["Redis does not answer, going on without it", "Redis answers again"] * 2


def test_a_restart_between_two_calls_is_not_noticed(shared: Shared, server: RedisServer) -> None:
    """The connection that it had is dead; the next call makes a new one."""
    server.kill()
    server.start()
    assert answer(shared) == "1"


def test_the_log_says_it_once_and_without_the_address(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    shared = Shared(f"redis://someone:planted-password@127.0.0.1:{port}/0")
    with caplog.at_level(logging.DEBUG, logger="chatcore"):
        for _ in range(3):
            assert answer(shared) == AWAY
            time.sleep(1.05)
    records = [record for record in caplog.records if record.name == "chatcore.shared"]
    assert len(records) == 1
    assert "planted-password" not in str(vars(records[0]))
    assert str(port) not in records[0].getMessage()
    shared.close()


@pytest.mark.parametrize("url", ["localhost:6379", "x", "http://127.0.0.1:6379", "redis://127.0.0.1:port/0", "//h:1"])
def test_an_address_that_is_none_is_told_at_the_start_by_the_setting_s_name(url: str) -> None:
    with pytest.raises(ConfigError, match=r"CHATCORE_REDIS_URL .*redis://") as caught:
        Shared(url)
    assert url not in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        "max_connections=foo",
        "db=x",
        "ssl=true",
        "socket_timeout=x",
        "protocol=9",
        "nobody=planted",
        "ssl_cert_reqs=none",
    ],
)
def test_an_option_that_the_client_does_not_know_is_told_at_the_start(option: str) -> None:
    with pytest.raises(ConfigError, match="CHATCORE_REDIS_URL has an option") as caught:
        Shared(f"redis://:planted@127.0.0.1:1/0?{option}")
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://127.0.0.1", "rediss://h:6379/1", "redis://u:p@[::1]:6379/0", "unix:///tmp/x"])
def test_every_form_of_address_that_the_client_takes_is_taken(url: str) -> None:
    shared = Shared(url)
    assert shared.is_configured
    shared.close()


def test_closing_one_that_never_connected_or_is_closed_already(server: RedisServer) -> None:
    shared = Shared(server.url)
    shared.close()
    assert answer(shared) == "1"
    shared.close()
    shared.close()


def test_it_does_not_import_the_client_where_it_is_not_used() -> None:
    """A start without Redis does not pay for it."""
    code = (
        "import sys; from chatcore.shared import Shared; Shared(None).call(len, int); assert 'redis' not in sys.modules"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
