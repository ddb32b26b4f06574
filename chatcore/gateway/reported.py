"""What a provider itself said about a call: its count of tokens and its finish, told apart from what litellm makes up.

Where a provider reports no usage litellm counts or guesses one, and where it gives no finish reason litellm says
`stop`. A stream's own chunks and a whole reply's raw body show the difference.

A count that cannot be right is no count. Each number is whole and from 0 to two thousand million; what was read from
the provider's cache and written to it is part of the prompt, and reasoning is part of the completion. Where one number
breaks the rule none is believed, as nobody knows which of them is wrong: the tokens are then estimated.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from chatcore.gateway.protocol import MAX_TOKENS, Usage

Raw = Mapping[str, Any]

# Finish reasons by which a provider says that it broke off; litellm makes `stop` of them.
BROKEN: Final = frozenset({"error", "ERROR", "network_error"})
# Where providers put their count in a whole reply: OpenAI, Anthropic, Mistral, Bedrock; Gemini; Ollama; Cohere.
_COUNTS: Final = ("usage", "usageMetadata", "prompt_eval_count", "meta")
_FINISHES: Final = ("finish_reason", "finish_details", "finishReason", "stop_reason", "stopReason", "done_reason")
_UNREADABLE: Final = "Empty or invalid response from LLM endpoint"  # litellm's words for a body that is not JSON


def usage(found: Iterable[Any]) -> Usage | None:
    """The count in litellm's usage objects, in the order they came; None where they count nothing or cannot be right.

    They are running totals, not to be added: of each number the last one counts that is not nothing.
    """
    counts = {"prompt": 0, "cached": 0, "cache_write": 0, "completion": 0, "reasoning": 0}
    for one in found:
        told = {name: _whole(number) for name, number in _counts(one).items()}
        if not all(0 <= number <= MAX_TOKENS for number in told.values()):
            return None
        counts.update({name: int(number) for name, number in told.items() if number})
    if counts["cached"] + counts["cache_write"] > counts["prompt"] or counts["reasoning"] > counts["completion"]:
        return None
    return Usage(source="provider", **counts) if counts["prompt"] or counts["completion"] else None


def stream_usage(stream: Any) -> Usage | None:
    """The count in the chunks of litellm's stream as they came: what the stream itself tells may be made up."""
    found = (getattr(chunk, "usage", None) for chunk in getattr(stream, "chunks", ()))
    return usage(one for one in found if one is not None)


def raw(original: object) -> Raw | None:
    """The provider's body as litellm's `logger_fn` is given it. None where it is no JSON object."""
    try:
        body = json.loads(original) if isinstance(original, str) else None
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def whole_usage(reply: Any, body: Raw | None) -> Usage | None:
    """The count of a whole reply, where the provider's body holds one; what litellm then makes of it is right."""
    found = getattr(reply, "usage", None)
    if found is None or body is None or not any(body.get(name) for name in _COUNTS):
        return None
    return usage([found])


def finished(body: Raw | None) -> bool:
    """Whether a whole reply came to its end, as far as the body's form is known: else litellm is believed."""
    if body is None:
        return True
    listed = body.get("choices") or body.get("candidates")
    first = listed[0] if isinstance(listed, list) and isinstance(listed[0], dict) else body
    said = [first[name] for name in _FINISHES if name in first]
    if not listed and not said:
        return True
    return any(said) and not BROKEN & {reason for reason in said if isinstance(reason, str)}


def is_nonsense(error: BaseException, body: Raw | None) -> bool:
    """Whether a whole call failed over an answer that came, and that neither says what is wrong nor can be read."""
    return _UNREADABLE in str(error) or (body is not None and not body.get("error"))


def _whole(number: object) -> int:
    """A whole number, 0 for none given, -1 for anything else."""
    if number is None:
        return 0
    if isinstance(number, float):
        return int(number) if number.is_integer() else -1
    return number if isinstance(number, int) and not isinstance(number, bool) else -1


def _counts(found: Any) -> dict[str, Any]:
    prompt_details = getattr(found, "prompt_tokens_details", None)
    completion_details = getattr(found, "completion_tokens_details", None)
    cache_write = getattr(found, "cache_creation_input_tokens", None) or getattr(
        prompt_details, "cache_creation_tokens", None
    )
    return {
        "prompt": getattr(found, "prompt_tokens", None),
        "cached": getattr(prompt_details, "cached_tokens", None),
        "cache_write": cache_write,
        "completion": getattr(found, "completion_tokens", None),
        "reasoning": getattr(completion_details, "reasoning_tokens", None),
    }
