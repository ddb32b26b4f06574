"""What was refused before any model was called: by limits, budgets, breakers and lists of who may use what."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import LimitHit
from chatcore.usage.placing import placed
from chatcore.usage.scope import Filter, restrictions
from chatcore.usage.segments import Segment
from chatcore.usage.steps import Span

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS: Final = ("start", "tier", "kind", "hits", "peak_per_minute")
_hit: Final = LimitHit.__table__.c


def read(session: Session, principal: Principal, chosen: Filter, spans: Sequence[Span]) -> list[Any]:
    """Rows of the span, tier, kind, refusals, and the most of them in one minute."""
    whole = [Segment(number, "ledger", span.begin, span.end) for number, span in enumerate(spans)]
    found = placed(session, whole, LimitHit.__table__, _hit.minute)
    where = [_hit.tenant_id == principal.tenant_id, *restrictions(_hit, principal, _known(chosen)), *found.where]
    if not principal.is_admin:
        where.append(_hit.user_id == principal.user_id)
    minutes = (
        select(found.span, _hit.minute, _hit.tier, _hit.kind, func.sum(_hit.hits).label("hits"))
        .select_from(found.source)
        .where(*where)
        .group_by("span", _hit.minute, _hit.tier, _hit.kind)
        .subquery()
    )
    of = minutes.c
    sums = [cast(number, BigInteger) for number in (func.sum(of.hits), func.max(of.hits))]
    by = (of.span, of.tier, of.kind)
    return list(session.execute(select(*by, *sums).group_by(*by).order_by(*by)))


def frame(rows: Sequence[Any], starts: Sequence[datetime], where: tzinfo) -> "DataFrame":
    """See `Usage.refusals` for the columns."""
    import pandas as pd

    found = pd.DataFrame([tuple(row) for row in rows], columns=["span", *COLUMNS[1:]])
    times = pd.DatetimeIndex(list(starts)).as_unit("us").tz_convert(where)
    found.insert(0, "start", times[found.pop("span").to_numpy(dtype="int64")])
    return found.astype({"tier": "str", "kind": "str", "hits": "int64", "peak_per_minute": "int64"})


def _known(chosen: Filter) -> Filter:
    """What a refusal can be told apart by: it had no provider, agent or purpose yet."""
    return Filter(
        chosen.start, chosen.end, models=chosen.models, user_ids=chosen.user_ids, tiers=chosen.tiers, teams=chosen.teams
    )
