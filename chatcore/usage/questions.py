"""Answers that need more than one reading of calls."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.errors import InvalidInput
from chatcore.usage import cells, forecast, frames, zones
from chatcore.usage.cells import GroupBy
from chatcore.usage.forecast import Forecast
from chatcore.usage.scope import Filter, Step, default_step, steps
from chatcore.usage.steps import Span, spans
from chatcore.usage.totals import Totals

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Report:
    """A page's worth of numbers. Frames as in `tokens_by_day` and `by_model`."""

    totals: Totals
    previous: Totals
    by_day: "DataFrame"
    by_model: "DataFrame"


_MODEL_COLUMNS: Final = (
    *("calls", "prompt_tokens", "completion_tokens", "cost_nano_usd", "unpriced", "estimated", "failed"),
    *("average_cost_nano_usd", "average_tokens", "share_estimated", "share_unpriced", "share_failed"),
)


def whole(session: Session, principal: Principal, chosen: Filter, group_by: GroupBy) -> "DataFrame":
    """The cells of the range as one."""
    return cells.read(session, principal, chosen, group_by, as_one(chosen)[0])


def as_one(chosen: Filter) -> tuple[list[Span], tzinfo]:
    """The range as a single span."""
    return spans(chosen.start, chosen.end, None, UTC), UTC


def drawn_in(
    session: Session,
    principal: Principal,
    chosen: Filter,
    step: Step | None,
    viewers: tzinfo | None,
    group_by: GroupBy = "none",
) -> tuple[list[Span], tzinfo]:
    """The spans of a drawing and the time zone of their days (hours: of the viewer). None: the step that suits.

    Raises `InvalidInput` for a step too fine for the range.
    """
    step = step or default_step(chosen, group_by)
    if step not in steps(chosen):
        raise InvalidInput(f"This range is too long to be shown by the {step}. Choose a shorter one, or longer steps.")
    where = viewers if step == "hour" and viewers else cells.calendar(session, principal).zone
    return spans(chosen.start, chosen.end, step, where), where


def series(
    session: Session,
    principal: Principal,
    chosen: Filter,
    group_by: GroupBy,
    drawn: tuple[Sequence[Span], tzinfo],
    ranked: Sequence[str] | None = None,
) -> "DataFrame":
    """See `Usage.series`."""
    some, where = drawn
    if group_by == "user":
        found = _of_people(session, principal, chosen, some, ranked)
    else:
        found = cells.read(session, principal, chosen, group_by, some)
        names = frames.ranked(found)
        if len(names) > frames.SHOWN:
            found = frames.join_others(found, names[: frames.SHOWN])
    return frames.series(found, [span.start for span in some], where)


def _of_people(
    session: Session, principal: Principal, chosen: Filter, some: Sequence[Span], ranked: Sequence[str] | None
) -> "DataFrame":
    """People may be thousands: the largest are read by step, and the others are what is left of all."""
    names = ranked if ranked is not None else frames.ranked(whole(session, principal, chosen, "user"))
    if len(names) <= frames.SHOWN:
        return cells.read(session, principal, chosen, "user", some)
    since = cells.calendar(session, principal).ledger_since
    if since is not None and chosen.start < since:  # there, people's days and all calls' quarters are cut differently
        return frames.join_others(cells.read(session, principal, chosen, "user", some), names[: frames.SHOWN])
    largest = replace(chosen, user_ids=tuple(names[: frames.SHOWN]))
    shown = cells.read(session, principal, largest, "user", some)
    return frames.with_others(shown, cells.read(session, principal, chosen, "none", some))


def tokens_by_day(session: Session, principal: Principal, chosen: Filter, group_by: GroupBy) -> "DataFrame":
    """See `Usage.tokens_by_day`."""
    where = cells.calendar(session, principal).zone
    some = spans(chosen.start, chosen.end, "hour" if chosen.by_hour else "day", where)
    frame = frames.series(cells.read(session, principal, chosen, group_by, some), [one.start for one in some], where)
    names = ["day", "group", "prompt_tokens", "completion_tokens", "calls", "cost_nano_usd", "unpriced"]
    return frame.rename(columns={"start": "day"})[names]


def by_model(found: "DataFrame") -> "DataFrame":
    """See `Usage.by_model`."""
    frame = frames.breakdown(found)[["group", *_MODEL_COLUMNS]]
    return frame.rename(columns={"group": "model"})


def report(session: Session, principal: Principal, chosen: Filter, now: datetime) -> Report:
    """See `Usage.report`."""
    found = whole(session, principal, chosen, "model")
    previous = whole(session, principal, chosen.previous(now, cells.calendar(session, principal).zone), "none")
    days = tokens_by_day(session, principal, chosen, "model")
    return Report(frames.totals(found), frames.totals(previous), days, by_model(found))


def of_month(session: Session, principal: Principal, chosen: Filter | None, now: datetime) -> Forecast:
    """See `Usage.forecast`."""
    where = cells.calendar(session, principal).zone
    today = zones.day_of(now, where)
    first = min(today.replace(day=1), today - timedelta(days=forecast.LOOKED_BACK))
    start, end = zones.begin(first, where), zones.next_day(now, where)
    chosen = Filter(start, end) if chosen is None else replace(chosen, start=start, end=end)
    some = spans(start, end, "day", where)
    found = cells.read(session, principal, chosen, "none", some)
    costs: dict[date, int] = {
        zones.day_of(some[int(span)].start, where): int(cost)
        for span, cost in zip(found["span"], found["cost_nano_usd"], strict=True)
    }
    return forecast.forecast(costs, today)
