"""What a process knows of one breaker, and what processes write of them into Redis."""

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal

Word = Literal["open", "closed"]

IDLE: Final = 3600.0  # seconds after which what is known of somebody's own key is forgotten
NOBODYS: Final = ""  # the breaker of a call that nobody keeps count of
_SHARED: Final = "@shared"


@dataclass
class State:
    """Times are seconds since 1970 by the clock, 0 for never."""

    failures: int = 0  # in a row
    opened: int = 0  # times in a row
    open_until: float = 0.0
    trial_until: float = 0.0
    changed_at: float = 0.0  # when it was opened or its row was broken, here or elsewhere
    elsewhere: int = 0  # failures in a row of all processes, as last heard
    word: Word | None = None
    word_at: float = 0.0
    last_error: str | None = None
    last_ok_at: float | None = None
    last_failed_at: float | None = None
    called_at: float = 0.0
    calls: int = 0
    failed: int = 0

    def forget(self, at: float) -> None:
        """Begin a new row."""
        self.failures = self.opened = self.elsewhere = 0
        self.open_until = self.trial_until = 0.0
        self.changed_at = at

    @property
    def told_at(self) -> float:
        """When something came about that the other processes are told."""
        return max(self.changed_at, self.word_at)

    @property
    def used_at(self) -> float:
        """When anything was last done with it."""
        return max(self.called_at, self.last_ok_at or 0.0, self.last_failed_at or 0.0, self.told_at)

    def known(self) -> str:
        """For the other processes: what came about, and when."""
        known = {"until": self.open_until, "failures": self.failures, "opened": self.opened, "at": self.changed_at}
        return json.dumps(known)

    def said(self) -> str:
        """For the other processes: an operator's word and since when, '' where there never was one."""
        return json.dumps({"word": self.word, "at": self.word_at}) if self.word_at else ""


def is_own(breaker: str) -> bool:
    """Whether it is of somebody's own key."""
    return not breaker.endswith(_SHARED)


def is_past(breaker: str, at: float, word: Word | None, now: float) -> bool:
    """Whether what came about at `at` is to be forgotten: keys come and go, deployments do not. A word stands."""
    return word is None and is_own(breaker) and at < now - IDLE


def told(text: str | None) -> dict[str, Any]:
    """What another process wrote, its numbers finite; `at` 0 where it wrote nothing that makes sense."""
    try:
        found = json.loads(text or "{}")
        numbers = {name: float(found.get(name, 0)) for name in ("at", "until", "failures", "opened")}
    except (ValueError, TypeError, AttributeError):
        return {"at": 0.0}
    return {**found, **numbers} if all(map(isfinite, numbers.values())) else {"at": 0.0}


def word_in(said: dict[str, Any]) -> Word | None:
    """The word of what was told."""
    word: Word | None = said.get("word") if said.get("word") in ("open", "closed") else None
    return word


def take_out_past(
    opened: dict[Any, Any], words: dict[Any, Any], fails: dict[Any, Any], failed_at: dict[Any, Any], *, now: float
) -> list[str]:
    """Take out of what Redis holds, and return, the own keys' breakers that are to be forgotten."""
    hashes, past = (opened, words, fails, failed_at), []
    for breaker in {one for found in hashes for one in found}:
        said = told(words.get(breaker))
        at = max(told(opened.get(breaker))["at"], said["at"], _time(failed_at.get(breaker)))
        if is_past(breaker, at, word_in(said), now):
            past.append(breaker)
            for found in hashes:
                found.pop(breaker, None)
    return past


def _time(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
