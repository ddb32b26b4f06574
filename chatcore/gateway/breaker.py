"""The circuit breaker: a deployment that fails too often in a row is left in peace for a while.

Counted for each deployment and key, so that a person's own bad key opens nothing for others. It opens after
`chatcore.breaker_failures` failures in a row (5), for `chatcore.breaker_seconds` (30) or as long as the provider asked
for, and twice as long each time it fails again, up to five minutes. After that one call of each process is let through
to try it: its success closes the breaker. Where Redis is configured the processes of an instance count together; an
operator's own word stands until it is taken back. Own keys come and go, so what is known of one is forgotten after an
hour in which nobody used it.

What processes tell each other carries the time at which it came about, and the latest holds: so a Redis that comes back
empty, or was away while something happened, is told anew.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from chatcore.gateway.breaker_state import NOBODYS, State, Word, is_own, is_past, take_out_past, told, word_in
from chatcore.shared import PREFIX, Shared

log = logging.getLogger(__name__)

# What says that a deployment does not work. A request that is wrong itself says nothing about whom it was sent to.
COUNTED: Final = frozenset({"provider_down", "timeout", "rate_limited", "truncated", "bad_key", "model_unavailable"})
_LONGEST: Final = 300.0  # seconds
_TRIAL: Final = 120.0  # seconds after which a trial call that told nothing is forgotten
_CLAIM: Final = 3.0  # seconds in which a claimed trial has to begin: a question may be refused before it does
_MOST: Final = 3600.0  # seconds, whatever a provider asks for
_TIDY: Final = 60.0  # seconds between two looks for what is to be forgotten
_POLL: Final = 0.5  # seconds between two looks at what other processes know
_OPEN: Final = f"{PREFIX}breakers"  # id → until when it is open, by the clock; no failures for one that was closed
_FAILS: Final = f"{PREFIX}breaker-failures"  # id → failures in a row
_FAILED: Final = f"{PREFIX}breaker-failed-at"  # id → when the last of these was; own keys only
_WORDS: Final = f"{PREFIX}breaker-words"  # id → an operator's word
_HASHES: Final = (_OPEN, _WORDS, _FAILS, _FAILED)


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
    """Every breaker of this process. Safe to use from any thread; nothing here waits for Redis.

    The breaker '' is nobody's: it lets everything through, and what is told of it is not kept.
    """

    def __init__(
        self, shared: Shared, failures: int = 5, seconds: float = 30.0, *, now: Callable[[], float] = time.time
    ) -> None:
        self._shared = shared
        self._threshold = failures
        self._seconds = seconds
        self._now = now
        self._states: dict[str, State] = {}
        self._tidied_at = 0.0
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
        if breaker == NOBODYS:
            return
        with self._lock:
            self._tidy()
            state = self._states.setdefault(breaker, State())
            state.calls, state.called_at = state.calls + 1, self._now()
            if state.failures >= self._threshold:
                state.trial_until = self._now() + _TRIAL

    def succeeded(self, breaker: str) -> None:
        """A call was answered."""
        if breaker == NOBODYS:
            return
        with self._lock:
            state = self._states.setdefault(breaker, State())
            if was_bad := state.failures > 0 or state.elsewhere > 0:
                state.forget(self._later(state.changed_at))
            state.last_ok_at = self._now()
        if was_bad:
            self._tell(breaker, self._share_success)

    def failed(self, breaker: str, code: str, retry_after: float | None = None) -> None:
        """A call failed with an error of that code. What does not count only ends a trial."""
        if code not in COUNTED or breaker == NOBODYS:
            return self.released(breaker)
        with self._lock:
            state = self._states.setdefault(breaker, State())
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
        if breaker == NOBODYS:
            return
        with self._lock:
            state = self._states.setdefault(breaker, State())
            state.forget(self._later(state.changed_at))
            state.word, state.word_at = word, self._later(state.word_at)
        self._tell(breaker, self._share_success)

    def health(self, breaker: str) -> Health:
        """What is known of one."""
        deployment, _, key = breaker.rpartition("@")
        with self._lock:
            state = self._states.get(breaker, State())
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

    def _wait(self, state: State | None) -> float:
        if state is not None and state.word == "open":
            return self._seconds
        if state is None or state.word == "closed" or state.failures < self._threshold:
            return 0.0
        return max(state.open_until - self._now(), state.trial_until - self._now(), 0.0)

    def _later(self, at: float) -> float:
        """Now, and after `at` even where another host's clock is ahead."""
        return max(self._now(), at + 0.001)

    def _open(self, breaker: str, state: State, retry_after: float | None) -> None:
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

    def _tidy(self) -> None:
        """Forget own keys that nobody used for an hour, now and then."""
        now = self._now()
        if now - self._tidied_at < _TIDY:
            return
        self._tidied_at = now
        for breaker in [one for one, state in self._states.items() if is_past(one, state.used_at, state.word, now)]:
            del self._states[breaker]

    # ---- other processes

    def _tell(self, breaker: str, share: Callable[[str], None]) -> None:
        if self._teller is not None:
            with suppress(RuntimeError):  # a call that ends after `close`
                self._teller.submit(share, breaker)

    def _share_failure(self, breaker: str) -> None:
        def count(redis: Any) -> int:
            if is_own(breaker):
                redis.hset(_FAILED, breaker, self._now())
            return int(redis.hincrby(_FAILS, breaker, 1))

        total = self._shared.call(count, lambda: 0)
        with self._lock:
            state = self._states.setdefault(breaker, State())
            if total >= self._threshold > state.failures:
                state.failures = total
                self._open(breaker, state, None)
            if state.failures < self._threshold:
                return
        self._put(breaker)

    def _share_success(self, breaker: str) -> None:
        self._shared.call(lambda redis: [redis.hdel(name, breaker) for name in (_FAILS, _FAILED)], list)
        self._put(breaker)

    def _put(self, breaker: str) -> None:
        """Tell what is known here of one, with the time since when."""
        with self._lock:
            state = self._states.get(breaker)
            known, word = (state.known(), state.said()) if state else ("", "")
        if known:
            self._shared.call(lambda redis: redis.hset(_OPEN, breaker, known), lambda: 0)
        if word:
            self._shared.call(lambda redis: redis.hset(_WORDS, breaker, word), lambda: 0)

    def _poll(self) -> None:
        while not self._stopped.wait(_POLL):
            found = self._shared.call(lambda redis: [redis.hgetall(name) for name in _HASHES], lambda: None)
            if not found:
                continue
            opened, words, fails, failed = (dict(one) for one in found)
            if past := take_out_past(opened, words, fails, failed, now=self._now()):
                self._remove(past)
            for newer in self._learn(opened, words, fails):
                self._put(newer)

    def _remove(self, breakers: Sequence[str]) -> None:
        self._shared.call(lambda redis: [redis.hdel(name, *breakers) for name in _HASHES], list)

    def _learn(self, opened: dict[Any, Any], words: dict[Any, Any], fails: dict[Any, Any]) -> list[str]:
        """Take over what came about elsewhere since. The breakers of which more is known here."""
        newer = []
        with self._lock:
            self._tidy()
            for breaker in {*opened, *words, *fails, *self._states}:
                state = self._states.setdefault(breaker, State())
                state.elsewhere = int(fails.get(breaker) or 0)
                there, said = told(opened.get(breaker)), told(words.get(breaker))
                if there["at"] > state.changed_at:
                    self._take_over(state, there)
                if said["at"] > state.word_at:
                    state.word, state.word_at = word_in(said), said["at"]
                is_newer = there["at"] < state.changed_at or said["at"] < state.word_at
                if is_newer and not is_past(breaker, state.told_at, state.word, self._now()):
                    newer.append(breaker)
        return newer

    def _take_over(self, state: State, there: dict[str, Any]) -> None:
        if there["failures"] < self._threshold:
            state.forget(there["at"])
            return
        state.open_until = max(state.open_until, min(there["until"], self._now() + _MOST))
        state.failures = max(state.failures, int(there["failures"]))
        state.opened = max(state.opened, int(there["opened"]))
        state.changed_at = there["at"]
