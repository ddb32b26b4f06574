"""The cache of identical prompts: what is identical, what is kept, for whom, how long, how much, and where."""

import asyncio
import json
import random
import shutil
import socket
import subprocess
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis, RedisError
from sqlalchemy import func, select, update

from chatcore import shared as shared_module
from chatcore.config import Settings
from chatcore.config_file import ChatcoreSection, ConfigFile
from chatcore.db import Database
from chatcore.db.tables import CachedReply, Tenant
from chatcore.gateway.cache import MAX_REPLY, ReplyCache, StoredReply, may_be_kept
from chatcore.gateway.catalog import Model
from chatcore.gateway.prices import Prices
from chatcore.shared import PREFIX, Shared
from tests.conftest import skip_or_fail

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = Model(name="fast", display_name="Fast", provider="acme", target="acme/fast-1", prices=Prices())
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
REPLY = StoredReply("Good day.", "", "fast", "acme", "stop", 12, 3, 4500, NOW)


def cache(db: Database, settings: Settings, shared: Shared | None = None, **own: Any) -> ReplyCache:
    file = ConfigFile(chatcore=ChatcoreSection(**own))
    return ReplyCache(db, shared or Shared(None), replace(settings, file=file))


def made_key(
    db: Database, settings: Settings, messages: Any = ASKED, temperature: float | None = 0.0,
    max_tokens: int | None = None, *, model: Model = MODEL, tenant_id: str = "tenant_a", user_id: str | None = "ann",
    keep_last: int = 1, **own: Any,
) -> str | None:  # fmt: skip
    return cache(db, settings, **own).key(
        model, messages, temperature, max_tokens, tenant_id=tenant_id, user_id=user_id, keep_last=keep_last
    )


@pytest.fixture
def key(database: Database, settings: Settings) -> Callable[..., str | None]:
    return lambda *args, **named: made_key(database, settings, *args, **named)


@pytest.fixture
def db(any_database: Database) -> Database:
    any_database.write(lambda session: session.add_all(Tenant(id=f"tenant_{one}", name=one) for one in "ab"))
    return any_database


# ---- what is identical


def test_an_identical_request_has_the_same_key(key: Callable[..., str | None]) -> None:
    assert key() == key([dict(reversed(message.items())) for message in ASKED])
    assert key(model=replace(MODEL, arguments={"seed": 1, "top_p": 0.5})) == key(
        model=replace(MODEL, arguments={"top_p": 0.5, "seed": 1})
    )


@pytest.mark.parametrize(
    "other",
    [
        {"tenant_id": "tenant_b"},
        {"user_id": "bob"},
        {"user_id": None},
        {"user_id": ""},
        {"temperature": 0.1},
        {"max_tokens": 5},
        {"keep_last": 2},
        {"messages": list(reversed(ASKED))},
        {"messages": [*ASKED, {"role": "user", "content": ""}]},
        {"messages": [ASKED[0], {"role": "user", "content": "Hello "}]},
        {"model": replace(MODEL, name="faster")},
        {"model": replace(MODEL, target="acme/fast-2")},
        {"model": replace(MODEL, context_window=4096)},
        {"model": replace(MODEL, arguments={"max_tokens": 5})},
        {"model": replace(MODEL, arguments={"api_base": "http://127.0.0.1:1"})},
        {"model": replace(MODEL, arguments={"extra_headers": {"X-Region": "eu"}})},
    ],
    ids=str,
)
def test_what_differs_has_another_key(key: Callable[..., str | None], other: dict[str, Any]) -> None:
    assert key(**other) != key()


def test_forms_of_a_letter_are_not_the_same_letter(key: Callable[..., str | None]) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    pair = "\ud83d\ude00"  # two halves that were never joined, beside the letter itself
    keys = [key([{"role": "user", "content": text}]) for text in (composed, decomposed, "😀", pair, "\\ud83d\\ude00")]
    assert len(set(keys)) == 5


def test_which_secret_paid_changes_nothing(key: Callable[..., str | None]) -> None:
    secret: dict[str, Any] = {
        "api_key": "sk-one",
        "extra_headers": {"Authorization": "Bearer one"},
        "aws_keys": ["one"],
    }
    other = {"api_key": "sk-two", "extra_headers": {"Authorization": "Bearer two"}, "aws_keys": ["two"]}
    assert key(model=replace(MODEL, arguments=secret)) == key(model=replace(MODEL, arguments=other))
    assert key(model=replace(MODEL, arguments=secret)) != key()


names = st.sampled_from(["a", "b", "ab", "", "tenant", '"', ",", "null", "é", "é"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class Question:
    """All that a key is made of."""

    tenant: str
    person: str | None
    model: Model
    messages: list[dict[str, Any]]
    temperature: float
    max_tokens: int | None

    def key(self, of: ReplyCache) -> str | None:
        asked = (self.messages, self.temperature, self.max_tokens)
        return of.key(self.model, *asked, tenant_id=self.tenant, user_id=self.person)

    def exactly(self) -> str:
        """The same by Python's own spelling, which tells 1 from 1.0 and True; names of mappings in order."""
        model = self.model
        return repr(
            _sorted([self.tenant, self.person, model.name, model.target, model.context_window, model.arguments,
                     self.messages, self.temperature, self.max_tokens])
        )  # fmt: skip


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((name, _sorted(inner)) for name, inner in value.items()), "mapping"
    return [_sorted(one) for one in value] if isinstance(value, list) else value


models = st.builds(
    lambda name, target, window, arguments: replace(
        MODEL, name=name, target=target, context_window=window, arguments=arguments
    ),
    names, names, st.none() | st.integers(1, 2), st.dictionaries(st.sampled_from(["seed", "stop", "x"]), json_values),
)  # fmt: skip
questions = st.builds(
    Question,
    names,
    st.none() | names,
    models,
    st.lists(st.dictionaries(st.sampled_from(["role", "content", "name"]), json_values, max_size=3), max_size=3),
    st.sampled_from([0.0, 0.1, 0.7]),
    st.none() | st.integers(1, 3),
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Question, Question]:
    """Two questions that differ in some of their fields, or in none."""
    one, other = draw(questions), draw(questions)
    taken = draw(st.sets(st.sampled_from(sorted(Question.__dataclass_fields__))))
    return one, replace(one, **{name: getattr(other, name) for name in taken})


@pytest.fixture(scope="module")
def keys_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplyCache]:
    from chatcore.config import load_settings

    folder = tmp_path_factory.mktemp("keys")
    settings = load_settings({"CHATCORE_DATA_DIR": str(folder)}, root=folder)
    database = Database(settings.database_url)
    yield ReplyCache(database, Shared(None), settings)
    database.close()


@given(pair=pairs())
def test_two_keys_are_equal_exactly_where_everything_is(keys_only: ReplyCache, pair: tuple[Question, Question]) -> None:
    one, other = pair
    assert (one.key(keys_only) == other.key(keys_only)) == (one.exactly() == other.exactly())


@given(question=questions, others=st.tuples(names, st.none() | names))
def test_a_key_is_one_tenants_and_one_persons(
    keys_only: ReplyCache, question: Question, others: tuple[str, str | None]
) -> None:
    moved = replace(question, tenant=others[0], person=others[1])
    same = others == (question.tenant, question.person)
    assert (moved.key(keys_only) == question.key(keys_only)) == same


# ---- which requests and replies


@pytest.mark.parametrize(
    ("set_by_request", "set_by_model", "cached"),
    [(0.0, None, True), (0.7, None, True), (0.71, None, False), (None, None, False), (None, 0.2, True),
     (None, "0.2", True), (None, 0.9, False), (0.2, 0.9, True), (0.9, 0.2, False), (float("nan"), None, False),
     (None, "warm", False)],
)  # fmt: skip
def test_only_a_cool_request_has_a_key(
    key: Callable[..., str | None], set_by_request: float | None, set_by_model: Any, cached: bool
) -> None:
    model = MODEL if set_by_model is None else replace(MODEL, arguments={"temperature": set_by_model})
    assert (key(temperature=set_by_request, model=model) is not None) == cached


def test_the_highest_temperature_is_a_setting(key: Callable[..., str | None]) -> None:
    assert key(temperature=None, cache_max_temperature=1.0) is not None
    assert key(temperature=0.1, cache_max_temperature=0.0) is None


def test_what_has_no_json_form_has_no_key(key: Callable[..., str | None]) -> None:
    assert key(model=replace(MODEL, arguments={"picture": b"\x00"})) is None


@pytest.mark.parametrize(
    ("changed", "told", "kept"),
    [({}, {}, True), ({"finish_reason": "length"}, {}, False), ({"finish_reason": "content_filter"}, {}, False),
     ({"finish_reason": ""}, {}, False), ({"text": " \n"}, {}, False), ({"model": "behind"}, {}, False),
     ({}, {"outcome": "truncated"}, False), ({}, {"outcome": "stopped"}, False), ({}, {"called_tools": True}, False)],
)  # fmt: skip
def test_which_replies_may_be_kept(changed: dict[str, Any], told: dict[str, Any], kept: bool) -> None:
    facts: dict[str, Any] = {"asked": "fast", "outcome": "ok", "called_tools": False} | told
    assert may_be_kept(replace(REPLY, **changed), **facts) == kept


# ---- the stores: the table of each database, and Redis


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class RedisServer:
    """A Redis of the test's own, to be stopped and started."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url, self._port, self._folder = f"redis://127.0.0.1:{port}/5", port, folder
        self._process: subprocess.Popen[bytes] | None = None
        self.client = Redis.from_url(self.url, decode_responses=True, socket_timeout=5)

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            skip_or_fail("there is no redis-server")
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([str(program), *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self.client.ping()
                return
            except RedisError:
                time.sleep(0.01)
        raise AssertionError("the redis-server does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture
def redis(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    monkeypatch.setattr(shared_module, "_LEFT_IN_PEACE", 0.0)  # nobody waits for a second
    monkeypatch.setattr(shared_module, "TIMEOUT", 5.0)  # a busy machine is no Redis that stopped
    server = RedisServer(port, tmp_path)
    server.start()
    yield server
    server.stop()
    server.client.close()


@dataclass
class Kept:
    """A cache, and how many bytes and replies of it there are now."""

    cache: ReplyCache
    make: Callable[..., ReplyCache]
    count: Callable[[], int]
    size: Callable[[], int]

    def find(self, key: str, tenant_id: str = "tenant_a", now: datetime = NOW) -> StoredReply | None:
        return asyncio.run(self.cache.find(key, tenant_id, now=now))

    def keep(self, key: str, reply: StoredReply = REPLY, tenant_id: str = "tenant_a", now: datetime = NOW) -> None:
        asyncio.run(self.cache.keep(key, tenant_id=tenant_id, user_id="ann", reply=reply, now=now))


def in_table(db: Database, settings: Settings) -> Kept:
    def count() -> int:
        return db.read(lambda session: session.scalar(select(func.count()).select_from(CachedReply)) or 0)

    def size() -> int:
        return int(db.read(lambda session: session.scalar(select(func.sum(CachedReply.size)))) or 0)

    return Kept(cache(db, settings), lambda **own: cache(db, settings, **own), count, size)


def in_redis(server: RedisServer, db: Database, settings: Settings, shared: Shared) -> Kept:
    def replies() -> list[str]:
        return [str(name) for name in server.client.scan_iter(f"{PREFIX}cache:reply:*", count=1000)]

    def size() -> int:
        return sum(len(str(server.client.get(name))) for name in replies())

    return Kept(
        cache(db, settings, shared), lambda **own: cache(db, settings, shared, **own), lambda: len(replies()), size
    )


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "redis"])
def kept(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Kept]:
    """A cache in each of its stores in turn."""
    database: Database = request.getfixturevalue("database") if request.param != "postgres" else Database(
        request.getfixturevalue("postgres_url")
    )  # fmt: skip
    if request.param == "postgres":
        from chatcore.db import upgrade

        upgrade(database)
    database.write(lambda session: session.add_all(Tenant(id=f"tenant_{one}", name=one) for one in "ab"))
    if request.param != "redis":
        yield in_table(database, settings)
        if request.param == "postgres":
            database.close()
        return
    server: RedisServer = request.getfixturevalue("redis")
    shared = Shared(server.url)
    yield in_redis(server, database, settings, shared)
    shared.close()


def test_what_is_kept_is_found_whole(kept: Kept) -> None:
    reply = replace(REPLY, text="Naïve 😀 \x00 \ud800 'quoted'\n", reasoning="Hm.", cost_nano_usd=None)
    kept.keep("k" * 64, reply)
    assert kept.find("k" * 64) == reply
    assert kept.find("l" * 64) is None


def test_another_tenant_finds_nothing_even_with_the_key(kept: Kept) -> None:
    kept.keep("k")
    assert kept.find("k", "tenant_b") is None
    assert kept.find("k", "tenant_a") == REPLY


def test_a_reply_expires(kept: Kept) -> None:
    kept.keep("k")
    assert kept.find("k", now=NOW + HOUR - timedelta(microseconds=1)) == REPLY
    assert kept.find("k", now=NOW + HOUR) is None


def test_how_long_is_a_setting(kept: Kept) -> None:
    kept.cache = kept.make(cache_seconds=60)
    kept.keep("k")
    assert kept.find("k", now=NOW + timedelta(seconds=59)) == REPLY
    assert kept.find("k", now=NOW + timedelta(seconds=60)) is None


def test_the_newer_reply_replaces_the_older_and_lives_its_own_hour(kept: Kept) -> None:
    later = NOW + timedelta(minutes=50)
    kept.keep("k")
    kept.keep("k", replace(REPLY, text="Later."), now=later)
    found = kept.find("k", now=NOW + HOUR)
    assert found is not None
    assert found.text == "Later."
    assert kept.count() == 1


@pytest.mark.parametrize(
    "changed", [{"finish_reason": "length"}, {"text": ""}, {"text": "x" * MAX_REPLY}, {"reasoning": "é" * MAX_REPLY}]
)
def test_what_is_no_whole_reply_or_too_large_is_not_kept(kept: Kept, changed: dict[str, Any]) -> None:
    kept.keep("k", replace(REPLY, **changed))
    assert kept.count() == 0


def test_a_reply_of_the_greatest_size_is_kept(kept: Kept) -> None:
    fits = MAX_REPLY - len(json.dumps(replace(REPLY, text="").as_dict()))
    kept.keep("k", replace(REPLY, text="x" * fits))
    kept.keep("l", replace(REPLY, text="x" * (fits + 1)))
    assert (kept.count(), kept.find("l")) == (1, None)


def test_it_never_outgrows_its_bound_and_the_oldest_go(kept: Kept) -> None:
    kept.cache = kept.make(cache_mb=1)
    draw = random.Random(4)
    for number in range(60):
        reply = replace(REPLY, text="x" * draw.randint(1, 90_000))
        kept.keep(f"k{number}", reply, now=NOW + timedelta(seconds=number))
        assert kept.size() <= 2**20
    found = [kept.find(f"k{number}", now=NOW + timedelta(seconds=60)) is not None for number in range(60)]
    assert found == sorted(found), "none that stayed is older than one that went"
    assert kept.size() > 2**19, "and no more went than had to"


def test_what_has_expired_makes_room_while_replies_are_kept(kept: Kept) -> None:
    for number in range(20):
        kept.keep(f"k{number}")
    kept.cache = kept.make()  # another process: its first reply clears up
    kept.keep("new", now=NOW + 2 * HOUR)
    assert kept.count() == 1
    assert kept.find("new", now=NOW + 2 * HOUR) == REPLY


def test_a_smaller_bound_takes_hold_with_the_next_reply(kept: Kept) -> None:
    for number in range(30):
        kept.keep(f"k{number}", replace(REPLY, text="x" * 60_000), now=NOW + timedelta(seconds=number))
    kept.cache = kept.make(cache_mb=1)
    kept.keep("new", now=NOW + timedelta(minutes=1))
    assert kept.size() <= 2**20
    assert kept.find("new", now=NOW + timedelta(minutes=1)) == REPLY


# ---- the table


def test_the_sweep_drops_the_expired_and_says_how_many(db: Database, settings: Settings) -> None:
    kept = in_table(db, settings)
    kept.keep("old")
    kept.keep("young", now=NOW + timedelta(minutes=30))
    assert db.write(lambda session: kept.cache.sweep(session, NOW + timedelta(minutes=59))) == 0
    assert db.write(lambda session: kept.cache.sweep(session, NOW + HOUR)) == 1
    assert kept.find("young", now=NOW + HOUR) == REPLY
    assert db.write(kept.cache.sweep) in (0, 1), "the clock's own time where none is given"


def test_one_key_does_not_overwrite_another_tenants_row(db: Database, settings: Settings) -> None:
    kept = in_table(db, settings)
    kept.keep("k")
    kept.keep("k", replace(REPLY, text="Of b."), tenant_id="tenant_b")
    assert kept.find("k") == REPLY
    assert kept.find("k", "tenant_b") is None


@pytest.mark.parametrize("stored", [{}, {"text": "x"}, [], "x", None], ids=str)
def test_a_row_that_makes_no_sense_is_no_reply(db: Database, settings: Settings, stored: Any) -> None:
    kept = in_table(db, settings)
    kept.keep("k")
    db.write(lambda session: session.execute(update(CachedReply).values(reply=stored)))
    assert kept.find("k") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", 123),
        ("reasoning", None),
        ("model", ["fast"]),
        ("provider", {}),
        ("finish_reason", 5),
        ("prompt_tokens", "12"),
        ("prompt_tokens", -1),
        ("prompt_tokens", None),
        ("completion_tokens", True),
        ("completion_tokens", 1.0),
        ("completion_tokens", 2**31),
        ("cost_nano_usd", "x"),
        ("cost_nano_usd", -5),
        ("cost_nano_usd", 2**63),
        ("created_at", 5),
        ("created_at", "yesterday"),
    ],
)
def test_a_value_of_another_kind_makes_no_reply(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        StoredReply.from_dict(REPLY.as_dict() | {name: value})


@pytest.mark.parametrize("cost", [None, 0, 2**63 - 1])
def test_a_reply_comes_back_from_its_json_form(cost: int | None) -> None:
    reply = replace(REPLY, cost_nano_usd=cost, text="\ud800\x00")
    assert StoredReply.from_dict(json.loads(json.dumps(reply.as_dict()))) == reply


def test_many_at_once_keep_the_same(db: Database, settings: Settings) -> None:
    kept = in_table(db, settings)

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(40):
                keeping = kept.cache.keep(f"k{number % 3}", tenant_id="tenant_a", user_id="ann", reply=REPLY, now=NOW)
                group.create_task(keeping)

    asyncio.run(together())
    assert kept.count() == 3


def test_a_tenant_that_is_gone_keeps_nothing_and_nobody_notices(db: Database, settings: Settings) -> None:
    kept = in_table(db, settings)
    kept.keep("k", tenant_id="tenant_gone")
    assert kept.count() == 0


def test_a_database_that_is_away_costs_no_reply(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "data" / "chatcore.db").unlink(missing_ok=True)
    empty = Database(settings.database_url)
    kept = in_table(empty, settings)
    kept.keep("k")
    assert kept.find("k") is None
    empty.close()


# ---- Redis


def test_redis_serves_where_it_answers_the_table_where_not(
    redis: RedisServer, database: Database, settings: Settings
) -> None:
    database.write(lambda session: session.add(Tenant(id="tenant_a", name="a")))
    shared = Shared(redis.url)
    kept, table = in_redis(redis, database, settings, shared), in_table(database, settings)
    kept.keep("with")
    assert (kept.count(), table.count()) == (1, 0)
    assert kept.find("with") == REPLY

    redis.stop()
    assert kept.find("with") is None
    kept.keep("without")
    assert kept.find("without") == REPLY
    assert table.count() == 1

    redis.start()
    kept.keep("again")
    assert kept.find("again") == REPLY
    assert (kept.count(), table.count()) == (1, 1)
    shared.close()


def test_redis_lets_values_go_by_itself(redis: RedisServer, database: Database, settings: Settings) -> None:
    shared = Shared(redis.url)
    kept = in_redis(redis, database, settings, shared)
    kept.keep("k")
    names = [str(name) for name in redis.client.scan_iter("*")]
    assert sorted(names) == [f"{PREFIX}cache:{name}" for name in ("ages", "reply:k", "sizes")]
    assert all(0 < int(str(redis.client.ttl(name))) <= 3600 for name in names)
    shared.close()


def test_the_books_of_redis_are_exact(redis: RedisServer, database: Database, settings: Settings) -> None:
    shared = Shared(redis.url)
    kept = in_redis(redis, database, settings, shared)
    kept.cache = kept.make(cache_mb=1)
    draw = random.Random(7)
    for number in range(80):
        reply = replace(REPLY, text="x" * draw.randint(1, 60_000))
        kept.keep(f"k{draw.randint(0, 30)}", reply, now=NOW + timedelta(seconds=number))
    sizes = {str(name): int(str(size)) for name, size in dict(redis.client.hgetall(f"{PREFIX}cache:sizes")).items()}
    total = sizes.pop("total")
    ages = [str(name) for name in list(redis.client.zrange(f"{PREFIX}cache:ages", 0, -1))]
    assert total == sum(sizes.values())
    assert sorted(ages) == sorted(sizes)
    assert len(ages) == kept.count()
    assert kept.size() <= total <= 2**20
    shared.close()


@pytest.mark.parametrize(
    "value", ["", "x", "[]", '{"tenant_id": "tenant_a"}', "null", b"\xff\xfe\x00", "[" * 200_000], ids=lambda v: v[:20]
)
def test_what_else_lies_in_redis_is_no_reply(
    redis: RedisServer, database: Database, settings: Settings, value: str | bytes
) -> None:
    shared = Shared(redis.url)
    redis.client.set(f"{PREFIX}cache:reply:k", value)
    assert in_redis(redis, database, settings, shared).find("k") is None
    shared.close()


def test_the_loop_goes_on_while_redis_does_not_answer(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_module, "TIMEOUT", 0.5)
    with socket.socket() as deaf:  # takes connections and says nothing
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        shared = Shared(f"redis://127.0.0.1:{deaf.getsockname()[1]}/5")

        async def beats() -> int:
            finding, beats = asyncio.create_task(cache(database, settings, shared).find("k", "tenant_a")), 0
            while not finding.done():
                await asyncio.sleep(0.01)
                beats += 1
            assert await finding is None
            return beats

        assert asyncio.run(beats()) >= 5
        shared.close()
