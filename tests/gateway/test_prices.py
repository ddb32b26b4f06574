"""What a call costs: exact, rounded once, and unknown where there is no price."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.config_file import parse_config
from chatcore.gateway.prices import Prices, Tokens, cost_nano_usd, prices_from

KINDS = ("prompt", "cached", "cache_write", "completion", "reasoning")
counts = st.integers(0, 3_000_000)
amounts = st.decimals(0, "0.01", places=12, allow_nan=False).map(lambda amount: format(amount, "f"))


@st.composite
def tokens(draw: st.DrawFn) -> Tokens:
    prompt, completion = draw(counts), draw(counts)
    cached = draw(st.integers(0, prompt))
    return Tokens(prompt, cached, draw(st.integers(0, prompt - cached)), completion, draw(st.integers(0, completion)))


def expected(used: Tokens, unit: dict[str, str]) -> int | None:
    """The same by fractions, token kind by token kind; None where a side that was used has no price."""
    if (used.prompt and "prompt" not in unit) or (used.completion and "completion" not in unit):
        return None
    price = {kind: Fraction(value) for kind, value in unit.items()}
    prompt, completion = price.get("prompt", Fraction(0)), price.get("completion", Fraction(0))
    total = (
        (used.prompt - used.cached - used.cache_write) * prompt
        + used.cached * price.get("cached", prompt)
        + used.cache_write * price.get("cache_write", prompt)
        + (used.completion - used.reasoning) * completion
        + used.reasoning * price.get("reasoning", completion)
    )
    return round(total * 10**9)  # half to even


@given(tokens(), st.dictionaries(st.sampled_from(KINDS), amounts))
def test_the_cost_is_the_exact_sum_rounded_once(used: Tokens, unit: dict[str, str]) -> None:
    assert cost_nano_usd(used, Prices("config", unit)) == expected(used, unit)


@given(tokens(), st.dictionaries(st.sampled_from(KINDS), amounts), st.dictionaries(st.sampled_from(KINDS), amounts),
       st.integers(1, 2_000_000))  # fmt: skip
def test_above_its_threshold_a_tiers_price_holds_for_the_whole_call(
    used: Tokens, unit: dict[str, str], above: dict[str, str], threshold: int
) -> None:
    priced = Prices("litellm", unit, ((threshold, above),))
    assert cost_nano_usd(used, priced) == expected(used, unit | above if used.prompt > threshold else unit)


@given(tokens())
def test_without_a_price_the_cost_is_unknown_and_never_zero(used: Tokens) -> None:
    assert cost_nano_usd(used, Prices()) is None


def test_a_price_of_zero_is_a_known_cost() -> None:
    assert cost_nano_usd(Tokens(prompt=10, completion=10), Prices("config", {"prompt": "0", "completion": "0"})) == 0


def test_rounding_is_to_even_and_of_the_sum_alone() -> None:
    half = Prices("config", {"prompt": "0.0000000005", "completion": "0.0000000005"})
    costs = [cost_nano_usd(Tokens(prompt=number), half) for number in range(6)]
    assert costs == [0, 0, 1, 2, 2, 2]
    assert cost_nano_usd(Tokens(prompt=1, completion=1), half) == 1, "not 0 + 0"


def test_cached_and_reasoning_tokens_are_part_of_what_they_belong_to() -> None:
    unit = {"prompt": "0.000003", "cached": "0.0000003", "completion": "0.000015", "reasoning": "0.00006"}
    used = Tokens(prompt=1000, cached=900, completion=100, reasoning=40)
    assert cost_nano_usd(used, Prices("config", unit)) == 100 * 3000 + 900 * 300 + 60 * 15_000 + 40 * 60_000


def test_a_provider_that_counts_more_cached_than_prompt_makes_no_negative_cost() -> None:
    used = Tokens(prompt=10, cached=30, completion=1, reasoning=5)
    assert cost_nano_usd(used, Prices("config", {"prompt": "1", "completion": "1"})) == 35 * 10**9


@pytest.mark.parametrize(
    ("used", "unit"),
    [
        (128_000, {"prompt": "1", "completion": "2"}),
        (128_001, {"prompt": "3", "completion": "2"}),
        (200_001, {"prompt": "4", "completion": "5"}),
    ],
)
def test_tiers(used: int, unit: dict[str, str]) -> None:
    found = prices_from(
        {
            "input_cost_per_token": 1,
            "output_cost_per_token": 2,
            "input_cost_per_token_above_200k_tokens": 4,
            "output_cost_per_token_above_200k_tokens": 5,
            "input_cost_per_token_above_128k_tokens": 3,
            "input_cost_per_token_above_300k_tokens": None,
        },
        "litellm",
    )
    assert found is not None
    assert found.at(used) == unit


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ({"input_cost_per_token": 1e-06}, {"prompt": "0.000001"}),
        ({"output_cost_per_token": "0.0000025"}, {"completion": "0.0000025"}),
        ({"input_cost_per_token": 0, "output_cost_per_token": None}, {"prompt": "0"}),
        (
            {"input_cost_per_token": 3e-6, "cache_read_input_token_cost": 3e-7,
             "cache_creation_input_token_cost": 3.75e-6,
             "output_cost_per_token": 1.5e-5, "output_cost_per_reasoning_token": 6e-5, "max_tokens": 5},
            {"prompt": "0.000003", "cached": "0.0000003", "cache_write": "0.00000375", "completion": "0.000015",
             "reasoning": "0.00006"},
        ),
    ],
)  # fmt: skip
def test_litellms_names_are_read(values: dict[str, Any], unit: dict[str, str]) -> None:
    found = prices_from(values, "config")
    assert found == Prices("config", unit)


@pytest.mark.parametrize(
    "values", [{}, {"input_cost_per_token": None}, {"cache_read_input_token_cost": 1e-7}, {"input_cost_per_second": 1}]
)
def test_no_price_for_input_or_output_is_no_price(values: dict[str, Any]) -> None:
    assert prices_from(values, "config") is None


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ("0.00000015", "0.00000015"),
        ("0.0000006", "0.0000006"),
        ("1.5e-7", "0.00000015"),
        ("15e-8", "0.00000015"),
        ("0.1", "0.1"),
        ("2", "2"),
        ("0.000000123456789", "0.000000123456789"),
    ],
)
def test_a_price_in_the_file_is_meant_as_it_is_written(written: str, exact: str) -> None:
    entry = f"{{model_name: m, litellm_params: {{model: x}}, model_info: {{input_cost_per_token: {written}}}}}"
    text = f"model_list: [{entry}]"
    facts = parse_config(text.encode()).model_list[0].model_info
    found = prices_from(facts.model_dump(), "config")
    assert found is not None
    unit = found.unit or {}
    assert Fraction(unit["prompt"]) == Fraction(exact)
    assert "e" not in unit["prompt"].lower(), "BI tools read these"
    assert cost_nano_usd(Tokens(prompt=1_000_000), found) == round(Fraction(exact) * 10**15)


@given(st.integers(1, 10**6), st.integers(6, 15))
def test_any_short_decimal_survives_the_float(digits: int, places: int) -> None:
    written = f"{digits}e-{places}"
    text = f"model_list: [{{model_name: m, litellm_params: {{model: x, output_cost_per_token: {written}}}}}]"
    found = prices_from(parse_config(text.encode()).model_list[0].litellm_params.model_dump(), "config")
    assert found is not None
    assert Fraction((found.unit or {})["completion"]) == Fraction(digits, 10**places)
