"""Ways out of the sandbox, each of which must fail; run inside it before anything else is.

It is given `told.json`, and prints one line of JSON: the word it was told, and the names of the ways that were open.
"""

import ctypes
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

told = json.loads(Path("told.json").read_text())
libc = ctypes.CDLL(None, use_errno=True)
through: list[str] = []


def attempt(name: str, way: Callable[[], Any]) -> None:
    """Note the way as open where it does not raise OSError."""
    try:
        way()
    except OSError:
        return
    through.append(name)


def call(name: str, *arguments: Any) -> None:
    """A function of the C library. Raises OSError where it fails."""
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def child() -> None:
    """A new process; the child ends at once."""
    if os.fork() == 0:
        os._exit(0)


def write(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


def fill(size: int) -> None:
    """Write as many bytes into the folder, in files that are small enough."""
    for number in range(0, size, 2**18):
        with open(f"fill-{number}", "wb") as file:
            file.write(bytes(2**18))


def many(number: int) -> None:
    for one in range(number):
        open(f"file-{one}", "wb").close()


def empty() -> None:
    for name in os.listdir("."):
        os.unlink(name)


def threads(number: int) -> None:
    """As many threads at once. Raises OSError where the kernel refuses one."""
    end = threading.Event()
    running = []
    try:
        for _ in range(number):
            running.append(threading.Thread(target=end.wait))
            running[-1].start()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    finally:
        end.set()
        for thread in running:
            if thread.ident is not None:
                thread.join()


def memory(size: int) -> None:
    try:
        bytearray(size)
    except MemoryError as error:
        raise OSError("memory") from error


for path in told["files"]:
    attempt(f"sees {path}", lambda path=path: os.lstat(path))  # type: ignore[misc]
for path in ("/x", "/inside.py", os.__file__.replace("<frozen os>", "/x"), "/packages/x", "/python/x"):
    attempt(f"writes {path}", lambda path=path: write(path))  # type: ignore[misc]
attempt("network", lambda: socket.create_connection(("127.0.0.1", told["port"]), 1))
attempt("unix sockets", lambda: socket.socket(socket.AF_UNIX))
attempt("processes", child)
attempt("other programs", lambda: os.execv("/python/bin/python3", ["python3"]))  # noqa: S606
attempt("namespaces", lambda: call("unshare", 0x10000000))
attempt("mounts", lambda: call("mount", b"x", b"/folder", b"tmpfs", 0, None))
attempt("tracing", lambda: call("ptrace", 0, 0, 0, 0))
attempt("becoming root", lambda: os.setuid(0))
attempt("memory", lambda: memory(told["memory"]))
attempt("a large folder", lambda: fill(2 * told["folder"]))
empty()
attempt("many files", lambda: many(2 * told["folder_files"]))
empty()
attempt("many threads", lambda: threads(2 * told["threads"]))
if set(os.environ) - set(told["environment"]):
    through.append("the environment")
print(json.dumps({"word": told["word"], "through": through}))  # noqa: T201
