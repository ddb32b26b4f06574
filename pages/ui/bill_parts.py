"""The tab Bill of the usage page: a provider's usage CSV beside the ledger, and what explains the difference."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bills.formats import Reading, rate
from chatcore.bills.forms import Source
from chatcore.bills.reconcile import Keys, Options, csv_lines
from chatcore.bills.values import Comparison, Figures, Kind, Line
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui import charts, figures
from pages.ui.text import plain

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from streamlit.runtime.uploaded_file_manager import UploadedFile

_MOST_MB: Final = 200
_MOST_EXPLAINED: Final = 20
_MOST_NAMED: Final = 3
_MOST_MODELS: Final = 1_000
_MONTHLY: Final = 120  # days; a longer bill is drawn by the month
_RESULT: Final = "bill_result"
_PROVIDERS: Final = {
    "": "Found by its columns", "openai": "OpenAI", "anthropic": "Anthropic", "openrouter": "OpenRouter",
    "litellm": "LiteLLM", "generic": "Generic form",
}  # fmt: skip
_KEYS: Final = {"shared": "The configured ones", "tenant": "The tenant's own", "person": "People's own"}
_MARKS: Final = {"": "Found by itself", ".": "A point", ",": "A comma"}
_COLOURS: Final = {"Bill": "#E69F00", "Ledger": "#0072B2"}
_DOUBTS: Final[Mapping[Kind, str]] = {
    "estimated": "with estimated tokens", "unpriced": "without a known price", "unsettled": "broken off or running",
}  # fmt: skip
_SHORT: Final[Mapping[Kind, str]] = {
    "estimated": "estimated", "unpriced": "unpriced", "unsettled": "broke off", "failed": "failed",
    "keys": "other keys", "cached": "our cache", "demo": "demo data", "only_bill": "only the bill",
    "only_ledger": "only the ledger", "split": "cached tokens", "days": "other days", "price": "the price",
    "rounding": "rounding", "credits": "credits", "unexplained": "nothing found",
}  # fmt: skip
_WHERE: Final = """
- **OpenAI:** platform.openai.com → Usage → Export; costs grouped by line item, or usage grouped by model
- **Anthropic:** console → Cost or Usage → Export
- **OpenRouter:** openrouter.ai/activity → Export as CSV
- **LiteLLM proxy:** its spend logs, or its usage by day with models
- **Anything else:** columns `date`, `model`, `prompt_tokens`, `completion_tokens`, `cost`; as you like also
  `cached_tokens`, `requests`, `currency`
"""


def draw(principal: Principal) -> None:
    """The whole tab. For admins; others are told so."""
    if not principal.is_admin:
        st.error("Only an admin may compare a bill with the ledger.", icon=":material/lock:")
        return
    file = st.file_uploader(
        "Usage or cost export of a provider, as CSV", type=["csv", "tsv", "txt"], key="bill_file",
        max_upload_size=_MOST_MB, help="The days of the bill count here, not the filters above. Nothing of it is kept.",
    )  # fmt: skip
    reading = st.expander("How to read it", icon=":material/tune:", key="bill_reading")
    try:
        with reading:
            options = _options(principal)
        if file is None:
            st.markdown(_WHERE)
        else:
            _draw(_compared(principal, file, options))
    except ChatcoreError as error:
        st.error(plain(str(error)), icon=":material/error:")


def _options(principal: Principal) -> Options:
    with st.grid(3, min_column_width=190):
        source = st.selectbox("Whose it is", list(_PROVIDERS), format_func=_PROVIDERS.__getitem__, key="bill_source")
        keys = st.selectbox("Keys it is for", list(_KEYS), format_func=_KEYS.__getitem__, key="bill_keys")
        zone = st.text_input("Time zone of its days", "UTC", key="bill_zone").strip()
        mark = st.selectbox("Decimal mark", list(_MARKS), format_func=_MARKS.__getitem__, key="bill_decimal")
        rates = st.text_input("Other currencies in US$", placeholder="EUR=1.08", key="bill_rates")
    everybody = principal.is_operator and st.toggle(
        "Calls of all tenants", key="bill_everybody", help="All tenants share the configured keys."
    )
    known = dict(rate(one) for one in rates.replace(",", " ").split())
    reading = Reading(cast(Source, source) or None, zone=zone or "UTC", rates=known, decimal=mark or None)
    return Options(reading, (cast(Keys, keys),), all_tenants=everybody)


def _compared(principal: Principal, file: "UploadedFile", options: Options) -> Comparison:
    """The comparison, made once for each file and way to read it. Raises what `Bills.compare` raises."""
    wanted = (file.file_id, repr(options), principal.tenant_id, principal.role)
    known = st.session_state.get(_RESULT)
    if known is None or known[0] != wanted:
        with st.spinner("Reading the bill…"):
            found = core().bills.compare(principal, cast(BinaryIO, file), file.name, options)
        st.session_state[_RESULT] = known = (wanted, found)
    return cast(Comparison, known[1])


def _draw(found: Comparison) -> None:
    whose = f" beside the ledger's calls of {', '.join(found.providers)}" if found.providers else ""
    days = f"{found.first:%-d %B %Y}" + (f" to {found.last:%-d %B %Y}" if found.last != found.first else "")
    rows = f"{found.rows:,} {'row' if found.rows == 1 else 'rows'}"
    st.caption(plain(f"{found.name}: {found.form}, {rows}, {days} ({found.zone}){whose}."))
    if found.agrees:
        st.success(plain(found.headline), icon=":material/check_circle:")
    else:
        st.warning(plain(found.headline), icon=":material/difference:")
    for note in found.notes:
        st.caption(plain(note))
    _doubts(found)
    _models(found)
    _explained(found.models)
    _days(found)
    for reason in found.left_out:
        st.caption(plain(f"Not on such a bill: {reason.words}"))
    with st.container(horizontal=True):
        st.download_button(
            "Download the comparison (CSV)", lambda: "".join(csv_lines(found)),
            f"bill-{found.first:%Y-%m-%d}-{found.last:%Y-%m-%d}.csv", "text/csv", key="bill_csv",
            icon=":material/download:", on_click="ignore", help="A line for each day and model.",
        )  # fmt: skip
        st.button("Compare again", key="bill_again", icon=":material/refresh:", on_click=_forget,
                  help="With the ledger as it is now.")  # fmt: skip


def _doubts(found: Comparison) -> None:
    """What stands in the ledger's sums with a doubt."""
    badges = [
        f":{'orange' if one.kind == 'unpriced' else 'gray'}-badge[{one.calls:,} "
        f"{'call' if one.calls == 1 else 'calls'} {_DOUBTS[one.kind]}]"
        for one in found.doubts
    ]
    if badges:
        st.markdown("In the ledger's sums: " + " ".join(badges))


def _forget() -> None:
    st.session_state.pop(_RESULT, None)


def _models(found: Comparison) -> None:
    number, money = st.column_config.NumberColumn, "money" in found.says
    tokens = "tokens" in found.says
    config: dict[str, Any] = {
        "model": st.column_config.TextColumn("Model", pinned=True, help="As the bill names it."),
        **({"apart": number("Bill more by"), "bill": number("Bill"), "ledger": number("Ledger")} if money else {}),
        "why": st.column_config.ListColumn("Why", help="What explains the difference; in words below."),
        **({"bill_tokens": number("Tokens, bill", format="localized")} if tokens else {}),
        "ledger_tokens": number("Tokens, ledger", format="localized"),
        "called": st.column_config.TextColumn("Here", help="As the registry names it."),
    }
    import pandas as pd

    frame = pd.DataFrame([_row(line) for line in found.models[:_MOST_MODELS]])
    dollars = frame[["bill", "ledger", "apart"]].astype("Float64").columns
    frame[dollars] = frame[dollars].astype("Float64")
    st.dataframe(
        frame.style.format(_dollars, subset=list(dollars)), column_order=list(config), column_config=config,
        hide_index=True, placeholder="–", key="bill_models", alt="Bill and ledger of each model",
    )  # fmt: skip
    if len(found.models) > _MOST_MODELS:
        st.caption(f"The {_MOST_MODELS:,} models that are furthest apart, of {len(found.models):,}. The file has all.")


def _row(line: Line) -> dict[str, Any]:
    bill, ledger, apart = line.bill or Figures(), line.ledger or Figures(), line.difference.nano_usd
    return {
        "model": line.model, "called": line.called or "–", "bill": bill.nano_usd, "ledger": ledger.nano_usd,
        "apart": 0 if line.agrees and apart is not None else apart, "bill_tokens": bill.tokens,
        "ledger_tokens": ledger.tokens, "why": [_SHORT[reason.kind] for reason in line.reasons],
    }  # fmt: skip


def _dollars(value: Any) -> str:
    import pandas as pd

    return "–" if pd.isna(value) else figures.usd(int(value))


def _explained(models: Iterable[Line]) -> None:
    """The reasons in words, once for all models that have the same."""
    grouped: dict[str, list[str]] = {}
    for line in models:
        if line.reasons:
            grouped.setdefault(" ".join(reason.words for reason in line.reasons), []).append(line.model)
    if not grouped:
        return
    st.markdown("**What explains it**")
    shown = list(grouped.items())[:_MOST_EXPLAINED]
    st.markdown("\n".join(f"- **{plain(_named(names))}:** {plain(words)}" for words, names in shown))
    if left := sum(len(names) for names in grouped.values()) - sum(len(names) for _, names in shown):
        st.caption(f"{left:,} more models with smaller differences are in the file.")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _days(found: Comparison) -> None:
    sums: dict[date, list[Figures]] = defaultdict(lambda: [Figures(), Figures()])
    monthly = (found.last - found.first).days > _MONTHLY
    for line in found.days:
        assert line.day is not None
        both = sums[line.day.replace(day=1) if monthly else line.day]
        both[:] = both[0] + (line.bill or Figures()), both[1] + (line.ledger or Figures())
    unit = charts.USD if "money" in found.says else charts.TOKENS
    with st.container(border=True):
        step = "month" if monthly else "day"
        st.markdown(f"**Bill and ledger per {step}** :gray[({plain(unit.name)}, {plain(found.zone)})]")
        st.html(charts.legend(_COLOURS, list(_COLOURS)))
        figure = _figure(dict(sorted(sums.items())), unit, step)
        st.plotly_chart(figure, config=charts.CONFIG, key="bill_days", alt=f"Bill and ledger per {step}")


def _figure(sums: Mapping[date, list[Figures]], unit: charts.Unit, step: str) -> "go.Figure":
    import plotly.graph_objects as go

    moments, figure, top = [day.isoformat() for day in sums], go.Figure(), 0.0
    for place, (name, colour) in enumerate(_COLOURS.items()):
        sides = [both[place] for both in sums.values()]
        values = [(side.nano_usd or 0) / 1e9 if unit is charts.USD else float(side.tokens or 0) for side in sides]
        figure.add_bar(
            x=moments, y=values, name=name, marker={"color": colour, "line_width": 0},
            customdata=[unit.say(value) for value in values], hovertemplate="%{customdata}",
        )  # fmt: skip
        top = max(top, *values)
    figure.update_layout(charts.layout(260), barmode="group", bargap=0.2, hovermode="x unified")
    figure.update_xaxes(**charts.time_axis(moments, step))
    figure.update_yaxes(**unit.axis(top), nticks=6)
    return figure
