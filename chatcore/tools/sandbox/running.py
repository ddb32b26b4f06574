"""Runs one program in the sandbox: feeds it, reads what it says up to a limit, and ends it for good."""

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from chatcore.tools.sandbox import received
from chatcore.tools.sandbox.confine import Cell
from chatcore.tools.sandbox.values import Ending, GivenFile, Limits, NoSandbox, Outcome

log = logging.getLogger(__name__)

_PIECE: Final = 64 * 1024
_LAST_WORDS: Final = 1.0  # seconds that the kernel has to end what was killed
_OUT_OF_CPU: Final = 128 + signal.SIGXCPU


class _Running:
    """A program that has been started. Belongs to one loop."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.ending: Ending | None = None

    def kill(self, why: Ending) -> None:
        """End it and all that it began; the first reason counts. With the first process inside all others there end,
        and the one in front of it, which is left to see that: nobody else might."""
        if self._process.returncode is None:
            self.ending = self.ending or why
            if inside := _children(self._process.pid):
                for pid in inside:
                    _end(os.kill, pid)
            else:
                _end(os.killpg, self._process.pid)

    async def gone(self) -> None:
        """Return when it has ended. Where that takes too long, its whole group is ended, which none can leave."""
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._process.wait()
                    return
            _end(os.killpg, self._process.pid)

    async def read(self, stream: asyncio.StreamReader, most: int) -> bytes:
        """What comes until the other end is closed; whoever sends more than `most` bytes is ended."""
        data = bytearray()
        while piece := await stream.read(_PIECE):
            data += piece[: most - len(data)]
            if len(data) >= most:
                self.kill("too_much")
        return bytes(data)


async def run(cell: Cell, code: str, files: Sequence[GivenFile], limits: Limits) -> Outcome:
    """Run a program from its start to its end. Raises `NoSandbox` where it could not be shut in; it did not run then.

    Cancelled, it ends the program at once.
    """
    reading, writing = os.pipe()
    try:
        process = await _started(cell.command(limits, writing), writing)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    running = _Running(process)
    try:
        stdout, stderr, sent = await _talk(running, process, reading, _request(code, files), limits)
    finally:
        running.kill("killed")  # where the turn was stopped
        await running.gone()
    came = received.read(sent)
    if not came.ready and running.ending is None:
        log.warning("the sandbox could not be set up", extra={"said": stderr[:2000].decode(errors="replace")})
        raise NoSandbox("The sandbox could not be set up on this machine, so the program was not run.")
    status = process.returncode or 0
    return Outcome(running.ending or _ending(status), status, _text(stdout), _text(stderr), came)


async def _started(command: Sequence[str], results: int) -> asyncio.subprocess.Process:
    """The program's first process, in a session and a group of its own, with these three ways and `results` alone."""
    pipe = asyncio.subprocess.PIPE
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=(results,), env={}, cwd="/", start_new_session=True
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:  # asyncio would end the first process alone, and wait for the others for ever
        running = _Running(await starting)
        running.kill("killed")
        await running.gone()
        raise


async def _talk(
    running: _Running, process: asyncio.subprocess.Process, reading: int, request: bytes, limits: Limits
) -> tuple[bytes, bytes, bytes]:
    """All that it says on its three ways out, until it and all of them have ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    results, close = _opened(reading)
    said = [
        asyncio.ensure_future(running.read(process.stdout, limits.output_bytes)),
        asyncio.ensure_future(running.read(process.stderr, limits.output_bytes)),
        asyncio.ensure_future(running.read(results, limits.result_bytes)),
    ]
    # It may close its ways out and go on, or end and leave them open in whatever it began.
    tasks = [*said, asyncio.ensure_future(process.wait())]
    feeding = asyncio.ensure_future(_feed(process.stdin, request))
    try:
        _, late = await asyncio.wait(tasks, timeout=limits.seconds)
        if late:
            running.kill("too_long")
            await running.gone()
            _, late = await asyncio.wait(tasks, timeout=_LAST_WORDS)
        if late:
            raise NoSandbox("The program could not be ended. Tell whoever runs this server.")
        stdout, stderr, sent = (task.result() for task in said)
        return stdout, stderr, sent
    finally:
        for task in (*tasks, feeding):
            task.cancel()
        close()


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _end(kill: Callable[[int, int], None], pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        kill(pid, signal.SIGKILL)


def _opened(descriptor: int) -> tuple[asyncio.StreamReader, Callable[[], None]]:
    """The reading end of a pipe as a stream, and what closes it."""
    loop, stream = asyncio.get_running_loop(), asyncio.StreamReader()
    os.set_blocking(descriptor, False)

    def readable() -> None:
        try:
            piece = os.read(descriptor, _PIECE)
        except BlockingIOError:
            return
        if piece:
            stream.feed_data(piece)
        else:
            loop.remove_reader(descriptor)
            stream.feed_eof()

    def close() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    loop.add_reader(descriptor, readable)
    return stream, close


async def _feed(stdin: asyncio.StreamWriter, request: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it may end before it has read everything
        stdin.write(request)
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


def _request(code: str, files: Sequence[GivenFile]) -> bytes:
    listed = [{"name": file.name, "size": len(file.data)} for file in files]
    return b"".join([json.dumps({"code": code, "files": listed}).encode(), b"\n", *(file.data for file in files)])


def _ending(status: int) -> Ending:
    if status == _OUT_OF_CPU:
        return "cpu"
    return "ended" if status == 0 else "failed" if 0 < status <= 128 else "killed"


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")
