"""Rate limits: how many requests and tokens a person, a tenant and a model may use in a minute, an hour or a day.

Requests are counted in moving windows, so that the wait that a refusal tells is true; tokens in windows that begin
with their first use, tested before a call and charged after it with what it used. The windows are those of the
library `limits`, in this process and, where Redis is configured and answers, in Redis for all processes together.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, bindparam, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from chatcore import metrics
from chatcore.accounts.principal import Principal
from chatcore.db import Database
from chatcore.db.tables import LimitHit, utcnow
from chatcore.errors import DatabaseError, Forbidden, LimitExceeded
from chatcore.flags import FlagStore, LimitRule
from chatcore.shared import Shared
from chatcore.usage.limit_windows import OwnWindows, RedisWindows, Window

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

_PERSONAL: Final = ("tier", "user")


@dataclass(frozen=True)
class LimitState:
    """A rule as it stands for a person. `resets_in`: whole seconds until there is more left than now, 0 when unused.

    `used` is at most the rule's amount for requests; tokens may exceed it, because a call is charged after it.
    """

    rule: LimitRule
    used: int
    left: int
    resets_in: int


@dataclass(frozen=True)
class Refusals:
    """How many requests of a tenant were refused in a minute, by tier and by what refused them (as in `LimitHit`)."""

    minute: datetime
    tier: str
    kind: str
    hits: int


class RuleExceeded(LimitExceeded):
    """A rate limit refused a request. `rule` is the one that takes longest to have room again."""

    def __init__(self, message: str, retry_after: int, rule: LimitRule) -> None:
        super().__init__(message, retry_after)
        self.rule = rule


class Limits:
    """The rules of `flags`, counted. Safe to use from any thread; waits for Redis a quarter of a second at most."""

    def __init__(self, db: Database, flags: FlagStore, shared: Shared) -> None:
        self._db = db
        self._flags = flags
        self._shared = shared
        self._own = OwnWindows()
        self._remote: RedisWindows | None = None
        self._lock = threading.Lock()

    def admit(self, principal: Principal, model: str, count: int = 1, beside: Sequence[str] = ()) -> None:
        """Count `count` requests, all of them or none: one to `model` and to each of those `beside` it.

        Raises `RuleExceeded` (a `LimitExceeded`): after its `retry_after` seconds the same request is let through,
        unless others of the team were faster. For a request that no waiting helps, the sentence says so and
        `retry_after` is the length of the window.
        """
        whose = (principal.tenant_id, principal.user_id, principal.tier)
        windows = self._windows(*whose, model)
        for other in beside:
            windows += [one for one in self._windows(*whose, other) if one.rule.scope == "model"]
        for window in windows:
            if window.needs(count) > window.rule.amount:
                raise RuleExceeded(_hopeless(window.rule, count), window.seconds, window.rule)
        if not windows:
            return
        waits = self._waits_or_takes(windows, count)
        if not any(waits):
            return
        wait, rule = max(zip(waits, (window.rule for window in windows), strict=True), key=lambda one: one[0])
        raise RuleExceeded(_sentence(rule, count, wait), wait, rule)

    def charge(self, *, tenant_id: str, user_id: str, tier: str, model: str, tokens: int) -> None:
        """Count the tokens that a call really used."""
        windows = [one for one in self._windows(tenant_id, user_id, tier, model) if one.rule.of == "tokens"]
        if tokens <= 0 or not windows:
            return
        with self._lock:
            self._own.charge(windows, tokens)
        self._shared.call(lambda redis: self._in(redis).charge(windows, tokens), lambda: None)

    def states(self, principal: Principal) -> list[LimitState]:
        """How the rules for the person and for their tenant stand; those of models are left out."""
        windows = self._windows(principal.tenant_id, principal.user_id, principal.tier, None)
        with self._lock:
            own = [_state(self._own, window) for window in windows]
        shared = self._shared.call(lambda redis: [_state(self._in(redis), window) for window in windows], lambda: own)
        return [max(pair, key=lambda state: state.used) for pair in zip(shared, own, strict=True)]

    def refused(self, principal: Principal, kind: str, model: str) -> None:
        """Count in `limit_hits` that a request was refused. `kind`: as in `LimitHit`; of a `RuleExceeded`, `rule.of`.

        A database that does not answer is logged, for the refusal's own sentence matters more.
        """
        try:
            self._db.write(lambda session: self.count(session, principal, kind, model))
        except DatabaseError:
            log.warning("a refusal could not be counted", extra={"kind": kind})

    def count(self, session: Session, principal: Principal, kind: str, model: str) -> None:
        """`refused` inside the caller's transaction."""
        whose = {"tenant_id": principal.tenant_id, "user_id": principal.user_id, "tier": principal.tier}
        values = whose | {"minute": utcnow().replace(second=0, microsecond=0), "kind": kind, "model": model}
        session.execute(_COUNT_SQLITE if self._db.is_sqlite else _COUNT_POSTGRES, values)
        event.listen(session, "after_commit", lambda _: _tell(principal, kind, model), once=True)

    def refusals(self, principal: Principal, since: datetime) -> list[Refusals]:
        """What was refused in the tenant since then, oldest minute first. For admins. Raises `Forbidden`."""
        if not principal.is_admin:
            raise Forbidden("Only an admin can see what was refused.")
        scope = {"tenant": principal.tenant_id, "since": since}
        return self._db.read(lambda session: [Refusals(*row) for row in session.execute(_REFUSALS, scope)])

    def _waits_or_takes(self, windows: list[Window], count: int) -> list[int]:
        """Whole seconds until each window has room; where all have, the requests are counted."""
        with self._lock:
            own = self._own.waits(windows, count)
        # What this process alone let through counts also where Redis has lost it, or was away meanwhile.
        take = not any(own)
        shared = self._shared.call(lambda redis: self._in(redis).waits(windows, count, take=take), lambda: None)
        with self._lock:
            if shared is None:
                own = self._own.waits(windows, count)
            waits = own if shared is None else [max(pair) for pair in zip(own, shared, strict=True)]
            if not any(waits):
                self._own.take(windows, count)
        return waits

    def _windows(self, tenant_id: str, user_id: str, tier: str, model: str | None) -> list[Window]:
        """Those that a request counts in, one of each kind, the ones shared with most people first."""
        flags = self._flags.now
        if not flags.rate_limits:
            return []
        whose = {
            ("tenant", tenant_id): f"tenant/{tenant_id}",
            ("model", model): f"model/{tenant_id}/{model}",
            ("tier", tier): f"person/{user_id}",
            ("user", user_id): f"person/{user_id}",
        }
        found: dict[str, LimitRule] = {}
        for rule in flags.limits:
            if subject := whose.get((rule.scope, rule.name)):
                key = f"{rule.of}/{rule.per}/{subject}"
                found[key] = min(found.get(key, rule), rule, key=_precedence)
        windows = [Window(rule, key) for key, rule in found.items()]
        return sorted(windows, key=lambda window: window.rule.scope in _PERSONAL)

    def _in(self, redis: "Redis") -> RedisWindows:
        if self._remote is None:
            self._remote = RedisWindows(redis)
        return self._remote


def _tell(principal: Principal, kind: str, model: str) -> None:
    metrics.refused(kind, principal.tier)
    log.info(
        "question refused",
        extra={"user_id": principal.user_id, "tenant_id": principal.tenant_id, "kind": kind, "model": model},
    )


def _precedence(rule: LimitRule) -> tuple[bool, int]:
    """A person's own rule before their tier's, else the smaller amount."""
    return rule.scope != "user", rule.amount


def _state(windows: OwnWindows | RedisWindows, window: Window) -> LimitState:
    rule = window.rule
    if rule.of == "tokens":
        used = windows.get(window.key)
    else:
        used = min(rule.amount, windows.get_moving_window(window.key, rule.amount, window.seconds)[1])
    # There is room for one more than now when a rule of just what is used would have room for one.
    full = replace(window, rule=replace(rule, amount=used))
    resets_in = windows.waits([full], 1)[0] if used else 0
    return LimitState(rule, used, max(0, rule.amount - used), resets_in)


_DURING: Final = {"minute": "for this minute", "hour": "for this hour", "day": "for today"}
_EACH: Final = {"minute": "a minute", "hour": "an hour", "day": "a day"}


def _sentence(rule: LimitRule, count: int, wait: int) -> str:
    has, its = ("You have", "your") if rule.scope in _PERSONAL else ("Your organisation has", "its")
    if rule.of == "tokens" or count == 1:
        said = f"{has} used {its} {_amount(rule)} {_DURING[rule.per]}."
    else:
        said = f"{has} fewer than {count} of {its} {_amount(rule)} {_DURING[rule.per]} left."
    return f"{said} Try again in {wait} seconds{_roughly(wait)}."


def _hopeless(rule: LimitRule, count: int) -> str:
    who = "You" if rule.scope in _PERSONAL else "Your organisation"
    said = f"{who} may use {_amount(rule)} {_EACH[rule.per]}"
    if rule.amount:
        return f"{said}, and this asks for {count} at once. Ask fewer models at a time."
    other = "Choose another model, or ask" if rule.scope == "model" else "Ask"
    return f"{said}. {other} an admin for a higher limit."


def _amount(rule: LimitRule) -> str:
    what = rule.of.removesuffix("s") if rule.amount == 1 else rule.of
    model = f" {'to' if rule.of == 'requests' else 'of'} {rule.name}" if rule.scope == "model" else ""
    return f"{rule.amount:,} {what}{model}"


def _roughly(seconds: int) -> str:
    if seconds < 120:
        return ""
    return f" (about {round(seconds / 60)} minutes)" if seconds < 7200 else f" (about {round(seconds / 3600)} hours)"


def _count(insert: Any) -> Any:
    """One more refusal in a minute's row, which is made where it is missing."""
    columns = LimitHit.__table__.c
    statement = insert(LimitHit.__table__)
    return statement.on_conflict_do_update(
        index_elements=list(LimitHit.__table__.primary_key), set_={"hits": columns.hits + 1}
    )


_COUNT_SQLITE: Final = _count(sqlite.insert)
_COUNT_POSTGRES: Final = _count(postgresql.insert)
_REFUSALS: Final = (
    select(LimitHit.minute, LimitHit.tier, LimitHit.kind, func.sum(LimitHit.hits, type_=Integer))
    .where(LimitHit.tenant_id == bindparam("tenant"), LimitHit.minute >= bindparam("since"))
    .group_by(LimitHit.minute, LimitHit.tier, LimitHit.kind)
    .order_by(LimitHit.minute, LimitHit.tier, LimitHit.kind)
)
