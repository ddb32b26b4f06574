"""Which process runs a turn, and whether that process still lives."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process: its host, its pid, and when it started, as pids come back."""

    host: str
    pid: int
    started: str

    @classmethod
    def this(cls) -> "Owner":
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()))

    def is_dead(self) -> bool:
        """True when it surely has gone; only its own host can tell."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return _started(self.pid) != self.started


def _started(pid: int) -> str:
    """The process's start time in clock ticks since boot; empty where the system does not say (then pids decide)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""
