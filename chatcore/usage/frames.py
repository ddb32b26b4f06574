"""Cells, as `cells.read` gives them, as the totals and tables that pages draw."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final

from chatcore.usage.measures import FAILED, MEASURES
from chatcore.usage.totals import OUTCOMES, Totals

if TYPE_CHECKING:
    from pandas import DataFrame, Series

OTHERS: Final = "others"
"""The group of what is beyond the largest ones."""
SHOWN: Final = 60
"""How many groups of a series stand for themselves."""


def totals(cells: "DataFrame") -> Totals:
    """The sums over all cells."""
    sums = {name: int(cells[name].sum()) for name in MEASURES}
    settled = sum(sums[name] for name in OUTCOMES)
    priced = sums.pop("priced")
    cost = sums.pop("cost_nano_usd")
    return Totals(
        **sums,
        cost_nano_usd=cost if priced else None,
        unpriced=settled - priced,
        running=sums["calls"] - settled,
        failed=sum(sums[name] for name in FAILED),
    )


def ranked(cells: "DataFrame") -> list[str]:
    """The groups, the dearest first, those of the same cost by their tokens."""
    if not len(cells):
        return []
    sums = cells.groupby("group")[["cost_nano_usd", "prompt_tokens", "completion_tokens"]].sum()
    sums["tokens"] = sums["prompt_tokens"] + sums["completion_tokens"]
    sums = sums.reset_index().sort_values(["cost_nano_usd", "tokens", "group"], ascending=[False, False, True])
    return sums["group"].tolist()


def join_others(cells: "DataFrame", shown: Sequence[str]) -> "DataFrame":
    """The cells with all groups but those shown as one."""
    group = cells["group"].where(cells["group"].isin(list(shown)), OTHERS)
    return cells.assign(group=group).groupby(["span", "group"], as_index=False).sum()


def with_others(shown: "DataFrame", whole: "DataFrame") -> "DataFrame":
    """The cells shown, and what is left of the whole as `OTHERS`."""
    import pandas as pd

    left = whole.set_index("span")[list(MEASURES)].sub(shown.groupby("span")[list(MEASURES)].sum(), fill_value=0)
    left = left.astype("int64")[left["calls"] > 0].reset_index().assign(group=OTHERS)
    return pd.concat([shown, left[shown.columns]], ignore_index=True)


def series(cells: "DataFrame", starts: Sequence[datetime], where: tzinfo) -> "DataFrame":
    """A row for each group and step, steps without calls included; see `Usage.series` for the columns."""
    import pandas as pd

    names = sorted(cells["group"].unique())
    if OTHERS in names:
        names = [*(name for name in names if name != OTHERS), OTHERS]
    index = pd.MultiIndex.from_product([range(len(starts)), names], names=["span", "group"])
    frame = cells.set_index(["span", "group"]).reindex(index, fill_value=0).reset_index()
    times = pd.DatetimeIndex(list(starts)).as_unit("us").tz_convert(where) if starts else pd.DatetimeIndex([])
    frame.insert(0, "start", times[frame.pop("span").to_numpy(dtype="int64")])
    return _completed(frame)


def breakdown(cells: "DataFrame") -> "DataFrame":
    """A row for each group, the dearest first; see `Usage.breakdown` for the columns."""
    sums = cells.drop(columns="span").groupby("group").sum()
    frame = _completed(sums.loc[ranked(cells)].reset_index())
    frame["group"] = frame["group"].astype("str")
    settled, whole = frame["settled"], int(frame["cost_nano_usd"].sum())
    tokens = frame["prompt_tokens"] + frame["completion_tokens"]
    frame["average_cost_nano_usd"] = _ratio(frame["cost_nano_usd"], frame["priced"])
    frame["average_tokens"] = _ratio(tokens, settled)
    frame["tokens_per_second"] = _ratio(frame["generated_tokens"] * 1000, frame["generating_ms"])
    frame["share_cost"] = _ratio(frame["cost_nano_usd"], whole)
    for name in ("estimated", "unpriced", "failed", *OUTCOMES, "again"):
        frame[f"share_{name}"] = _ratio(frame[name], settled)
    return frame


def _completed(frame: "DataFrame") -> "DataFrame":
    """With what follows from the measures; a cost is NA where there are calls and none with a known one."""
    settled = frame[list(OUTCOMES)].sum(axis="columns")
    unknown = (frame["calls"] > 0) & (frame["priced"] == 0)
    return frame.assign(
        cost_nano_usd=frame["cost_nano_usd"].astype("Int64").mask(unknown),
        settled=settled,
        running=frame["calls"] - settled,
        unpriced=settled - frame["priced"],
        failed=frame[list(FAILED)].sum(axis="columns"),
    )


def _ratio(part: "Series[Any]", whole: Any) -> "Series[Any]":
    """Float64, NA where there is nothing to divide by."""
    import pandas as pd

    over = pd.Series(whole, index=part.index).astype("Float64")
    return part.astype("Float64") / over.mask(over == 0)
