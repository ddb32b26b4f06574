"""What made-up people do in made-up months: pure draws, no database. Same seed, same rows.

Imported by `demo_data` only: numpy stays out of the way to the first page.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from chatcore.usage.demo_team import DemoModel, DemoPerson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Row = tuple[Any, ...]

COLUMNS: Final = (
    "id", "created_at", "tenant_id", "user_id", "conversation_id", "message_id", "turn_id", "attempt", "purpose",
    "provider", "model", "provider_model", "agent_id", "outcome", "error_type", "prompt_tokens", "cached_tokens",
    "completion_tokens", "reasoning_tokens", "cache_write_tokens", "key_source", "usage_source", "price_source",
    "unit_prices", "cost_nano_usd", "saved_nano_usd", "ttft_ms", "latency_ms", "cache_hit", "tier", "trace_id",
    "is_demo", "settled_at", "rolled_up",
)  # fmt: skip
"""Of `usage_metrics`, in the order of the rows. Times are UTC, as text without a zone; prices are JSON."""

_ALPHABET: Final = np.frombuffer(b"0123456789abcdefghjkmnpqrstvwxyz", dtype=np.uint8)
_HOURS: Final = np.array([2, 1, 1, 1, 1, 2, 6, 18, 46, 78, 94, 90, 58, 66, 92, 96, 84, 60, 34, 22, 16, 12, 8, 4], float)
_WEEKDAYS: Final = np.array([1.0, 1.08, 1.05, 0.98, 0.8, 0.14, 0.18])
OUTCOMES: Final = ("ok", "stopped", "error", "rate_limited", "timeout", "truncated", "cached", "interrupted")
_USUAL: Final = np.array([0.912, 0.018, 0.009, 0.010, 0.005, 0.006, 0.037, 0.003])
_OUTAGE: Final = np.array([0.350, 0.010, 0.360, 0.080, 0.180, 0.020, 0.0, 0.0])
_ERRORS: Final = (None, None, "provider_down", "rate_limited", "timeout", "truncated", None, None)
_RARE_ERRORS: Final = ("provider_down", "bad_request", "content_filter", "context_too_long")
_PURPOSES: Final = ("chat", "api", "tool", "title")
_REFUSALS: Final = ("requests", "requests", "tokens", "budget", "breaker", "access")
_LAUNCH: Final = 0.45  # of the range, before which nobody has a model without a share at the start


@dataclass(frozen=True)
class Scene:
    """Who calls what. `user_ids`: in the order of `people`. `agents`: ids of the tenant's."""

    tenant_id: str
    models: tuple[DemoModel, ...]
    people: tuple[DemoPerson, ...]
    user_ids: tuple[str, ...]
    agents: tuple[str, ...]


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


def calls(rng: np.random.Generator, scene: Scene, times: Ints, progress: float) -> list[Row]:
    """Ledger rows at these times, in order. `progress`: how far in the whole range they are, 0 to 1."""
    size = len(times)
    person = rng.choice(len(scene.people), size, p=_normalised([one.activity for one in scene.people]))
    model = _models(rng, scene, person, progress)
    outcome = _outcomes(rng, scene, model, progress)
    drawn = _tokens(rng, scene, model, outcome) | _names(rng, scene, person, model, outcome)
    drawn |= _ids(rng, scene, times, person)
    drawn |= {
        "created_at": _texts(times), "settled_at": _texts(times + np.maximum(drawn["latency_ms"], 0)),
        "tenant_id": [scene.tenant_id] * size, "message_id": [None] * size,
        "attempt": np.where(rng.random(size) < 0.012, 2, 1), "cache_write_tokens": [0] * size,
        "key_source": ["shared"] * size, "is_demo": [True] * size, "rolled_up": [True] * size,
        "cache_hit": outcome == OUTCOMES.index("cached"),
    }  # fmt: skip
    _forget_unknown(drawn, scene, model, outcome)
    columns = (drawn[name] for name in COLUMNS)
    return list(zip(*(one if isinstance(one, list) else one.tolist() for one in columns), strict=True))


def refusals(rng: np.random.Generator, scene: Scene, times: Ints) -> list[dict[str, Any]]:
    """Rows of `limit_hits` near some of these times: requests that were turned down."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for at in times[rng.random(len(times)) < 0.004].tolist():
        place, model = int(rng.integers(len(scene.people))), int(rng.integers(len(scene.models)))
        row = {
            "minute": datetime.fromtimestamp(at // 60_000 * 60, UTC), "tenant_id": scene.tenant_id,
            "user_id": scene.user_ids[place], "tier": scene.people[place].tier,
            "kind": _REFUSALS[int(rng.integers(len(_REFUSALS)))], "model": scene.models[model].name,
            "hits": int(rng.integers(1, 5)),
        }  # fmt: skip
        found[(row["minute"], row["user_id"], row["kind"], row["model"])] = row
    return list(found.values())


def _models(rng: np.random.Generator, scene: Scene, person: Ints, progress: float) -> Ints:
    """The favourite for a third of the calls, the others by their share at that time."""
    begin, end = (np.array([one.share[side] for one in scene.models]) for side in (0, 1))
    share = np.where((begin == 0) & (progress < _LAUNCH), 0.0, begin + (end - begin) * progress)
    if not share.any():
        share = np.ones(len(scene.models))
    model = rng.choice(len(scene.models), len(person), p=_normalised(share))
    taste = np.array([one.taste for one in scene.people])[person]
    return np.where((rng.random(len(person)) < 0.35) & (share[taste] > 0), taste, model)


def _outcomes(rng: np.random.Generator, scene: Scene, model: Ints, progress: float) -> Ints:
    usual = rng.choice(len(OUTCOMES), len(model), p=_normalised(_USUAL))
    if not 0.815 < progress < 0.823:
        return usual
    outage = rng.choice(len(OUTCOMES), len(model), p=_normalised(_OUTAGE))
    return np.where(np.array([one.provider == "anthropic" for one in scene.models])[model], outage, usual)


def _is(outcome: Ints, *names: str) -> Bools:
    return np.isin(outcome, [OUTCOMES.index(name) for name in names])


def _tokens(rng: np.random.Generator, scene: Scene, model: Ints, outcome: Ints) -> dict[str, Any]:
    size = len(model)
    silent, hit = _is(outcome, "error", "rate_limited", "timeout"), _is(outcome, "cached")
    cut = _is(outcome, "stopped", "truncated", "interrupted")
    of = {name: np.array([getattr(one, name) for one in scene.models])[model] for name in _OF_A_MODEL}
    prompt = np.clip(rng.lognormal(7.0, 1.05, size), 14, 120_000).astype(np.int64)
    written = np.clip(rng.lognormal(5.9, 0.85, size), 3, 8_000) * np.where(cut, rng.uniform(0.05, 0.8, size), 1.0)
    reuse = np.where((rng.random(size) < 0.4) & (prompt > 1024), rng.uniform(0.3, 0.95, size), 0.0)
    reasoning = (written * of["reasoning"] * rng.uniform(0.3, 1.6, size)).astype(np.int64)
    completion = np.maximum(written.astype(np.int64), 1) + reasoning
    cached = np.where(_billed(scene)[model], (prompt * reuse).astype(np.int64), 0)
    fresh, again, out = _prices(scene)[model].T
    cost = (prompt - cached) * fresh + cached * again + completion * out
    ttft = rng.lognormal(0.0, 0.35, size) * of["ttft_ms"]
    took = ttft + completion / (rng.lognormal(0.0, 0.18, size) * of["tokens_per_second"]) * 1000
    failing = np.where(_is(outcome, "timeout"), 30_000.0, rng.uniform(90, 900, size))
    said = np.where(silent | hit, 0, 1)
    return {
        "prompt_tokens": prompt * said, "cached_tokens": cached * said, "completion_tokens": completion * said,
        "reasoning_tokens": reasoning * said, "cost_nano_usd": cost * said, "saved_nano_usd": np.where(hit, cost, 0),
        "ttft_ms": np.where(hit, 0, ttft).astype(np.int64),
        "latency_ms": np.where(hit, rng.gamma(2.0, 6.0, size) + 2, np.where(silent, failing, took)).astype(np.int64),
        "usage_source": _pick(("none", "estimated", "provider"), _source(rng, scene, model, silent | hit, cut)),
    }  # fmt: skip


_OF_A_MODEL: Final = ("reasoning", "ttft_ms", "tokens_per_second")


def _source(rng: np.random.Generator, scene: Scene, model: Ints, silent: Bools, cut: Bools) -> Ints:
    """0 to 2: no tokens, estimated ones, the provider's."""
    unreported = np.array([one.provider == "groq" for one in scene.models])[model] & (rng.random(len(model)) < 0.15)
    return np.where(silent, 0, np.where(cut | unreported, 1, 2))


def _names(rng: np.random.Generator, scene: Scene, person: Ints, model: Ints, outcome: Ints) -> dict[str, Any]:
    size = len(model)
    purpose = rng.choice(4, size, p=[0.86, 0.08, 0.03, 0.03])
    error = outcome.copy()
    rare = _is(outcome, "error") & (rng.random(size) < 0.3)
    error[rare] = len(OUTCOMES) + rng.integers(len(_RARE_ERRORS), size=int(rare.sum()))
    agents = (*scene.agents, None)
    weight = [1 / (place + 2) for place in range(len(scene.agents))]
    agent = rng.choice(len(agents), size, p=_normalised([*weight, 1.5 + sum(weight)]))
    priced = ["demo" if one.prices else "none" for one in scene.models]
    return {
        "user_id": _pick(scene.user_ids, person), "tier": _pick([one.tier for one in scene.people], person),
        "provider": _pick([one.provider for one in scene.models], model),
        "model": _pick([one.name for one in scene.models], model),
        "provider_model": _pick([one.provider_model for one in scene.models], model),
        "unit_prices": _pick([_unit_prices(one) for one in scene.models], model),
        "price_source": _pick(priced, model),
        "outcome": _pick(OUTCOMES, outcome), "error_type": _pick((*_ERRORS, *_RARE_ERRORS), error),
        "purpose": _pick(_PURPOSES, purpose), "agent_id": _pick(agents, np.where(purpose == 0, agent, len(agents) - 1)),
    }  # fmt: skip


def _forget_unknown(drawn: dict[str, Any], scene: Scene, model: Ints, outcome: Ints) -> None:
    """Costs that nobody knows, and first words that nobody said, are None; a hit of the cache has no price."""
    hit = _is(outcome, "cached")
    silent = _is(outcome, "error", "rate_limited", "timeout")
    for name, unknown in (("cost_nano_usd", ~_billed(scene)[model] & ~hit), ("ttft_ms", silent)):
        values = drawn[name].tolist()
        for place in np.flatnonzero(unknown):
            values[place] = None
        drawn[name] = values
    for place in np.flatnonzero(hit):
        drawn["price_source"][place], drawn["unit_prices"][place] = "none", "{}"


def _ids(rng: np.random.Generator, scene: Scene, times: Ints, person: Ints) -> dict[str, list[str]]:
    """The form of `ids.new_id`, with the call's own time, so that ids sort as the calls were made. A person has one
    conversation a day."""
    size = len(times)
    digits = rng.integers(0, 32, (size, 26), dtype=np.uint8)
    day = digits.copy()
    for place in range(10):
        digits[:, 9 - place] = (times >> (5 * place)) & 31
        day[:, 9 - place] = ((times // 86_400_000 * 86_400_000) >> (5 * place)) & 31
    for place in range(16):
        day[:, 10 + place] = ((person + 1) * 2_654_435_761 >> (2 * place)) & 31
    text = rng.bytes(16 * size).hex()
    return {
        "id": _worded("use_", digits), "turn_id": _worded("turn_", digits), "conversation_id": _worded("conv_", day),
        "trace_id": [text[place : place + 32] for place in range(0, len(text), 32)],
    }  # fmt: skip


def _worded(prefix: str, digits: NDArray[np.uint8]) -> list[str]:
    letters = np.empty((len(digits), len(prefix) + 26), np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    letters[:, len(prefix) :] = _ALPHABET[digits]
    return [one.decode() for one in letters.view(f"S{letters.shape[1]}").ravel().tolist()]


def _texts(times: Ints) -> list[str]:
    """`2026-06-18 15:20:00.123000`"""
    found = np.datetime_as_string(times.astype("datetime64[ms]").astype("datetime64[us]"))
    found.view("U1").reshape(len(found), -1)[:, 10] = " "
    return [str(one) for one in found.tolist()]


def _pick(names: Sequence[Any], places: Ints) -> list[Any]:
    made: list[Any] = np.array([*names, None], dtype=object)[places].tolist()
    return made


def _billed(scene: Scene) -> Bools:
    return np.array([one.prices is not None for one in scene.models])


def _prices(scene: Scene) -> Ints:
    return np.array([one.prices or (0, 0, 0) for one in scene.models], np.int64)


def _normalised(weights: Sequence[float] | Floats) -> Floats:
    array = np.asarray(weights, float)
    return np.asarray(array / array.sum(), float)


def _per_token(nano: int) -> str:
    """`750` nano-USD → `0.00000075`."""
    return f"{nano / 1e9:.12f}".rstrip("0")


def _unit_prices(model: DemoModel) -> str:
    return json.dumps(dict(zip(("prompt", "cached", "completion"), map(_per_token, model.prices or ()), strict=False)))
