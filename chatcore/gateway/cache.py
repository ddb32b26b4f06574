"""Replies that identical requests get again, for as long as `chatcore.cache_seconds`.

Which requests: those whose temperature is at most `chatcore.cache_max_temperature`. Where none is set, neither with the
request nor with the model, the provider's own default counts, as 1.0. Above it the person wants a reply of its own.

Which replies (`may_be_kept`): complete ones of the asked model itself that ended with `stop` and were not filtered,
with words, without calls of tools, of at most 256 kB as they are stored. Anything else is never kept, so a fallback's
or a cut reply is never given as the model's own.

What is identical: the tenant (and the person, unless the cache is shared within the tenant), the model's name, target,
window and arguments, the messages, temperature, max_tokens and a completion's further parameters, all by canonical
JSON. The order of a mapping's names does not matter; everything else does, other Unicode forms of the same letter too.
Secret arguments are left out: which key paid does not change what is said. The tenant is part of the key and is checked
again when a reply is found.

Where: the table `cached_replies`; Redis where one is configured and answers. Both are bounded by `chatcore.cache_mb`:
the oldest go first.
"""

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from chatcore.config import Settings
from chatcore.db import Database, changed_rows
from chatcore.db.tables import CachedReply, utcnow
from chatcore.errors import DatabaseError
from chatcore.gateway.catalog import Model
from chatcore.gateway.failures import secrets_in
from chatcore.gateway.protocol import MAX_TOKENS, AttemptOutcome
from chatcore.shared import PREFIX, Shared

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_REPLY: Final = 256 * 1024
"""Bytes of the largest reply that is kept, as JSON."""
_BESIDE: Final = 300  # bytes that an entry takes beside its reply: key, ids, times, indexes
# The most that a column holds.
_COUNTS: Final = {"prompt_tokens": MAX_TOKENS, "completion_tokens": MAX_TOKENS, "cost_nano_usd": 2**63 - 1}
_VERSION: Final = 1  # of the form of keys and replies: what another version kept is not found
_PROVIDERS_TEMPERATURE: Final = 1.0

_REPLIES: Final = f"{PREFIX}cache:reply:"
_AGES: Final = f"{PREFIX}cache:ages"
_SIZES: Final = f"{PREFIX}cache:sizes"
# A value expires by itself; its age and size stay counted until the script comes across them, which errs on the small
# side. A thousand drops at most, so that Redis is not held up: the next ones go on.
_KEEP: Final = """
local key, value, size, now, seconds, bound, prefix = unpack(ARGV)
redis.call('HINCRBY', KEYS[2], 'total', size - (redis.call('HGET', KEYS[2], key) or 0))
redis.call('HSET', KEYS[2], key, size)
redis.call('ZADD', KEYS[1], now, key)
redis.call('SET', prefix .. key, value, 'EX', seconds)
redis.call('EXPIRE', KEYS[1], seconds)
redis.call('EXPIRE', KEYS[2], seconds)
for _ = 1, 1000 do
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  local total = tonumber(redis.call('HGET', KEYS[2], 'total'))
  if not oldest[1] or (total <= tonumber(bound) and oldest[2] + seconds > tonumber(now)) then break end
  redis.call('HINCRBY', KEYS[2], 'total', -(redis.call('HGET', KEYS[2], oldest[1]) or 0))
  redis.call('HDEL', KEYS[2], oldest[1])
  redis.call('ZREM', KEYS[1], oldest[1])
  redis.call('UNLINK', prefix .. oldest[1])
end
"""


@dataclass(frozen=True)
class StoredReply:
    """A reply as it was given first. `cost_nano_usd`: what it cost then, None where that is unknown."""

    text: str
    reasoning: str
    model: str
    provider: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost_nano_usd: int | None
    created_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Its JSON form."""
        return asdict(self) | {"created_at": self.created_at.isoformat()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "StoredReply":
        """From its JSON form. Raises `KeyError`, `TypeError` or `ValueError` where it is none."""
        values = {one.name: stored[one.name] for one in fields(cls)}
        for name, value in values.items():
            if name in _COUNTS:
                _check_count(value, name)
            elif not isinstance(value, str):
                raise TypeError(f"{name} is no text")
        return cls(**values | {"created_at": datetime.fromisoformat(values["created_at"])})


def _check_count(value: object, name: str) -> None:
    if value is None and name == "cost_nano_usd":
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is no whole number")
    if not 0 <= value <= _COUNTS[name]:
        raise ValueError(f"{name} cannot be right")


def may_be_kept(reply: StoredReply, *, asked: str, outcome: AttemptOutcome, called_tools: bool) -> bool:
    """Whether an identical request may get this reply. `asked`: the name of the model that the key was made for."""
    return outcome == "ok" and not called_tools and reply.model == asked and _is_whole(reply)


class ReplyCache:
    """Finds and keeps replies. A cache that cannot be reached finds nothing and keeps nothing: nobody notices."""

    def __init__(self, db: Database, shared: Shared, settings: Settings) -> None:
        own = settings.own
        self._db = db
        self._shared = shared
        self._seconds = own.cache_seconds
        self._max_temperature = own.cache_max_temperature
        self._bound = own.cache_mb * 2**20
        # Room for what is kept between two sweeps, so that the bound holds at all times. The first keep sweeps.
        self._slack = max(self._bound // 16, MAX_REPLY + _BESIDE)
        self._since_sweep = self._slack
        self._upsert = _UPSERT["sqlite" if db.is_sqlite else "postgresql"]

    def key(
        self,
        model: Model,
        messages: Sequence[Mapping[str, Any]],
        temperature: float | None,
        max_tokens: int | None,
        *,
        tenant_id: str,
        user_id: str | None,
        keep_last: int = 1,
        parameters: Mapping[str, Any] | None = None,
    ) -> str | None:
        """What an identical request has too; None where the request is not to be cached.

        `user_id`: None shares the reply within the tenant. The others: as in `CompletionRequest`.
        """
        if not _temperature(model, temperature) <= self._max_temperature:
            return None
        asked = (messages, temperature, max_tokens, _public(model.arguments), model.context_window, keep_last)
        whole = (_VERSION, tenant_id, user_id, model.name, model.target, *asked, *([parameters] if parameters else []))
        try:
            text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        except (TypeError, ValueError):  # an argument without a JSON form, such as YAML's binary
            return None
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    async def find(self, key: str, tenant_id: str, *, now: datetime | None = None) -> StoredReply | None:
        """The reply kept under `key` for that tenant, None where there is none or it has expired."""
        moment = now or utcnow()
        found = await self._in_redis(lambda redis: (_fetched(redis, key, tenant_id, moment),))
        if found is not None:
            return found[0]
        try:
            return await self._db.aread(partial(_selected, key=key, tenant_id=tenant_id, now=moment))
        except (DatabaseError, DBAPIError) as error:
            log.warning("the cache could not be read", extra={"error": type(error).__name__})
            return None

    async def keep(
        self, key: str, *, tenant_id: str, user_id: str, reply: StoredReply, now: datetime | None = None
    ) -> None:
        """Keep a reply that `may_be_kept`; one that can be seen not to be a whole reply is left out."""
        moment, text = now or utcnow(), json.dumps(reply.as_dict())
        if not _is_whole(reply) or len(text) > MAX_REPLY:
            return
        expires_at = moment + timedelta(seconds=self._seconds)
        sealed = json.dumps({"tenant_id": tenant_id, "expires_at": expires_at.isoformat(), "reply": reply.as_dict()})
        limits = (moment.timestamp(), self._seconds, self._bound, _REPLIES)
        script = (key, sealed, len(sealed) + _BESIDE, *limits)
        if await self._in_redis(lambda redis: (redis.eval(_KEEP, 2, _AGES, _SIZES, *map(str, script)),)) is not None:
            return
        row = {"key": key, "tenant_id": tenant_id, "user_id": user_id, "model": reply.model, "reply": reply.as_dict()}
        await self._insert(row | {"size": len(text) + _BESIDE, "created_at": moment, "expires_at": expires_at})

    def sweep(self, session: Session, now: datetime | None = None) -> int:
        """Drop from the table what has expired, and the oldest beyond fifteen sixteenths of its bound.

        Works inside the caller's transaction. Returns how many went. Redis does it by itself.
        """
        expired = session.execute(_EXPIRED, {"now": now or utcnow()})
        oldest = session.execute(_OLDEST, {"bound": self._bound - self._slack})
        return changed_rows(expired) + changed_rows(oldest)

    async def _insert(self, row: dict[str, Any]) -> None:
        self._since_sweep += row["size"]
        sweeps = self._since_sweep > self._slack
        if sweeps:
            self._since_sweep = 0

        def work(session: Session) -> None:
            session.execute(self._upsert, row)
            if sweeps:
                self.sweep(session, row["created_at"])

        try:
            await self._db.awrite(work)
        except (DatabaseError, DBAPIError) as error:
            self._since_sweep = self._slack
            log.warning("a reply could not be kept", extra={"error": type(error).__name__})

    async def _in_redis(self, work: "Callable[[Redis], T]") -> T | None:
        """What `work` makes of the Redis, None where there is none that answers."""
        if not self._shared.is_configured:
            return None
        return await asyncio.to_thread(self._shared.call, work, _nothing)


_SELECT: Final = select(CachedReply.reply).where(
    CachedReply.key == bindparam("key"),
    CachedReply.tenant_id == bindparam("tenant"),
    CachedReply.expires_at > bindparam("now"),
)
_EXPIRED: Final = (
    delete(CachedReply).where(CachedReply.expires_at <= bindparam("now")).execution_options(synchronize_session=False)
)
_BY_AGE: Final = select(
    CachedReply.key,
    func.sum(CachedReply.size).over(order_by=(CachedReply.created_at.desc(), CachedReply.key)).label("so_far"),
).subquery()
_OLDEST: Final = (
    delete(CachedReply)
    .where(CachedReply.key.in_(select(_BY_AGE.c.key).where(_BY_AGE.c.so_far > bindparam("bound"))))
    .execution_options(synchronize_session=False)
)


def _upsert(insert: Any) -> Any:
    """An INSERT that replaces what stands under the key, but never another tenant's."""
    statement = insert(CachedReply.__table__)
    new = statement.excluded
    changed = {one.name: new[one.name] for one in CachedReply.__table__.columns if one.name not in ("key", "tenant_id")}
    return statement.on_conflict_do_update(
        index_elements=["key"], set_=changed, where=CachedReply.__table__.c.tenant_id == new.tenant_id
    )


_UPSERT: Final = {"sqlite": _upsert(sqlite.insert), "postgresql": _upsert(postgresql.insert)}


def _selected(session: Session, key: str, tenant_id: str, now: datetime) -> StoredReply | None:
    return _opened(session.scalar(_SELECT, {"key": key, "tenant": tenant_id, "now": now}))


def _fetched(redis: "Redis", key: str, tenant_id: str, now: datetime) -> StoredReply | None:
    text = redis.get(_REPLIES + key)
    try:
        sealed = json.loads(text) if isinstance(text, str) else None
        if sealed is None or sealed["tenant_id"] != tenant_id or datetime.fromisoformat(sealed["expires_at"]) <= now:
            return None
        return _opened(sealed["reply"])
    except (ValueError, TypeError, KeyError, RecursionError):  # not ours
        return None


def _opened(stored: Any) -> StoredReply | None:
    """The reply of its JSON form, None where it is none: nobody is to suffer for what lies in a cache."""
    try:
        return None if stored is None else StoredReply.from_dict(stored)
    except (ValueError, TypeError, KeyError):
        return None


def _is_whole(reply: StoredReply) -> bool:
    return reply.finish_reason == "stop" and bool(reply.text.strip())


def _temperature(model: Model, asked: float | None) -> float:
    """What the provider will use; not a number where the configuration holds none."""
    chosen = model.arguments.get("temperature") if asked is None else asked
    if chosen is None:
        return _PROVIDERS_TEMPERATURE
    try:
        return float(chosen)
    except (TypeError, ValueError):
        return math.nan


def _public(value: Any, name: str = "") -> Any:
    """A model's arguments without the strings whose names say that they are secret."""
    if isinstance(value, Mapping):
        return {str(inner): _public(one, str(inner)) for inner, one in value.items()}
    if isinstance(value, list | tuple):
        return [_public(one, name) for one in value]
    return None if isinstance(value, str) and secrets_in({name: value}) else value


def _nothing() -> None:
    return None
