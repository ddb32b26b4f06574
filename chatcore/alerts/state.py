"""When an alert fires, holds and recovers: one rule and one subject, from one look to the next. Nothing here reads a
clock or a database.

Time is counted as it goes by between two looks, each step bounded by the caller: a clock that jumps makes nothing fire
or recover by itself.

A rule with `failover` puts its provider aside when it fires. Nothing is called there then, so nothing can be measured;
after the cool-down the provider is called again, on probation, and only fresh calls count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, get_args

State = Literal["quiet", "pending", "firing"]
Aside = Literal["", "aside", "probation"]
Word = Literal["firing", "recovered"]

QUIET_AT_LEAST: Final = 600.0
"""Seconds without enough calls to tell, after which an alert is taken for recovered; the cool-down where that is
longer."""


@dataclass(frozen=True)
class Terms:
    """What a rule says about time, in seconds. `failover`: what it watches is put aside while it fires."""

    for_seconds: float
    cooldown_seconds: float
    failover: bool = False

    @property
    def without_failover(self) -> "Terms":
        """The same, and nothing is put aside."""
        return replace(self, failover=False)


@dataclass(frozen=True)
class Standing:
    """Where a rule stands for a subject. `told`: a notice said so, and one is owed when it recovers.

    `broken_for`: seconds that it was broken before it fired. `unknown_for`: seconds in which too few calls were made to
    tell. `aside_for`: seconds that the provider has been aside.
    """

    state: State = "quiet"
    told: bool = False
    broken_for: float = 0.0
    unknown_for: float = 0.0
    aside: Aside = ""
    aside_for: float = 0.0


QUIET: Final = Standing()


def loaded(stored: Any, otherwise: Standing) -> Standing:
    """The standing that was stored as a dictionary, whatever else stands in it; `otherwise` where it makes no sense."""
    if not isinstance(stored, Mapping):
        return otherwise
    found = Standing(**{one.name: stored[one.name] for one in fields(Standing) if one.name in stored})
    times = (found.broken_for, found.unknown_for, found.aside_for)
    known = found.state in get_args(State) and found.aside in get_args(Aside) and isinstance(found.told, bool)
    return found if known and all(isinstance(one, int | float) for one in times) else otherwise


def step(
    was: Standing, terms: Terms, broken: bool | None, elapsed: float, may_tell: bool
) -> tuple[Standing, Word | None]:
    """Where it stands now, and what is to be told.

    `broken`: what the look found, None where there was too little to tell. `elapsed`: seconds since the look before.
    `may_tell`: the cool-down since the last notice of this rule and subject is over, and there is a channel.
    """
    if was.state != "firing":
        return _before(was, terms, broken, elapsed, may_tell)
    now = _while_firing(was, terms, broken, elapsed)
    if now.state == "quiet":
        return now, "recovered" if was.told else None
    return _telling(now, may_tell)


def _before(
    was: Standing, terms: Terms, broken: bool | None, elapsed: float, may_tell: bool
) -> tuple[Standing, Word | None]:
    if not broken:
        return QUIET, None
    held = was.broken_for + elapsed if was.state == "pending" else 0.0
    if held < terms.for_seconds:
        return Standing("pending", broken_for=held), None
    return _telling(Standing("firing", broken_for=held, aside="aside" if terms.failover else ""), may_tell)


def _telling(now: Standing, may_tell: bool) -> tuple[Standing, Word | None]:
    """What fired within the cool-down is told when that is over, if it still holds then."""
    if now.told or not may_tell:
        return now, None
    return replace(now, told=True), "firing"


def _while_firing(was: Standing, terms: Terms, broken: bool | None, elapsed: float) -> Standing:
    if not terms.failover:
        was = replace(was, aside="", aside_for=0.0)
    if was.aside == "aside":
        aside_for = was.aside_for + elapsed
        if aside_for < terms.cooldown_seconds:
            return replace(was, aside_for=aside_for, unknown_for=0.0)
        return replace(was, aside="probation", aside_for=0.0, unknown_for=0.0)
    if broken is None:
        unknown_for = was.unknown_for + elapsed
        over = unknown_for >= max(terms.cooldown_seconds, QUIET_AT_LEAST)
        return QUIET if over else replace(was, unknown_for=unknown_for)
    if not broken:
        return QUIET
    return replace(was, unknown_for=0.0, aside="aside" if terms.failover else "", aside_for=0.0)
