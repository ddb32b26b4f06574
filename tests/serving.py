"""The app as a process of its own, over a folder of its own: for tests that kill it, restart it, or look at it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import yaml
from sqlalchemy import select
from sqlalchemy.orm import Session

from chatcore import agents
from chatcore.accounts import Accounts, Console
from chatcore.accounts.principal import Role
from chatcore.config import PROJECT_ROOT, Settings, load_settings
from chatcore.db import Database, upgrade
from chatcore.db.tables import Message, UsageMetric

T = TypeVar("T")

PASSWORD: Final = "correct horse battery"
KEY: Final = "sk-hostile-0123456789abcdef"
PRICES: Final = {"input_cost_per_token": 0.0000015, "output_cost_per_token": 0.000006}  # USD


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running app. `workers`: its child processes as they were when it was ready."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path
    workers: tuple[int, ...] = ()

    def kill(self) -> float:
        """`kill -9` the app's own process; `time.time()` just before."""
        at = time.time()
        self.process.kill()
        self.process.wait(10)
        return at

    def terminate(self, timeout: float = 40.0) -> tuple[int, float]:
        """SIGTERM; the exit code, and the seconds until it had ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        return code, time.monotonic() - began


class Site:
    """Data and configuration below `folder`, for one server after another, with people made without a server."""

    def __init__(
        self,
        folder: Path,
        provider_url: str | None = None,
        models: dict[str, str] | None = None,
        *,
        seeing: Collection[str] = (),
        router: Mapping[str, Any] | None = None,
        **own: Any,
    ) -> None:
        """`models`: model name → behaviour of the hostile provider, `seeing`: those of them that take pictures.

        `router`: the config file's section `router_settings`, `own`: its section `chatcore`.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        entries = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{behaviour}", "api_base": provider_url, "api_key": KEY},
                "model_info": {"max_input_tokens": 100_000, "supports_vision": name in seeing, **PRICES},
            }
            for name, behaviour in (models or {}).items()
        ]
        own = {"rate_limits": False, "ollama": False, **own}
        (folder / "config.yaml").write_text(
            yaml.safe_dump({"model_list": entries, "router_settings": dict(router or {}), "chatcore": own})
        )
        unwanted = ("CHATCORE_", "STREAMLIT_")
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(unwanted) and not name.lower().endswith("_proxy")
        }
        self.environment |= {
            "CHATCORE_DATA_DIR": str(folder / "data"),
            "CHATCORE_CONFIG": str(folder / "config.yaml"),
            "CHATCORE_DRAIN_SECONDS": "1",
        }
        self._database: Database | None = None

    @property
    def settings(self) -> Settings:
        return load_settings(self.environment, root=self.folder)

    @property
    def database(self) -> Database:
        """The server's database, migrated: tests read it, and write people into it."""
        if self._database is None:
            self._database = Database(self.settings.database_url)
            upgrade(self._database)
        return self._database

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.database, self.settings, agents.seed)

    def person(self, username: str, role: Role = "member", name: str | None = None) -> str:
        """Make a person with `PASSWORD`; the value of a session cookie of theirs."""
        console = Console(self.database, agents.seed)
        console.prepare()
        console.add_user(username, PASSWORD, name=name or username.title(), role=role, tenant=None, tier="free")
        return self.accounts.new_session_token(username)

    def read(self, work: Callable[[Session], T]) -> T:
        return self.database.read(work)

    def reply(self, question: str) -> Message | None:
        """The newest reply to the question that holds this text."""

        def work(session: Session) -> Message | None:
            asked = session.scalar(select(Message).where(Message.role == "user", Message.content.contains(question)))
            if asked is None:
                return None
            newest = select(Message).where(Message.parent_id == asked.id).order_by(Message.id.desc()).limit(1)
            return session.scalar(newest)

        return self.read(work)

    def reply_below(self, message_id: str) -> Message | None:
        """The newest message that goes on from this one."""
        newest = select(Message).where(Message.parent_id == message_id).order_by(Message.id.desc()).limit(1)
        return self.read(lambda session: session.scalar(newest))

    def ledger(self, message_id: str) -> list[UsageMetric]:
        """The ledger rows of a reply."""
        return self.read(lambda s: list(s.scalars(select(UsageMetric).where(UsageMetric.message_id == message_id))))

    def command(self, port: int, *flags: str) -> list[str]:
        """`streamlit run app.py` on this port of loopback."""
        start = [sys.executable, "-m", "streamlit", "run", "app.py"]
        return [*start, "--server.port", str(port), "--server.address", "127.0.0.1", *flags]

    def start(self, *flags: str, port: int = 0, base: str = "", **environment: str) -> Server:
        """Start the app and wait until `/api/ready` says so. The caller ends it."""
        port = port or free_port()
        log = self.folder / f"app-{port}.log"
        with log.open("a") as output:
            process = subprocess.Popen(
                self.command(port, *flags),
                cwd=PROJECT_ROOT,
                env=self.environment | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(f"http://127.0.0.1:{port}{base}", port, process, log)
        _wait_until_ready(server)
        server.workers = tuple(children(process.pid))
        return server

    @contextmanager
    def running(self, *flags: str, port: int = 0, base: str = "", **environment: str) -> Iterator[Server]:
        """`start` for the length of a block."""
        server = self.start(*flags, port=port, base=base, **environment)
        try:
            yield server
        finally:
            end(server)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()


def end(server: Server) -> None:
    """End a server that may have ended already."""
    if server.process.poll() is None:
        server.process.terminate()
        try:
            server.process.wait(20)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait(10)


def children(pid: int) -> list[int]:
    """The processes that this process started and that still run."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            continue
    return found


def is_running(pid: int) -> bool:
    """Whether a process lives. One that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + 60
    with httpx.Client(timeout=2, trust_env=False) as client:
        while True:
            try:
                if client.get(f"{server.url}/api/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if server.process.poll() is not None or time.monotonic() > deadline:
                end(server)
                raise RuntimeError(f"the app did not become ready: {server.log.read_text()[-3000:]}")
            time.sleep(0.05)
