"""What litellm raises becomes a code, a sentence for a person, and a detail for the log without any key."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore import errors
from chatcore.gateway import failures
from chatcore.gateway.failures import MAX_DETAIL, classify, silence, to_error, verdict
from chatcore.gateway.protocol import Failure
from tests.keys import KEYS

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")

import litellm


def test_what_is_secret_among_a_calls_arguments() -> None:
    arguments = {
        "api_key": "team-key", "temperature": 0.2, "max_tokens": 5, "api_base": "http://x", "api_version": "v1",
        "aws_session_token": "session", "vertex_credentials": "{json}", "api_key_2": None,
        "extra_headers": {"Authorization": "Bearer of-news", "X-Team": "chat"},
    }  # fmt: skip
    assert set(failures.secrets_in(arguments)) == {"team-key", "session", "{json}", "Bearer of-news", "of-news"}
    assert failures.secrets_in({"OPENAI_API_KEY": "short-one", "HF_TOKEN": "t", "HOME": "/root"}) == ["short-one", "t"]


@given(st.text(max_size=2000))
def test_a_detail_is_short(text: str) -> None:
    assert len(classify(ValueError(text), [])[1].detail) <= MAX_DETAIL


def test_a_secret_across_the_cut_leaves_no_half() -> None:
    secret = "short secret with spaces"
    text = "x " * ((MAX_DETAIL - len("ValueError: ")) // 2 - 3) + secret
    assert "short" in f"ValueError: {text}"[:MAX_DETAIL]
    assert "short" not in classify(ValueError(text), [secret])[1].detail


# --- sentences ------------------------------------------------------------------------------------------------------

CODES = ["rate_limited", "bad_key", "context_too_long", "refused_content", "model_unavailable", "bad_response",
         "timeout", "truncated", "empty_reply", "bad_request", "provider_down", "a code of tomorrow"]  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_every_failure_is_one_or_two_sentences_without_its_detail(code: str) -> None:
    failure = Failure(code=code, detail="sk-planted Traceback (most recent call last)", retry_after=None)
    said = str(to_error(failure, "GPT-5", 45, 30))
    assert re.fullmatch(r"[A-Z].+\.", said)
    assert "GPT-5" in said
    for internal in ("sk-planted", "Traceback", code if "_" in code else "a code of tomorrow", "None"):
        assert internal not in said


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("rate_limited", errors.RateLimited),
        ("bad_key", errors.BadKey),
        ("context_too_long", errors.ContextTooLong),
        ("refused_content", errors.RefusedContent),
        ("model_unavailable", errors.ModelUnavailable),
        ("bad_response", errors.ProviderDown),
        ("timeout", errors.ProviderTimeout),
        ("truncated", errors.Truncated),
        ("empty_reply", errors.ProviderDown),
        ("bad_request", errors.ProviderError),
        ("provider_down", errors.ProviderDown),
    ],
)
def test_every_code_has_its_class(code: str, error: type[errors.ProviderError]) -> None:
    assert type(to_error(Failure(code=code), "m", 45, 30)) is error


@pytest.mark.parametrize(
    ("retry_after", "words"),
    [
        (7.0, "Try again in 7 seconds."),
        (None, "Try again shortly."),
        (0.0, "Try again shortly."),
        (1.0, "in 1 second."),
    ],
)
def test_how_long_to_wait(retry_after: float | None, words: str) -> None:
    error = to_error(Failure(code="rate_limited", retry_after=retry_after), "m", 45, 30)
    assert str(error).endswith(words)
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after == retry_after


def test_a_wait_below_a_second_is_not_zero_seconds() -> None:
    assert "in 0 seconds" not in str(to_error(Failure(code="rate_limited", retry_after=0.2), "m", 45, 30))


@pytest.mark.parametrize(("said", "seconds"), [(False, "30"), (True, "45.5")])
def test_a_timeout_says_which_patience_ended(said: bool, seconds: str) -> None:
    assert f"for {seconds} seconds" in str(to_error(silence(said), "m", 45.5, 30.0))


@pytest.mark.parametrize(
    ("finish_reason", "anything", "outcome", "code"),
    [
        ("stop", True, "ok", None),
        ("length", True, "ok", None),
        ("length", False, "ok", None),
        ("tool_calls", True, "ok", None),
        ("stop", False, "error", "empty_reply"),
        ("content_filter", True, "error", "refused_content"),
        ("content_filter", False, "error", "refused_content"),
        (None, True, "truncated", "truncated"),
        (None, False, "error", "bad_response"),
    ],
)
def test_the_verdict_on_a_stream_that_ended(
    finish_reason: str | None, anything: bool, outcome: str, code: str | None
) -> None:
    found, failure = verdict(finish_reason, anything=anything)
    assert (found, failure and failure.code) == (outcome, code)


# --- sorting --------------------------------------------------------------------------------------------------------


def response(status: int, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, request=httpx.Request("POST", "http://provider.invalid/v1"))


def raised(name: str, message: str = "no", status: int = 400, **headers: str) -> Exception:
    kinds = litellm.exceptions
    common = {"message": message, "model": "m", "llm_provider": "openai"}
    if name == "APIError":
        error: Exception = kinds.APIError(status_code=status, **common)
    elif name in ("Timeout", "APIConnectionError", "InternalServerError"):
        error = getattr(kinds, name)(**common)
    else:
        error = getattr(kinds, name)(response=response(status, **headers), **common)
    return error


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (raised("AuthenticationError", status=401), "error", "bad_key"),
        (raised("PermissionDeniedError", status=403), "error", "bad_key"),
        (raised("NotFoundError", status=404), "error", "model_unavailable"),
        (raised("RateLimitError", status=429), "rate_limited", "rate_limited"),
        (raised("ContextWindowExceededError"), "error", "context_too_long"),
        (raised("BadRequestError", "This model's maximum context length is 8192 tokens"), "error", "context_too_long"),
        (raised("BadRequestError", "prompt is too long: 250000 tokens > 200000 maximum"), "error", "context_too_long"),
        (raised("BadRequestError", "temperature must be below 1"), "error", "bad_request"),
        (raised("UnprocessableEntityError", status=422), "error", "bad_request"),
        (raised("ContentPolicyViolationError"), "error", "refused_content"),
        (raised("BadRequestError", "flagged by our content management policy"), "error", "refused_content"),
        (raised("InternalServerError"), "error", "provider_down"),
        (raised("ServiceUnavailableError", status=503), "error", "provider_down"),
        (raised("APIConnectionError"), "error", "provider_down"),
        (raised("APIError", status=504), "timeout", "timeout"),
        (raised("Timeout"), "timeout", "timeout"),
        (httpx.ReadTimeout("slow"), "timeout", "timeout"),
        (httpx.ConnectError("refused"), "error", "provider_down"),
        (httpx.RemoteProtocolError("peer closed connection"), "truncated", "truncated"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "error", "bad_response"),
        (ValueError("who knows"), "error", "provider_down"),
        (RuntimeError(), "error", "provider_down"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_what_was_raised_is_sorted(error: Exception, outcome: str, code: str) -> None:
    found, failure = classify(error, [])
    assert (found, failure.code) == (outcome, code)


def test_a_wrapped_error_is_judged_by_what_it_wraps() -> None:
    outer = RuntimeError("MidStreamFallbackError")
    outer.original_exception = raised("RateLimitError", status=429)  # type: ignore[attr-defined]
    assert classify(outer, [])[1].code == "rate_limited"


def test_a_cut_is_found_among_the_causes() -> None:
    outer = raised("APIConnectionError")
    outer.__cause__ = RuntimeError("between")
    outer.__cause__.__context__ = httpx.ReadError("cut")
    assert classify(outer, [])[1].code == "truncated"


def test_errors_that_go_round_in_circles_end() -> None:
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    one.original_exception, two.original_exception = two, one  # type: ignore[attr-defined]
    assert classify(one, [])[1].code == "provider_down"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.5", 0.5),
        ("0", 0.0),
        ("3601", 3600.0),
        ("9" * 400, 3600.0),
        *((nonsense, None) for nonsense in ("-3", "soon", "", "nan", "inf", "1e308", "1_0", ".", "5.", "0x10", "7s")),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2970 00:00:00 GMT", 3600.0),
        ("Thu, 01 Jan 2970 00:00:00", 3600.0),
        ("Thu, 99 Jan 2970 00:00:00 GMT", None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after_as_the_provider_said(header: str, seconds: float | None) -> None:
    assert classify(raised("RateLimitError", status=429, retry_after=header), [])[1].retry_after == seconds


def test_digits_of_other_scripts_are_no_digits() -> None:
    error = RuntimeError("wait")
    error.litellm_response_headers = {"retry-after": "\u0667"}  # type: ignore[attr-defined]
    assert classify(error, [])[1].retry_after is None


def test_a_date_is_counted_from_now() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    seconds = classify(raised("RateLimitError", status=429, retry_after=date), [])[1].retry_after
    assert seconds is not None
    assert 540 < seconds <= 600


@pytest.mark.parametrize("header", ["nan", "inf", "1e400"])
def test_a_retry_after_that_is_no_number_still_makes_a_sentence(header: str) -> None:
    _, failure = classify(raised("RateLimitError", status=429, retry_after=header), [])
    assert str(to_error(failure, "m", 45, 30)).endswith(".")


@pytest.mark.parametrize("provider", KEYS)
def test_the_detail_of_a_refused_key_holds_no_key(provider: str) -> None:
    key = KEYS[provider]
    _, failure = classify(raised("AuthenticationError", f"Incorrect API key provided: {key}", status=401), [])
    assert key[4:] not in failure.model_dump_json()
    assert failure.detail.startswith("AuthenticationError")


def test_codes_of_failures_are_codes_of_errors_or_known_to_to_error() -> None:
    known = set(CODES)
    assert set(failures._BY_STATUS.values()) <= known
    assert set(failures._OUTCOMES) <= known
