"""What the tabs of the usage page ask: one filter, one person, and answers kept for some seconds."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from zoneinfo import ZoneInfo

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.db.tables import utcnow
from chatcore.errors import InvalidInput
from chatcore.usage import Adoption, BudgetLine, Choices, Filter, Forecast, GroupBy, Step, Totals, zones
from pages.ui import charts
from pages.ui.filters import BYS, Choice, Known

if TYPE_CHECKING:
    from pandas import DataFrame

_SECONDS: Final = 10
_NOBODY: Final = {"none": "None", "others": charts.OTHERS, "": "Unknown"}


@st.cache_data(ttl=_SECONDS, max_entries=200, show_spinner=False)
def _kept(key: tuple[Hashable, ...], _ask: Callable[[], Any]) -> Any:
    """An answer by its question. The person's scope is part of every key, as `View.kept` makes it."""
    return _ask()


def scope(principal: Principal) -> tuple[str, str]:
    """Whose numbers they are: two people with the same scope get the same answers."""
    return principal.tenant_id, "" if principal.is_admin else principal.user_id


def kept_choices(principal: Principal) -> Choices:
    """What the filters may offer."""
    found: Choices = _kept((*scope(principal), "choices"), lambda: core().usage.choices(principal))
    return found


def kept_zone(principal: Principal) -> ZoneInfo:
    """The zone that days are of."""
    name: str = _kept((*scope(principal), "zone"), lambda: core().usage.zone(principal).key)
    return ZoneInfo(name)


def kept_totals(principal: Principal, chosen: Filter) -> Totals:
    """The sums over the calls of a filter."""
    found: Totals = _kept((*scope(principal), "totals", chosen), lambda: core().usage.totals(principal, chosen))
    return found


def known(principal: Principal, choices: Choices) -> Known:
    """All values that a filter can have, with their names."""
    people = {one.id: one.name for one in choices.people} if principal.is_admin else {}
    teams = {name: name for name in choices.teams} | ({"none": "No team"} if "none" in choices.teams else {})
    return {
        "model": {name: name for name in choices.models},
        "provider": {name: name for name in choices.providers},
        "agent": dict(choices.agents),
        "person": people,
        "team": teams,
        "tier": {name: name for name in choices.tiers},
    }


def with_doubt(frame: "DataFrame") -> "DataFrame":
    """With no cost where no call that reached a model has a known one: that replies from the cache cost nothing says
    nothing of the others."""
    doubtful = (frame["unpriced"] > 0) & (frame["priced"] <= frame["cached"])
    found = frame.assign(cost_nano_usd=frame["cost_nano_usd"].mask(doubtful))
    if "average_cost_nano_usd" in found:
        found["average_cost_nano_usd"] = found["average_cost_nano_usd"].mask(doubtful)
    return found


def summed(series: "DataFrame") -> "DataFrame":
    """The series of all calls, with the group `all`, from that of any groups: one question less."""
    whole = series.drop(columns="group").groupby("start", as_index=False, sort=False).sum()
    return whole.assign(group="all")


def viewer_zone() -> ZoneInfo:
    """The browser's time zone, in which hours are shown; UTC where it does not say one that we know."""
    try:
        return zones.zone(st.context.timezone or "UTC")
    except InvalidInput:
        return ZoneInfo("UTC")


@dataclass(frozen=True)
class View:
    """One person's look at one range. Each method is a question of `Usage` with this filter, kept for some seconds."""

    principal: Principal
    choice: Choice
    chosen: Filter
    step: Step
    zone: ZoneInfo
    hours: ZoneInfo
    known: Known

    def kept(self, question: str, *arguments: Hashable, ask: Callable[[], Any]) -> Any:
        """The answer to a question; `arguments`: all of what it hangs on beside the person's scope."""
        return _kept((*scope(self.principal), question, *arguments), ask)

    @property
    def moments(self) -> ZoneInfo:
        """The zone that the steps of the charts are of."""
        return self.hours if self.step == "hour" else self.zone

    @property
    def before(self) -> Filter:
        """What the range is compared with: as much as has passed of it, of the one before."""
        return self.choice.before(self.chosen, utcnow(), self.zone)

    def names(self, by: str) -> Mapping[str, str]:
        """What groups are called."""
        return {**_NOBODY, **({"none": f"No {BYS[by]}"} if by in BYS else {}), **self.known.get(BYS.get(by, ""), {})}

    def totals(self) -> Totals:
        return kept_totals(self.principal, self.chosen)

    def previous(self) -> Totals:
        """Of what the range is compared with."""

        def ask() -> Totals:
            return core().usage.totals(self.principal, self.before)

        found: Totals = self.kept("previous", self.chosen, ask=ask)
        return found

    def series(self, by: GroupBy) -> "DataFrame":
        def ask() -> "DataFrame":
            ranked = tuple(self.breakdown(by)["group"]) if by == "user" else None
            found = core().usage.series(self.principal, self.chosen, by, self.step, self.hours, ranked)
            return with_doubt(found)

        found: DataFrame = self.kept("series", self.chosen, by, self.step, self.hours.key, ask=ask)
        return found

    def breakdown(self, by: GroupBy) -> "DataFrame":
        def ask() -> "DataFrame":
            return with_doubt(core().usage.breakdown(self.principal, self.chosen, by))

        found: DataFrame = self.kept("breakdown", self.chosen, by, ask=ask)
        return found

    def percentiles(self, by: Literal["none", "model", "provider"], over_time: bool = False) -> "DataFrame":
        step = self.step if over_time else None

        def ask() -> "DataFrame":
            return core().usage.percentiles(self.principal, self.chosen, by, step, self.hours)

        found: DataFrame = self.kept("percentiles", self.chosen, by, step, self.hours.key, ask=ask)
        return found

    def percentiles_before(self) -> "DataFrame":
        def ask() -> "DataFrame":
            return core().usage.percentiles(self.principal, self.before, "none", None)

        found: DataFrame = self.kept("percentiles before", self.chosen, ask=ask)
        return found

    def refusals(self) -> "DataFrame":
        def ask() -> "DataFrame":
            return core().usage.refusals(self.principal, self.chosen, self.step, self.hours)

        found: DataFrame = self.kept("refusals", self.chosen, self.step, self.hours.key, ask=ask)
        return found

    def adoption(self) -> "DataFrame":
        def ask() -> "DataFrame":
            return core().usage.adoption(self.principal, self.chosen, self.step, self.hours)

        found: DataFrame = self.kept("adoption", self.chosen, self.step, self.hours.key, ask=ask)
        return found

    def adoption_summary(self) -> Adoption:
        def ask() -> Adoption:
            return core().usage.adoption_summary(self.principal, self.chosen)

        found: Adoption = self.kept("adoption summary", self.chosen, ask=ask)
        return found

    def adoption_before(self) -> Adoption:
        def ask() -> Adoption:
            return core().usage.adoption_summary(self.principal, self.before)

        found: Adoption = self.kept("adoption before", self.chosen, ask=ask)
        return found

    def forecast(self) -> Forecast:
        found: Forecast = self.kept("forecast", ask=lambda: core().usage.forecast(self.principal))
        return found

    def budget_lines(self) -> list[BudgetLine]:
        found: list[BudgetLine] = self.kept("budgets", ask=lambda: core().usage.budget_lines(self.principal))
        return found

    def month_so_far(self) -> "DataFrame":
        """The cost of each day of the present month of the tenant, whatever the filters say."""

        def ask() -> "DataFrame":
            now = utcnow()
            first = zones.month_start(now, self.zone)
            month = Filter(first, zones.next_day(now, self.zone))
            return core().usage.series(self.principal, month, "none", "day", self.zone)

        found: DataFrame = self.kept("month", ask=ask)
        return found

    def last_month(self) -> Totals:
        """Of the whole month before the present one, whatever the filters say."""

        def ask() -> Totals:
            end = zones.month_start(utcnow(), self.zone)
            begin = zones.month_start(end - timedelta(days=1), self.zone)
            return core().usage.totals(self.principal, Filter(begin, end))

        found: Totals = self.kept("last month", ask=ask)
        return found

    def colours(self, by: GroupBy = "model", measure: str = "calls") -> dict[str, str]:
        """The colours of the groups that are largest in a measure (`tokens` too), the same in every chart and tab."""
        frame = self.breakdown(by)
        tokens = frame["prompt_tokens"] + frame["completion_tokens"]
        largest = charts.shown(frame["group"].tolist(), tokens if measure == "tokens" else frame[measure])
        return charts.colours(largest, list(self.known.get(BYS.get(by, ""), {})))

    def ends(self, starts: list[datetime]) -> list[datetime]:
        """When each step of these ends: where the next begins, the last with the range."""
        return [*starts[1:], max(self.chosen.end, starts[-1] + timedelta(minutes=1))] if starts else []
