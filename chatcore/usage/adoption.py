"""Who uses it: people, conversations, questions, and what people thought of the replies.

Narrowed by people, teams and tiers only: a person is no model's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Select, case, func, select, union
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import Conversation, Rating, UsageDaily, UsageMetric, User, utcnow
from chatcore.usage import cells
from chatcore.usage.placing import placed
from chatcore.usage.scope import NONE, Filter, restrictions
from chatcore.usage.segments import Rows, Segment, choose, plan
from chatcore.usage.steps import Span

if TYPE_CHECKING:
    from pandas import DataFrame

ASKED: Final = ("chat", "api")
"""The purposes whose first attempts answer a question."""
_KIND: Final = choose(cells.KINDS, {"user", "tier"})


@dataclass(frozen=True)
class Adoption:
    """A range's people and what they did. `people`: with at least one call; `new_people`: whose account is from then.

    `conversations` were begun in the range and are still there; `messages` are questions asked, also in
    conversations deleted since. `agents`: how many were used. `thumbs_up` are ratings of four and five stars,
    `thumbs_down` of one and two; `mean_stars` is None without ratings.
    """

    people: int
    new_people: int
    conversations: int
    messages: int
    agents: int
    ratings: int
    thumbs_up: int
    thumbs_down: int
    mean_stars: float | None

    @property
    def messages_per_person(self) -> float | None:
        """None without people."""
        return self.messages / self.people if self.people else None


def by_step(
    session: Session, principal: Principal, chosen: Filter, spans: Sequence[Span], where: tzinfo
) -> "DataFrame":
    """See `Usage.adoption` for the columns."""
    import pandas as pd

    chosen = of_people(chosen)
    frame = pd.DataFrame({"start": pd.DatetimeIndex([span.start for span in spans]).as_unit("us").tz_convert(where)})
    found = {
        "people": _counted(session, _people(session, principal, chosen, spans)),
        "conversations": _counted(session, _conversations(session, principal, chosen, spans)),
        "messages": _questions(session, principal, chosen, spans),
    }
    for name, counts in found.items():
        frame[name] = [counts.get(number, 0) for number in range(len(spans))]
    return frame.astype(dict.fromkeys(found, "int64"))


def summary(session: Session, principal: Principal, chosen: Filter, spans: Sequence[Span]) -> Adoption:
    """The range as a whole; `spans`: the one of it."""
    chosen = of_people(chosen)
    people = _counted(session, _people(session, principal, chosen, spans))
    begun = _counted(session, _conversations(session, principal, chosen, spans))
    agents = cells.read(session, principal, chosen, "agent", spans)["group"]
    stars = Rating.stars
    counts = [func.sum(case((condition, 1), else_=0)) for condition in (stars >= 4, stars <= 2)]
    rated = (Rating.tenant_id == principal.tenant_id, Rating.updated_at >= chosen.start, Rating.updated_at < chosen.end)
    ratings, total, up, down = session.execute(
        select(func.count(), func.sum(stars), *counts).where(*rated, *_theirs(Rating, principal, chosen))
    ).one()
    joined = (User.tenant_id == principal.tenant_id, User.created_at >= chosen.start, User.created_at < chosen.end)
    new = session.scalar(select(func.count()).where(*joined, *_theirs(User, principal, chosen)))
    return Adoption(
        people=people.get(0, 0),
        new_people=new or 0,
        conversations=begun.get(0, 0),
        messages=_questions(session, principal, chosen, spans).get(0, 0),
        agents=int((agents != NONE).sum()),
        ratings=ratings,
        thumbs_up=int(up or 0),
        thumbs_down=int(down or 0),
        mean_stars=int(total) / ratings if ratings else None,
    )


def of_people(chosen: Filter) -> Filter:
    """The filter without what is no trait of a person."""
    return replace(chosen, models=(), providers=(), agents=(), purposes=())


def _counted(session: Session, statement: Select[Any]) -> dict[int, int]:
    return {int(span): int(number) for span, number in session.execute(statement)}


def _people(session: Session, principal: Principal, chosen: Filter, spans: Sequence[Span]) -> Select[Any]:
    """Distinct people with calls, by span."""
    segments = plan(spans, _KIND, cells.calendar(session, principal), cells.few_people(principal, chosen), utcnow())
    sorts = cells.by_rows(segments).items()
    parts = [_callers(session, principal, chosen, some, rows) for rows, some in sorts]
    of = union(*parts).subquery().c
    return select(of.span, func.count()).group_by(of.span)


def _callers(
    session: Session, principal: Principal, chosen: Filter, some: Sequence[Segment], rows: Rows
) -> Select[Any]:
    table: Any
    if rows in ("unrolled", "ledger"):
        table, time, where = UsageMetric.__table__, UsageMetric.created_at, cells.rows_of(principal, chosen, rows)
    else:
        assert _KIND is not None
        table, time = UsageDaily.__table__, UsageDaily.start
        of = table.c
        where = [of.tenant_id == principal.tenant_id, of.level == rows, of.kind == _KIND.name, of.calls > 0]
        where += restrictions(of, principal, chosen)
        where += [] if principal.is_admin else [of.user_id == principal.user_id]
    found = placed(session, some, table, time.expression, f"of_{rows}")
    callers = select(found.span, table.c.user_id).select_from(found.source)
    return callers.where(*where, *found.where).distinct()


def _conversations(session: Session, principal: Principal, chosen: Filter, spans: Sequence[Span]) -> Select[Any]:
    whole = [Segment(number, "ledger", span.begin, span.end) for number, span in enumerate(spans)]
    found = placed(session, whole, Conversation.__table__, Conversation.created_at.expression)
    where = (Conversation.tenant_id == principal.tenant_id, *_theirs(Conversation, principal, chosen), *found.where)
    counted: tuple[Any, ...] = (found.span, func.count())
    return select(*counted).select_from(found.source).where(*where).group_by("span")


def _questions(session: Session, principal: Principal, chosen: Filter, spans: Sequence[Span]) -> dict[int, int]:
    """First attempts at answers, by span."""
    found = cells.read(session, principal, chosen, "purpose", spans)
    found = found[found["group"].isin(ASKED)]
    counts: dict[int, int] = {}
    for span, calls, again in found[["span", "calls", "again"]].to_numpy().tolist():
        counts[span] = counts.get(span, 0) + calls - again
    return counts


def _theirs(table: Any, principal: Principal, chosen: Filter) -> list[ColumnElement[bool]]:
    """Whose rows count: the asker's own for a member; and those of the people, teams and tiers asked for."""
    user_id = table.id if table is User else table.user_id
    where = restrictions({"user_id": user_id}, principal, replace(chosen, tiers=()))
    if chosen.tiers:
        where.append(
            user_id.in_(select(User.id).where(User.tenant_id == principal.tenant_id, User.tier.in_(chosen.tiers)))
        )
    return where if principal.is_admin else [*where, user_id == principal.user_id]
