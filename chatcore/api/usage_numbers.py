"""`GET /api/v1/usage`: what was used, over time and by whatever it is grouped by, as JSON or CSV.

A member's key counts their own calls, an admin's with the scope `admin` those of the tenant.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime
from starlette.requests import Request
from starlette.responses import Response

from chatcore.api.callers import Caller, needs
from chatcore.api.conversation_schemas import dollars, stamp
from chatcore.api.etags import tagged
from chatcore.api.parts import Parts
from chatcore.api.schemas import Answer
from chatcore.sheets import csv_text
from chatcore.usage import Filter

if TYPE_CHECKING:
    from pandas import DataFrame

_FIELDS: Final = (
    "calls", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "estimated", "unpriced",
    "failed", "running",
)  # fmt: skip
_GroupBy = Literal["model", "provider", "agent", "user", "team", "tier", "purpose", "error", "none"]
_Step = Literal["hour", "day", "week", "month"]
_Only = Annotated[list[str], Query(max_length=100)]


class UsageRow(Answer):
    """The calls of a group, or of one in a step of time. `start`: of the step, null for the whole range.

    `promptTokens` hold the cached ones, `completionTokens` those of thinking. `costUsd`: of the priced calls, null
    where none is; `unpriced` ones and those with `estimated` tokens are counted. `running` ones have no numbers yet.
    """

    start: str | None
    group: str
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_usd: str | None
    estimated: int
    unpriced: int
    failed: int
    running: int


class UsageAnswer(Answer):
    """`groups`: one row for each, the dearest first. `series`: one row for each group and step that has calls."""

    start: str
    end: str
    group_by: str
    groups: list[UsageRow]
    series: list[UsageRow]


_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The numbers.", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


def router(core: Parts) -> APIRouter:
    """The route."""
    found = APIRouter(tags=["Usage"])
    counter = Depends(needs(core, "usage"))

    @found.get("/api/v1/usage", summary="Count usage", response_model=UsageAnswer, responses=_ANSWERS)
    def usage(
        request: Request,
        caller: Annotated[Caller, counter],
        start: Annotated[AwareDatetime, Query(description="In ISO 8601 with its zone; part of the range.")],
        end: Annotated[AwareDatetime, Query(description="No part of the range.")],
        group_by: Annotated[_GroupBy, Query(alias="groupBy")] = "model",
        step: Annotated[_Step | None, Query(description="None for the one that suits the range.")] = None,
        model: _Only = [],  # noqa: B006 - FastAPI copies it
        provider: _Only = [],  # noqa: B006
        agent: _Only = [],  # noqa: B006
        person: _Only = [],  # noqa: B006
        team: _Only = [],  # noqa: B006
        tier: _Only = [],  # noqa: B006
        purpose: _Only = [],  # noqa: B006
        format: Annotated[Literal["json", "csv"], Query()] = "json",
    ) -> Response:
        """Days are those of the tenant's time zone. `format=csv` has the series alone."""
        who = caller.principal
        chosen = Filter(
            start, end, tuple(model), tuple(person), tuple(purpose), providers=tuple(provider), agents=tuple(agent),
            tiers=tuple(tier), teams=tuple(team),
        )  # fmt: skip
        series = _rows(core.usage.series(who, chosen, group_by, step))
        series = [one for one in series if one.calls]
        if format == "csv":
            return _csv(series, chosen)
        groups = _rows(core.usage.breakdown(who, chosen, group_by))
        answer = UsageAnswer(start=stamp(start), end=stamp(end), group_by=group_by, groups=groups, series=series)
        return tagged(request, answer)

    return found


def _rows(frame: "DataFrame") -> list[UsageRow]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [_row(one) for one in plain.to_dict("records")]


def _row(one: Mapping[Any, Any]) -> UsageRow:
    start, cost = one.get("start"), one["cost_nano_usd"]
    return UsageRow(
        start=stamp(datetime.fromtimestamp(start.timestamp(), UTC)) if start is not None else None,
        group=str(one["group"]), cost_usd=dollars(None if cost is None else int(cost)),
        **{name: int(one[name]) for name in _FIELDS},
    )  # fmt: skip


def _csv(series: Iterable[UsageRow], chosen: Filter) -> Response:
    names = list(UsageRow.model_fields)
    text = csv_text([names, *([getattr(one, name) for name in names] for one in series)])
    name = f"usage-{chosen.start:%Y-%m-%d}-to-{chosen.end:%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response(text, headers=headers, media_type="text/csv; charset=utf-8")
