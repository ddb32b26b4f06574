"""A server as a program: lines of JSON over its standard input and output, none longer than a message may be.

It gets an environment of its own, and ends with its input: so it ends with us, however we end.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import mcp_types
from mcp.shared.message import SessionMessage

from chatcore.tools.mcp.values import MAX_MESSAGE

log = logging.getLogger(__name__)

_ENDS_WITHIN: Final = 2.0  # seconds after its input was closed
_SAID: Final = 20  # lines of its standard error in the log, in a minute
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


@asynccontextmanager
async def program(
    name: str,
    command: str,
    args: Sequence[str],
    env: Mapping[str, str],
    environment: Mapping[str, str],
    on_end: Callable[[], None],
) -> AsyncIterator[tuple[Any, Any]]:
    """Streams of messages from it and to it. `env`: its own variables; of `environment`, ours, it gets only where
    programs and its home are. `on_end`: is called when it says no more. Raises `OSError` where it cannot be started.
    """
    given = {one: environment[one] for one in _INHERITED if one in environment} | dict(env)
    process = await asyncio.create_subprocess_exec(
        command, *args, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=given, limit=MAX_MESSAGE, start_new_session=True,
    )  # fmt: skip
    to_us, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, from_us = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(_heard(name, process, to_us, on_end)),
        asyncio.create_task(_said(process, from_us, to_us)),
        asyncio.create_task(_noted(name, process)),
    ]
    try:
        yield incoming, outgoing
    finally:
        for stream in (incoming, outgoing):
            stream.close()
        await asyncio.shield(_ended(process, tasks))


async def _heard(name: str, process: asyncio.subprocess.Process, to_us: Any, on_end: Callable[[], None]) -> None:
    """What it says, until it ends or says too much at once."""
    try:
        await _messages(name, process, to_us)
    finally:
        on_end()


async def _messages(name: str, process: asyncio.subprocess.Process, to_us: Any) -> None:
    assert process.stdout is not None
    async with to_us:
        while True:
            try:
                line = await process.stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                log.warning("an MCP server's message is too large, so it is ended", extra={"server": name})
                return
            if not line.strip():
                continue
            try:
                message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:
                log.info("an MCP server said something that is no message", extra={"server": name})
                continue
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await to_us.send(SessionMessage(message))


async def _said(process: asyncio.subprocess.Process, from_us: Any, to_us: Any) -> None:
    """What we say."""
    assert process.stdin is not None
    try:
        async with from_us:
            async for one in from_us:
                line = one.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(line.encode("utf-8", "replace") + b"\n")
                await process.stdin.drain()
    except (OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
        await to_us.aclose()  # it listens no more: whoever waits for it learns so


async def _noted(name: str, process: asyncio.subprocess.Process) -> None:
    """Its standard error, a few lines a minute, under a name that only `log_text` lets through."""
    assert process.stderr is not None
    loop, noted, since = asyncio.get_running_loop(), 0, 0.0
    while piece := await process.stderr.read(8_192):
        if loop.time() - since > 60:
            noted, since = 0, loop.time()
        for line in piece.decode("utf-8", "replace").splitlines()[: max(0, _SAID - noted)]:
            noted += 1
            log.info("an MCP server wrote to its log", extra={"server": name, "text": line[:300]})


async def _ended(process: asyncio.subprocess.Process, tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Close its input, wait a moment, end what is left of it, with whatever it started."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _ENDS_WITHIN)
    except TimeoutError:
        pass  # it does not listen
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # asyncio takes a process for ended only when nothing of what it said is left.
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(1 << 20):
            pass
    await process.wait()
