"""Typed words drawn as text, times as people say them, browsers by name."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.ui.text import ago, device, plain

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def test_markup_in_a_name_is_escaped() -> None:
    assert plain("**b** [x](y) <i> $1$ :red[z]") == r"\*\*b\*\* \[x\]\(y\) \<i\> \$1\$ \:red\[z\]"
    assert plain("two\nlines\t\tand  gaps") == "two lines and gaps"


@given(st.text())
def test_no_sign_that_could_mean_something_stands_bare(text: str) -> None:
    without_escapes = plain(text).replace("\\\\", "")
    for sign in "*_[]<>$:`#~|!":
        assert without_escapes.count(sign) == without_escapes.count("\\" + sign)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(days=29), "29 days ago"),
        (timedelta(days=30), "4 April 2026"),
    ],
)
def test_how_long_ago(before: timedelta, words: str) -> None:
    assert ago(NOW - before, NOW) == words
    assert ago(None) == "never"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/129.0 Safari/537.36 Edg/129.0",
            "Edge on Windows",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605 Version/17 Safari/605", "Safari on macOS"),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537 Chrome/129.0 Mobile Safari/537", "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17 like Mac OS X) Version/17 Safari/604", "Safari on iPhone"),
        ("command line", "Command line"),
        ("curl/8.5", "Another program"),
        ("", "Another program"),
    ],
)
def test_browsers_have_names(user_agent: str, name: str) -> None:
    assert device(user_agent) == name
