"""A browser tab without a browser: Streamlit's websocket protocol, as far as measuring and testing needs it.

    tab = Tab("http://localhost:8501", "/?model=load", cookies={"chatcore_session": "…"})
    await tab.open()
    watch = Watch(words=300)
    await tab.ask("hello", watch)
    await tab.until(lambda: watch.complete and tab.idle, timeout=60)

It keeps the page as a browser would: elements by their place, widgets by their key, and what a finished script run no
longer drew is gone. Spoken with Streamlit 1.67.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from tests.benchmarks.watch import NUMBERED, Watch, Where


class Lost(Exception):
    """The server closed the connection, or did not answer in time."""


@dataclass
class Element:
    """Something on the page. `run`: the script run that drew it last."""

    kind: str
    proto: Any
    run: int
    fragment: str = ""

    @property
    def text(self) -> str:
        """The words of a piece of markdown or a text, "" for anything else."""
        return str(getattr(self.proto, "body", ""))


class Tab:
    """One browser tab. `cookies`: sent with the handshake. `path`: path and query, as in the address bar."""

    def __init__(self, url: str, path: str = "/", cookies: dict[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(path)
        self.page, self.query = parts.path.strip("/"), parts.query
        self.cookies = cookies or {}
        self.elements: dict[Where, Element] = {}
        self.session_id = ""
        self.bytes_received = 0
        self.messages_received = 0
        self.runs_finished = 0
        self.running = False
        self.closed = False
        self.watch: Watch | None = None
        self._run = 0
        self._fragments: tuple[str, ...] = ()
        self._page_hash = ""
        self._socket: websockets.ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # --- what a person does ---

    async def open(self, timeout: float = 60.0, resume: str = "") -> None:
        """Connect and wait for the first script run. `resume`: a session id to ask back for, as after a lost line."""
        address = urlsplit(self.url)
        scheme = "wss" if address.scheme == "https" else "ws"
        headers = {"Origin": self.url}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        # The subprotocols carry the XSRF token, unused here, and the session to resume.
        protocols = [websockets.Subprotocol(name) for name in ("streamlit", "unused", *([resume] if resume else []))]
        self._socket = await websockets.connect(
            f"{scheme}://{address.netloc}{address.path}/_stcore/stream",
            subprotocols=protocols,
            additional_headers=headers,
            max_size=None,
            compression=None,
            open_timeout=timeout,
            ping_interval=None,
            proxy=None,
        )
        self._reader = asyncio.create_task(self._read(self._socket))
        await self.rerun()
        await self.until(lambda: self.idle and self.runs_finished > 0, timeout)

    async def close(self) -> None:
        """Close the tab."""
        self._stop_timers()
        if self._socket:
            await self._socket.close()
        if self._reader:
            await asyncio.wait([self._reader], timeout=5)

    async def ask(self, text: str, watch: Watch | None = None, key: str = "chat_input") -> None:
        """Type into the chat input and press Enter. `watch` follows the reply."""
        state = WidgetState(id=self.widget(key))
        state.chat_input_value.data = text
        self.watch = watch
        if watch:
            watch.asked = time.time()
            watch.earlier = frozenset((place, element.text) for place, element in self.elements.items())
        await self.rerun(state)

    async def click(self, key: str) -> None:
        """Press the button with this key."""
        await self.rerun(WidgetState(id=self.widget(key), trigger_value=True))

    async def fill(self, key: str, text: str) -> None:
        """Type into a text input."""
        await self.rerun(WidgetState(id=self.widget(key), string_value=text))

    async def rerun(self, *states: WidgetState, fragment: str = "") -> None:
        """Ask for a script run with these widget values."""
        message = BackMsg()
        script = message.rerun_script
        script.query_string, script.fragment_id, script.is_auto_rerun = self.query, fragment, bool(fragment)
        script.page_script_hash = self._page_hash
        script.page_name = "" if self._page_hash else self.page
        script.context_info.timezone, script.context_info.locale = "UTC", "en-US"
        script.context_info.url = f"{self.url}/{self.page}"
        script.widget_states.widgets.extend(states)
        self.running = self.running or not fragment
        await self._send(message)

    async def until(self, condition: Callable[[], object], timeout: float) -> None:
        """Wait until the page is as wanted. Raises `Lost` when the line breaks or the time is over."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.closed:
                raise Lost("the server closed the connection")
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())
            except TimeoutError:
                raise Lost(f"not within {timeout:g} s; on the page: {self.texts()[-3:]}") from None

    # --- what stands on the page ---

    @property
    def idle(self) -> bool:
        """No script run is going on or asked for."""
        return not self.running

    def texts(self, kind: str = "markdown") -> list[str]:
        """The texts of one kind of element, from top to bottom."""
        return [element.text for _, element in sorted(self.elements.items()) if element.kind == kind]

    def errors(self) -> list[str]:
        """Exceptions that the page shows."""
        shown = [element.proto for element in self.elements.values() if element.kind == "exception"]
        return [f"{error.type}: {error.message}" for error in shown]

    def widget(self, key: str) -> str:
        """The id of the widget with this key. Raises `LookupError` naming the keys there are."""
        ids = [found for element in self.elements.values() if (found := getattr(element.proto, "id", ""))]
        for found in ids:
            if found.endswith(f"-{key}"):
                return str(found)
        raise LookupError(
            f"no widget {key} among {[found.split('-', 2)[-1] for found in ids]}; errors: {self.errors()}"
        )

    def numbers(self) -> list[int]:
        """All numbered words on the page, in the order they stand."""
        return [int(number) for text in self.texts() for number in NUMBERED.findall(text)]

    # --- the protocol ---

    async def _send(self, message: BackMsg) -> None:
        assert self._socket
        await self._socket.send(message.SerializeToString())

    async def _read(self, socket: websockets.ClientConnection) -> None:
        try:
            async for raw in socket:
                assert isinstance(raw, bytes)
                self.bytes_received += len(raw)
                self.messages_received += 1
                if self.watch:
                    self.watch.bytes_received += len(raw)
                self._take(ForwardMsg.FromString(raw), time.time())
                self._changed.set()
        except websockets.ConnectionClosed:
            pass
        finally:
            self.closed = True
            self._changed.set()

    def _take(self, message: ForwardMsg, now: float) -> None:
        match message.WhichOneof("type"):
            case "delta":
                self._draw(message, now)
            case "new_session":
                self._begin(message.new_session, tuple(message.metadata.run.fragment_ids))
            case "navigation":
                self._page_hash = message.navigation.page_script_hash
            case "page_info_changed":
                self.query = message.page_info_changed.query_string
            case "stop_auto_rerun":
                self._stop_timers(list(message.stop_auto_rerun.fragment_ids))
            case "script_finished":
                self._end(message.script_finished)
            case "auto_rerun":
                self._stop_timers([message.auto_rerun.fragment_id])
                self._timers[message.auto_rerun.fragment_id] = asyncio.create_task(self._again(message.auto_rerun))

    def _begin(self, session: Any, fragments: tuple[str, ...]) -> None:
        self._run += 1
        self.running = True
        self.session_id = session.initialize.session_id
        self._fragments = fragments
        if not fragments:
            self._page_hash = session.page_script_hash
            self._stop_timers()

    def _stop_timers(self, fragments: list[str] | None = None) -> None:
        for fragment in list(self._timers) if fragments is None else fragments:
            if timer := self._timers.pop(fragment, None):
                timer.cancel()

    def _end(self, status: int) -> None:
        # A run that ends early to run again has not ended for whoever looks at the page.
        if status == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            return
        gone = [place for place, element in self.elements.items() if self._stale(element)]
        for place in gone:
            del self.elements[place]
        self.running = False
        self.runs_finished += status == ForwardMsg.FINISHED_SUCCESSFULLY

    def _stale(self, element: Element) -> bool:
        return element.run < self._run and (not self._fragments or element.fragment in self._fragments)

    def _draw(self, message: ForwardMsg, now: float) -> None:
        delta, place = message.delta, tuple(message.metadata.delta_path)
        if delta.WhichOneof("type") != "new_element":
            return
        kind = delta.new_element.WhichOneof("type") or ""
        element = Element(kind, getattr(delta.new_element, kind) if kind else None, self._run, delta.fragment_id)
        self.elements[place] = element
        if self.watch and kind == "markdown":
            self.watch.saw(place, element.text, self._run, now)

    async def _again(self, timer: Any) -> None:
        """A fragment with `run_every` asks for its run by itself, as a browser does."""
        while not self.closed:
            await asyncio.sleep(timer.interval)
            await self.rerun(fragment=timer.fragment_id)
