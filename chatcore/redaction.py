"""Taking keys out of text: those that are known, and whatever has the form of one.

A key that nobody told us about is found by its form: the prefixes that providers use, tokens of sessions, private
keys, passwords in addresses, and any long run of characters that is neither words nor an id or a hash of ours.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

REDACTED: Final = "[redacted]"
"""Stands where a key stood."""
_SHORTEST: Final = 4  # characters; a shorter "secret" would take ordinary text apart
_MIXED: Final = 16  # characters of a run with small letters, capitals and digits
_LONG: Final = 32  # and of any run
_STRANGE: Final = 18  # characters in pieces that are not words, in a run with slashes: a path may have a few
_STRANGE_WITH_PLUS: Final = 8  # no path has a plus

_FORMS: Final = re.compile(
    r"(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*PRIVATE KEY-----|.*))"
    r"|(?i:bearer\s+)(?![{<…])[^\s\"',;]+"
    r"|(?<![0-9a-fA-F])(?i:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|(?<=://)[^\s/?#\"'<>]+(?=@)"
    # but for pk_usage_metrics, hf_hub_offline, XAI_API_KEY: names in our own and in libraries' code
    r"|(?<![a-zA-Z0-9])(?!(?:(?:pk|ck|hf|fw)(?:[-_][a-z]{2,20}){1,8}|[A-Z]{2,5}(?:_[A-Z]{2,20}){1,8})(?![\w\-*]))"
    r"(?i:(?:sk|pk|ck|csk|gsk|xai|hf|r8|fw|pplx|nvapi)[-_][\w\-.*]{6,})"
    r"|(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9*]{8,}|(?:AIza|ya29\.|eyJ)[\w\-.*]{8,})"
)
_INTERRUPTED: Final = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_RUN: Final = re.compile(
    r"(?P<ours>(?<![A-Za-z0-9_\-])[a-z]{2,12}_0[1-3][0-9a-hjkmnp-tv-z]{24}(?![A-Za-z0-9_\-])"  # an id; lasts to 2109
    r"|\bsha256[:=] ?[0-9a-f]{64}(?![A-Za-z0-9])"
    r"|(?<=/)(?P<folder>[0-9a-f]{2})/(?P=folder)[0-9a-f]{62}(?![A-Za-z0-9]))"  # an attachment's file
    r"|[A-Za-z0-9_\-]{16,}"
)
_WORD: Final = re.compile(r"[A-Z]?[a-z]{1,20}\d{0,3}|[A-Z]{1,20}\d{0,3}|\d{1,10}[A-Za-z]{0,2}|")
_HUMP: Final = re.compile(r"[A-Z]{2,6}(?![a-z])|[A-Z]?[a-z]+")
_VOWEL: Final = re.compile(r"(?i)[aeiouy]")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets, however they are spelled, and without anything that looks like a key."""
    return redact_spelled(text, spellings(secrets))


def spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """How the secrets may stand in a text: as they are, escaped as Python and JSON do, in an address; longest first.

    Secrets of fewer than 4 characters are left out.
    """
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            escaped = (repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
            found |= {secret, *escaped, quote(secret, safe="", errors="replace")}
    return tuple(sorted(found, key=len, reverse=True))  # one may hold another


def redact_spelled(text: str, spelled: tuple[str, ...]) -> str:
    """`redact` for secrets whose `spellings` are at hand."""
    return _without_forms(without(text, spelled))


def without(text: str, spelled: tuple[str, ...]) -> str:
    """`text` without the secrets that have these `spellings`; what only looks like a key stays."""
    for spelling in spelled[bisect_left(spelled, -len(text), key=_shorter) :]:
        if spelling in text:
            text = text.replace(spelling, REDACTED)
    return text


def _shorter(spelling: str) -> int:
    return -len(spelling)


def _without_forms(text: str) -> str:
    text = _FORMS.sub(REDACTED, text)
    text = _INTERRUPTED.sub(_judge_interrupted, text)
    return _RUN.sub(_judge_run, text)


def _judge_interrupted(match: re.Match[str]) -> str:
    """Base64 that is not of the kind for addresses: an AWS secret, a line of a private key. Paths are words."""
    if not re.search(r"[+/]", match[0]):
        return match[0]  # a run like others
    pieces = _RUN.sub(_nothing_if_ours, match[0]).rstrip("=")
    strange = sum(len(piece) for piece in re.split(r"[+/]", pieces) if not _is_words(piece))
    return REDACTED if strange >= (_STRANGE_WITH_PLUS if "+" in match[0] else _STRANGE) else match[0]


def _nothing_if_ours(match: re.Match[str]) -> str:
    return "" if match["ours"] else match[0]


def _judge_run(match: re.Match[str]) -> str:
    run = match[0]
    if match["ours"] or (len(run) < _LONG and not _is_mixed(run)) or _is_words(run):
        return run
    return REDACTED


def _is_mixed(run: str) -> bool:
    return not (run.isupper() or run.islower()) and any(map(str.isdigit, run))


def _is_words(run: str) -> bool:
    """Whether it is a name out of words and numbers: `test_a_key`, `HTTPConnectionPool`, `claude-3-5-sonnet-20241022`.

    Of random keys with 32 characters fewer than one in 100,000 passes for that.
    """
    return all(_WORD.fullmatch(piece) or _is_camel_case(piece) for piece in re.split("[-_]+", run))


def _is_camel_case(piece: str) -> bool:
    letters = piece.rstrip("0123456789")
    humps = _HUMP.findall(letters)
    return (
        len(piece) - len(letters) <= 2
        and "".join(humps) == letters
        and len(letters) >= 4 * len(humps)
        and sum(map(str.isupper, humps)) <= 1
        and all(2 <= len(hump) <= 20 and (len(hump) < 5 or hump.isupper() or _VOWEL.search(hump)) for hump in humps)
    )
