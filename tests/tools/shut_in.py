"""Runs programs in the sandbox and tells how each went; also by another account, as a script.

As a script: JSON on standard input, a list of programs; a list of what `told` makes of each on standard output.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatcore.tools.sandbox import GivenFile, Limits, NoSandbox, Outcome, find_cell, prove, run
from tests.conftest import skip_or_fail

ROOT = Path(__file__).parents[2]
LIMITS = Limits(
    seconds=20, cpu_seconds=10, memory_bytes=512 * 2**20, folder_bytes=16 * 2**20, folder_files=200,
    file_bytes=8 * 2**20, threads=12,
)  # fmt: skip
_NOBODY = "65534"


def ran(code: str, *files: GivenFile, **limits: Any) -> Outcome:
    """Run one program here."""
    return asyncio.run(run(find_cell(), code, files, replace(LIMITS, **limits)))


def require_sandbox() -> None:
    """Skip, or fail in CI, where this machine cannot shut programs in."""
    try:
        asyncio.run(prove(find_cell()))
    except NoSandbox as error:
        skip_or_fail(str(error))


def told(outcome: Outcome) -> dict[str, Any]:
    """What a test looks at."""
    return {"ending": outcome.ending, "said": outcome.stdout + outcome.stderr, "ready": outcome.came.ready}


async def all_told(codes: list[str]) -> list[dict[str, Any]]:
    """Run them, two at a time."""
    cell, places = find_cell(), asyncio.Semaphore(2)

    async def one(code: str) -> dict[str, Any]:
        async with places:
            return told(await run(cell, code, [], LIMITS))

    return list(await asyncio.gather(*(one(code) for code in codes)))


def told_by_another(codes: list[str], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The same by an account without any rights. Only root can ask for that."""
    command = [
        *("bwrap", "--dev-bind", "/", "/", *reachable(Path(sys.base_prefix), Path(sys.prefix), ROOT)),
        *("--chdir", str(ROOT), "--", "setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"),
        *("--inh-caps=-all", "--bounding-set=-all", sys.executable, "-B", "-m", "tests.tools.shut_in"),
    ]
    done = subprocess.run(
        command, input=json.dumps(codes), capture_output=True, text=True, env={**os.environ, **environment}, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def reachable(*folders: Path) -> Iterator[str]:
    """Arguments of bubblewrap by which everybody can reach these folders, also below a home that is closed."""
    closed = {parent for folder in folders for parent in folder.parents if not parent.stat().st_mode & 0o001}
    tops = {one for one in closed if not closed & set(one.parents)}
    for top in sorted(tops):
        yield from ("--tmpfs", str(top))
        below = [folder for folder in folders if top in folder.parents]
        for folder in sorted({parent for one in below for parent in one.parents if top in parent.parents}):
            yield from ("--dir", str(folder))
        for one in below:
            yield from ("--ro-bind", str(one), str(one))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(all_told(json.load(sys.stdin)))))
