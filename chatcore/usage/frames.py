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
    weight: dict[str, tuple[int, int]] = {}
    columns = [cells[name] for name in ("group", "cost_nano_usd", "prompt_tokens", "completion_tokens")]
    for group, cost, prompt, completion in zip(*columns, strict=True):
        before = weight.get(group, (0, 0))
        weight[group] = (before[0] - int(cost), before[1] - int(prompt) - int(completion))
    return sorted(weight, key=lambda group: (weight[group], group))


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
    import numpy as np
    import pandas as pd

    names = sorted(set(cells["group"]), key=lambda name: (name == OTHERS, name))
    place = {name: number for number, name in enumerate(names)}
    sums = np.zeros((len(starts) * len(names), len(MEASURES)), dtype="int64")
    rows = cells["span"].to_numpy() * len(names) + cells["group"].map(place).to_numpy(dtype="int64")
    sums[rows] = cells[list(MEASURES)].to_numpy()
    frame = pd.DataFrame(sums, columns=list(MEASURES))
    times = pd.DatetimeIndex(list(starts)).as_unit("us").tz_convert(where)
    frame.insert(0, "start", times.repeat(len(names)))
    frame.insert(1, "group", pd.Series(names * len(starts), dtype="str"))
    return _completed(frame)


def breakdown(cells: "DataFrame") -> "DataFrame":
    """A row for each group of a range as one, the dearest first; see `Usage.breakdown` for the columns."""
    frame = _completed(cells.set_index("group").loc[ranked(cells)].drop(columns="span").reset_index())
    frame["group"] = frame["group"].astype("str")
    settled, whole = frame["settled"], int(frame["cost_nano_usd"].sum())
    shares = {
        "average_cost_nano_usd": _ratio(frame["cost_nano_usd"], frame["priced"]),
        "average_tokens": _ratio(frame["prompt_tokens"] + frame["completion_tokens"], settled),
        "tokens_per_second": _ratio(frame["generated_tokens"] * 1000, frame["generating_ms"]),
        "share_cost": _ratio(frame["cost_nano_usd"], whole),
    }
    counts = ("estimated", "unpriced", "failed", *OUTCOMES, "again")
    return frame.assign(**shares, **{f"share_{name}": _ratio(frame[name], settled) for name in counts})


def _completed(frame: "DataFrame") -> "DataFrame":
    """With what follows from the measures; a cost is NA where there are calls and none with a known one."""
    settled = frame[list(OUTCOMES)].to_numpy().sum(axis=1)
    unknown = (frame["calls"] > 0) & (frame["priced"] == 0)
    return frame.assign(
        cost_nano_usd=frame["cost_nano_usd"].astype("Int64").mask(unknown),
        settled=settled,
        running=frame["calls"] - settled,
        unpriced=settled - frame["priced"],
        failed=frame[list(FAILED)].to_numpy().sum(axis=1),
    )


def _ratio(part: "Series[Any]", whole: "Series[Any] | int") -> Any:
    """As Float64, NA where there is nothing to divide, or to divide by."""
    import numpy as np
    import pandas as pd

    over = np.broadcast_to(np.asarray(whole, dtype="float64"), len(part))
    missing = part.isna().to_numpy(dtype="bool") | (over == 0)
    values = np.zeros(len(part))
    np.divide(part.to_numpy(dtype="float64", na_value=0), over, out=values, where=~missing)
    return pd.arrays.FloatingArray(values, missing)
