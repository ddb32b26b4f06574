"""The command that shuts a program in: bubblewrap with its namespaces, and what the first file inside is told."""

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chatcore.tools.sandbox.runtime import Runtime, find_runtime
from chatcore.tools.sandbox.syscalls import seccomp_filter
from chatcore.tools.sandbox.values import Limits, NoSandbox

FOLDER: Final = "/folder"
_INSIDE: Final = Path(__file__).with_name("inside.py")
_NICE: Final = 10
_NOBODIES: Final = range(65_000, 65_500)  # of no account: Debian's policy keeps these free
ENVIRONMENT: Final = {
    "LD_LIBRARY_PATH": "/python/libs",
    "HOME": FOLDER,
    "TMPDIR": FOLDER,
    "MPLCONFIGDIR": f"{FOLDER}/.matplotlib",
    "MPLBACKEND": "agg",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    # One thread computes: more would count against the limit of threads, and take other people's cores.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Cell:
    """A way to shut programs in on this machine."""

    bubblewrap: str
    runtime: Runtime
    rules: bytes

    def command(self, limits: Limits, results: int) -> list[str]:
        """The command of one program. `results`: the descriptor that it sends its results to."""
        as_root = os.geteuid() == 0
        uid = _NOBODIES[secrets.randbelow(len(_NOBODIES))] if as_root else 0
        # Root needs no namespace of users: the first file inside becomes nobody instead, which also makes the limit
        # of threads count. Anybody else gets the rights for the namespaces by one of their own.
        identity = (
            ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
            if as_root
            else ["--unshare-user", "--uid", "1000", "--gid", "1000"]
        )
        return [
            self.bubblewrap,
            *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
            *("--die-with-parent", "--hostname", "sandbox", "--clearenv"),
            *("--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", *identity),
            *self.runtime.binds,
            *("--ro-bind", str(_INSIDE), "/inside.py", "--dir", FOLDER, "--remount-ro", "/", "--chdir", "/"),
            *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)),
            *("--", self.runtime.python, "-I", "-S", "-B", "-X", "utf8", "/inside.py"),
            json.dumps(_lock(limits, results, uid, self.rules)),
        ]


def find_cell() -> Cell:
    """What this machine has to shut programs in; takes a second, and proves nothing yet. Raises `NoSandbox`."""
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        raise NoSandbox("The program bubblewrap (bwrap) is not installed on the server.")
    rules = seccomp_filter()
    if rules is None:
        raise NoSandbox("Code can be run on Linux with an x86_64 or aarch64 processor only.")
    return Cell(bubblewrap, find_runtime(), rules)


def _lock(limits: Limits, results: int, uid: int, rules: bytes) -> dict[str, object]:
    """`uid`: whom to become; 0 to stay who it is."""
    same = {
        "AS": limits.memory_bytes,
        "FSIZE": limits.file_bytes,
        "NPROC": limits.threads,
        "NOFILE": limits.descriptors,
        **dict.fromkeys(("CORE", "MEMLOCK", "MSGQUEUE", "SIGPENDING", "RTPRIO", "NICE"), 0),
    }
    rlimits = {name: (value, value) for name, value in same.items()}
    # First a signal by which it is told from other ends; a program that ignores it is killed a second later.
    rlimits["CPU"] = (limits.cpu_seconds, limits.cpu_seconds + 1)
    return {
        "folder": FOLDER,
        "results": results,
        "uid": uid,
        "filter": rules.hex(),
        "limits": {
            "folder_bytes": limits.folder_bytes,
            "folder_files": limits.folder_files,
            "nice": _NICE,
            "rlimits": rlimits,
        },
    }
