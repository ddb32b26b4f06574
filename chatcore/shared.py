"""What the processes of an instance share beside the database: a Redis, where one is configured and answers.

Everything that uses it has an own way without it. A Redis that stops is left in peace for a second at a time, so that
nobody waits for it, and is used again as soon as it answers.
"""

import logging
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

        Raises `ConfigError` for what is no address of a Redis, or has an option that the client does not know.
        """
        self._redis: Redis | None = None if url is None else _client(url)
        self._down_until = 0.0
        self._down = False
        self._strange: set[str] = set()

    @property
    def is_configured(self) -> bool:
        """Whether there is one to use."""
        return self._redis is not None

    def call(self, work: "Callable[[Redis], T]", otherwise: Callable[[], T]) -> T:
        """What `work` makes of the Redis; what `otherwise` returns where there is none, or none that answers.

        Whatever `work` raises is no answer: what lies in a Redis may be anything, and nobody is to suffer for it.
        """
        if self._redis is None or time.monotonic() < self._down_until:
            return otherwise()
        from redis import RedisError

        try:
            found = work(self._redis)
        except (RedisError, OSError) as error:
            self._failed(error)
            return otherwise()
        except Exception as error:  # noqa: BLE001 - not UTF-8, not a number, nested without end: see above
            self._made_no_sense(error)
            return otherwise()
        if self._down:
            self._down = False
            log.warning("Redis answers again")
        return found

    def _failed(self, error: Exception) -> None:
        self._down_until = time.monotonic() + _LEFT_IN_PEACE
        if not self._down:
            self._down = True
            log.warning("Redis does not answer, going on without it", extra={"error": type(error).__name__})

    def _made_no_sense(self, error: Exception) -> None:
        """Redis itself is well, so that it is not left in peace."""
        kind = type(error).__name__
        if kind not in self._strange:
            self._strange.add(kind)
            log.warning("what Redis holds makes no sense, going on without it", extra={"error": kind})

    def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            self._redis.close()


def _client(url: str) -> "Redis":
    """The client of an address, not connected. Raises `ConfigError`."""
    if not _is_address(url):
        raise ConfigError("CHATCORE_REDIS_URL is not an address such as redis://127.0.0.1:6379/0.")
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        client = Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        # Some options are only looked at when a connection is made, which is not yet to connect.
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except Exception as error:
        raise ConfigError(
            "CHATCORE_REDIS_URL has an option that is wrong or unknown; an address such as redis://127.0.0.1:6379/0 "
            "is enough."
        ) from error
    return client


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("redis", "rediss", "unix") and (parts.port or 1) > 0
    except ValueError:  # a port that is no number
        return False
