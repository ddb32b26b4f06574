"""The gateway as an operator sees it: the health of every deployment, models without a price, and who follows whom."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError
from chatcore.gateway import Health, Model
from chatcore.usage import Unpriced
from pages.ui import acts, figures, session
from pages.ui.filters import Choice
from pages.ui.text import ago, plain

_REFRESH: Final = 3  # seconds
_OWN_KEYS: Final = 30  # rows of them
_SHARED: Final = "shared"
_text: Final = st.column_config.TextColumn
_ERRORS: Final = {
    "rate_limited": "too many requests",
    "bad_key": "the key was refused",
    "model_unavailable": "the provider does not know the model",
    "provider_down": "could not be reached",
    "timeout": "no answer in time",
    "truncated": "ended in mid-reply",
}
_STATES: Final = {"closed": "working", "open": "paused after failures", "trial": "on trial"}


def draw(principal: Principal) -> None:
    """The health, which looks again by itself, then what is looked up once. For operators."""
    _health()
    _unpriced(principal)
    _fallbacks()


@st.fragment(run_every=_REFRESH)
def _health() -> None:
    principal = session.require_principal()
    if not principal.is_operator:
        return
    acts.say()
    try:
        found = core().gateway.health()
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
        return
    own = [one for one in found if one.key != _SHARED]
    shared = [one for one in found if one.key == _SHARED]
    st.subheader("Deployments")
    st.caption(_told(shared))
    models = {one.deployment: one for model in core().gateway.catalog.models() for one in _deployments(model)}
    for health in shared:
        _row(principal, health, models.get(health.deployment))
    if own:
        _own_keys(principal, own, models)


def _own_keys(principal: Principal, own: Sequence[Health], models: Mapping[str, Model]) -> None:
    """Those that fail first, and not all of them: everybody may have keys, and this is drawn every few seconds."""
    failing = sorted(own, key=lambda one: (one.state == "closed", not one.failures))
    bad = sum(one.state != "closed" for one in own)
    with st.expander(f"Own keys ({len(own)}{f', {bad} not called' if bad else ''})", key="own_keys"):
        st.caption("Keys that a person or a team brought. Whose they are is not shown.")
        for health in failing[:_OWN_KEYS]:
            _row(principal, health, models.get(health.deployment))
        if len(own) > _OWN_KEYS:
            st.caption(f"And {len(own) - _OWN_KEYS:,} more.")


def _deployments(model: Model) -> Sequence[Model]:
    return core().gateway.catalog.deployments(model.name)


def _told(shared: Sequence[Health]) -> str:
    flags = core().flags.now
    closed = sum(one.state == "closed" for one in shared)
    count = f"{closed} of {len(shared)} can be called." if shared else "There is none that can be called."
    where = "" if core().shared.is_configured else " What you say here holds in this process, until it ends."
    off = "" if flags.gateway else " :orange-badge[gateway off] No breaker is asked now."
    last = plain(", ".join(flags.degraded_providers))
    aside = f" :violet-badge[asked last] {last}, by an alert." if last else ""
    return f"{count} Calls are counted since this process started.{where}{off}{aside}"


def _row(principal: Principal, health: Health, model: Model | None) -> None:
    key = f"{health.deployment}@{health.key}"
    with st.container(key=f"admin-row-{key}", horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(f"**{plain(_name(health, model))}** {badge(health)}", help=breaker(health))
            st.caption(plain(" · ".join([*([model.target] if model else []), *facts(health, utcnow())])))
        with st.popover("Change", key=f"health-{key}-{health.word}"):  # a new one, which is closed, after each word
            _buttons(principal, health, key)


def _name(health: Health, model: Model | None) -> str:
    name, _, number = health.deployment.rpartition("#")
    if model is None:
        return f"{name or health.deployment} (no longer in the configuration)"
    several = len(_deployments(model)) > 1
    own = ", an own key" if health.key != _SHARED else ""
    return model.display_name + (f", deployment {number}" if several else "") + own


def state(health: Health) -> str:
    """How it is, in words: `working`, `paused after failures`, `paused by an operator`, `on trial`."""
    if health.word == "open" and health.state == "open":
        return "paused by an operator"
    return _STATES[health.state]


def breaker(health: Health) -> str:
    """The technical word, for a tooltip."""
    return f"The breaker is {'half-open' if health.state == 'trial' else health.state}."


def badge(health: Health) -> str:
    """The state in a colour: green works, red is not called, orange is about to be tried, grey was not called yet."""
    said = " :gray-badge[always called, by an operator]" if health.word == "closed" else ""
    if health.state == "open":
        return f":red-badge[:material/block: {state(health)}]{said}"
    if health.state == "trial":
        return f":orange-badge[:material/hourglass: {state(health)}]{said}"
    if not health.calls and not health.last_ok_at and not health.failures:
        return f":gray-badge[not called yet]{said}"
    if health.failures:
        return f":orange-badge[:material/warning: {state(health)}, with failures]{said}"
    return f":green-badge[:material/check: {state(health)}]{said}"


def facts(health: Health, now: datetime) -> list[str]:
    """What a row says of a deployment: counts, the last good and bad call, and when it is tried again."""
    found = []
    if health.failures:
        found.append(f"{health.failures} failure{'' if health.failures == 1 else 's'} in a row")
    if health.open_until and health.open_until > now.timestamp():
        found.append(f"tried again in {round(health.open_until - now.timestamp())} s")
    if health.last_ok_at:
        found.append(f"last answered {_since(health.last_ok_at, now)}")
    if health.last_failed_at:
        why = _ERRORS.get(health.last_error or "", "an error")
        found.append(f"last failed {_since(health.last_failed_at, now)}: {why}")
    if health.calls:
        found.append(f"{figures.whole(health.calls)} call{'' if health.calls == 1 else 's'}, {health.failed:,} failed")
    return found


def _since(moment: float, now: datetime) -> str:
    return ago(datetime.fromtimestamp(moment, UTC), now)


def _buttons(principal: Principal, health: Health, key: str) -> None:
    """What an operator may say; the popover that holds them is the question before it."""
    choices = [
        ("open", "Pause it", "It is not called, and questions go to its fallbacks, until you say otherwise."),
        ("closed", "Always call it", "It is called however often it fails, until you say otherwise."),
        (None, "Automatic", "It is paused after failures in a row, and works again when it answers."),
    ]
    for word, label, does in choices:
        if word != health.word:
            st.button(
                label, key=f"say-{word}-{key}", width="stretch", on_click=_say,
                args=(principal, health, word),
            )  # fmt: skip
            st.caption(does)


def _say(principal: Principal, health: Health, word: str | None) -> None:
    done = {"open": "It is not called any more.", "closed": "It is called again."}.get(word or "", "It is automatic.")
    acts.act(lambda: core().gateway.say(principal, health.deployment, health.key, word), done)  # type: ignore[arg-type]


def _unpriced(principal: Principal) -> None:
    found, rest = _unpriced_calls(principal.tenant_id, principal)
    st.subheader("Models without a price")
    if not found:
        st.caption(
            f"Every call of the last 30 days {'that can be priced ' if rest else ''}has a price. {_beside(rest)}"
        )
        return
    rows = [
        {"Model": one.model, "Provider": one.provider, "Calls": one.calls, "Tokens": one.tokens, "Since": one.since}
        for one in found
    ]
    st.dataframe(
        rows, hide_index=True, key="unpriced", alt="Models with calls whose cost is unknown",
        column_config={"Since": st.column_config.DatetimeColumn(format="D MMM YYYY")},
    )  # fmt: skip
    st.caption(
        f"{_beside(rest)} Set their prices under Models, or write them into the config file and start the app again. "
        "Then price the calls there were anew:"
    )
    st.code("python -m chatcore prices recompute", language=None)


def _beside(rest: int) -> str:
    """What the usage page counts without a price beside these."""
    if not rest:
        return ""
    calls = f"{rest:,} {'call' if rest == 1 else 'calls'}"
    return f"{calls} more without one cannot be priced: demo data, or broken off before any tokens were known."


@st.cache_data(ttl=60, max_entries=100, show_spinner=False)
def _unpriced_calls(tenant_id: str, _principal: Principal) -> tuple[list[Unpriced], int]:
    """The models with calls to price, and how many more calls of the ledger have no known cost."""
    days = Choice().filter(utcnow(), core().usage.zone(_principal))  # those that the usage page begins with
    found = core().usage.unpriced(_principal, days.start)
    whole = core().usage.totals(_principal, days)
    return found, max(0, whole.unpriced - sum(one.calls for one in found))


def _fallbacks() -> None:
    with st.expander("Fallbacks", icon=":material/alt_route:", key="fallbacks"):
        if not core().flags.now.failover:
            st.caption(":orange-badge[failover off] None of them is asked now.")
        models = core().gateway.catalog.models()
        titles = {model.name: model.display_name for model in models}
        rows = [_followers(model, titles) for model in models]
        st.dataframe(
            rows, hide_index=True, key="fallbacks_table", placeholder="–", alt="Which models follow which",
            column_config={"Model": _text(pinned=True), "When it fails": _text(width=320)},
        )  # fmt: skip


def _followers(model: Model, titles: Mapping[str, str]) -> dict[str, str | None]:
    behind = core().gateway.planner.behind(model.name)
    columns = {"When it fails": behind.failed, "Too long a chat": behind.too_long, "Content refused": behind.refused}
    told = {name: " → ".join(titles.get(one, one) for one in names) or None for name, names in columns.items()}
    return {"Model": model.display_name, **told}
