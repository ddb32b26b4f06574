"""What a look at the rate limits costs a request, beside a bare hit of the library `limits`.

    python -m tests.benchmarks.bench_limits [--requests 2000] [--redis redis://127.0.0.1:6379/5]

One request after the other, and eight threads that make 200 requests a second, for people with one rule (as by
default) and with ten, in process and with Redis, beside `MovingWindowRateLimiter.hit` for one rule on the same storage.
`refused` is a request that finds its window full, with the upsert into `limit_hits`, beside a bare commit on the same
database, SQLite and PostgreSQL. Ends with status 1 when a mark is not held. What does not answer is left out.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from limits import RateLimitItemPerDay
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import Redis, RedisError
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from chatcore.accounts import Principal
from chatcore.config import load_settings
from chatcore.db import Database, upgrade
from chatcore.errors import LimitExceeded
from chatcore.flags import FlagStore, LimitRule
from chatcore.ids import new_id
from chatcore.shared import Shared
from chatcore.usage.limits import Limits
from tests.benchmarks.bench_lists import postgres
from tests.benchmarks.running import table
from tests.benchmarks.watch import spread

MOST_MS: Final = 3.0
PEOPLE: Final = 200
THREADS: Final = 8
TOGETHER: Final = 200  # requests a second of all threads
MANY: Final = 10**6
OPERATOR: Final = Principal("user_op", "tenant_op", "op", "Op", "operator")
MODEL: Final = "acme/large"
TENANT: Final = "tenant_bench"


def rules(tier: str, per: tuple[str, ...]) -> list[LimitRule]:
    return [LimitRule("tier", tier, "requests", one, MANY) for one in per]  # type: ignore[arg-type]


def all_rules() -> tuple[LimitRule, ...]:
    """Of a person of tier `one`: one. Of tier `ten` in the tenant: ten. And those of a hundred other people."""
    others = [LimitRule("user", f"user_{number}", "requests", "day", 5) for number in range(100)]
    spans = ("minute", "hour", "day")
    ten = [
        *rules("ten", spans),
        *(LimitRule("tier", "ten", "tokens", one, MANY) for one in spans),  # type: ignore[arg-type]
        LimitRule("tenant", TENANT, "requests", "day", MANY),
        LimitRule("tenant", TENANT, "tokens", "day", MANY),
        LimitRule("model", MODEL, "requests", "hour", MANY),
        LimitRule("model", MODEL, "tokens", "hour", MANY),
    ]
    return (*others, *rules("one", ("day",)), *ten, LimitRule("tier", "none", "requests", "day", 1))


def people(tier: str) -> list[Principal]:
    tenant = TENANT if tier == "ten" else "tenant_other"
    return [Principal(new_id("user"), tenant, "ada", "Ada", "member", tier=tier) for _ in range(PEOPLE)]


def timed(work: Callable[[int], object], requests: int, threads: int = 1) -> list[float]:
    """Milliseconds of each call; the first hundred are not counted. Several threads keep to the pace."""
    began = 0.0

    def one(number: int) -> float:
        if threads > 1:
            time.sleep(max(0.0, began + number / TOGETHER - time.perf_counter()))
        start = time.perf_counter()
        work(number)
        return (time.perf_counter() - start) * 1000

    for number in range(100):
        work(number)
    if threads == 1:
        return [one(number) for number in range(requests)]
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(requests)))


def bare(storage: MemoryStorage | RedisStorage, requests: int) -> list[float]:
    limiter, item, run = MovingWindowRateLimiter(storage), RateLimitItemPerDay(MANY), new_id("bare")
    return timed(lambda number: limiter.hit(item, run, str(number % PEOPLE)), requests)


def admitting(limits: Limits, tier: str) -> Callable[[int], None]:
    who = people(tier)
    return lambda number: limits.admit(who[number % PEOPLE], MODEL)


def refusing(limits: Limits) -> Callable[[int], None]:
    who = people("none")

    def work(number: int) -> None:
        try:
            limits.admit(who[number % PEOPLE], MODEL)
        except LimitExceeded:
            limits.refused(who[number % PEOPLE], "requests", MODEL)

    for number in range(PEOPLE):
        work(number)
    return work


@contextlib.contextmanager
def opened(database: Database, folder: Path, redis: str | None) -> Iterator[Limits]:
    upgrade(database)
    flags = FlagStore(database, load_settings({"CHATCORE_DATA_DIR": str(folder)}, root=folder))
    flags.set(OPERATOR, limits=all_rules())
    shared = Shared(redis)
    yield Limits(database, flags, shared)
    shared.close()


def measured(database: Database, folder: Path, redis: str | None, requests: int) -> Iterator[tuple[str, list[float]]]:
    with opened(database, folder, redis) as limits:
        yield "admit, 1 rule", timed(admitting(limits, "one"), requests)
        yield "admit, 10 rules", timed(admitting(limits, "ten"), requests)
        yield f"admit, 1 rule, {THREADS} threads", timed(admitting(limits, "one"), requests, THREADS)
        yield f"admit, 10 rules, {THREADS} threads", timed(admitting(limits, "ten"), requests, THREADS)


def refused(database: Database, folder: Path, requests: int) -> tuple[list[float], list[float]]:
    """Milliseconds of refusals, and of bare commits."""
    with opened(database, folder, None) as limits:
        found = timed(refusing(limits), requests)
    update = text("UPDATE settings SET key = key")
    return found, timed(lambda _: database.write(lambda session: session.execute(update)), requests)


@contextlib.contextmanager
def redis_storage(url: str) -> Iterator[RedisStorage | None]:
    """The library's own storage at the URL, None where nothing answers; its keys and ours are removed."""
    with Redis.from_url(url, socket_connect_timeout=2) as redis:
        try:
            redis.ping()
        except RedisError:
            print(f"no Redis answers at {url}: left out")
            yield None
            return
        storage = RedisStorage(url, key_prefix="bench_limits")
        yield storage
        storage.storage.close()
        for pattern in ("bench_limits:*", "chatcore:limits:*"):
            for key in redis.scan_iter(pattern, count=1000):
                redis.delete(key)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--redis", default=os.environ.get("CHATCORE_TEST_REDIS_URL", "redis://127.0.0.1:6379/5"))
    options = parser.parse_args()
    found: list[tuple[str, list[float], list[float]]] = []
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as name:
        folder = Path(name)
        database = Database(URL.create("sqlite", database=str(folder / "chatcore.db")))
        own = bare(MemoryStorage(), options.requests)
        found += [(f"in process: {what}", ms, own) for what, ms in measured(database, folder, None, options.requests)]
        with redis_storage(options.redis) as storage:
            if storage is not None:
                theirs = bare(storage, options.requests)
                times = measured(database, folder, options.redis, options.requests)
                found += [(f"Redis: {what}", ms, theirs) for what, ms in times]
        found.append(("SQLite: refused", *refused(database, folder, options.requests)))
        database.close()
        with contextlib.suppress(OperationalError), postgres() as url:
            other = Database(url)
            found.append(("PostgreSQL: refused", *refused(other, folder, options.requests)))
            other.close()
    return show(found)


def show(found: list[tuple[str, list[float], list[float]]]) -> int:
    """Print the table; 1 when something is not held."""
    rows = [("milliseconds", "p50", "p95", "p99", "most", "mark p95", "bare p95", "ratio")]
    faults = []
    for name, values, beside in found:
        p50, p95, p99, most = spread(values, 50, 95, 99, 100)
        (bare_p95,) = spread(beside, 95)
        cells = (f"{p50:.3f}", f"{p95:.3f}", f"{p99:.3f}", f"{most:.2f}")
        mark = "" if name.endswith("refused") else f"{MOST_MS:g}"
        rows.append((name, *cells, mark, f"{bare_p95:.3f}", f"{p95 / bare_p95:.1f}"))
        if mark and not p95 <= MOST_MS:
            faults.append(f"{name}: {p95:.2f} ms > {MOST_MS:g} ms")
    print(table(rows))
    for fault in faults:
        print("NOT HELD:", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
