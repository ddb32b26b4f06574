"""What is counted of the ledger, by quarter of an hour, day and month."""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table
from sqlalchemy.orm import Mapped, mapped_column

from chatcore.db.tables.base import Base, UtcDateTime


class Measures:
    """What is counted of the settled calls of a rollup's row. Tokens, nano-USD, milliseconds, and numbers of calls.

    `priced` of the `calls` have a known cost, which `cost_nano_usd` sums. `ok` to `cached` count outcomes. `again`:
    calls that were not the first attempt. `generated_tokens` were said in `generating_ms`, both over the calls whose
    first word and end are known.
    """

    calls: Mapped[int] = mapped_column(BigInteger, default=0)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cached_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cache_write_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    completion_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    reasoning_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    cost_nano_usd: Mapped[int] = mapped_column(BigInteger, default=0)
    saved_nano_usd: Mapped[int] = mapped_column(BigInteger, default=0)
    priced: Mapped[int] = mapped_column(BigInteger, default=0)
    estimated: Mapped[int] = mapped_column(BigInteger, default=0)
    demo: Mapped[int] = mapped_column(BigInteger, default=0)
    ok: Mapped[int] = mapped_column(BigInteger, default=0)
    stopped: Mapped[int] = mapped_column(BigInteger, default=0)
    interrupted: Mapped[int] = mapped_column(BigInteger, default=0)
    error: Mapped[int] = mapped_column(BigInteger, default=0)
    timeout: Mapped[int] = mapped_column(BigInteger, default=0)
    rate_limited: Mapped[int] = mapped_column(BigInteger, default=0)
    truncated: Mapped[int] = mapped_column(BigInteger, default=0)
    cached: Mapped[int] = mapped_column(BigInteger, default=0)
    again: Mapped[int] = mapped_column(BigInteger, default=0)
    generated_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    generating_ms: Mapped[int] = mapped_column(BigInteger, default=0)


class UsageHourly(Measures, Base):
    """Calls in a quarter of an hour (UTC), from which the hours and days of any time zone come out."""

    __tablename__ = "usage_hourly"
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    slot: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(primary_key=True)
    tier: Mapped[str] = mapped_column(primary_key=True)
    __table_args__ = ({"sqlite_with_rowid": False},)


class UsageDaily(Measures, Base):
    """Calls in a day, a week or a month of the tenant's time zone, `start` being its first moment.

    `kind` says which of the columns behind it tell calls apart, the others being '': `model` (model, provider, tier),
    `agent` (agent, purpose, tier), `detail` (all of these), `user` (user and tier), `error` (error type, model and
    provider; failed calls only). Levels: `day` for all kinds, `month` for all but `detail`, `week`
    (from Monday on) for `user`.
    """

    __tablename__ = "usage_daily"
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    level: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    start: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True, default="")
    provider: Mapped[str] = mapped_column(primary_key=True, default="")
    tier: Mapped[str] = mapped_column(primary_key=True, default="")
    agent_id: Mapped[str] = mapped_column(primary_key=True, default="")
    purpose: Mapped[str] = mapped_column(primary_key=True, default="")
    user_id: Mapped[str] = mapped_column(primary_key=True, default="")
    error_type: Mapped[str] = mapped_column(primary_key=True, default="")
    __table_args__ = ({"sqlite_with_rowid": False},)


LATENCY_PLACES: Final = 32
"""How many buckets stand side by side in one row of `usage_latency`."""

USAGE_LATENCY: Final = Table(
    "usage_latency",
    Base.metadata,
    Column("tenant_id", String(), primary_key=True),
    Column("level", String(), primary_key=True),
    Column("kind", String(), primary_key=True),
    Column("start", UtcDateTime(), primary_key=True),
    Column("metric", String(), primary_key=True),
    Column("model", String(), primary_key=True, default=""),
    Column("provider", String(), primary_key=True, default=""),
    Column("block", Integer, primary_key=True, autoincrement=False),
    *(Column(f"n{place}", Integer, nullable=False, server_default="0") for place in range(LATENCY_PLACES)),
    sqlite_with_rowid=False,
)
"""How long calls took: numbers of calls in 32 adjoining buckets of milliseconds, from `block` * 32 on.

`metric`: `ttft`, `latency`, and `hit`, the latency of cache hits. Levels and kinds: `quarter` and `day` of `all` calls,
`day` and `month` by `model` and provider.
"""


class LatencyBucket(Base):
    """The buckets' lower ends, so that SQL can tell which one a call belongs to. Written by the migration."""

    __tablename__ = "latency_buckets"
    low_ms: Mapped[int] = mapped_column(Integer, primary_key=True)
    bucket: Mapped[int] = mapped_column(Integer)
