"""What the processes of an instance share beside the database: a Redis, where one is configured and answers.

Everything that uses it has an own way without it. A Redis that stops is left in peace for a second at a time, so that
nobody waits for it, and is used again as soon as it answers.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from chatcore.errors import ConfigError

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")
log = logging.getLogger(__name__)

PREFIX: Final = "chatcore:"
"""Before every key of ours."""
TIMEOUT: Final = 0.25  # seconds for one answer
_LEFT_IN_PEACE: Final = 1.0  # seconds after a failure in which it is not asked


class Shared:
    """Redis behind one verb, `call`. Safe to use from any thread; blocks for a quarter of a second at most."""

    def __init__(self, url: str | None) -> None:
        """`url`: `redis://…`, None where none is configured. Connects at the first call.

        Raises `ConfigError` for what is no address of a Redis.
        """
        if url is not None and not _is_address(url):
            raise ConfigError("CHATCORE_REDIS_URL is not an address such as redis://127.0.0.1:6379/0.")
        self._url = url
        self._redis: Redis | None = None
        self._lock = threading.Lock()
        self._down_until = 0.0
        self._down = False

    @property
    def is_configured(self) -> bool:
        """Whether there is one to use."""
        return self._url is not None

    def call(self, work: "Callable[[Redis], T]", otherwise: Callable[[], T]) -> T:
        """What `work` makes of the Redis; what `otherwise` returns where there is none, or none that answers."""
        if self._url is None or time.monotonic() < self._down_until:
            return otherwise()
        from redis import RedisError

        try:
            found = work(self._client())
        except (RedisError, OSError) as error:
            self._failed(error)
            return otherwise()
        if self._down:
            self._down = False
            log.warning("Redis answers again")
        return found

    def _client(self) -> "Redis":
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        with self._lock:
            if self._redis is None:
                assert self._url is not None
                self._redis = Redis.from_url(
                    self._url,
                    decode_responses=True,
                    socket_timeout=TIMEOUT,
                    socket_connect_timeout=TIMEOUT,
                    retry=Retry(NoBackoff(), 0),
                )
            return self._redis

    def _failed(self, error: Exception) -> None:
        self._down_until = time.monotonic() + _LEFT_IN_PEACE
        if not self._down:
            self._down = True
            log.warning("Redis does not answer, going on without it", extra={"error": type(error).__name__})

    def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            self._redis.close()


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("redis", "rediss", "unix") and (parts.port or 1) > 0
    except ValueError:  # a port that is no number
        return False
