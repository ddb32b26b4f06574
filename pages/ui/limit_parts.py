"""Rate limits of the instance: by tier in a table, further rules in a list; and whom they refused."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, get_args

import pandas as pd
import streamlit as st

from chatcore.accounts import Principal
from chatcore.accounts.validation import clean_tier
from chatcore.bootstrap import core
from chatcore.db.tables import utcnow
from chatcore.errors import InvalidInput
from chatcore.flags import LimitOf, LimitPer, LimitRule, LimitScope
from chatcore.usage.limits import Refusals
from pages.ui.acts import act
from pages.ui.people_parts import label, tiers
from pages.ui.text import ago, plain

_EACH: Final[Mapping[LimitPer, str]] = {"minute": "a minute", "hour": "an hour", "day": "a day"}
_COLUMNS: Final = {f"{of} {each}": (of, per) for of in get_args(LimitOf) for per, each in _EACH.items()}
_SHORT: Final = {"minute": "min", "hour": "hour", "day": "day"}
_WIDTHS: Final = {"requests": 126, "tokens": 118}  # pixels
_TIER: Final = "Tier"
_TABLE: Final = "limits_table_saved"
_FORM: Final = "limits_form_saved"
_SCOPES: Final[Mapping[LimitScope, str]] = {"user": "A person", "tenant": "A tenant", "model": "A model"}
_BADGES: Final = {"user": "person", "tenant": "tenant", "model": "model"}
_TOLD: Final = (
    "For each person, by their tier; an empty field is no limit, and a tier without any is not limited at all. They "
    "hold for the whole instance."
)
_MORE: Final = (
    "A person's own limit takes the place of their tier's. A tenant's is shared by all its people, a model's by all "
    "people of each tenant."
)
_KINDS: Final = {
    "requests": "Too many requests", "tokens": "Too many tokens", "budget": "No room in a budget",
    "breaker": "Model paused after failures", "access": "May not use the model",
}  # fmt: skip


def draw(principal: Principal) -> None:
    """Limits by tier, to edit, and the rules for persons, tenants and models. For operators."""
    flags = core().flags.now
    people = core().accounts.everyone(principal)
    st.subheader("Rate limits")
    st.caption(_TOLD)
    if not flags.rate_limits:
        st.caption(":orange-badge[switched off] No limit is applied now; see Flags.")
    _tier_table(principal, tier_table(flags.limits, tiers(people)))
    names = {
        "user": {one.id: label(one) for one in people},
        "tenant": {one.id: one.name for one in core().accounts.tenants(principal)},
        "model": {one.name: one.name for one in core().gateway.catalog.models()},
    }
    st.markdown("**Limits for one person, tenant or model**")
    st.caption(_MORE)
    further = {_key(rule): rule for rule in flags.limits if rule.scope != "tier"}
    for rule in further.values():
        _rule(principal, rule, names)
    _form(principal, names)


def draw_refusals(principal: Principal) -> None:
    """What was refused in the last 24 hours, by tier and reason. For admins."""
    st.subheader("Refused in the last 24 hours")
    found = core().limits.refusals(principal, utcnow() - timedelta(days=1))
    if not found:
        st.caption("Nothing was refused.")
        return
    rows = [
        {"Tier": one.tier, "Why": _KINDS.get(one.kind, one.kind), "Times": one.hits, "Last": ago(one.last)}
        for one in summed(found)
    ]
    st.dataframe(rows, hide_index=True, key="refusals", alt="Refused requests by tier and reason")


@dataclass(frozen=True)
class Sum:
    """Refusals of a day, of one tier and kind. `last`: the minute of the latest."""

    tier: str
    kind: str
    hits: int
    last: datetime


def summed(found: Iterable[Refusals]) -> list[Sum]:
    """By tier and kind, most refusals first."""
    sums: dict[tuple[str, str], Sum] = {}
    for one in found:
        old = sums.get((one.tier, one.kind))
        hits, last = (old.hits, max(old.last, one.minute)) if old else (0, one.minute)
        sums[one.tier, one.kind] = Sum(one.tier, one.kind, hits + one.hits, last)
    return sorted(sums.values(), key=lambda one: (-one.hits, one.tier, one.kind))


def tier_table(rules: Sequence[LimitRule], known: Sequence[str]) -> pd.DataFrame:
    """A row for each tier, a column for each kind of limit; NA for none."""
    amounts: dict[tuple[str, str, str], int] = {}
    for rule in rules:
        if rule.scope == "tier":
            key = rule.name, rule.of, rule.per
            amounts[key] = min(amounts.get(key, rule.amount), rule.amount)
    frame = pd.DataFrame({_TIER: pd.Series(list(known), dtype="string")})
    for column, (of, per) in _COLUMNS.items():
        frame[column] = pd.array([amounts.get((tier, of, per)) for tier in known], dtype="Int64")
    return frame


def tier_rules(frame: pd.DataFrame) -> list[LimitRule]:
    """The rules that a table says. Raises `InvalidInput` for a tier without a name, or named twice."""
    rules: list[LimitRule] = []
    seen: set[str] = set()
    for row in frame.to_dict("records"):
        amounts = {kind: int(row[name]) for name, kind in _COLUMNS.items() if not pd.isna(row.get(name))}
        if pd.isna(row.get(_TIER)) and not amounts:
            continue
        tier = clean_tier("" if pd.isna(row.get(_TIER)) else str(row[_TIER]).strip())
        if tier in seen:
            raise InvalidInput(f"The tier {tier} stands in the table twice; remove one of them.")
        seen.add(tier)
        rules += [LimitRule("tier", tier, of, per, amount) for (of, per), amount in amounts.items()]
    return rules


def _tier_table(principal: Principal, stored: pd.DataFrame) -> None:
    number = st.column_config.NumberColumn
    columns = {
        name: number(
            f"{of.capitalize()}/{_SHORT[per]}",
            help=name.capitalize(),
            min_value=0,
            step=1,
            format="localized",
            width=_WIDTHS[of],
        )
        for name, (of, per) in _COLUMNS.items()
    }
    edited = st.data_editor(
        stored, num_rows="dynamic", hide_index=True, key=f"limit-tiers-{_count(_TABLE)}",
        column_config={_TIER: st.column_config.TextColumn(pinned=True, width=90), **columns}, placeholder="–",
        alt="Limits by tier",
    )  # fmt: skip
    changed = not edited.reset_index(drop=True).equals(stored)
    with st.container(horizontal=True):
        st.button("Save limits", type="primary", disabled=not changed, on_click=_save_tiers,
            args=(principal, stored, edited))  # fmt: skip
        defaults = core().flags.configured.limits
        if core().flags.now.limits != defaults:
            with st.popover("Back to the defaults"):
                st.markdown("; ".join(f"{plain(rule.name)}: {_words(rule)}" for rule in defaults) + "; nothing else.")
                st.button("Yes, take all changes back", type="primary", on_click=_take_back, args=(principal,))


def _take_back(principal: Principal) -> None:
    _store(lambda: core().flags.set(principal, limits=None), _TABLE)


def _save_tiers(principal: Principal, stored: pd.DataFrame, edited: pd.DataFrame) -> None:
    """A callback. Only what differs is changed: somebody else may have saved another limit meanwhile."""
    _store(lambda: _change(principal, tier_rules(stored), tier_rules(edited)), _TABLE)


def _store(work: Callable[[], None], fields: str) -> None:
    """`fields`: what is drawn anew then, and has no more in it of what was typed."""
    if act(work, "The limits are saved."):
        st.session_state[fields] = _count(fields) + 1


def _change(principal: Principal, before: Sequence[LimitRule], after: Sequence[LimitRule]) -> None:
    core().flags.change(principal, lambda now: {"limits": merged(now.limits, before, after)})


def merged(now: Sequence[LimitRule], before: Sequence[LimitRule], after: Sequence[LimitRule]) -> list[LimitRule]:
    """The rules there are now, with what somebody made of those that they saw."""
    old, new = {_key(rule): rule for rule in before}, {_key(rule): rule for rule in after}
    changed = {key for key in {**old, **new} if old.get(key) != new.get(key)}
    return [
        *(rule for rule in now if _key(rule) not in changed),
        *(rule for key, rule in new.items() if key in changed),
    ]


def _count(fields: str) -> int:
    """How often they were saved: a part of their keys, as fields with new keys are empty."""
    return int(st.session_state.get(fields, 0))


def _rule(principal: Principal, rule: LimitRule, names: Mapping[str, Mapping[str, str]]) -> None:
    key = _key(rule)
    name = names[rule.scope].get(rule.name) or ("Somebody who is gone" if rule.scope == "user" else rule.name)
    with st.container(key=f"admin-row-{key}", horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(name)}** {_words(rule)} :gray-badge[{_BADGES[rule.scope]}]")
        with st.popover("Remove", key=f"limit-remove-{key}"):
            st.markdown(f"This limit no longer holds for {plain(name)}.")
            st.button(
                "Yes, remove", key=f"limit-remove-yes-{key}", type="primary", on_click=_remove, args=(principal, rule)
            )


def _words(rule: LimitRule) -> str:
    return f"{rule.amount:,} {rule.of} {_EACH[rule.per]}"


def _form(principal: Principal, names: Mapping[str, Mapping[str, str]]) -> None:
    count = _count(_FORM)
    with st.container(border=True, key="limit_new"), st.container(horizontal=True, vertical_alignment="bottom"):
        scope = st.selectbox("For", list(_SCOPES), format_func=_SCOPES.__getitem__, key="limit_scope", width=130)
        known = names[scope]
        name = st.selectbox(
            "Name", list(known), index=None, format_func=lambda one: known[one], key=f"limit-{scope}-{count}",
            placeholder="Choose", width=230,
        )  # fmt: skip
        amount = f"limit-amount-{count}"
        st.number_input("At most", 0, 10**12, None, placeholder="100", key=amount, width=130)
        kind = st.selectbox("Of", list(_COLUMNS), key="limit_kind", width=190)
        st.button("Add limit", type="primary", on_click=_add, args=(principal, scope, name, kind, amount))


def _add(principal: Principal, scope: LimitScope, name: str | None, kind: str, amount: str) -> None:
    """A callback. `amount`: the key of its field."""
    typed, (of, per) = st.session_state[amount], _COLUMNS[kind]

    def work() -> None:
        if name is None or typed is None:
            raise InvalidInput("Choose whom the limit is for, and type an amount.")
        _change(principal, [], [LimitRule(scope, name, of, per, typed)])

    _store(work, _FORM)


def _remove(principal: Principal, rule: LimitRule) -> None:
    _store(lambda: _change(principal, [rule], []), _FORM)


def _key(rule: LimitRule) -> str:
    return f"{rule.scope}-{rule.name}-{rule.of}-{rule.per}"
