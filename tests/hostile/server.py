"""The HTTP side: a minimal server written by hand, because it must be able to cut, stall and talk nonsense."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

from tests.hostile.behaviours import BEHAVIOURS, UnknownBehaviour, embeddings, plan
from tests.hostile.errors import json_error
from tests.hostile.stream import Reply, Request, Step

MAX_BODY = 64 << 20


@dataclass
class Call:
    """One call as the provider saw it: its own account. Times are seconds since 1970.

    `ended_how`: "done", "cut", "reset", "end", "error" (a status of 400 and more), "closed_by_client",
    "server_stopped", or "" while it runs. `usage`: what was put on the wire, None where nothing was.
    """

    id: str
    model: str
    behaviour: str
    messages: list[dict[str, Any]]
    params: dict[str, Any]
    key_last4: str
    started: float
    status: int = 0
    first_byte_at: float | None = None
    first_word_at: float | None = None
    last_word_at: float | None = None
    ended: float | None = None
    closed_by_client_at: float | None = None
    words: int = 0
    usage: dict[str, Any] | None = None
    ended_how: str = ""


@dataclass
class Log:
    """All calls so far. `changed` is told of each call that starts, speaks its first word or ends."""

    changed: Callable[[Call], None]
    calls: list[Call] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    made: int = 0

    def open(self, body: dict[str, Any], api_key: str) -> tuple[Call, Request]:
        self.made += 1
        model, messages = str(body.get("model", "")), body.get("messages") or []
        params = {key: value for key, value in body.items() if key not in {"model", "messages"}}
        call = Call(
            f"{self.made:06d}", model, model.partition(";")[0], messages, params, api_key[-4:], time.time()
        )  # fmt: skip
        request = Request(call.id, model, messages, params, api_key, int(call.started), self.asked[model])
        self.asked[model] += 1
        self.calls.append(call)
        self.changed(call)
        return call, request


class Connection(asyncio.Protocol):
    """One client's connection: requests one after the other, each played by its timetable with a single timer."""

    def __init__(self, log: Log, connections: set["Connection"]) -> None:
        self.log = log
        self.connections = connections
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.received = bytearray()
        self.player: Player | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.next_request()

    def eof_received(self) -> None:
        self._client_left()

    def connection_lost(self, exc: Exception | None) -> None:
        self._client_left()
        self.connections.discard(self)

    def _client_left(self) -> None:
        if self.player:
            self.player.stop("closed_by_client")

    def next_request(self) -> None:
        """Answer the next whole request, once the one before is answered."""
        if self.player or b"\r\n\r\n" not in self.received:
            return
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (item.partition(":") for item in lines)}
        length = int(headers.get("content-length") or 0)
        if "transfer-encoding" in headers or length > MAX_BODY:
            self.transport.close()
            return
        if len(rest) < length:
            if headers.get("expect") == "100-continue" and not rest:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        del self.received[: len(head) + 4 + length]
        self._answer(line, headers, rest[:length])

    def _answer(self, line: str, headers: dict[str, str], body: bytes) -> None:
        method, path = [*line.split(" "), "", ""][:2]
        if (method, path) == ("POST", "/v1/chat/completions"):
            self._complete(headers, body)
        elif (method, path) == ("POST", "/v1/embeddings"):
            self._complete(headers, body, embed=True)
        elif (method, path) == ("GET", "/v1/models"):
            models = [{"id": name, "object": "model", "owned_by": "hostile"} for name in BEHAVIOURS]
            self._send({"object": "list", "data": models})
        elif (method, path) == ("GET", "/log"):
            self._send([asdict(call) for call in self.log.calls])
        elif (method, path) == ("DELETE", "/log"):
            self.log.calls.clear()
            self._send({"ok": True})
        else:
            self._send({"error": {"message": f"Unknown request URL: {method} {path}.", "code": "unknown_url"}}, 404)

    def _complete(self, headers: dict[str, str], body: bytes, *, embed: bool = False) -> None:
        try:
            data = json.loads(body)
            if not isinstance(data, dict):
                raise ValueError
        except ValueError:
            self._send({"error": {"message": "We could not parse the JSON body of your request."}}, 400)
            return
        if embed:
            texts = data["input"] if isinstance(data["input"], list) else [data["input"]]
            data["messages"] = [{"role": "user", "content": text} for text in texts]
        call, request = self.log.open(data, headers.get("authorization", "").removeprefix("Bearer "))
        try:
            reply = embeddings(request) if embed and request.model == "embed" else plan(request)
        except (UnknownBehaviour, ValueError) as error:
            message = f"The model `{request.model}` does not exist ({error})."
            reply = json_error(404, {"error": {"message": message, "code": "model_not_found"}})
        self.player = Player(self, call, reply, chunked=request.stream and reply.status == 200)
        self.player.play()

    def _send(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.transport.write(_head(status, "application/json", [("Content-Length", str(len(body)))]) + body)
        self.loop.call_soon(self.next_request)


class Player:
    """Plays one reply: whatever is due is written at once, then one timer is set for what comes next."""

    def __init__(self, connection: Connection, call: Call, reply: Reply, *, chunked: bool) -> None:
        self.connection, self.call, self.reply, self.chunked = connection, call, reply, chunked
        self.loop = connection.loop
        self.start = self.loop.time()
        self.position = 0
        self.head_sent = False
        self.timer: asyncio.TimerHandle | None = None
        call.status = reply.status

    def play(self) -> None:
        self.timer = None
        now = self.loop.time() - self.start
        out = bytearray()
        if self.reply.raw is not None:
            out += self.reply.raw
        elif self.reply.head_at is None:
            return
        elif not self.head_sent and now >= self.reply.head_at:
            out += self._head()
            self.head_sent = True
        while self.position < len(self.reply.steps) and self.reply.steps[self.position].at <= now:
            out += self._account(self.reply.steps[self.position])
            self.position += 1
        if out:
            self.call.first_byte_at = self.call.first_byte_at or time.time()
            self.connection.transport.write(bytes(out))
        due = self._next_due()
        if due is not None:
            self.timer = self.loop.call_at(self.start + due, self.play)
        elif self.reply.ending != "silence":
            self._end()

    def _next_due(self) -> float | None:
        if self.position < len(self.reply.steps):
            due = self.reply.steps[self.position].at
            return due if self.head_sent else min(due, self.reply.head_at or 0.0)
        return None

    def _head(self) -> bytes:
        headers = [("x-request-id", f"req_{self.call.id}"), *self.reply.headers]
        if self.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        else:
            # A reply that will be cut promises more than it sends.
            missing = 0 if self.reply.ending == "done" else 1000
            headers.append(("Content-Length", str(missing + sum(len(step.data) for step in self.reply.steps))))
        return _head(self.reply.status, self.reply.content_type, headers)

    def _account(self, step: Step) -> bytes:
        if step.words:
            now = time.time()
            self.call.words += step.words
            self.call.last_word_at = now
            if self.call.first_word_at is None:
                self.call.first_word_at = now
                self.connection.log.changed(self.call)
        if step.usage is not None:
            self.call.usage = step.usage
        return b"%x\r\n%b\r\n" % (len(step.data), step.data) if self.chunked else step.data

    def _end(self) -> None:
        transport, ending = self.connection.transport, self.reply.ending
        if ending in {"done", "end"} and self.chunked:
            transport.write(b"0\r\n\r\n")
        how = "error" if self.reply.status >= 400 else ending
        self.stop(how)
        if ending == "reset":
            sock = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        elif ending == "cut" or (ending == "end" and not self.chunked):
            transport.close()
        else:
            self.loop.call_soon(self.connection.next_request)

    def stop(self, how: str) -> None:
        """Say how it ended, once."""
        if self.timer:
            self.timer.cancel()
        self.connection.player = None
        if self.call.ended is None:
            self.call.ended = time.time()
            self.call.ended_how = how
            if how == "closed_by_client":
                self.call.closed_by_client_at = self.call.ended
            self.connection.log.changed(self.call)


def _head(status: int, content_type: str, headers: list[tuple[str, str]]) -> bytes:
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Type: {content_type}", *(f"{k}: {v}" for k, v in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def serve(log: Log, port: int, started: Callable[[int], None], stop: asyncio.Event) -> None:
    """Serve on 127.0.0.1 until `stop` is set. `started` is told the port."""
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(log, connections), "127.0.0.1", port, backlog=1024)
    started(server.sockets[0].getsockname()[1])
    try:
        await stop.wait()
    finally:
        server.close()
        for connection in list(connections):
            if connection.player:
                connection.player.stop("server_stopped")
            connection.transport.abort()
        await asyncio.sleep(0)
