"""A redis-server of a test's own, to be stopped, hung and started again."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

from redis import Redis, RedisError

from tests.conftest import skip_or_fail
from tests.serving import free_port


class RedisServer:
    """Runs from the start on and keeps nothing. `process`: the one that runs, or ran last."""

    def __init__(self, folder: Path, database: int = 0) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self._port}/{database}"
        self.start()

    def start(self) -> None:
        """Start it, again on the same port, and wait until it answers."""
        program = shutil.which("redis-server")
        if program is None:
            skip_or_fail("redis-server is not installed")
        assert program
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self.process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline, "the redis-server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """`kill -9`; twice is once."""
        self.process.kill()
        self.process.wait(10)

    def hang(self) -> None:
        """Connections stay open, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> Redis:
        return Redis.from_url(self.url, decode_responses=True, socket_timeout=5)

    def _answers(self) -> bool:
        with Redis.from_url(self.url, socket_timeout=1) as redis:
            try:
                return bool(redis.ping())
            except RedisError:
                return False
