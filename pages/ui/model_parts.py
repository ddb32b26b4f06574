"""The models as admins see them: what each costs their tenant, and for operators who may use it."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import streamlit as st

from chatcore.accounts import ROLES, Principal
from chatcore.bootstrap import core
from chatcore.config_file import Access
from chatcore.errors import InvalidInput
from chatcore.gateway import Model, Prices
from chatcore.gateway.prices import prices_from
from pages.ui.acts import act
from pages.ui.people_parts import tiers
from pages.ui.text import plain

_text: Final = st.column_config.TextColumn
_MILLION: Final = 6  # digits
_TYPED: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")
_NEEDED: Final = {"input_cost_per_token": ("prompt", "Input"), "output_cost_per_token": ("completion", "Output")}
_OPTIONAL: Final = {
    "cache_read_input_token_cost": ("cached", "Cached input", "As input"),
    "cache_creation_input_token_cost": ("cache_write", "Cache write", "As input"),
    "output_cost_per_reasoning_token": ("reasoning", "Reasoning", "As output"),
}
_SOURCES: Final = {
    "tenant": "your organisation", "config": "config file", "litellm": "litellm's table", "demo": "demo",
    "none": "none",
}  # fmt: skip
_GONE: Final = "{} (no longer in the configuration)"
_TOLD: Final = (
    "US$ for a million tokens, as your organisation's calls are counted from now on. Calls keep the price that they "
    "were made with."
)
_UNPRICED: Final = "What they cost is not known, and a hard budget refuses them."


Act = Callable[[Principal, "Listed"], None]


@dataclass(frozen=True)
class Listed:
    """A model with those of its deployments that this admin's tenant may use; none where only a flag still names it."""

    name: str
    title: str
    deployments: tuple[Model, ...] = ()

    def prices(self, principal: Principal) -> list[Prices]:
        """What holds for the tenant: its own, else the different ones of the deployments."""
        own = prices_from(core().flags.now.prices.get(principal.tenant_id, {}).get(self.name, {}), "tenant")
        found = [own] if own else [one.prices for one in self.deployments]
        return [one for number, one in enumerate(found) if one not in found[:number]]

    def accesses(self) -> list[Access]:
        """Who may use it: what an operator said, else the different ones of the deployments."""
        said = core().flags.now.access.get(self.name)
        found = [said] if said else [one.access for one in self.deployments]
        return [one for number, one in enumerate(found) if one not in found[:number]]


def draw(principal: Principal) -> None:
    """A table of all models, and one of them to change. For admins; who may use it, for operators."""
    models = listed(principal)
    tenants = {one.id: one.name for one in core().accounts.tenants(principal)} if principal.is_operator else {}
    st.caption(_TOLD)
    _table(principal, models, tenants)
    titles = {one.name: one.title for one in models}
    name = st.selectbox(
        "Change a model", list(titles), index=None, format_func=lambda one: titles[one], key="model_chosen",
        placeholder="Choose a model",
    )  # fmt: skip
    chosen = next((one for one in models if one.name == name), None)
    if chosen is not None:
        _price(principal, chosen)
        if principal.is_operator:
            _access(principal, chosen, tenants)


def listed(principal: Principal) -> list[Listed]:
    """The catalog's models, for an admin without those of other tenants, and what flags name that is gone."""
    flags, catalog = core().flags.now, core().gateway.catalog
    caller = core().db.read(lambda session: core().gateway.caller(session, principal))
    own = {caller.tenant_id, caller.tenant}
    found: dict[str, tuple[Model, ...]] = {}
    for model in catalog.models():
        found[model.name] = tuple(
            one for one in catalog.deployments(model.name)
            if principal.is_operator or not (only := flags.access.get(one.name, one.access).tenants) or own & set(only)
        )  # fmt: skip
    named = [*flags.prices.get(principal.tenant_id, {}), *(flags.access if principal.is_operator else ())]
    gone = [Listed(name, _GONE.format(name)) for name in dict.fromkeys(named) if name not in found]
    shown = Counter(model.display_name for model in catalog.models())
    titles = {
        model.name: model.display_name if shown[model.display_name] == 1 else f"{model.display_name} ({model.name})"
        for model in catalog.models()
    }
    return [*(Listed(name, titles[name], seen) for name, seen in found.items() if seen), *gone]


def per_million(price: str) -> str:
    """USD a token in USD for a million: `0.00000015` is `0.15`."""
    text = format(Decimal(price).scaleb(_MILLION), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def per_token(typed: str) -> str:
    """USD for a million tokens, as typed, in USD a token, exactly. Raises `InvalidInput`."""
    if not _TYPED.fullmatch(typed):
        raise InvalidInput("Type a price as a number of US$ for a million tokens, such as 0.15.")
    return format(Decimal(typed).scaleb(-_MILLION), "f")


def is_priced(prices: Prices) -> bool:
    """Whether the cost of every call is known: half a price is none."""
    return prices.source != "none" and {"prompt", "completion"} <= set(prices.unit or {})


def words(access: Access, tenants: Mapping[str, str]) -> str:
    """`everybody`, or `admin · pro or team · Acme`: what a person must be."""
    lists = (access.roles, access.tiers, [tenants.get(one, one) for one in access.tenants])
    return " · ".join(" or ".join(one) for one in lists if one) or "everybody"


def _table(principal: Principal, models: Sequence[Listed], tenants: Mapping[str, str]) -> None:
    rows, unpriced = [], []
    for model in models:
        prices = model.prices(principal)
        if model.deployments and not all(is_priced(one) for one in prices):
            unpriced.append(model.title)
        row = {
            "Model": model.title,
            "Price from": _joined(_SOURCES[one.source] for one in prices),
            "Input": _joined(_shown(one, "prompt") for one in prices),
            "Output": _joined(_shown(one, "completion") for one in prices),
        }
        if principal.is_operator:
            row["Who may use it"] = _joined(words(one, tenants) for one in model.accesses())
        rows.append(row)
    if unpriced:
        st.markdown(f":orange-badge[:material/warning: no price] {plain(', '.join(unpriced))}")
        st.caption(_UNPRICED)
    right = _text(alignment="right")
    st.dataframe(
        rows, hide_index=True, key="models", placeholder="–", alt="Prices of the models",
        column_config={"Model": _text(pinned=True), "Input": right, "Output": right},
    )  # fmt: skip


def _joined(found: Iterable[str]) -> str | None:
    """Of several deployments what differs; None for nothing."""
    different = dict.fromkeys(found)
    return " / ".join(one or "–" for one in different) if any(different) else None


def _shown(prices: Prices, kind: str) -> str:
    unit = (prices.unit or {}).get(kind)
    return "" if unit is None else per_million(unit)


def _price(principal: Principal, model: Listed) -> None:
    own = model.name in core().flags.now.prices.get(principal.tenant_id, {})
    prices = next(iter(model.prices(principal)), Prices())
    with st.container(border=True, key="model_price"):
        _head("Price for your organisation", own, "price", model, _take_price_back, principal)
        if prices.tiers:
            st.caption("It has other prices for long prompts. Yours will hold for prompts of every length.")
        keys: dict[str, str] = {}
        with st.form("model-price", border=False):
            with st.container(horizontal=True):
                for field, (kind, label) in _NEEDED.items():
                    keys[field] = _field(model, field, label, _shown(prices, kind), "0.15")
            with st.container(horizontal=True):
                for field, (kind, label, hint) in _OPTIONAL.items():
                    keys[field] = _field(model, field, label, _shown(prices, kind), hint)
            st.form_submit_button("Save price", type="primary", on_click=_set_price, args=(principal, model, keys))


def _field(model: Listed, field: str, label: str, shown: str, hint: str) -> str:
    """The key of a price's field: another one when another price holds, so that what is there is what is shown."""
    key = f"{field}-{model.name}-{shown}"
    st.text_input(label, shown, key=key, placeholder=hint, max_chars=22, width=150)
    return key


def _set_price(principal: Principal, model: Listed, keys: Mapping[str, str]) -> None:
    """A callback. `keys`: those of the fields."""
    typed = {field: str(st.session_state[key] or "").strip() for field, key in keys.items()}

    def work() -> None:
        if not all(typed[field] for field in _NEEDED):
            raise InvalidInput("Type a price for the input and one for the output; 0 is free.")
        prices = {field: per_token(text) for field, text in typed.items() if text}
        core().flags.set_prices(principal, model.name, prices)

    act(work, f"The price of {model.title} is saved.")


def _take_price_back(principal: Principal, model: Listed) -> None:
    act(lambda: core().flags.set_prices(principal, model.name, None), f"The price of {model.title} is as configured.")


def _access(principal: Principal, model: Listed, tenants: Mapping[str, str]) -> None:
    found = next(iter(model.accesses()), Access())
    ids = {name: one for one, name in tenants.items()}
    only = [ids.get(one, one) for one in found.tenants]  # the config file may name them
    people = core().accounts.everyone(principal)
    with st.container(border=True, key="model_access"):
        _head("Who may use it", model.name in core().flags.now.access, "access", model, _take_access_back, principal)
        st.caption("An empty field lets everybody in. Where several are filled, a person must be in each of them.")
        with st.form("model-access", border=False):
            keys = {
                "roles": _choice(model, "Roles", ROLES, found.roles, {}),
                "tiers": _choice(model, "Tiers", tiers(people), found.tiers, {}),
                "tenants": _choice(model, "Tenants", list(tenants), only, tenants),
            }
            st.form_submit_button("Save", type="primary", on_click=_set_access, args=(principal, model, keys))


def _choice(model: Listed, label: str, known: Sequence[str], now: Sequence[str], names: Mapping[str, str]) -> str:
    """The key of a field, another one when something else holds."""
    key = f"access-{label.lower()}-{model.name}-{'-'.join(now)}"
    options = list(dict.fromkeys([*known, *now]))
    st.multiselect(
        label, options, list(dict.fromkeys(now)), format_func=lambda one: names.get(one, one), key=key,
        placeholder="Everybody",
    )  # fmt: skip
    return key


def _set_access(principal: Principal, model: Listed, keys: Mapping[str, str]) -> None:
    """A callback. `keys`: those of the fields."""
    access = Access(**{name: list(st.session_state[key]) for name, key in keys.items()})
    act(lambda: core().flags.set_access(principal, model.name, access), f"Who may use {model.title} is saved.")


def _take_access_back(principal: Principal, model: Listed) -> None:
    done = f"Who may use {model.title} is as configured."
    act(lambda: core().flags.set_access(principal, model.name, None), done)


def _head(title: str, changed: bool, name: str, model: Listed, act_on: Act, principal: Principal) -> None:
    """A title, and where something else holds than is configured, a mark and the way back."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{title}**")
        if changed:
            st.badge("changed", color="orange", help="The config file says otherwise.")
            st.button(
                "Take back", key=f"{name}-back", type="tertiary", icon=":material/undo:", on_click=act_on,
                args=(principal, model),
            )  # fmt: skip
