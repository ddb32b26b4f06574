"""The page process's side of the gateway worker: starts it, starts it again when it dies, and hands out calls.

The worker keeps the time limits of its calls. What it cannot do is notice that it hangs itself: so it is asked for a
sign of life, ended when none comes, and a stop that it does not confirm in time is settled without it.
"""

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chatcore import metrics
from chatcore.config import PROJECT_ROOT
from chatcore.gateway import protocol
from chatcore.gateway.protocol import CallEnd, CallSpec, DeltaKind, Failure, Usage

log = logging.getLogger(__name__)

WORKER_LOST: Final = "worker_lost"
"""The code of a failure that is our own: the person reads of it as of a provider that cannot be reached."""
_SHORT_LIFE: Final = 2.0  # seconds; a worker that lived no longer is started again only after a pause
_CLOSE_WITHIN: Final = 5.0
_STOP_WITHIN: Final = 0.35  # seconds a worker has to confirm a stop, of the half second that is promised
_PING_EVERY: Final = 2.0
_SILENT_FOR: Final = 10.0  # seconds without any answer after which a worker counts as hung
_WORKER_MODULE: Final = "chatcore.gateway.worker"
_CHARACTERS_A_TOKEN: Final = 4  # the usual rule of thumb, where nobody is left to count


@dataclass(frozen=True)
class Delta:
    """Words of a reply.

    For `tool_call` the text is the JSON of one whole call: id, name, arguments; for `logprobs` that of a list, an entry
    for each token of the text that follows; for `vector` base64 of its numbers, as 32-bit floats, little endian.
    `tool_result` is no model's: the turn adds what came of a call, as JSON.
    """

    kind: DeltaKind
    text: str


class RemoteCall:
    """One call running in the worker. Iterate it for its deltas, batch by batch; `end` is set when that stops."""

    def __init__(self, spec: CallSpec, cancel: Callable[[], None]) -> None:
        self.spec = spec
        self.end: CallEnd | None = None
        self.cancel = cancel
        self.trimmed = 0  # messages that were left out because they did not fit the model's window
        self._sent = False  # the provider may have been reached
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
        elif "started" in message:
            self._sent = True
        elif "trimmed" in message:
            self.trimmed = int(message["trimmed"])
        else:
            self.settle(CallEnd.model_validate(message["end"]))

    def settle(self, end: CallEnd) -> None:
        """The call has ended. The first end stands."""
        if self.end is None:
            self.end = end
            self._inbox.put_nowait(None)

    def settle_without_worker(self, failure: Failure | None) -> None:
        """End it here: stopped where `failure` is None. What may have reached the provider is billed by estimate."""
        usage = Usage()
        if self._sent:
            asked = sum(len(str(message.get("content") or "")) for message in self.spec.messages)
            tokens = {"prompt": asked // _CHARACTERS_A_TOKEN, "completion": self._said // _CHARACTERS_A_TOKEN}
            usage = Usage(source="estimated", **tokens)
        latency = round((time.monotonic() - self._started) * 1000)
        outcome = {"outcome": "stopped" if failure is None else "error", "failure": failure}
        self.settle(CallEnd.model_validate({**outcome, "usage": usage, "latency_ms": latency}))


class WorkerProcess:
    """Owns the child process. `spawn` may be called early from any thread; the rest belongs to the engine's loop."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._calls: dict[int, RemoteCall] = {}
        self._next_id = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._spawned = 0.0
        self._heard = 0.0
        self.ready = False

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._process.pid if self._process else None

    @property
    def is_kept(self) -> bool:
        """Whether somebody looks after the child."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

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
        reader = await self._connect()
        self._tasks = [asyncio.create_task(self._keep_alive(reader)), asyncio.create_task(self._watch())]

    async def close(self) -> None:
        """End the child, after its calls were cancelled."""
        self._closing = True
        if self._writer is not None:
            self._writer.close()
        try:
            if self._tasks:
                self._tasks[1].cancel()
                await asyncio.wait_for(self._tasks[0], _CLOSE_WITHIN)
            if self._process is not None:
                await asyncio.to_thread(self._process.wait, _CLOSE_WITHIN)
        except (TimeoutError, subprocess.TimeoutExpired):
            log.warning("the gateway worker did not end by itself")
        finally:
            if self._process is not None:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)

    def call(self, spec: CallSpec) -> RemoteCall:
        """Send a call to the worker. It never raises: what cannot be sent ends as a failure that says so."""
        self._next_id += 1
        call_id = self._next_id
        call = RemoteCall(spec, lambda: self._cancel(call_id))
        frame = protocol.encode({"id": call_id, "call": spec.model_dump()})
        if len(frame) > protocol.MAX_FRAME:
            call.settle_without_worker(Failure(code="context_too_long", detail="request over the frame limit"))
        elif self._writer is None or self._writer.is_closing():
            call.settle_without_worker(Failure(code=WORKER_LOST, detail="no gateway worker"))
        else:
            self._calls[call_id] = call
            self._writer.write(frame)
        return call

    def _cancel(self, call_id: int) -> None:
        self._send({"id": call_id, "cancel": True})
        asyncio.get_running_loop().call_later(_STOP_WITHIN, self._stop_unconfirmed, call_id)

    def _stop_unconfirmed(self, call_id: int) -> None:
        call = self._calls.pop(call_id, None)
        if call is not None:
            log.warning("the gateway worker did not confirm a stop in time")
            call.settle_without_worker(None)

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(protocol.encode(message))

    async def _connect(self) -> asyncio.StreamReader:
        assert self._socket is not None
        reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=2**20)
        return reader

    async def _watch(self) -> None:
        """Ask for a sign of life; end a worker that gives none. One that still imports litellm is left in peace."""
        while True:
            await asyncio.sleep(_PING_EVERY)
            if self.ready and time.monotonic() - self._heard > _SILENT_FOR and self._process is not None:
                log.error("gateway worker hangs, ending it", extra={"pid": self._process.pid})
                self.ready = False
                self._process.kill()
            self._send({"ping": True})

    async def _keep_alive(self, reader: asyncio.StreamReader) -> None:
        while True:
            await self._listen(reader)
            self.ready = False
            assert self._writer is not None
            self._writer.close()
            lost, self._calls = self._calls, {}
            for call in lost.values():
                call.settle_without_worker(Failure(code=WORKER_LOST, detail="gateway worker ended"))
            if self._closing:
                return
            metrics.worker_restarted()
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
            self._heard = time.monotonic()
            if "ready" in message:
                self.ready = True
            call = self._calls.get(message.get("id", -1))
            if call is None:
                continue
            if "end" in message:
                del self._calls[message["id"]]
            call.receive(message)
