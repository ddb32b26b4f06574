"""What runs inside the sandbox: it locks itself in for good, runs one program, and sends back what came of it.

It is run as a file by the bare interpreter, knows nothing of Chatcore, and is all of it that a program can see. Up to
`_lock` it is trusted; behind that the program may do with this process what it likes, so whoever reads what is sent
from here believes none of it.

Argument: one JSON object (`confine._lock`). Standard input: a line of JSON (`code`, `files` with `name` and `size`),
then the files' bytes. The descriptor `results`: lines of JSON (`kind`, `size`), each file's bytes behind its line.
"""

import ast
import ctypes
import json
import linecache
import os
import resource
import stat
import sys
import threading
import traceback
import types
from io import BytesIO
from typing import Any

NAME = "program.py"
ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".csv", ".txt", ".md", ".json")
PICTURES = ENDINGS[:5]
MOST_ROWS, MOST_COLUMNS, MOST_CELL, MOST_TABLES, MOST_FILES = 200, 30, 300, 5, 10
MOST_TEXT = 4_000  # characters of a table
MOST_BYTES = 10 * 2**20  # of files
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 22, 38, 47
_CAPABILITIES = 0x20080522  # the version of the structure


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _lock(lock: dict[str, Any]) -> None:
    """From here on: a small folder, limits, no privilege, and only the system calls of the filter. Raises OSError."""
    folder, limits = lock["folder"], lock["limits"]
    libc = ctypes.CDLL(None, use_errno=True)
    owner = f"uid={lock['uid']},gid={lock['uid']}" if lock["uid"] else f"uid={os.getuid()},gid={os.getgid()}"
    options = f"size={limits['folder_bytes']},nr_inodes={limits['folder_files']},mode=700,{owner}"
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _done(libc.mount(b"folder", folder.encode(), b"tmpfs", flags, options.encode()))
    os.setsid()  # signals to its own group stay with it
    os.nice(limits["nice"])
    if lock["uid"]:
        os.setgroups([])
        os.setresgid(lock["uid"], lock["uid"], lock["uid"])
        os.setresuid(lock["uid"], lock["uid"], lock["uid"])
    os.chdir(folder)
    _set(libc, _PR_CAP_AMBIENT, 4)  # clear all
    _done(libc.capset((ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()))
    for name, (soft, hard) in limits["rlimits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (soft, hard))
    _set(libc, _PR_SET_NO_NEW_PRIVS, 1)
    rules = bytes.fromhex(lock["filter"])
    program = _Program(len(rules) // 8, rules)
    _set(libc, _PR_SET_SECCOMP, 2, ctypes.addressof(program))  # 2: a filter


def _set(libc: ctypes.CDLL, option: int, value: int, address: int = 0) -> None:
    _done(libc.prctl(option, *(ctypes.c_ulong(one) for one in (value, address, 0, 0))))


def _done(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "the sandbox could not be locked")


class _Results:
    """Sends lines and files to whoever started the sandbox."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, kind: str, data: bytes = b"", **facts: Any) -> None:
        line = json.dumps({"kind": kind, "size": len(data), **facts}).encode() + b"\n"
        for rest in (memoryview(line), memoryview(data)):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


class _Shown:
    """What a program shows: `display(value)`, and the value of its last line."""

    def __init__(self, results: _Results) -> None:
        self._results = results
        self._tables = 0

    def display(self, *values: Any) -> None:
        """Show each: a DataFrame as a table, a picture as a picture, and anything else as text."""
        pandas = sys.modules.get("pandas")
        for value in values:
            if pandas is not None and isinstance(value, pandas.Series):
                value = value.to_frame()
            if pandas is not None and isinstance(value, pandas.DataFrame) and self._tables < MOST_TABLES:
                self._tables += 1
                plain = isinstance(value.index, pandas.RangeIndex)
                self._results.send("table", text=repr(value)[:MOST_TEXT], **_table(value, plain))
            elif hasattr(type(value), "_repr_png_"):
                self._results.send("file", value._repr_png_(), name="picture.png")
            elif value is not None:
                print(value if isinstance(value, str) else repr(value))  # noqa: T201 - the program's own output


def _table(frame: Any, plain: bool) -> dict[str, Any]:
    """The first rows and columns of a DataFrame. `plain`: its index only counts the rows."""
    first = frame.iloc[:MOST_ROWS, :MOST_COLUMNS]
    index = [] if plain else [str(name) if name is not None else "" for name in first.index.names]
    names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in first.columns]
    keys = [list(key) if isinstance(key, tuple) else [key] for key in first.index]
    cells = zip(*(first.iloc[:, number] for number in range(len(names))), strict=True) if names else [()] * len(keys)
    rows = [
        [_cell(one) for one in ([] if plain else key) + list(row)][:MOST_COLUMNS]
        for key, row in zip(keys, cells, strict=True)
    ]
    return {
        "columns": [name[:MOST_CELL] for name in index + names][:MOST_COLUMNS],
        "rows": rows,
        "of": list(frame.shape),
    }


def _cell(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of numpy's
        value = value.item()
    if value is None or value != value or str(value) == "NaT":
        return None
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if abs(value) < 1e300 else str(value)
    return str(value)[:MOST_CELL]


def _run(code: str, shown: _Shown) -> int:
    """Run the program as a script whose last line's value is shown. Returns its exit code."""
    module = types.ModuleType("__main__")
    vars(module).update(__file__=NAME, display=shown.display)
    sys.modules["__main__"] = module
    sys.argv = [NAME]
    linecache.cache[NAME] = (len(code), None, [line + "\n" for line in code.split("\n")], NAME)
    try:
        tree = ast.parse(code, NAME)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, NAME, "exec"), vars(module))  # noqa: S102 - what it is for
        if isinstance(last, ast.Expr):
            shown.display(eval(compile(ast.Expression(last.value), NAME, "eval"), vars(module)))  # noqa: S307 - see above
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)  # noqa: T201 - as Python does
        return 0 if end.code is None else end.code & 0xFF if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - whatever the program raises is what is told
        _explain(error)
        return 1
    return 0


def _explain(error: BaseException) -> None:
    """The traceback as Python prints it, from the program's own first line on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != NAME:
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def _send_made(results: _Results, given: set[str]) -> None:
    """The files that the program left in its folder, and its open figures where it left no picture."""
    made: list[str] = []
    left: list[str] = []
    with os.scandir(".") as entries:
        for entry in entries:
            if entry.name in given or entry.name.startswith("."):
                continue
            usable = entry.name.lower().endswith(ENDINGS) and entry.is_file(follow_symlinks=False)
            (made if usable else left).append(entry.name)
    made.sort()
    left += made[MOST_FILES:]
    room = MOST_BYTES
    for name in made[:MOST_FILES]:
        data = _content(name, room)
        if data is None:
            left.append(name)
        else:
            results.send("file", data, name=name)
            room -= len(data)
    if left:
        results.send("left", names=sorted(left)[:MOST_FILES], more=max(0, len(left) - MOST_FILES))
    if not any(name.lower().endswith(PICTURES) for name in made):
        _send_figures(results)


def _content(name: str, most: int) -> bytes | None:
    """The bytes of a regular file of at most `most` bytes, None of anything else."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        return file.read(most) if stat.S_ISREG(found.st_mode) and found.st_size <= most else None


def _send_figures(results: _Results) -> None:
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    for number in pyplot.get_fignums()[:MOST_FILES] if pyplot is not None else ():
        picture = BytesIO()
        pyplot.figure(number).savefig(picture, format="png", bbox_inches="tight")
        results.send("file", picture.getvalue(), name=f"figure-{number}.png")


def _receive() -> tuple[str, set[str]]:
    """The program, with its files put into the folder."""
    source = sys.stdin.buffer
    request = json.loads(source.readline())
    for file in request["files"]:
        descriptor = os.open(file["name"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with open(descriptor, "wb") as copy:
            copy.write(source.read(file["size"]))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return request["code"], {file["name"] for file in request["files"]}


def _main() -> None:
    lock = json.loads(sys.argv[1])
    _lock(lock)
    results = _Results(lock["results"])
    results.send("ready")
    sys.path[:] = [*(one for one in sys.path if one.startswith("/python/")), "/packages"]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    shown = _Shown(results)
    code, given = _receive()
    status = _run(code, shown)
    try:
        _send_made(results, given)
        results.send("end")
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - what it left may be of any kind
        _explain(error)
        status = status or 1
    os._exit(status)


if __name__ == "__main__":
    _main()
