"""The circuit breaker: a deployment that fails too often in a row is left in peace for a while.

Counted for each deployment and key, so that a person's own bad key opens nothing for others. It opens after
`chatcore.breaker_failures` failures in a row (5), for `chatcore.breaker_seconds` (30) or as long as the provider asked
for, and twice as long each time it fails again, up to five minutes. After that one call of each process is let through
to try it: its success closes the breaker. Where Redis is configured the processes of an instance count together; an
operator's own word stands until it is taken back.

What processes tell each other carries the time at which it came about, and the latest holds: so a Redis that comes back
empty, or was away while something happened, is told anew.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal

from chatcore.shared import PREFIX, Shared

log = logging.getLogger(__name__)

Word = Literal["open", "closed"]

# What says that a deployment does not work. A request that is wrong itself says nothing about whom it was sent to.
COUNTED: Final = frozenset({"provider_down", "timeout", "rate_limited", "truncated", "bad_key", "model_unavailable"})
_LONGEST: Final = 300.0  # seconds
_TRIAL: Final = 120.0  # seconds after which a trial call that told nothing is forgotten
_CLAIM: Final = 10.0  # seconds in which a claimed trial has to begin
_MOST: Final = 3600.0  # seconds, whatever a provider asks for
_POLL: Final = 0.5  # seconds between two looks at what other processes know
_OPEN: Final = f"{PREFIX}breakers"  # id → until when it is open, by the clock; no failures for one that was closed
_FAILS: Final = f"{PREFIX}breaker-failures"  # id → failures in a row
_WORDS: Final = f"{PREFIX}breaker-words"  # id → an operator's word


@dataclass
class _State:
    failures: int = 0  # in a row
    opened: int = 0  # times in a row
    open_until: float = 0.0  # `time.time()`
    trial_until: float = 0.0
    changed_at: float = 0.0  # when it was opened or its row was broken, here or elsewhere
    elsewhere: int = 0  # failures in a row of all processes, as last heard
    word: Word | None = None
    word_at: float = 0.0
    last_error: str | None = None
    last_ok_at: float | None = None
    last_failed_at: float | None = None
    calls: int = 0
    failed: int = 0

    def forget(self, at: float) -> None:
        """Begin a new row."""
        self.failures = self.opened = self.elsewhere = 0
        self.open_until = self.trial_until = 0.0
        self.changed_at = at


@dataclass(frozen=True)
class Health:
    """What is known of one deployment under one key. Times are seconds since 1970; counts are of this process.

    `state`: `closed` works, `open` is left alone, `trial` is open and due to be tried. `word`: an operator's, where it
    stands. `key`: `shared`, or the id of somebody's own key.
    """

    deployment: str
    key: str
    state: Literal["closed", "open", "trial"]
    word: Word | None
    failures: int
    open_until: float | None
    last_error: str | None
    last_ok_at: float | None
    last_failed_at: float | None
    calls: int
    failed: int


class Breakers:
    """Every breaker of this process. Safe to use from any thread; nothing here waits for Redis."""

    def __init__(
        self, shared: Shared, failures: int = 5, seconds: float = 30.0, *, now: Callable[[], float] = time.time
    ) -> None:
        self._shared = shared
        self._threshold = failures
        self._seconds = seconds
        self._now = now
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._teller = ThreadPoolExecutor(1, thread_name_prefix="breakers") if shared.is_configured else None
        self._poller: threading.Thread | None = None

    def start(self) -> None:
        """Listen to other processes, where Redis is configured."""
        if self._teller is not None and self._poller is None:
            self._poller = threading.Thread(target=self._poll, name="breakers-poll", daemon=True)
            self._poller.start()

    def close(self) -> None:
        """Listen no more."""
        self._stopped.set()
        if self._poller is not None:
            self._poller.join(5)
        if self._teller is not None:
            self._teller.shutdown(wait=True, cancel_futures=True)

    def admits(self, breaker: str) -> bool:
        """Whether a call may be made: it is closed, or due for its one trial."""
        with self._lock:
            return self._wait(self._states.get(breaker)) == 0

    def wait(self, breaker: str) -> float:
        """Seconds until it lets a call through, 0 for one that does."""
        with self._lock:
            return self._wait(self._states.get(breaker))

    def claim(self, breaker: str, pause: float = 0.0) -> bool:
        """Like `admits`, for a call that begins in `pause` seconds: a trial is then nobody else's for a while."""
        with self._lock:
            state = self._states.get(breaker)
            if self._wait(state) > 0:
                return False
            if state is not None and state.word is None and state.failures >= self._threshold:
                state.trial_until = self._now() + pause + _CLAIM
            return True

    def started(self, breaker: str) -> None:
        """A call begins: where the breaker is open, it is the trial, and no other is let through meanwhile."""
        with self._lock:
            state = self._states.setdefault(breaker, _State())
            state.calls += 1
            if state.failures >= self._threshold:
                state.trial_until = self._now() + _TRIAL

    def succeeded(self, breaker: str) -> None:
        """A call was answered."""
        with self._lock:
            state = self._states.setdefault(breaker, _State())
            if was_bad := state.failures > 0 or state.elsewhere > 0:
                state.forget(self._later(state.changed_at))
            state.last_ok_at = self._now()
        if was_bad:
            self._tell(breaker, self._share_success)

    def failed(self, breaker: str, code: str, retry_after: float | None = None) -> None:
        """A call failed with an error of that code. What does not count only ends a trial."""
        if code not in COUNTED:
            return self.released(breaker)
        with self._lock:
            state = self._states.setdefault(breaker, _State())
            state.failures += 1
            state.failed += 1
            state.trial_until = 0.0
            state.last_error, state.last_failed_at = code, self._now()
            if state.failures >= self._threshold:
                self._open(breaker, state, retry_after)
        self._tell(breaker, self._share_failure)
        return None

    def released(self, breaker: str) -> None:
        """A call ended that says nothing about the deployment: somebody stopped it, or it was wrong itself."""
        with self._lock:
            if state := self._states.get(breaker):
                state.trial_until = 0.0

    def say(self, breaker: str, word: Word | None) -> None:
        """An operator's word: open or closed whatever happens, or None for its own judgement again, from the start."""
        with self._lock:
            state = self._states.setdefault(breaker, _State())
            state.forget(self._later(state.changed_at))
            state.word, state.word_at = word, self._later(state.word_at)
        self._tell(breaker, self._share_success)

    def health(self, breaker: str) -> Health:
        """What is known of one."""
        deployment, _, key = breaker.rpartition("@")
        with self._lock:
            state = self._states.get(breaker, _State())
            wait = self._wait(state)
            open_ = state.word == "open" or (state.word is None and state.failures >= self._threshold)
            return Health(
                deployment, key, "closed" if not open_ else "open" if wait else "trial", state.word, state.failures,
                state.open_until if open_ and state.word is None else None, state.last_error, state.last_ok_at,
                state.last_failed_at, state.calls, state.failed,
            )  # fmt: skip

    def known(self) -> list[str]:
        """The breakers that have seen a call."""
        with self._lock:
            return sorted(self._states)

    def _wait(self, state: _State | None) -> float:
        if state is not None and state.word == "open":
            return self._seconds
        if state is None or state.word == "closed" or state.failures < self._threshold:
            return 0.0
        return max(state.open_until - self._now(), state.trial_until - self._now(), 0.0)

    def _later(self, at: float) -> float:
        """Now, and after `at` even where another host's clock is ahead."""
        return max(self._now(), at + 0.001)

    def _open(self, breaker: str, state: _State, retry_after: float | None) -> None:
        now, asked = self._now(), min(retry_after or 0.0, _MOST)
        if state.open_until > now:  # the end of a call that ran already when it opened: one outage, no new one
            if now + asked > state.open_until:
                state.open_until, state.changed_at = now + asked, self._later(state.changed_at)
            return
        state.open_until = now + max(min(self._seconds * 2 ** min(state.opened, 16), _LONGEST), asked)
        state.opened += 1
        state.changed_at = self._later(state.changed_at)
        seconds = round(state.open_until - now)
        log.warning("breaker opened", extra={"deployment": breaker, "failures": state.failures, "seconds": seconds})

    # ---- other processes

    def _tell(self, breaker: str, share: Callable[[str], None]) -> None:
        if self._teller is not None:
            with suppress(RuntimeError):  # a call that ends after `close`
                self._teller.submit(share, breaker)

    def _share_failure(self, breaker: str) -> None:
        total = self._shared.call(lambda redis: int(redis.hincrby(_FAILS, breaker, 1)), lambda: 0)
        with self._lock:
            state = self._states.setdefault(breaker, _State())
            if total >= self._threshold > state.failures:
                state.failures = total
                self._open(breaker, state, None)
            if state.failures < self._threshold:
                return
        self._put(breaker)

    def _share_success(self, breaker: str) -> None:
        self._shared.call(lambda redis: redis.hdel(_FAILS, breaker), lambda: 0)
        self._put(breaker)

    def _put(self, breaker: str) -> None:
        """Tell what is known here of one, with the time since when."""
        with self._lock:
            state = self._states[breaker]
            known = json.dumps({
                "until": state.open_until, "failures": state.failures, "opened": state.opened, "at": state.changed_at,
            })  # fmt: skip
            word = json.dumps({"word": state.word, "at": state.word_at}) if state.word_at else ""
        self._shared.call(lambda redis: redis.hset(_OPEN, breaker, known), lambda: 0)
        if word:
            self._shared.call(lambda redis: redis.hset(_WORDS, breaker, word), lambda: 0)

    def _poll(self) -> None:
        while not self._stopped.wait(_POLL):
            found = self._shared.call(
                lambda redis: (redis.hgetall(_OPEN), redis.hgetall(_WORDS), redis.hgetall(_FAILS)), lambda: None
            )
            for newer in self._learn(*(dict(one) for one in found)) if found else ():
                self._put(newer)

    def _learn(self, opened: dict[Any, Any], words: dict[Any, Any], fails: dict[Any, Any]) -> list[str]:
        """Take over what came about elsewhere since. The breakers of which more is known here."""
        newer = []
        with self._lock:
            for breaker in {*opened, *words, *fails, *self._states}:
                state = self._states.setdefault(breaker, _State())
                state.elsewhere = int(fails.get(breaker) or 0)
                there, said = _told(opened.get(breaker)), _told(words.get(breaker))
                if there["at"] > state.changed_at:
                    self._take_over(state, there)
                if said["at"] > state.word_at:
                    word = said.get("word")
                    state.word, state.word_at = word if word in ("open", "closed") else None, said["at"]
                if there["at"] < state.changed_at or said["at"] < state.word_at:
                    newer.append(breaker)
        return newer

    def _take_over(self, state: _State, there: dict[str, Any]) -> None:
        if there["failures"] < self._threshold:
            state.forget(there["at"])
            return
        state.open_until = max(state.open_until, min(there["until"], self._now() + _MOST))
        state.failures = max(state.failures, int(there["failures"]))
        state.opened = max(state.opened, int(there["opened"]))
        state.changed_at = there["at"]


def _told(text: str | None) -> dict[str, Any]:
    """What another process wrote, its numbers finite; `at` 0 where it wrote nothing that makes sense."""
    try:
        found = json.loads(text or "{}")
        numbers = {name: float(found.get(name, 0)) for name in ("at", "until", "failures", "opened")}
    except (ValueError, TypeError, AttributeError):
        return {"at": 0.0}
    return {**found, **numbers} if all(map(isfinite, numbers.values())) else {"at": 0.0}
