"""Which model answered, and why it was that one."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chatcore.conversations import Message
from pages.ui.text import plain

_FAILED: Final = {
    "provider_down": "could not be reached",
    "timeout": "did not answer in time",
    "rate_limited": "was overloaded",
    "bad_key": "refused its key",
    "model_unavailable": "is not known to its provider",
    "truncated": "broke off",
    "context_too_long": "has no room for this conversation",
    "refused_content": "declined",
    "provider_error": "did not accept the request",
    None: "was slower",
}


def name(model: str | None, labels: Mapping[str, str]) -> str:
    """A model's name as people read it."""
    return labels.get(model or "") or model or "Unknown model"


def said(message: Message, labels: Mapping[str, str]) -> str:
    """The model that answered, with whom it stood in for: `Claude Haiku, as GPT-5 could not be reached`."""
    answered = name(message.model, labels)
    others = [one for one in _attempts(message) if one.get("model") != message.model]
    if begun := next((one for one in others if one.get("said")), None):
        return f"{name(begun.get('model'), labels)}, continued by {answered} as it {_failed(begun)}"
    if others and message.status != "failed":
        first = others[0]
        return f"{answered}, as {name(first.get('model'), labels)} {_failed(first)}"
    asked = message.meta.get("asked")
    if not asked or others:
        return answered
    if asked in labels:
        return f"{answered}, in place of {labels[asked]}"
    reason = (
        str(message.meta.get("why") or "").partition(". ")[0].removeprefix("It is ").removeprefix("It ").rstrip(".")
    )
    return f"{answered} ({asked}: {reason})" if reason else f"{answered} ({asked})"


def why(message: Message, labels: Mapping[str, str]) -> list[str]:
    """Lines that say why this model was chosen, and what was tried before it answered."""
    lines = []
    if reason := message.meta.get("why"):
        lines.append(f"Chosen by Auto. {plain(str(reason))}")
    for number, one in enumerate(_attempts(message), 1):
        lines.append(f"Call {number}: {plain(name(one.get('model'), labels))} {_failed(one)}")
    if message.meta.get("cached"):
        lines.append("An identical question had this reply within the hour. Regenerate asks the model again")
    return lines


def _attempts(message: Message) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = message.meta.get("attempts") or ()
    return found


def _failed(attempt: Mapping[str, Any]) -> str:
    return _FAILED.get(attempt.get("code"), "failed")
