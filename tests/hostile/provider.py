"""The provider as a context manager: a thread with its own loop."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.hostile.server import Call, Log, serve


class HostileProvider:
    """A hostile provider while the `with` block lasts.

    `url`: base URL for an OpenAI client, ends in `/v1`. `log`: the provider's own account, one `Call` for each call,
    in the order they came in.
    """

    def __init__(self, port: int = 0) -> None:
        """`port`: 0 for any free one. The same port twice makes a provider that went away and came back."""
        self.port = port
        self._changed = threading.Condition()
        self._log = Log(self._tell)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def log(self) -> list[Call]:
        return self._log.calls

    def wait_until(self, condition: Callable[[list[Call]], object], timeout: float = 5.0) -> None:
        """Wait until the log is as the test wants it. Raises `TimeoutError` with the log as it is."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self.log), timeout):
                raise TimeoutError(f"not within {timeout} s; the log holds {self.log}")

    def __enter__(self) -> Self:
        started = threading.Event()

        def tell(port: int) -> None:
            self.port = port
            started.set()

        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await serve(self._log, self.port, tell, self._stop)

        self._thread = threading.Thread(target=asyncio.run, args=(main(),), name="hostile-provider", daemon=True)
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError("the hostile provider did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop
        assert self._stop
        assert self._thread
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _tell(self, call: Call) -> None:
        with self._changed:
            self._changed.notify_all()
