"""The page process's side of the gateway worker: starts it, starts it again when it dies, and hands out attempts."""

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chatcore.config import PROJECT_ROOT
from chatcore.gateway import protocol
from chatcore.gateway.protocol import CallEnd, CallSpec, DeltaKind, Failure, Usage

log = logging.getLogger(__name__)

_SHORT_LIFE: Final = 2.0  # seconds; a worker that lived no longer is started again only after a pause
_CLOSE_WITHIN: Final = 5.0
_WORKER_MODULE: Final = "chatcore.gateway.worker"


@dataclass(frozen=True)
class Delta:
    """Words of a reply. For `tool_call` the text is the JSON of one whole call: id, name, arguments."""

    kind: DeltaKind
    text: str


class RemoteCall:
    """One call running in the worker. Iterate it for its deltas, batch by batch; `end` is set when that stops."""

    def __init__(self, spec: CallSpec, cancel: Callable[[], None], on_notice: Callable[[dict[str, Any]], None]) -> None:
        self.spec = spec
        self.end: CallEnd | None = None
        self.cancel = cancel
        self._on_notice = on_notice
        self._inbox: asyncio.Queue[list[Delta] | None] = asyncio.Queue()
        self._said = 0
        self._started = time.monotonic()

    async def __aiter__(self) -> AsyncIterator[list[Delta]]:
        while (batch := await self._inbox.get()) is not None:
            yield batch

    def receive(self, message: dict[str, Any]) -> None:
        """Take one message of the worker's."""
        if "deltas" in message:
            batch = [Delta(kind, text) for kind, text in message["deltas"]]
            self._said += sum(len(delta.text) for delta in batch)
            self._inbox.put_nowait(batch)
        elif "notice" in message:
            self._on_notice(message["notice"])
        else:
            self.end = CallEnd.model_validate(message["end"])
            self._inbox.put_nowait(None)

    def worker_lost(self) -> None:
        """The worker died. What was said is billed at four characters a token: there is nobody left to count."""
        sent = sum(len(str(message.get("content") or "")) for message in self.spec.messages)
        self.end = CallEnd(
            outcome="error",
            failure=Failure(code="provider_down", detail="gateway worker ended"),
            usage=Usage(source="estimated", prompt=sent // 4, completion=self._said // 4),
            latency_ms=round((time.monotonic() - self._started) * 1000),
        )
        self._inbox.put_nowait(None)


class WorkerProcess:
    """Owns the child process. `spawn` may be called early from any thread; the rest belongs to the engine's loop."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._calls: dict[int, RemoteCall] = {}
        self._next_id = 0
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._spawned = 0.0
        self.ready = False

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._process.pid if self._process else None

    def spawn(self) -> None:
        """Start the child: it begins to import litellm at once."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", _WORKER_MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=PROJECT_ROOT,
                env=self._environment,
                start_new_session=True,  # Ctrl+C reaches us alone; the child ends when our end of the socket closes
            )
        self._spawned = time.monotonic()
        ours.setblocking(False)
        self._socket = ours

    async def start(self) -> None:
        """Listen to the child, starting it where that has not happened. Calls are taken from here on."""
        if self._socket is None:
            self.spawn()
        self._task = asyncio.create_task(self._keep_alive(await self._connect()))

    async def close(self) -> None:
        """End the child, after its calls were cancelled."""
        self._closing = True
        if self._writer is not None:
            self._writer.close()
        try:
            if self._task is not None:
                await asyncio.wait_for(self._task, _CLOSE_WITHIN)
            if self._process is not None:
                await asyncio.to_thread(self._process.wait, _CLOSE_WITHIN)
        except (TimeoutError, subprocess.TimeoutExpired):
            log.warning("the gateway worker did not end by itself")
        finally:
            if self._process is not None:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)

    def call(self, spec: CallSpec, on_notice: Callable[[dict[str, Any]], None]) -> RemoteCall:
        """Send a call to the worker. It never raises: a worker that is gone ends the call as `provider_down`."""
        self._next_id += 1
        call_id = self._next_id
        call = RemoteCall(spec, lambda: self._send({"id": call_id, "cancel": True}), on_notice)
        if self._writer is None or self._writer.is_closing():
            call.worker_lost()
        else:
            self._calls[call_id] = call
            self._send({"id": call_id, "call": spec.model_dump()})
        return call

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(protocol.encode(message))

    async def _connect(self) -> asyncio.StreamReader:
        assert self._socket is not None
        reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=2**20)
        return reader

    async def _keep_alive(self, reader: asyncio.StreamReader) -> None:
        while True:
            await self._listen(reader)
            self.ready = False
            assert self._writer is not None
            self._writer.close()
            lost, self._calls = self._calls, {}
            for call in lost.values():
                call.worker_lost()
            if self._closing:
                return
            log.error("gateway worker ended, starting another", extra={"calls_lost": len(lost)})
            assert self._process is not None
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            if time.monotonic() - self._spawned < _SHORT_LIFE:
                await asyncio.sleep(_SHORT_LIFE)  # it does not come up: do not spin
            self.spawn()
            reader = await self._connect()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while (message := await protocol.read_frame(reader)) is not None:
            if "ready" in message:
                self.ready = True
                continue
            call = self._calls.get(message["id"])
            if call is None:
                continue
            if "end" in message:
                del self._calls[message["id"]]
            call.receive(message)
