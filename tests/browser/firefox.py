"""Debian's Firefox for Playwright, which speaks WebDriver BiDi with it.

Playwright's channel `moz-firefox` drives an unchanged Firefox, but begins every context with a command that Firefox ESR
does not know. `launch` therefore starts this file as the "browser": it starts Firefox, hands every message on in both
directions, and answers that one command itself.
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

# Beside what Playwright sets in a fresh profile: no question to anybody but the page.
_PREFERENCES: dict[str, str | float | bool] = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.region.update.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.provider.google4.updateURL": "",
    "browser.safebrowsing.provider.mozilla.updateURL": "",
    "browser.search.update": False,
    "browser.translations.enable": False,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.http.speculative-parallel-limit": 0,
    "network.prefetch-next": False,
    "network.trr.mode": 5,  # no DNS over HTTPS
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "data:,",
}
_COLOR_SCHEME = "layout.css.prefers-color-scheme.content-override"
_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


def find() -> str | None:
    """Where Firefox is: CHATCORE_TEST_FIREFOX, or the first on the path."""
    return os.environ.get("CHATCORE_TEST_FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")


def launch(playwright: "Playwright", path: str, folder: Path, *, dark: bool = False) -> "Browser":
    """Start the Firefox at `path` on a fresh profile; the caller closes it. `folder`: for the relay's start script.

    The color scheme is the browser's here: a context or page that is told another raises Playwright's `Error`.
    """
    relay = folder / "firefox-relay"
    relay.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, __file__, path])} "$@"\n')
    relay.chmod(0o755)
    return playwright.firefox.launch(
        executable_path=relay,
        channel="moz-firefox",
        firefox_user_prefs=_PREFERENCES | {_COLOR_SCHEME: 0 if dark else 1},
        timeout=60_000,
    )


def _is_empty_override(command: dict[str, Any]) -> bool:
    """Whether this is the unknown command, and asks for nothing: Firefox need not hear of it."""
    if command.get("method") != "emulation.setMediaFeaturesOverride":
        return False
    return not any((command["params"].get("features") or {}).values())


async def _pass_up(playwright: ServerConnection, firefox: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in playwright:
            command = json.loads(message)
            if _is_empty_override(command):
                await playwright.send(json.dumps({"type": "success", "id": command["id"], "result": {}}))
            else:
                await firefox.send(message)


async def _pass_down(firefox: ClientConnection, playwright: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in firefox:
            await playwright.send(message)


async def _pass_on(output: asyncio.StreamReader) -> None:
    while line := await output.readline():
        sys.stderr.write(line.decode(errors="replace"))


async def _relay(path: str, arguments: list[str]) -> int:
    """Run Firefox, with a door of our own before its BiDi; its exit code."""
    process = await asyncio.create_subprocess_exec(path, *arguments, stderr=PIPE)
    assert process.stderr is not None
    while not (found := _LISTENING.search((line := await process.stderr.readline()).decode(errors="replace"))):
        if not line:
            return await process.wait()
        sys.stderr.write(line.decode(errors="replace"))
    output = asyncio.create_task(_pass_on(process.stderr))

    async def join(playwright: ServerConnection) -> None:
        assert playwright.request is not None
        async with connect(found[1] + playwright.request.path, max_size=None, compression=None, proxy=None) as firefox:
            ways = [_pass_up(playwright, firefox), _pass_down(firefox, playwright)]
            _, other = await asyncio.wait(map(asyncio.create_task, ways), return_when=asyncio.FIRST_COMPLETED)
            for task in other:
                task.cancel()

    async with serve(join, "127.0.0.1", 0, max_size=None, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"WebDriver BiDi listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
        code = await process.wait()
    await output
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(_relay(sys.argv[1], sys.argv[2:])))
