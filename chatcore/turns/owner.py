"""Which process runs a turn, and whether that process still lives."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process: its host, its pid, and when it started, as pids come back.

    `started` begins with the pid namespace: two containers may share a host's name and not see each other's pids.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def this(cls) -> "Owner":
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()))

    @property
    def is_near(self) -> bool:
        """Whether its pid means anything to this process."""
        return self.host == socket.gethostname() and self.started.split("/")[0] == _namespace()

    def is_dead(self) -> bool:
        """True when it surely has gone; only a process that is near can tell."""
        if not self.is_near:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return _started(self.pid) != self.started


def _started(pid: int) -> str:
    """Namespace and start time (clock ticks since boot); without the time where the system does not say."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        ticks = ""
    return f"{_namespace()}/{ticks}"


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""
