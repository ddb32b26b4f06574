"""The ledger's side of a bill: sums per day and model, with the calls that a bill may see differently counted apart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, cast, func, not_, or_, select
from sqlalchemy.orm import Session

from chatcore.bills.values import Figures, Kind
from chatcore.db.tables import UsageMetric
from chatcore.usage import zones

T = TypeVar("T")
Read = Callable[[Callable[[Session], T]], T]

_row: Final = UsageMetric
_TOKENS: Final = cast(_row.prompt_tokens, BigInteger) + _row.completion_tokens
_FAILED: Final = and_(_row.outcome.in_(("error", "timeout", "rate_limited")), _TOKENS == 0)
_DOUBTS: Final[dict[Kind, ColumnElement[bool]]] = {
    "estimated": _row.usage_source == "estimated",
    "unpriced": and_(_row.cost_nano_usd.is_(None), _row.outcome != "running", _TOKENS > 0),
    "unsettled": _row.outcome.in_(("running", "interrupted")),
    "failed": _FAILED,
}
LEFT_OUT: Final[tuple[Kind, ...]] = ("keys", "cached", "demo")


class Part(NamedTuple):
    """Some calls, their tokens and their known cost in nano-USD."""

    calls: int = 0
    tokens: int = 0
    nano_usd: int = 0

    def plus(self, other: "Part") -> "Part":
        return Part(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass
class Sums:
    """The calls that a bill should have, and the parts of them (and of those left out) that explain a difference."""

    figures: Figures = field(default_factory=Figures)
    parts: dict[Kind, Part] = field(default_factory=dict)
    counted: int = 0

    def add(self, other: "Sums") -> None:
        self.figures += other.figures
        self.counted += other.counted
        for kind, part in other.parts.items():
            self.parts[kind] = self.parts.get(kind, Part()).plus(part)


@dataclass(frozen=True)
class Group:
    """Whose calls some sums are: the registry's name, what the provider was asked for, and the provider."""

    model: str
    provider_model: str
    provider: str


def sums(
    read: Read[Any], tenant_ids: Sequence[str], first: date, last: date, zone: str, keys: Sequence[str]
) -> dict[tuple[date, Group], Sums]:
    """The ledger's sums per day of the zone and group, `first` and `last` included.

    `keys`: the `key_source`s whose calls the bill is for; those paid with other keys are counted as left out. One
    GROUP BY for each day, along the index of tenants and times, so that any zone's days come out, also when a clock
    changes, and no transaction is long.
    """
    found: dict[tuple[date, Group], Sums] = {}
    for day in _days(read(lambda session: _ends(session, tenant_ids)), first, last, zone):
        for group, one in _day(read, tenant_ids, day, zone, keys):
            found.setdefault((day, group), Sums()).add(one)
    return found


def _ends(session: Session, tenant_ids: Sequence[str]) -> tuple[datetime, datetime] | None:
    """The oldest and the newest call, so that a bill of twenty years asks for no day without any."""
    found: list[datetime] = []
    for tenant_id in tenant_ids:
        for end in (func.min(_row.created_at), func.max(_row.created_at)):
            moment = session.scalar(select(end).where(_row.tenant_id == tenant_id))
            found += [moment] if moment else []
    return (min(found), max(found)) if found else None


def _days(ends: tuple[datetime, datetime] | None, first: date, last: date, zone: str) -> Iterator[date]:
    if ends is None:
        return
    oldest, newest = (moment.astimezone(zones.zone(zone)).date() for moment in ends)
    day = max(first, oldest)
    while day <= min(last, newest):
        yield day
        day += timedelta(days=1)


def _day(
    read: Read[Any], tenant_ids: Sequence[str], day: date, zone: str, keys: Sequence[str]
) -> Iterator[tuple[Group, Sums]]:
    where = zones.zone(zone)
    start, end = zones.begin(day, where), zones.begin(day + timedelta(days=1), where)
    statement = _statement(tenant_ids, start, end, keys)
    for row in read(lambda session: session.execute(statement).all()):
        model, provider_model, provider, left_out, *numbers = row
        yield Group(model, provider_model, provider), _sums(left_out, numbers)


def _statement(tenant_ids: Sequence[str], start: datetime, end: datetime, keys: Sequence[str]) -> Select[Any]:
    left_out = case(
        (_row.is_demo, "demo"),
        (or_(_row.outcome == "cached", _row.cache_hit), "cached"),
        (_row.key_source.not_in(keys), "keys"),
        else_="",
    )
    counts = func.sum(case((not_(_FAILED), 1), else_=0))
    columns = [
        *(func.count(), counts, func.sum(_row.prompt_tokens), func.sum(_row.cached_tokens)),
        *(func.sum(_row.completion_tokens), func.sum(_row.cost_nano_usd), func.count(_row.cost_nano_usd)),
    ]
    for doubt in _DOUBTS.values():
        columns += [func.sum(case((doubt, one), else_=0)) for one in (1, _TOKENS, func.coalesce(_row.cost_nano_usd, 0))]
    # Grouped by label: PostgreSQL takes an expression repeated with bound parameters for a different one.
    return (
        select(_row.model, _row.provider_model, _row.provider, left_out.label("left_out"), *columns)
        .where(_row.tenant_id.in_(tenant_ids), _row.created_at >= start, _row.created_at < end)
        .group_by(_row.model, _row.provider_model, _row.provider, "left_out")
    )


def _sums(left_out: Kind | str, numbers: Sequence[Any]) -> Sums:
    calls, requests, prompt, cached, completion, nano, priced = (int(number or 0) for number in numbers[:7])
    if left_out:
        return Sums(parts={left_out: Part(calls, prompt + completion, nano)})  # type: ignore[dict-item]
    doubts = iter(int(number or 0) for number in numbers[7:])
    parts = {kind: Part(next(doubts), next(doubts), next(doubts)) for kind in _DOUBTS}
    known = nano if priced else None if prompt + completion else 0
    figures = Figures(requests, prompt, cached, completion, known)
    return Sums(figures, {kind: part for kind, part in parts.items() if part.calls}, calls)
