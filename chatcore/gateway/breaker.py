"""The circuit breaker: a deployment that fails too often in a row is left in peace for a while.

Counted for each deployment and key, so that a person's own bad key opens nothing for others. It opens after
`chatcore.breaker_failures` failures in a row (5), for `chatcore.breaker_seconds` (30) or as long as the provider asked
for, and twice as long each time it fails again, up to five minutes. After that one call is let through to try it: its
success closes the breaker. Where Redis is configured the processes of an instance count together; an operator's own
word stands until it is taken back.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal

from chatcore.shared import PREFIX, Shared

log = logging.getLogger(__name__)

Word = Literal["open", "closed"]

# What says that a deployment does not work. A request that is wrong itself says nothing about whom it was sent to.
COUNTED: Final = frozenset({"provider_down", "timeout", "rate_limited", "truncated", "bad_key", "model_unavailable"})
_LONGEST: Final = 300.0  # seconds
_TRIAL: Final = 120.0  # seconds after which a trial call that told nothing is forgotten
_POLL: Final = 1.0  # seconds between two looks at what other processes know
_OPEN: Final = f"{PREFIX}breakers"  # id → when it closes, by the clock
_FAILS: Final = f"{PREFIX}breaker-failures"  # id → failures in a row
_WORDS: Final = f"{PREFIX}breaker-words"  # id → an operator's word


@dataclass
class _State:
    failures: int = 0  # in a row
    opened: int = 0  # times in a row
    open_until: float = 0.0  # `time.time()`
    trial_until: float = 0.0
    word: Word | None = None
    last_error: str | None = None
    last_ok_at: float | None = None
    last_failed_at: float | None = None
    calls: int = 0
    failed: int = 0


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
            was_bad = state.failures > 0
            state.failures = state.opened = 0
            state.open_until = state.trial_until = 0.0
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
            old = self._states.get(breaker, _State())
            self._states[breaker] = _State(
                word=word, last_error=old.last_error, last_ok_at=old.last_ok_at, last_failed_at=old.last_failed_at,
                calls=old.calls, failed=old.failed,
            )  # fmt: skip
        self._tell(breaker, self._share_word)

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
        if state is None or state.word == "closed":
            return 0.0
        if state.word == "open":
            return self._seconds
        if state.failures < self._threshold:
            return 0.0
        return max(state.open_until - self._now(), state.trial_until - self._now(), 0.0)

    def _open(self, breaker: str, state: _State, retry_after: float | None) -> None:
        pause = min(self._seconds * 2**state.opened, _LONGEST)
        state.opened += 1
        state.open_until = self._now() + min(max(pause, retry_after or 0.0), 3600.0)
        log.warning(
            "breaker opened",
            extra={"deployment": breaker, "failures": state.failures, "seconds": round(state.open_until - self._now())},
        )

    # ---- other processes

    def _tell(self, breaker: str, share: Callable[[str], None]) -> None:
        if self._teller is not None and not self._stopped.is_set():
            self._teller.submit(share, breaker)

    def _share_failure(self, breaker: str) -> None:
        total = self._shared.call(lambda redis: int(redis.hincrby(_FAILS, breaker, 1)), lambda: 0)
        with self._lock:
            state = self._states.setdefault(breaker, _State())
            if total >= self._threshold > state.failures:
                state.failures = total
                self._open(breaker, state, None)
            until, failures = state.open_until, state.failures
        if failures >= self._threshold:
            known = json.dumps({"until": until, "failures": failures})
            self._shared.call(lambda redis: redis.hset(_OPEN, breaker, known), lambda: 0)

    def _share_success(self, breaker: str) -> None:
        self._shared.call(lambda redis: (redis.hdel(_OPEN, breaker), redis.hdel(_FAILS, breaker)), lambda: (0, 0))

    def _share_word(self, breaker: str) -> None:
        word = self._states[breaker].word
        self._share_success(breaker)
        if word is None:
            self._shared.call(lambda redis: redis.hdel(_WORDS, breaker), lambda: 0)
        else:
            self._shared.call(lambda redis: redis.hset(_WORDS, breaker, word), lambda: 0)

    def _poll(self) -> None:
        while not self._stopped.wait(_POLL):
            found = self._shared.call(lambda redis: (redis.hgetall(_OPEN), redis.hgetall(_WORDS)), lambda: None)
            if found is not None:
                self._learn(*(dict(one) for one in found))

    def _learn(self, opened: dict[Any, Any], words: dict[Any, Any]) -> None:
        """Take over what other processes found out. What they closed is closed here too."""
        with self._lock:
            for breaker in {*opened, *words, *self._states}:
                state = self._states.setdefault(breaker, _State())
                state.word = words.get(breaker)
                if breaker in opened:
                    there = json.loads(opened[breaker])
                    state.open_until = max(state.open_until, float(there["until"]))
                    state.failures = max(state.failures, int(there["failures"]))
                elif state.failures >= self._threshold and self._now() > (state.last_failed_at or 0) + 3 * _POLL:
                    state.failures = state.opened = 0
