"""What a call costs: exact decimal arithmetic, rounded once, to the nano-USD."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, Literal

PriceSource = Literal["config", "litellm", "tenant", "demo", "none"]

_FIELDS: Final = {
    "input_cost_per_token": "prompt",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_token": "completion",
    "output_cost_per_reasoning_token": "reasoning",
}
_TIERED: Final = re.compile(rf"({'|'.join(_FIELDS)})_above_(\d+)k_tokens")
PRICE_FIELDS: Final = frozenset(_FIELDS)
_NANO: Final = Decimal(10) ** 9


@dataclass(frozen=True)
class Tokens:
    """What a provider counts. `prompt` contains `cached` and `cache_write`; `completion` contains `reasoning`."""

    prompt: int = 0
    cached: int = 0
    cache_write: int = 0
    completion: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Prices:
    """USD a token as decimal strings, by kind, and the kinds again for prompts above a number of tokens.

    `source`: `config` (model_info or litellm_params), `litellm` (its table, shipped in the installed version),
    `tenant` (what a tenant's admin has set), `demo`, or `none`: the model has no known price and its calls have no
    known cost.
    """

    source: PriceSource = "none"
    unit: Mapping[str, str] | None = None
    tiers: tuple[tuple[int, Mapping[str, str]], ...] = ()

    def at(self, prompt_tokens: int) -> Mapping[str, str]:
        """The unit prices for a prompt of that size. Providers price the whole call by the prompt's tier."""
        unit = dict(self.unit or {})
        for threshold, prices in self.tiers:
            if prompt_tokens > threshold:
                unit.update(prices)
        return unit


def prices_from(values: Mapping[str, Any], source: PriceSource) -> Prices | None:
    """Read litellm's field names (`input_cost_per_token`, …). None where both input and output price are absent."""
    unit = {kind: _plain(values[name]) for name, kind in _FIELDS.items() if values.get(name) is not None}
    if "prompt" not in unit and "completion" not in unit:
        return None
    tiers: dict[int, dict[str, str]] = {}
    for name, value in values.items():
        if value is not None and (match := _TIERED.fullmatch(name)):
            tiers.setdefault(int(match[2]) * 1000, {})[_FIELDS[match[1]]] = _plain(value)
    return Prices(source, unit, tuple(sorted(tiers.items())))


def cost_nano_usd(tokens: Tokens, prices: Prices) -> int | None:
    """The cost of a call in nano-USD, None where a price that it needs is not known.

    Cached tokens cost the cached price where there is one, else the prompt's; the same for cache writes and
    reasoning. Source: the providers' price lists as litellm names their fields.
    """
    if prices.source == "none":
        return None
    unit = {kind: Decimal(value) for kind, value in prices.at(tokens.prompt).items()}
    if (tokens.prompt and "prompt" not in unit) or (tokens.completion and "completion" not in unit):
        return None  # half a price must not make the other half free
    prompt, completion = unit.get("prompt", Decimal(0)), unit.get("completion", Decimal(0))
    plain_prompt = max(tokens.prompt - tokens.cached - tokens.cache_write, 0)
    plain_completion = max(tokens.completion - tokens.reasoning, 0)
    total = (
        plain_prompt * prompt
        + tokens.cached * unit.get("cached", prompt)
        + tokens.cache_write * unit.get("cache_write", prompt)
        + plain_completion * completion
        + tokens.reasoning * unit.get("reasoning", completion)
    )
    return int((total * _NANO).to_integral_value(ROUND_HALF_EVEN))


def _plain(value: Any) -> str:
    """A decimal string without an exponent, exact for what was written in the file."""
    return format(Decimal(repr(value) if isinstance(value, float) else str(value)), "f")
