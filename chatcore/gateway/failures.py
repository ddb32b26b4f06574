"""From what litellm raises to a `Failure` on the wire, and from there to our error tree and a sentence."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from chatcore import errors
from chatcore.gateway.protocol import AttemptOutcome, Failure
from chatcore.redaction import redact

_BY_STATUS: Final[Mapping[int, str]] = {
    401: "bad_key",
    403: "bad_key",
    404: "model_unavailable",
    408: "timeout",
    413: "context_too_long",
    429: "rate_limited",
    504: "timeout",
}
_OUTCOMES: Final[Mapping[str, AttemptOutcome]] = {
    "rate_limited": "rate_limited",
    "timeout": "timeout",
    "truncated": "truncated",
}
_SECRET_NAME: Final = re.compile(r"(?i)key|token|secret|password|credential|authorization")
_CONTEXT_WORDS: Final = re.compile(r"(?i)context[ _](length|window)|maximum context|too many tokens|prompt is too long")
_CONTENT_WORDS: Final = re.compile(r"(?i)content[ _](policy|filter|management)|safety|responsible ai")
_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_LONGEST_DATE: Final = 64  # characters
MAX_DETAIL: Final = 400
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds: a provider that asks for more is asked again after an hour."""
FIRST_WORD: Final = "first word"
BETWEEN_WORDS: Final = "between words"


def verdict(finish_reason: str | None, *, anything: bool) -> tuple[AttemptOutcome, Failure | None]:
    """How a stream that ended by itself is to be judged. Without a finish reason it was cut."""
    if finish_reason is None:
        return ("truncated", Failure(code="truncated")) if anything else ("error", Failure(code="bad_response"))
    if finish_reason == "content_filter":
        return "error", Failure(code="refused_content")
    if not anything and finish_reason == "stop":
        return "error", Failure(code="empty_reply")
    return "ok", None


def silence(said_something: bool) -> Failure:
    """No first word, or no next word, in time."""
    return Failure(code="timeout", detail=BETWEEN_WORDS if said_something else FIRST_WORD)


def classify(error: BaseException, secrets: list[str]) -> tuple[AttemptOutcome, Failure]:
    """Sort what a call raised. `secrets` are taken out of the detail, with whatever else looks like a key.

    The detail is cut to a loggable length, after that: no half of a secret is left.
    """
    error = _unwrap(error)
    code = _broken_stream(error) or _code(error)
    detail = redact(f"{type(error).__name__}: {error}", secrets)[:MAX_DETAIL]
    return _OUTCOMES.get(code, "error"), Failure(code=code, retry_after=_retry_after(error), detail=detail)


def secrets_in(values: Mapping[str, Any]) -> list[str]:
    """The strings among a call's arguments, or a process's variables, whose names say that they are secret."""
    found: list[str] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.extend(secrets_in(value))
        elif isinstance(value, str) and _SECRET_NAME.search(name):
            found.extend({value, value.rpartition(" ")[2]})  # `Bearer …` may be quoted without its first word
    return found


def to_error(
    failure: Failure, model_name: str, between_words: float, first_word: float, *, said: bool = True
) -> errors.ProviderError:
    """The error of our tree, with its sentence. `said`: words came before it."""
    kept = "What it said is kept; try again." if said else "Try again."
    match failure.code:
        case "rate_limited":
            wait = _wait(failure.retry_after)
            return errors.RateLimited(f"{model_name} is receiving too many requests. {wait}", failure.retry_after)
        case "bad_key":
            return errors.BadKey(
                f"The provider refused the key for {model_name}. Choose another model, or tell an administrator."
            )
        case "context_too_long":
            return errors.ContextTooLong(
                f"This conversation is too long for {model_name}. Start a new chat or choose a model with more room."
            )
        case "refused_content":
            return errors.RefusedContent(f"The provider of {model_name} declined to answer this. Try rephrasing it.")
        case "model_unavailable":
            return errors.ModelUnavailable(f"The provider does not know {model_name}. Choose another model.")
        case "bad_response":
            return errors.ProviderDown(f"{model_name} sent an answer that makes no sense. {kept}")
        case "timeout" if failure.detail not in (FIRST_WORD, BETWEEN_WORDS):
            return errors.ProviderTimeout(f"The provider of {model_name} took too long to answer. Try again.")
        case "timeout":
            waited = between_words if failure.detail == BETWEEN_WORDS else first_word
            return errors.ProviderTimeout(f"{model_name} sent nothing for {waited:g} seconds. {kept}")
        case "truncated":
            return errors.Truncated(f"The connection to {model_name} ended in mid-reply. {kept}")
        case "empty_reply":
            return errors.ProviderDown(f"{model_name} answered with nothing at all. Try again or choose another model.")
        case "bad_request":
            return errors.ProviderError(
                f"{model_name} did not accept this request. Check temperature and length, or choose another model."
            )
        case _:
            return errors.ProviderDown(f"{model_name} cannot be reached right now. Try again or choose another model.")


def _wait(retry_after: float | None) -> str:
    if not retry_after:
        return "Try again shortly."
    seconds = math.ceil(retry_after)
    return f"Try again in {seconds} second{'' if seconds == 1 else 's'}."


def _unwrap(error: BaseException) -> BaseException:
    for _ in range(5):
        inner = getattr(error, "original_exception", None)
        if not isinstance(inner, BaseException):
            return error
        error = inner
    return error


def _broken_stream(error: BaseException) -> str | None:
    """What broke an answer that had begun: litellm wraps it, so it is looked for among the causes."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return None
        match type(seen).__name__:
            case "RemoteProtocolError" | "ReadError":
                return "truncated"
            case "JSONDecodeError" | "UnicodeDecodeError":
                return "bad_response"
            case "UnicodeEncodeError":  # it never left: this says nothing of the provider
                return "bad_request"
        seen = seen.__cause__ or seen.__context__
    return None


def _code(error: BaseException) -> str:
    name, text = type(error).__name__, str(error)
    if name == "ContextWindowExceededError" or _CONTEXT_WORDS.search(text):
        return "context_too_long"
    if name == "ContentPolicyViolationError":
        return "refused_content"
    if name in ("Timeout", "APITimeoutError", "ReadTimeout"):
        return "timeout"
    status = getattr(error, "status_code", None)
    if status == 400 and _CONTENT_WORDS.search(text):
        return "refused_content"
    if isinstance(status, int):
        return _BY_STATUS.get(status, "bad_request" if status in (400, 422) else "provider_down")
    return "provider_down"


def _retry_after(error: BaseException) -> float | None:
    """Seconds of the header, written as a number or as a date; None where there is none that makes sense."""
    headers: Any = getattr(error, "litellm_response_headers", None) or getattr(
        getattr(error, "response", None), "headers", None
    )
    try:
        said = str(headers["retry-after"]).strip() if headers else ""
    except (KeyError, TypeError):
        return None
    seconds = float(said) if _SECONDS.fullmatch(said) else _seconds_until(said)
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _seconds_until(date: str) -> float | None:
    """From now until an HTTP date, by this machine's clock."""
    try:
        moment = parsedate_to_datetime(date[:_LONGEST_DATE])
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
