"""Where rate limits are counted: windows in this process, and in Redis for all processes together.

Storages of the library `limits`, with the answers that it has not: how long until `count` requests fit, to the second.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limits.storage import MemoryStorage, RedisStorage

from chatcore.flags import LimitRule
from chatcore.shared import PREFIX

if TYPE_CHECKING:
    from redis import Redis

_SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86_400}
_SWEEP_EVERY: Final = 60.0  # seconds between two looks for windows of people who are gone


@dataclass(frozen=True)
class Window:
    """A rule and where it is counted. The key is without the amount: what was used stays used when that changes."""

    rule: LimitRule
    key: str

    @property
    def seconds(self) -> int:
        return _SECONDS[self.rule.per]

    def needs(self, count: int) -> int:
        """How much must be left for `count` requests to as many models: tokens are known only after the call."""
        return count if self.rule.of == "requests" and self.rule.scope != "model" else 1


class OwnWindows(MemoryStorage):
    """The windows of this process. Its methods are called under one lock."""

    def __init__(self) -> None:
        super().__init__()
        self.timer.cancel()
        self._swept = time.time()

    def _MemoryStorage__schedule_expiry(self) -> None:
        """The library starts a thread here, at every hit, that walks over all windows and keeps the empty ones.

        Instead they are swept once a minute, in the caller's thread.
        """
        now = time.time()
        if abs(now - self._swept) < _SWEEP_EVERY:
            return
        self._swept = now
        for key, entries in list(self.events.items()):
            while entries and entries[-1].expiry < now:
                entries.pop()
            if not entries:
                self.clear(key)
        for key in [key for key, ends in self.expirations.items() if ends <= now]:
            self.clear(key)

    def waits(self, windows: Sequence[Window], count: int) -> list[int]:
        """Whole seconds until each has room for `count` requests, 0 where it has now."""
        now = time.time()
        return [self._wait(window, count, now) for window in windows]

    def take(self, windows: Sequence[Window], count: int) -> None:
        """Count `count` requests in each window that counts requests."""
        for window in windows:
            if window.rule.of == "requests":
                self.acquire_entry(window.key, window.rule.amount, window.seconds, window.needs(count))

    def charge(self, windows: Sequence[Window], tokens: int) -> None:
        """Count tokens in each window."""
        for window in windows:
            self.incr(window.key, window.seconds, tokens)

    def _wait(self, window: Window, count: int, now: float) -> int:
        amount = window.rule.amount
        if window.rule.of == "tokens":
            return 0 if self.get(window.key) < amount else max(1, math.ceil(self.expirations[window.key] - now))
        entries = self.events.get(window.key, ())
        index = amount - window.needs(count)
        return _until_gone(entries[index].atime, window, now) if index < len(entries) else 0


class RedisWindows(RedisStorage):
    """The windows of all processes, as the library lays them out. Every method raises what Redis does."""

    def __init__(self, redis: "Redis") -> None:
        """Over the client's connections and their timeouts."""
        super().__init__("redis://", connection_pool=redis.connection_pool, key_prefix=f"{PREFIX}limits")
        self._all_or_none = redis.register_script(_ALL_OR_NONE)

    def waits(self, windows: Sequence[Window], count: int, *, take: bool = False) -> list[int]:
        """As `OwnWindows.waits`; when there are none and `take` is set, the requests are counted as well.

        One round trip, in which no other process comes between: what is refused has counted nowhere.
        """
        now = time.time()
        facts = [fact for one in windows for fact in (one.rule.of, one.rule.amount, one.seconds, one.needs(count))]
        keys = [self.prefixed_key(window.key) for window in windows]
        found = self._all_or_none(keys, [now, int(take), *facts])
        return [_wait_by_redis(window, answer, now) for window, answer in zip(windows, found, strict=True)]

    def charge(self, windows: Sequence[Window], tokens: int) -> None:
        """Count tokens in each window."""
        for window in windows:
            self.incr(window.key, window.seconds, tokens)


# The library's own script for a request knows one window only, and takes before the next is looked at.
_ALL_OR_NONE: Final = """
local now, take, found = tonumber(ARGV[1]), ARGV[2] == '1', {}
for i, key in ipairs(KEYS) do
    local of, amount, seconds = ARGV[4 * i - 1], tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
    local needs = tonumber(ARGV[4 * i + 2])
    found[i] = ''
    if of == 'tokens' then
        if tonumber(redis.call('get', key) or 0) >= amount then
            found[i] = tostring(redis.call('pttl', key))
        end
    else
        local entry = redis.call('lindex', key, amount - needs)
        if entry and tonumber(entry) >= now - seconds then
            found[i] = entry
        end
    end
    take = take and found[i] == ''
end
for i, key in ipairs(KEYS) do
    if take and ARGV[4 * i - 1] == 'requests' then
        for _ = 1, tonumber(ARGV[4 * i + 2]) do
            redis.call('lpush', key, ARGV[1])
        end
        redis.call('ltrim', key, 0, ARGV[4 * i] - 1)
        redis.call('expire', key, ARGV[4 * i + 1])
    end
end
return found
"""


def _wait_by_redis(window: Window, answer: str, now: float) -> int:
    """`answer`: empty where there is room, else when the entry in the way was counted, or the milliseconds left."""
    if not answer:
        return 0
    if window.rule.of == "tokens":
        return max(int(answer), 0) // 1000 + 1
    return _until_gone(float(answer), window, now)


def _until_gone(counted_at: float, window: Window, now: float) -> int:
    """Whole seconds until an entry no longer counts: it still does when it is exactly as old as the window is long."""
    left = counted_at + window.seconds - now
    return 0 if left < 0 else math.floor(left) + 1
