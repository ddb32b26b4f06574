"""What happens at this moment: running replies, words, calls and money by the minute, what failed, what was refused.

Read from the database, so that every process tells the same. Everything is scoped to the principal inside the SQL: a
member's own, an admin's tenant. No words of anybody leave the database here, only how many they are.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import (
    JSON,
    ColumnElement,
    Integer,
    String,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db import Database
from chatcore.db.tables import Alert, LimitHit, Message, Turn, TurnChunk, UsageMetric, utcnow
from chatcore.errors import DatabaseError
from chatcore.usage.measures import FAILED
from chatcore.usage.scope import scope

T = TypeVar("T")

RECENT: Final = timedelta(minutes=5)
"""Refusals of this time are told."""
SERIES: Final = 61
"""Minutes in an `Hour`: sixty that are over, and the present one."""
_ERRORS: Final = 8
_LONGEST_GAP: Final = 30.0  # seconds between two samples beyond which their difference says nothing of now
_ENDED: Final = ("complete", "stopped", "interrupted", "failed")


@dataclass(frozen=True)
class Sample:
    """How far the replies had come at a moment: the last stored chunk of each, by its turn; -1 where none is."""

    at: datetime
    chunks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A call that failed. `error_type` is a code of ours, '' where there is none."""

    call_id: str
    at: datetime
    model: str
    provider: str
    outcome: str
    error_type: str
    trace_id: str


@dataclass(frozen=True)
class Now:
    """The present moment.

    `active`: running replies by model, most first. `words_per_second`: said since the sample before, None without one.
    `refusals`: of the last five minutes, by kind. `sample`: to be given to the next look.
    """

    sample: Sample
    active: Mapping[str, int]
    words_per_second: float | None
    refusals: Mapping[str, int]

    @property
    def running(self) -> int:
        """How many replies are being written."""
        return sum(self.active.values())


@dataclass(frozen=True)
class Hour:
    """The last hour by minute, the oldest first, and the present minute, which is not over.

    Numbers of ledger rows: all `calls`, and of those that have ended the `settled`, the `failed` and the `unpriced`,
    whose cost `cost_nano_usd` lacks. `failures`: the newest.
    """

    start: datetime
    at: datetime
    calls: tuple[int, ...]
    settled: tuple[int, ...]
    failed: tuple[int, ...]
    tokens: tuple[int, ...]
    cost_nano_usd: tuple[int, ...]
    unpriced: tuple[int, ...]
    failures: tuple[Failure, ...]

    def per_minute(self, counts: tuple[int, ...], minutes: int) -> float:
        """The mean of the last `minutes`, of which the present one has lasted for some seconds only."""
        passed = (self.at - self.start).total_seconds() / 60 - (SERIES - minutes)
        return sum(counts[-minutes:]) / max(passed, 1.0)

    def share_failed(self, minutes: int) -> float | None:
        """Of the calls that have ended in the last `minutes`, 0 to 1; None where none has."""
        settled = sum(self.settled[-minutes:])
        return sum(self.failed[-minutes:]) / settled if settled else None


class Live:
    """Looks at the present. Any of it raises `DatabaseError` when the database does not answer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def now(self, principal: Principal, before: Sample | None = None) -> Now:
        """The present moment. `before`: the sample of the last look, for words a second."""
        moment = utcnow()
        gap = (moment - before.at).total_seconds() if before else 0.0
        known = before if before is not None and 0 < gap <= _LONGEST_GAP else None

        def work(session: Session) -> Now:
            turns = _turns(session, principal, known.at if known else moment)
            words = _words(session, _seen(turns, known)) if known else None
            return Now(
                Sample(moment, {row.id: row.last for row in turns}), _by_model(turns),
                None if words is None else words / gap, _refusals(session, principal, moment - RECENT),
            )  # fmt: skip

        return self._read(work)

    def hour(self, principal: Principal, now: datetime | None = None) -> Hour:
        """The last hour by minute, and the newest calls of it that failed."""
        at = now or utcnow()
        start = at.replace(second=0, microsecond=0) - timedelta(minutes=SERIES - 1)

        def work(session: Session) -> Hour:
            columns = [[0] * SERIES for _ in _SUMS]
            for minute, values in _minutes(session, principal, start):
                place = round((minute - start).total_seconds() / 60)
                if place < SERIES:  # no call of a clock that was ahead
                    for column, value in zip(columns, values, strict=True):
                        column[place] = value
            calls, settled, failed, tokens, cost, unpriced = map(tuple, columns)
            failures = _failures(session, principal, start)
            return Hour(start, at, calls, settled, failed, tokens, cost, unpriced, failures)

        return self._read(work)

    def firing(self) -> dict[str, int]:
        """How many alerts fire in the whole instance, by severity. For machines: it names nobody."""
        return self._read(lambda session: dict(session.execute(_FIRING).all()))

    def _read(self, work: Callable[[Session], T]) -> T:
        try:
            return self._db.read(work)
        except DBAPIError as error:
            raise DatabaseError("What happens now cannot be read. Try again in a moment.") from error


_FIRING: Final = select(Alert.severity, func.count()).where(Alert.state == "firing").group_by(Alert.severity)
_SETTLED: Final = UsageMetric.outcome != "running"
_SUMS: Final = (
    func.count(),
    func.sum(case((_SETTLED, 1), else_=0)),
    func.sum(case((UsageMetric.outcome.in_(FAILED), 1), else_=0)),
    func.sum(UsageMetric.prompt_tokens + UsageMetric.completion_tokens),
    func.sum(func.coalesce(UsageMetric.cost_nano_usd, 0)),
    func.sum(case((_SETTLED & UsageMetric.cost_nano_usd.is_(None), 1), else_=0)),
)


def _whose(principal: Principal, table: type[Turn] | type[LimitHit]) -> list[ColumnElement[bool]]:
    where = [table.tenant_id == principal.tenant_id]
    return where if principal.is_admin else [*where, table.user_id == principal.user_id]


def _turns(session: Session, principal: Principal, since: datetime) -> Sequence[Any]:
    """The turns that run, and those that ended since then: id, model, whether it runs, its last stored chunk."""
    last = select(func.max(TurnChunk.seq)).where(TurnChunk.turn_id == Turn.id).scalar_subquery()
    columns = (Turn.id, Message.model, (Turn.status == "running").label("runs"), func.coalesce(last, -1).label("last"))
    # Two statements in one, each by the index of status and time.
    found = [
        select(*columns).join(Message, Message.id == Turn.message_id).where(*_whose(principal, Turn), *which)
        for which in ([Turn.status == "running"], [Turn.status.in_(_ENDED), Turn.finished_at >= since])
    ]
    return session.execute(union_all(*found)).all()


def _seen(turns: Sequence[Any], before: Sample) -> dict[str, int]:
    """From which chunk on words count, for each turn that has more of them. One not known yet began since."""
    seen = {row.id: before.chunks.get(row.id, -1) for row in turns}
    return {row.id: seen[row.id] for row in turns if row.last > seen[row.id]}


def _words(session: Session, seen: Mapping[str, int]) -> int:
    """How many words were stored since: the blanks and line ends in them, which SQL can count."""
    if not seen:
        return 0
    text = bindparam("seen", json.dumps(seen), String())
    if session.get_bind().dialect.name == "sqlite":
        known = func.json_each(text).table_valued("key", "value")
    else:
        known = func.json_each_text(cast(text, JSON)).table_valued("key", "value")
    blanks = func.length(TurnChunk.text) - func.length(
        func.replace(func.replace(TurnChunk.text, " ", ""), literal("\n"), "")
    )
    newer = (TurnChunk.turn_id == known.c.key) & (TurnChunk.seq > cast(known.c.value, Integer))
    said = select(func.coalesce(func.sum(blanks), 0)).select_from(known).join(TurnChunk, newer)
    return int(session.scalar(said.where(TurnChunk.kind.in_(("text", "reasoning")))) or 0)


def _by_model(turns: Sequence[Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in turns:
        if row.runs:
            counts[row.model or ""] = counts.get(row.model or "", 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _minutes(session: Session, principal: Principal, start: datetime) -> list[tuple[datetime, list[int]]]:
    """Minute; calls, settled, failed, tokens, nano-USD, calls of unknown cost."""
    minute: ColumnElement[Any] = func.date_trunc("minute", UsageMetric.created_at)
    if session.get_bind().dialect.name == "sqlite":
        minute = func.substr(type_coerce(UsageMetric.created_at, String()), 1, 16)
    rows = select(minute.label("minute"), *_SUMS).where(*scope(principal), UsageMetric.created_at >= start)
    found = session.execute(rows.group_by("minute"))
    return [(_moment(at, start), [int(value) for value in values]) for at, *values in found]


def _moment(minute: Any, start: datetime) -> datetime:
    found = datetime.fromisoformat(minute) if isinstance(minute, str) else minute
    return found.replace(tzinfo=start.tzinfo) if found.tzinfo is None else found


def _failures(session: Session, principal: Principal, since: datetime) -> tuple[Failure, ...]:
    columns = (
        UsageMetric.id, UsageMetric.created_at, UsageMetric.model, UsageMetric.provider, UsageMetric.outcome,
        func.coalesce(UsageMetric.error_type, ""), UsageMetric.trace_id,
    )  # fmt: skip
    where = (*scope(principal), UsageMetric.created_at >= since, UsageMetric.outcome.in_(FAILED))
    newest = select(*columns).where(*where).order_by(UsageMetric.created_at.desc()).limit(_ERRORS)
    return tuple(Failure(*row) for row in session.execute(newest))


def _refusals(session: Session, principal: Principal, since: datetime) -> dict[str, int]:
    minute = since.replace(second=0, microsecond=0)
    hits = select(LimitHit.kind, func.sum(LimitHit.hits, type_=Integer))
    hits = hits.where(*_whose(principal, LimitHit), LimitHit.minute >= minute).group_by(LimitHit.kind)
    return dict(session.execute(hits).all())
