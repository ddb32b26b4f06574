"""The tree of errors: as it is drawn, with a code of its own for each, and signals that can be kept apart."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from chatcore import errors
from chatcore.errors import BreakerOpen, ChatcoreError, LimitExceeded, ProviderError, RateLimited, TooManyAttempts


def classes(base: type[ChatcoreError] = ChatcoreError) -> Iterator[type[ChatcoreError]]:
    yield base
    for below in base.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from classes(below)


def drawn() -> dict[str, str | None]:
    """Each name in the docstring's drawing, and the name above it."""
    above: list[tuple[int, str]] = []
    tree: dict[str, str | None] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ([ │├└─]*)([A-Z]\w+)( |$)", line):
            depth = len(match[1]) // 4
            above = [*above[:depth], (depth, match[2])]
            tree[match[2]] = above[-2][1] if depth else None
    return tree


WAITING = (RateLimited, LimitExceeded, BreakerOpen)


def test_the_drawing_is_the_tree() -> None:
    real = {one.__name__: one.__bases__[0].__name__ for one in classes() if one is not ChatcoreError}
    assert drawn() == {"ChatcoreError": None, **real}


def test_every_class_has_a_code_of_its_own() -> None:
    codes = {one.__name__: one.__dict__.get("code") for one in classes()}
    assert None not in codes.values()
    assert len(set(codes.values())) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", str(code)) for code in codes.values())


def test_only_what_the_provider_may_do_better_next_time_is_retryable() -> None:
    known = {one.code: one.retryable for one in classes(ProviderError) if issubclass(one, ProviderError)}
    assert known == {
        "provider_error": True, "rate_limited": True, "context_too_long": False, "bad_key": False,
        "refused_content": False, "model_unavailable": False, "provider_down": True, "timeout": True,
        "truncated": True, "breaker_open": True,
    }  # fmt: skip


def test_the_ones_that_say_how_long_to_wait() -> None:
    assert TooManyAttempts(30).retry_after == 30
    assert str(TooManyAttempts(30)) == "Too many attempts. Try again in 30 seconds."
    assert (RateLimited("x", 1.5).retry_after, RateLimited("x").retry_after) == (1.5, None)


@pytest.mark.parametrize("error", [one for one in classes() if one not in (TooManyAttempts, *WAITING)])
def test_a_sentence_goes_in_and_comes_out(error: type[ChatcoreError]) -> None:
    assert str(error("It is so.")) == "It is so."


@pytest.mark.parametrize("error", WAITING)
def test_a_wait_goes_in_beside_the_sentence(error: Any) -> None:
    assert (str(error("It is so.", 7)), error("It is so.", 7).retry_after) == ("It is so.", 7)
