"""The kinds of files that providers give as bills, by their columns. docs/reconcile.md says what each is taken for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from chatcore.errors import InvalidInput

Source = Literal["openai", "anthropic", "openrouter", "litellm", "generic"]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)


@dataclass(frozen=True)
class Form:
    """One kind of file. Columns by their names in lower case with `_` for spaces.

    `needs`: the columns it is recognised by, `one_of`: at least one more. In the others, `a|b` is the first of them
    that the file has, `a+b` the sum of those it has. `per_call`: a row is one call. `line_item`: the model stands
    before the first comma. `skip`: the column that marks replies from the provider's own cache, which called nobody.
    """

    name: str
    source: Source
    needs: tuple[str, ...]
    day: str
    model: str
    prompt: str = ""
    cached: str = ""
    completion: str = ""
    requests: str = ""
    money: str = ""
    currency: str = ""
    one_of: tuple[str, ...] = ()
    variant: str = ""
    skip: str = ""
    per_call: bool = False
    line_item: bool = False


_ANTHROPIC_IN: Final = (
    "usage_input_tokens_no_cache+usage_input_tokens_cache_write+usage_input_tokens_cache_write_5m"
    "+usage_input_tokens_cache_write_1h+usage_input_tokens_cache_read"
)
_SPEND: Final = "spend|spend_($)|spend_(usd)"
FORMS: Final = (
    Form(
        "Anthropic cost export", "anthropic", ("usage_date_utc", "model", "cost_usd"), "usage_date_utc", "model",
        money="cost_usd",
    ),
    Form(
        "Anthropic usage export", "anthropic", ("usage_date_utc", "model_version", "usage_output_tokens"),
        "usage_date_utc", "model_version", prompt=_ANTHROPIC_IN, cached="usage_input_tokens_cache_read",
        completion="usage_output_tokens",
    ),
    Form(
        "OpenAI cost export", "openai", ("start_time", "amount_value"), "start_time", "line_item", money="amount_value",
        currency="amount_currency", line_item=True,
    ),
    Form(
        "OpenAI usage export", "openai", ("start_time", "model", "input_tokens"), "start_time", "model",
        prompt="input_tokens", cached="input_cached_tokens", completion="output_tokens", requests="num_model_requests",
    ),
    Form(
        "OpenRouter activity, one row a call", "openrouter", ("created_at", "model_permaslug", "cost_total"),
        "created_at", "model_permaslug", prompt="native_tokens_prompt|tokens_prompt",
        cached="native_tokens_cached|tokens_cached", completion="native_tokens_completion|tokens_completion",
        money="cost_total", variant="variant", per_call=True,
    ),
    Form(
        "OpenRouter activity by day", "openrouter", ("date", "slug", "usage"), "date", "slug", prompt="prompt_tokens",
        completion="completion_tokens", requests="requests", money="usage",
    ),
    Form(
        "OpenRouter activity by day", "openrouter", ("date", "model_permaslug", "usage"), "date",
        "model_permaslug|model", prompt="prompt_tokens", completion="completion_tokens", requests="requests",
        money="usage",
    ),
    Form(
        "LiteLLM spend logs", "litellm", ("starttime", "model", "spend"), "starttime", "model_group|model",
        prompt="prompt_tokens", completion="completion_tokens", money="spend", skip="cache_hit", per_call=True,
    ),
    Form(
        "LiteLLM spend by day", "litellm", ("date", "model"), "date", "model_group|model", prompt="prompt_tokens",
        cached="cache_read_input_tokens", completion="completion_tokens",
        requests="successful_requests|successful|api_requests|requests", money=_SPEND,
        one_of=("spend", "spend_($)", "spend_(usd)"),
    ),
    Form(
        "generic form", "generic", ("date", "model"), "date", "model", prompt="prompt_tokens|input_tokens",
        cached="cached_tokens", completion="completion_tokens|output_tokens", requests="requests",
        money="cost|cost_usd", currency="currency", one_of=("prompt_tokens", "input_tokens", "cost", "cost_usd"),
    ),
)  # fmt: skip


def recognise(names: Iterable[str], source: Source | None = None) -> Form:
    """The form with these columns. Raises `InvalidInput`, which says what is missing for the nearest one."""
    found = set(names)
    asked = [form for form in FORMS if source in (None, form.source)]
    for form in asked:
        if not _missing(form, found):
            return form
    nearest = min(asked, key=lambda form: (_share_missing(form, found), form.source != "generic"))
    missing = ", ".join(_missing(nearest, found))
    known = "; ".join(dict.fromkeys(form.name for form in asked))
    raise InvalidInput(
        f"The columns in the first line are those of no known form. The nearest is the {nearest.name}; it lacks: "
        f"{missing}. Known forms: {known}."
    )


def _missing(form: Form, found: set[str]) -> list[str]:
    missing = [name for name in form.needs if name not in found]
    if form.one_of and not found.intersection(form.one_of):
        missing.append(" or ".join(form.one_of))
    return missing


def _share_missing(form: Form, found: set[str]) -> float:
    return len(_missing(form, found)) / (len(form.needs) + bool(form.one_of))


def plain(name: str) -> str:
    """A column's name as forms know it."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())
