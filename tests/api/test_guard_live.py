"""A real process, spoken to as a browser would: what it sends to whom is not, or no longer, signed in."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from chatcore.accounts import Accounts, Console
from chatcore.config import PROJECT_ROOT, load_settings
from chatcore.db import Database, upgrade
from tests.benchmarks.streamlit_client import Tab

PASSWORD = "correct horse"
SECRET_TITLE = "Only for Ada Lovelace"


@dataclass
class Server:
    url: str
    accounts: Accounts

    def tab(self, path: str, token: str | None = None) -> Tab:
        return Tab(self.url, path, {"chatcore_session": token} if token else None)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A fresh process with two people, Ada and Bob; nobody has asked it for anything but its health."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("CHATCORE_", "STREAMLIT_"))
    }
    environment |= {"CHATCORE_DATA_DIR": str(tmp_path / "data")}
    settings = load_settings(environment)
    database = Database(settings.database_url)
    upgrade(database)
    accounts, console = Accounts(database, settings), Console(database)
    console.prepare()
    for username in ("ada", "bob"):
        console.add_user(username, PASSWORD, name=f"{username} {SECRET_TITLE}", role=None, tenant=None, tier="free")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app.py",
        "--server.port",
        str(port),
        "--server.address",
        "127.0.0.1",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=log)
        try:
            wait_until_alive(f"http://127.0.0.1:{port}/api/health", process, tmp_path / "log")
            yield Server(f"http://127.0.0.1:{port}", accounts)
        finally:
            process.terminate()
            process.wait(30)
            database.close()


def wait_until_alive(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"the app did not start: {log.read_text()}")


def shown(tab: Tab) -> str:
    """Everything that the page was sent, whatever it is."""
    return " ".join(str(element.proto) for element in tab.elements.values())


def is_sign_in_form_alone(tab: Tab) -> bool:
    page = shown(tab)
    return "Password" in page and SECRET_TITLE not in page and "chat_input" not in page and "navigation" not in page


def test_a_fresh_process_sends_a_stranger_the_sign_in_form_whatever_the_path(server: Server) -> None:
    async def look(path: str) -> bool:
        async with server.tab(path) as tab:
            await tab.until(lambda: tab.idle, timeout=30)
            return is_sign_in_form_alone(tab)

    for path in ("/usage", "/account", "/admin", "/", "/chat", "/login", "/router", "/nowhere", "/?c=conv_x"):
        assert asyncio.run(look(path)), path


def test_a_stolen_session_id_resumes_nothing(server: Server) -> None:
    async def steal() -> None:
        adas, bobs = (server.accounts.new_session_token(name) for name in ("ada", "bob"))
        async with server.tab("/account", adas) as ada:
            await ada.until(lambda: ada.idle, timeout=30)
            assert f"ada {SECRET_TITLE}" in shown(ada)
            for token in (None, "wrong", bobs):
                thief = server.tab("/account", token)
                await thief.open(resume=ada.session_id)
                await thief.until(lambda thief=thief: thief.idle, timeout=30)
                assert thief.session_id != ada.session_id
                assert f"ada {SECRET_TITLE}" not in shown(thief)
                await thief.close()
            await ada.rerun()
            await ada.until(lambda: ada.idle, timeout=30)
            assert f"ada {SECRET_TITLE}" in shown(ada), "and Ada notices nothing"

    asyncio.run(steal())


def test_an_open_tab_notices_at_its_next_action_that_it_was_signed_out(server: Server) -> None:
    async def sign_out() -> None:
        token = server.accounts.new_session_token("ada")
        async with server.tab("/account", token) as tab:
            await tab.until(lambda: tab.idle, timeout=30)
            session_id = await server.accounts.session_for_token(token)
            assert session_id
            server.accounts.sign_out(session_id)
            await tab.rerun()
            await tab.until(lambda: tab.idle and "Password" in shown(tab), timeout=30)
            assert is_sign_in_form_alone(tab)

    asyncio.run(sign_out())
