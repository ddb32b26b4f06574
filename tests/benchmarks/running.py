"""What the benchmarks share: the app and the hostile provider as processes of their own, and what they cost."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout: float = 5.0) -> bytes:
    """The body at a URL, past any proxy. Raises `OSError`."""
    with _direct.open(url, timeout=timeout) as response:
        return bytes(response.read())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Meter:
    """CPU and memory of a process and, apart from it, its children; read from /proc."""

    pid: int
    began: float = field(default_factory=time.monotonic)
    own_rss: int = 0
    children_rss: int = 0

    def __post_init__(self) -> None:
        self._own, self._children = self._seconds()
        self._ended: tuple[float, float, float] | None = None

    def sample(self) -> None:
        """Keep the largest memory seen, in bytes."""
        self.own_rss = max(self.own_rss, _rss(self.pid))
        self.children_rss = max(self.children_rss, sum(map(_rss, _children(self.pid))))

    def stop(self) -> None:
        """Count no further."""
        self.sample()
        self._ended = (*self._seconds(), time.monotonic())

    def cpu(self) -> tuple[float, float]:
        """CPU from the start to the stop as a share of one core: the process, its children."""
        own, children, now = self._ended or (*self._seconds(), time.monotonic())
        wall = now - self.began
        return (own - self._own) / wall, (children - self._children) / wall

    def _seconds(self) -> tuple[float, float]:
        return _cpu_seconds(self.pid), sum(map(_cpu_seconds, _children(self.pid)))


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 50


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss(pid: int) -> int:
    return int(_stat(pid)[21]) * os.sysconf("SC_PAGE_SIZE")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            continue
    return found + [grandchild for child in found for grandchild in _children(child)]


@contextmanager
def hostile() -> Iterator[str]:
    """A hostile provider in a process of its own; its base URL, which ends in /v1."""
    command = [sys.executable, "-m", "tests.hostile"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def calls(url: str) -> list[dict[str, Any]]:
    """The hostile provider's log."""
    return list(json.loads(get(url.removesuffix("/v1") + "/log")))


@dataclass
class App:
    """A running app. `started`: `time.time()` when its process was made."""

    url: str
    pid: int
    log: Path
    folder: Path
    started: float


class Place:
    """A folder with data and configuration of its own, for an app and its command line."""

    def __init__(self, folder: Path, models: dict[str, str], provider: str, **settings: Any) -> None:
        """`models`: model name → behaviour of the hostile provider at `provider`."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        entries = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{behaviour}", "api_base": provider, "api_key": "sk-bench"},
                "model_info": {
                    "input_cost_per_token": 1e-6,
                    "output_cost_per_token": 2e-6,
                    "max_input_tokens": 100_000,
                },
            }
            for name, behaviour in models.items()
        ]
        own = {"rate_limits": False, "ollama": False, "default_model": next(iter(models))} | settings
        (folder / "config.yaml").write_text(yaml.safe_dump({"model_list": entries, "chatcore": own}))
        names = [
            name for name in os.environ if not name.startswith("CHATCORE_") and not name.lower().endswith("_proxy")
        ]
        self.environment = {name: os.environ[name] for name in names} | {
            "CHATCORE_DATA_DIR": str(folder / "data"),
            "CHATCORE_CONFIG": str(folder / "config.yaml"),
        }

    def chatcore(self, *arguments: str, stdin: str = "") -> str:
        """Run `python -m chatcore …`; the last line of its output."""
        command = [sys.executable, "-m", "chatcore", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, input=stdin, capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
        lines = done.stdout.strip().splitlines()
        return lines[-1] if lines else ""

    def people(self, count: int) -> list[str]:
        """Make so many people; a session cookie's value for each."""

        def one(number: int) -> str:
            name = f"load{number:03d}"
            self.chatcore("users", "add", name, stdin=f"a long pass phrase {number}\n")
            return self.chatcore("users", "session", name)

        first = one(0)
        with ThreadPoolExecutor(2) as pool:
            return [first, *pool.map(one, range(1, count))]

    @contextmanager
    def app(self, timeout: float = 60.0, script: str = "app.py", module: str = "streamlit") -> Iterator[App]:
        """`streamlit run app.py` until the block ends; entered once the first page is served."""
        port = free_port()
        command = [sys.executable, "-m", module, "run", script, "--server.port", str(port)]
        command += ["--server.address", "127.0.0.1", "--server.headless", "true"]
        log = self.folder / "app.log"
        started = time.time()
        with (
            log.open("w") as output,
            subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            ) as process,
        ):
            url = f"http://127.0.0.1:{port}"
            try:
                wait_for(url, process, log, timeout)
                yield App(url, process.pid, log, self.folder, started)
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path, timeout: float) -> None:
    """Wait until a URL answers. Raises `RuntimeError` with the log's end when the process dies or the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            get(url)
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{url} does not answer: {log.read_text()[-2000:]}") from None
            time.sleep(0.02)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as aligned text; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
