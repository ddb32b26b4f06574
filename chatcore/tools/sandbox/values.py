"""What goes into a sandbox and what comes out of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from chatcore.errors import ChatcoreError

Ending = Literal["ended", "failed", "too_long", "too_much", "cpu", "killed"]


class NoSandbox(ChatcoreError):
    """This machine cannot shut a program in, so none is run; the sentence says why."""

    code = "no_sandbox"


@dataclass(frozen=True)
class Limits:
    """What one program may take.

    `seconds`: on the clock, from its start. `cpu_seconds`: of all its threads together. `memory_bytes`: of its whole
    address space. `folder_bytes`, `folder_files`: in its folder, what it was given included. `file_bytes`: of one
    file. `threads`: at once. `descriptors`: open at once. `output_bytes`: of each of standard output and error; with
    more it is ended. `result_bytes`: of all that it sends back.
    """

    seconds: float = 30.0
    cpu_seconds: int = 20
    memory_bytes: int = 2**30
    folder_bytes: int = 128 * 2**20
    folder_files: int = 2_000
    file_bytes: int = 64 * 2**20
    threads: int = 32
    descriptors: int = 64
    output_bytes: int = 256 * 2**10
    result_bytes: int = 12 * 2**20


@dataclass(frozen=True)
class GivenFile:
    """A file that a program finds in its folder. `name`: without folders, different from the others'."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class MadeFile:
    """A file that a program left. Its name and content are the program's word: nothing about them is checked yet."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Came:
    """What a program sent back; all of it is the program's word. `tables`: each with `columns`, `rows` and `of`, the
    rows and columns of the whole. `left`: names of files that were not sent; `more`: how many there are beside them.
    `ready`: it was locked in before it began. `whole`: nothing was cut off.
    """

    ready: bool = False
    whole: bool = False
    tables: tuple[dict[str, Any], ...] = ()
    files: tuple[MadeFile, ...] = ()
    left: tuple[str, ...] = ()
    more: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a program went. `ending`: `ended` well, `failed` by its own exit code `status`, `too_long` on the clock,
    `too_much` output, out of `cpu` time, or `killed` by the kernel or by a fault of its own."""

    ending: Ending
    status: int
    stdout: str
    stderr: str
    came: Came
