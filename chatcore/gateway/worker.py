"""The gateway worker: the one process that imports litellm. Runs `python -m chatcore.gateway.worker FD`.

It reads `call` and `cancel` from the socket and answers with deltas and one end for each call. It ends, cancelling
every call, when the other side has gone: no call outlives the page's process.
"""

import asyncio
import signal
import socket
import sys
from functools import partial
from typing import Any

from chatcore.gateway import protocol
from chatcore.gateway.protocol import CallEnd, CallSpec, Failure


class Worker:
    """The calls in flight and the way back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._calls: dict[int, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Answer until the other side closes."""
        from chatcore.gateway import calls

        self._runner = calls.Runner()
        await self._runner.warm_up()
        self.send({"ready": True})
        while (message := await protocol.read_frame(self._reader)) is not None:
            if "call" in message:
                call_id = int(message["id"])
                task = asyncio.create_task(self._run(call_id, message["call"]))
                self._calls[call_id] = task
                task.add_done_callback(partial(self._forget, call_id))
            elif "ping" in message:
                self.send({"pong": True})
            elif "cancel" in message and (running := self._calls.get(int(message["id"]))):
                running.cancel()
        for task in list(self._calls.values()):
            task.cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)

    def send(self, message: dict[str, Any]) -> None:
        """Queue one frame. The socket pair is local and its reader only appends: it does not fall behind."""
        self._writer.write(protocol.encode(message))

    def _forget(self, call_id: int, task: "asyncio.Task[None]") -> None:
        self._calls.pop(call_id, None)
        if task.cancelled():  # before its first step: nothing was sent, and nobody else tells its end
            self.send({"id": call_id, "end": CallEnd(outcome="stopped").model_dump()})

    async def _run(self, call_id: int, spec: dict[str, Any]) -> None:
        outbox = Outbox(self, call_id)
        try:
            end = await self._runner.run(CallSpec.model_validate(spec), outbox.put, outbox.notice)
        except asyncio.CancelledError:
            end = CallEnd(outcome="stopped")  # cancelled before the runner could say more
        except Exception as error:  # noqa: BLE001 - a defect in one call must not take the others with it
            end = CallEnd(outcome="error", failure=Failure(code="provider_down", detail=type(error).__name__))
        outbox.flush()
        self.send({"id": call_id, "end": end.model_dump()})


class Outbox:
    """Joins a call's deltas: the first goes at once, later ones ten times a second."""

    INTERVAL = 0.1

    def __init__(self, worker: Worker, call_id: int) -> None:
        self._worker = worker
        self._call_id = call_id
        self._loop = asyncio.get_running_loop()
        self._held: list[tuple[str, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0

    def put(self, kind: protocol.DeltaKind, text: str) -> None:
        """Add words; neighbours of one kind become one delta."""
        if self._held and self._held[-1][0] == kind and kind in ("text", "reasoning"):
            self._held[-1] = (kind, self._held[-1][1] + text)
        else:
            self._held.append((kind, text))
        if self._timer is None:
            wait = self._last + self.INTERVAL - self._loop.time()
            if wait <= 0:
                self.flush()
            else:
                self._timer = self._loop.call_later(wait, self.flush)

    def notice(self, notice: dict[str, Any]) -> None:
        """Tell something about the call that is no word of the reply: `{"started": True}`, `{"trimmed": 4}`."""
        self._worker.send({"id": self._call_id, **notice})

    def flush(self) -> None:
        """Send what is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            self._worker.send({"id": self._call_id, "deltas": self._held})
            self._held = []
            self._last = self._loop.time()


async def main(fd: int) -> None:
    """Serve on the inherited socket."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=fd), limit=2**20)
    await Worker(reader, writer).serve()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the page process's to handle; we end when it closes
    asyncio.run(main(int(sys.argv[1])))
