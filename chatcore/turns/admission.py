"""What a question may cost at most, reserved before anything is called.

The most a call can cost is its price for as many prompt tokens as what is sent has bytes (a token is at least one
byte; pictures and sound by a generous rule, which is no proof) and for `max_tokens` of reply, by the dearest model of
its route, or by the first one alone where that is more than is left: each further call is held for on its own. Where
nobody has set `max_tokens` and a hard budget applies, it is `chatcore.budget_reply_tokens` (4,096), or what is left of
the budget pays for, and that limit is sent to the model: a reply that reaches it can be continued. A model without a
known price is refused under a hard budget. Calls paid with a person's own key are no business of budgets.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.errors import BudgetExceeded
from chatcore.gateway import CompletionRequest, Model, Step
from chatcore.gateway.prices import Tokens, cost_nano_usd
from chatcore.usage import budgets, ledger

_PER_MESSAGE: Final = 16  # tokens around a message, generously
# Providers document up to 1,600 tokens for a picture, some models several times that (tiles at a price of their own).
PICTURE: Final = 16_000
_BYTES_A_SOUND_TOKEN: Final = 40  # of base64; 32 tokens a second at 8 kbit/s, the least that speech is packed to
_LEAST_REPLY: Final = 256  # tokens; with less left of a budget nothing is begun
_UNLIMITED_REPLY: Final = 16_384  # tokens of reply reckoned with where nothing limits it and no hard budget asks


def bound(messages: Sequence[dict[str, Any]]) -> int:
    """At most so many tokens have these messages."""
    return sum(_PER_MESSAGE + _size(message.get("content")) + _beside(message) for message in messages)


def bound_of(request: CompletionRequest) -> int:
    """At most so many prompt tokens has a request: its messages, and what its parameters describe, such as tools."""
    return bound(request.messages) + (len(json.dumps(dict(request.parameters))) if request.parameters else 0)


def worst(model: Model, prompt_tokens: int, reply_tokens: int) -> int | None:
    """The most that a call can cost, in nano-USD; None where a price is not known."""
    kinds = (
        Tokens(prompt_tokens, completion=reply_tokens),
        Tokens(prompt_tokens, cache_write=prompt_tokens, completion=reply_tokens),
        Tokens(prompt_tokens, completion=reply_tokens, reasoning=reply_tokens),
        Tokens(prompt_tokens, cache_write=prompt_tokens, completion=reply_tokens, reasoning=reply_tokens),
    )
    return _most(cost_nano_usd(tokens, model.prices) for tokens in kinds)


def worst_of(request: CompletionRequest) -> int | None:
    """The most that this very request can cost."""
    return worst(request.model, bound_of(request), request.max_tokens or _UNLIMITED_REPLY)


def paid(steps: Sequence[Step]) -> list[Model]:
    """The models that a request may call at the expense of budgets."""
    return [step.model for step in steps if step.key_source != "person"]


def reserve(
    session: Session,
    call: ledger.NewCall,
    holder: str,
    first: Step,
    steps: Sequence[Step],
    prompt_tokens: int,
    max_tokens: int | None,
    reply_tokens: int,
) -> int | None:
    """Hold what the dearest of `steps` can cost; where a budget does not pay for that, or its price is not known, what
    the `first` call can: further ones are held for when they are made. Returns the `max_tokens` that is to be sent.

    `reply_tokens`: the limit where `max_tokens` is None. Raises `BudgetExceeded`.
    """
    try:
        return _reserved(session, call, holder, paid(steps), prompt_tokens, max_tokens, reply_tokens)
    except BudgetExceeded:
        if first.key_source == "person":
            return max_tokens
        return _reserved(session, call, holder, [first.model], prompt_tokens, max_tokens, reply_tokens)


def _reserved(
    session: Session,
    call: ledger.NewCall,
    holder: str,
    models: Sequence[Model],
    prompt_tokens: int,
    max_tokens: int | None,
    reply_tokens: int,
) -> int:
    tenant_id, user_id = call.tenant_id, call.user_id
    limits = [max_tokens] if max_tokens else [_capped(models, reply_tokens)]
    if max_tokens is None and (left := budgets.remaining(session, tenant_id, user_id)) is not None:
        limits += _affordable(models, prompt_tokens, left, limits[0])
    for limit in limits:
        cost = _dearest(models, prompt_tokens, limit)
        try:
            budgets.hold(session, tenant_id=tenant_id, user_id=user_id, holder=holder, nano=cost)
        except BudgetExceeded:
            if limit == limits[-1]:
                raise
        else:
            break
    return limit


def hold(session: Session, holder: str | None, call: ledger.NewCall, request: CompletionRequest, beside: int) -> None:
    """Hold what a further call of a turn can cost, with what runs `beside` it. Raises `BudgetExceeded`."""
    if holder is None or call.key_source == "person":
        return
    cost = worst_of(request)
    budgets.hold(
        session, tenant_id=call.tenant_id, user_id=call.user_id, holder=holder,
        nano=None if cost is None else cost + beside,
    )  # fmt: skip


def _beside(message: dict[str, Any]) -> int:
    """Calls of tools, and whose result this is."""
    more = {name: value for name, value in message.items() if name not in ("role", "content")}
    return len(json.dumps(more)) if more else 0


def _size(content: Any) -> int:
    if isinstance(content, list):
        return sum(_part(part) for part in content)
    return len(str(content or "").encode("utf-8", "replace"))


def _part(part: dict[str, Any]) -> int:
    match part.get("type"):
        case "image_url":
            return PICTURE
        case "input_audio":
            return len(str((part.get("input_audio") or {}).get("data", ""))) // _BYTES_A_SOUND_TOKEN + 100
    return len(str(part.get("text", "")).encode("utf-8", "replace"))


def _capped(models: Sequence[Model], reply_tokens: int) -> int:
    return min([reply_tokens, *(model.max_output_tokens for model in models if model.max_output_tokens)])


def _dearest(models: Sequence[Model], prompt_tokens: int, reply_tokens: int) -> int | None:
    return _most(worst(one, min(prompt_tokens, one.context_window or prompt_tokens), reply_tokens) for one in models)


def _most(costs: Iterable[int | None]) -> int | None:
    """The largest; None where one is not known."""
    known = []
    for cost in costs:
        if cost is None:
            return None
        known.append(cost)
    return max(known)


def _affordable(models: Sequence[Model], prompt_tokens: int, left: int, limit: int) -> list[int]:
    """A smaller limit that what is left pays for, where there is one worth the while."""
    nothing, one = _dearest(models, prompt_tokens, 0), _dearest(models, prompt_tokens, 1_000)
    if nothing is None or one is None or one <= nothing:
        return []
    tokens = (left - nothing) * 1_000 // (one - nothing)
    return [int(tokens)] if _LEAST_REPLY <= tokens < limit else []
