"""Where notices arrive in tests: a web server and a mail server of our own, on real sockets."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Webhooks:
    """A web server. `/hang` never answers, `/status/500` answers so, `/to/PATH` redirects, `/endless` and `/drip` have
    no end, fast and slowly; anything else is taken."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.answer = b""
        self.written = 0
        """Bytes of endless answers that somebody took, or that wait on the way."""
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, path: str = "/hook") -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def words(self) -> list[str]:
        """The states of the notices that came, in their order."""
        return [one["state"] for one in self.got]

    def close(self) -> None:
        """Stop; who hangs is let go."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _answer_for_ever(self, handler: BaseHTTPRequestHandler) -> None:
        block = b"x" * (1 if handler.path.startswith("/drip") else 1 << 20)
        handler.close_connection = True
        with suppress(OSError):
            while self.written < 1 << 30:
                self.written += handler.wfile.write(block)
                if len(block) == 1 and self._released.wait(0.05):
                    return

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        house = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                house.paths.append(self.path)
                if self.path.startswith("/hang"):
                    house._released.wait(20)
                    self.close_connection = True
                    return
                status = int(self.path.removeprefix("/status/")[:3]) if self.path.startswith("/status/") else 200
                if self.path.startswith("/to/"):
                    status = 307
                if status == 200:
                    house.got.append(json.loads(body))
                self.send_response(status)
                if status == 307:
                    self.send_header("Location", self.path.removeprefix("/to"))
                if self.path.startswith(("/endless", "/drip")):
                    self.end_headers()
                    house._answer_for_ever(self)
                    return
                self.send_header("Content-Length", str(len(house.answer)))
                self.end_headers()
                self.wfile.write(house.answer)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Mailbox:
    """A mail server that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.to: list[list[str]] = []
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Called by the library."""
        self.to.append(list(envelope.rcpt_tos))
        self.got.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def fields(self) -> dict[str, str]:
        """A channel that sends here."""
        return {
            "host": "127.0.0.1", "port": str(self.port), "security": "none", "user": "", "password": "",
            "from": "chatcore@example.com", "to": "ops@example.com",
        }  # fmt: skip

    def close(self) -> None:
        """Stop."""
        self._controller.stop()


class EndlessMail:
    """A mail server whose first answer has no end."""

    def __init__(self) -> None:
        self.written = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                with one, suppress(OSError):
                    while self.written < 1 << 30:
                        self.written += one.send(b"220-and there is more\r\n" * 1000)


@contextmanager
def webhooks() -> Iterator[Webhooks]:
    """A web server for a while."""
    server = Webhooks()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A mail server for a while."""
    server = Mailbox()
    try:
        yield server
    finally:
        server.close()
