"""What a made-up team does in a made-up quarter: pure draws, no database. Same seed, same rows.

Imported by `demo_data` only: numpy stays out of the way to the first page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CHUNK: Final = 10_000
_ALPHABET: Final = np.frombuffer(b"0123456789abcdefghjkmnpqrstvwxyz", dtype="S1")
_HOURS: Final = np.array([2, 1, 1, 1, 1, 2, 6, 18, 46, 78, 94, 90, 58, 66, 92, 96, 84, 60, 34, 22, 16, 12, 8, 4], float)
_WEEKDAYS: Final = np.array([1.0, 1.08, 1.05, 0.98, 0.8, 0.14, 0.18])
_OUTCOMES: Final = ("ok", "stopped", "error", "rate_limited", "timeout", "truncated")
_USUAL: Final = np.array([0.952, 0.018, 0.009, 0.010, 0.005, 0.006])
_OUTAGE: Final = np.array([0.350, 0.010, 0.360, 0.080, 0.180, 0.020])
_ERRORS: Final = (None, None, "provider_down", "rate_limited", "timeout", "truncated")
_PURPOSES: Final = ("chat", "api", "tool")


@dataclass(frozen=True)
class DemoModel:
    """Prices are whole nano-USD a token (= USD per million × 1000), None for a model nobody bills."""

    name: str
    provider: str
    provider_model: str
    prices: tuple[int, int, int] | None  # prompt, cached prompt, completion
    reasoning: float  # share of the completion
    ttft_ms: int
    tokens_per_second: int
    share: tuple[float, float]  # of all calls, at the start and at the end of the range


# Prices: the table inside litellm 1.106.2 (model_prices_and_context_window_backup.json).
MODELS: Final = (
    DemoModel("gpt-5.6", "openai", "openai/gpt-5.6", (4000, 400, 20000), 0.35, 1400, 85, (0.0, 0.20)),
    DemoModel("gpt-5.4-mini", "openai", "openai/gpt-5.4-mini", (750, 75, 4500), 0.15, 620, 140, (0.26, 0.17)),
    DemoModel(
        "claude-sonnet-5-5", "anthropic", "anthropic/claude-sonnet-5-5", (2000, 100, 10000), 0.2, 980, 78, (0.27, 0.25)
    ),
    DemoModel(
        "claude-haiku-4-5", "anthropic", "anthropic/claude-haiku-4-5", (1000, 100, 5000), 0.0, 540, 150, (0.12, 0.10)
    ),
    DemoModel("gemini-3.8-flash", "gemini", "gemini/gemini-3.8-flash", (750, 75, 3750), 0.1, 480, 190, (0.10, 0.13)),
    DemoModel("grok-4.7", "xai", "xai/grok-4.7", (2000, 500, 6000), 0.25, 1100, 90, (0.14, 0.04)),
    DemoModel("gpt-oss-120b", "groq", "groq/openai/gpt-oss-120b", (150, 75, 600), 0.1, 260, 420, (0.06, 0.06)),
    DemoModel("llama3.3", "ollama", "ollama/llama3.3", None, 0.0, 900, 28, (0.05, 0.05)),
)


@dataclass(frozen=True)
class DemoPerson:
    """`activity`: relative number of calls. `taste`: the favourite model, taken more often than its share."""

    name: str
    activity: float
    taste: str


PEOPLE: Final = (
    DemoPerson("Mira Okafor", 1.00, "claude-sonnet-5-5"),
    DemoPerson("Jonas Lind", 0.86, "gpt-5.6"),
    DemoPerson("Priya Raman", 0.74, "gemini-3.8-flash"),
    DemoPerson("Tomás Vidal", 0.55, "claude-haiku-4-5"),
    DemoPerson("Hana Kobayashi", 0.48, "gpt-5.4-mini"),
    DemoPerson("Elif Demir", 0.37, "grok-4.7"),
    DemoPerson("Sam Whitaker", 0.28, "claude-sonnet-5-5"),
    DemoPerson("Noor Haddad", 0.19, "llama3.3"),
    DemoPerson("Lukas Brandt", 0.11, "gpt-oss-120b"),
)


def call_times(rng: np.random.Generator, rows: int, days: int, now: datetime) -> Ints:
    """`rows` sorted times in milliseconds since 1970, over `days` UTC days that end at `now`.

    Office hours, quiet weekends, slow growth and the noise of single days.
    """
    first = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
    total_hours = int((now - first).total_seconds() // 3600) + 1
    hours = np.arange(total_hours)
    day = hours // 24
    weight = _HOURS[hours % 24] * _WEEKDAYS[(first.weekday() + day) % 7] * np.linspace(0.55, 1.25, total_hours)
    weight *= rng.lognormal(0.0, 0.16, day[-1] + 1)[day]
    left = (now - first).total_seconds() / 3600 - (total_hours - 1)
    weight[-1] *= max(left, 1e-6)
    counts = rng.multinomial(rows, weight / weight.sum())
    within = rng.random(rows) * np.repeat(np.where(hours == total_hours - 1, left, 1.0), counts)
    start_ms = int(first.timestamp() * 1000)
    return np.sort(start_ms + ((np.repeat(hours, counts) + within) * 3_600_000).astype(np.int64))


def calls(
    rng: np.random.Generator, times: Ints, tenant_id: str, users: Sequence[tuple[str, str]]
) -> Iterator[list[dict[str, Any]]]:
    """Lists of at most 10,000 ledger rows, in order of time. `users`: (id, tier), in the order of `PEOPLE`."""
    span = (int(times[0]), int(times[-1]) + 1) if len(times) else (0, 1)
    for start in range(0, len(times), _CHUNK):
        part = times[start : start + _CHUNK]
        yield _rows(rng, part, (part - span[0]) / (span[1] - span[0]), tenant_id, users)


def _rows(
    rng: np.random.Generator, times: Ints, progress: Floats, tenant_id: str, users: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    person = rng.choice(len(PEOPLE), len(times), p=_normalised([one.activity for one in PEOPLE]))
    model = _models(rng, person, progress)
    outcome = _outcomes(rng, model, progress)
    columns = _tokens(rng, model, outcome) | {"id": _ids(rng, times), "trace_id": _traces(rng, len(times))}
    purpose = rng.choice(3, len(times), p=[0.89, 0.08, 0.03]).tolist()
    second_try = (rng.random(len(times)) < 0.012).tolist()
    names = tuple(columns)
    lists = [values if isinstance(values, list) else values.tolist() for values in columns.values()]
    rows = []
    for at, who, what, how, why, again, *values in zip(
        times.tolist(), person.tolist(), model.tolist(), outcome.tolist(), purpose, second_try, *lists, strict=True
    ):
        row: dict[str, Any] = dict(zip(names, values, strict=True))
        _complete(row, MODELS[what], how, at)
        row.update(tenant_id=tenant_id, user_id=users[who][0], tier=users[who][1])
        row.update(purpose=_PURPOSES[why], attempt=2 if again else 1)
        rows.append(row)
    return rows


def _complete(row: dict[str, Any], model: DemoModel, outcome: int, at_ms: int) -> None:
    """Fill in what follows from the draws: names, times, and the cost, exactly."""
    silent = outcome in (2, 3, 4)
    estimated = not silent and (outcome in (1, 5) or row.pop("unreported"))
    row.pop("unreported", None)
    row.update(provider=model.provider, model=model.name, provider_model=model.provider_model, is_demo=True)
    row.update(outcome=_OUTCOMES[outcome], error_type=_ERRORS[outcome], cache_hit=False, saved_nano_usd=0)
    row["usage_source"] = "none" if silent else "estimated" if estimated else "provider"
    row["price_source"] = "demo" if model.prices else "none"
    row["unit_prices"], row["cost_nano_usd"] = _UNIT_PRICES[model.name], None
    row["ttft_ms"] = None if silent else row["ttft_ms"]
    row["created_at"] = datetime.fromtimestamp(at_ms / 1000, UTC)
    row["settled_at"] = row["created_at"] + timedelta(milliseconds=row["latency_ms"])
    if model.prices:
        fresh, cached, out = model.prices
        known = (row["prompt_tokens"] - row["cached_tokens"]) * fresh + row["cached_tokens"] * cached
        row["cost_nano_usd"] = known + row["completion_tokens"] * out


def _models(rng: np.random.Generator, person: Ints, progress: Floats) -> Ints:
    begin, end = (np.array([one.share[side] for one in MODELS]) for side in (0, 1))
    taste = np.array([[4.0 if one.name == who.taste else 1.0 for one in MODELS] for who in PEOPLE])
    # A model with no share at the start is launched: nobody has it in the first 45 % of the range.
    launched = np.where((begin == 0) & (progress[:, None] < 0.45), 0.0, 1.0)
    weight = (begin + (end - begin) * progress[:, None]) * launched * taste[person]
    with np.errstate(divide="ignore"):
        score = np.log(weight) + rng.gumbel(size=weight.shape)
    return np.asarray(score.argmax(axis=1), np.int64)


def _outcomes(rng: np.random.Generator, model: Ints, progress: Floats) -> Ints:
    provider_out = np.array([one.provider == "anthropic" for one in MODELS])[model]
    bad = provider_out & (progress > 0.815) & (progress < 0.823)
    usual, outage = (rng.choice(len(_OUTCOMES), len(model), p=_normalised(p)) for p in (_USUAL, _OUTAGE))
    return np.where(bad, outage, usual)


def _tokens(rng: np.random.Generator, model: Ints, outcome: Ints) -> dict[str, Any]:
    size = len(model)
    silent, cut = np.isin(outcome, (2, 3, 4)), np.isin(outcome, (1, 5))
    prompt = np.clip(rng.lognormal(7.0, 1.05, size), 14, 120_000).astype(np.int64)
    written = np.clip(rng.lognormal(5.9, 0.85, size), 3, 8_000) * np.where(cut, rng.uniform(0.05, 0.8, size), 1.0)
    thought = np.array([one.reasoning for one in MODELS])[model] * rng.uniform(0.3, 1.6, size)
    priced = np.array([one.prices is not None for one in MODELS])[model]
    reuse = np.where((rng.random(size) < 0.4) & (prompt > 1024) & priced, rng.uniform(0.3, 0.95, size), 0.0)
    reasoning = (written * thought).astype(np.int64)
    completion = np.maximum(written.astype(np.int64), 1) + reasoning
    ttft = rng.lognormal(0.0, 0.35, size) * np.array([one.ttft_ms for one in MODELS])[model]
    speed = rng.lognormal(0.0, 0.18, size) * np.array([one.tokens_per_second for one in MODELS])[model]
    failing = np.where(outcome == 4, 30_000.0, rng.uniform(90, 900, size))
    spoken = np.where(silent, 0, 1)
    return {
        "prompt_tokens": prompt * spoken,
        "cached_tokens": (prompt * reuse).astype(np.int64) * spoken,
        "completion_tokens": completion * spoken,
        "reasoning_tokens": reasoning * spoken,
        "ttft_ms": ttft.astype(np.int64),
        "latency_ms": np.where(silent, failing, ttft + completion / speed * 1000).astype(np.int64),
        "unreported": (np.array([one.provider == "groq" for one in MODELS])[model]) & (rng.random(size) < 0.15),
    }


def _ids(rng: np.random.Generator, times: Ints) -> list[str]:
    """The form of `ids.new_id`, with the call's own time, so that ids sort as the calls were made."""
    digits = np.empty((len(times), 26), dtype=np.int64)
    for place in range(10):
        digits[:, 9 - place] = (times >> (5 * place)) & 31
    digits[:, 10:] = rng.integers(0, 32, (len(times), 16))
    joined = _ALPHABET[digits].view("S26").ravel()
    return [f"use_{value.decode()}" for value in joined.tolist()]


def _traces(rng: np.random.Generator, size: int) -> list[str]:
    text = rng.bytes(16 * size).hex()
    return [text[place : place + 32] for place in range(0, len(text), 32)]


def _normalised(weights: Sequence[float] | Floats) -> Floats:
    array = np.asarray(weights, float)
    return np.asarray(array / array.sum(), float)


def _per_token(nano: int) -> str:
    """`750` nano-USD → `0.00000075`."""
    return f"{nano / 1e9:.12f}".rstrip("0")


_UNIT_PRICES: Final[dict[str, dict[str, str]]] = {
    model.name: dict(zip(("prompt", "cached", "completion"), map(_per_token, model.prices), strict=True))
    if model.prices
    else {}
    for model in MODELS
}
