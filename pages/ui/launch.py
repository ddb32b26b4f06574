"""What `app.py` gives to `st.App`: our routes and middleware, and what happens when the process starts and ends."""

import asyncio
import gc
import importlib
import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import streamlit as st
from streamlit import net_util

from chatcore.api import company_middleware, middleware, routes, sockets
from chatcore.bootstrap import Core
from pages.ui import company

log = logging.getLogger("chatcore.pages")


def options(core: Core) -> dict[str, Any]:
    """The keyword arguments of `st.App`."""
    base_path = str(st.get_option("server.baseUrlPath") or "")
    # Streamlit would else ask a server on the internet for our address: at the start, and again, on the loop that
    # serves everybody, for each websocket that comes from another site.
    net_util._external_ip = ""

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
        # Every open page that runs is a thread. With Python's usual 5 ms, the loop that sends to all of them would
        # wait its turn behind each.
        sys.setswitchinterval(0.001)
        await asyncio.to_thread(core.start)
        threading.Thread(target=_warm, args=(core,), name="warm", daemon=True).start()
        if core.setup_code:
            _say_setup_link(core, base_path)
        sockets.send_at_once()
        yield {}
        await asyncio.to_thread(core.close)

    return {
        "routes": routes(core, base_path),
        "middleware": [*middleware(core, base_path), *company_middleware(core, base_path, company.read_claims)],
        "secrets": company.secrets(core, f"/{base_path.strip('/')}" if base_path.strip("/") else ""),
        "lifespan": lifespan,
        "on_script_error": _on_script_error,
    }


def _warm(core: Core) -> None:
    """Import what the first pages would else wait for, then freeze the heap: full collections stall every page."""
    logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context").addFilter(_not_while_warming)
    for name in ("pandas", "streamlit_authenticator", *company.modules(core)):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _not_while_warming(record: logging.LogRecord) -> bool:
    return record.threadName != "warm"  # streamlit_authenticator touches the session's state when it is imported


def _say_setup_link(core: Core, base_path: str) -> None:
    """The link with which the first person makes the first account."""
    path = f"/{base_path.strip('/')}" if base_path.strip("/") else ""
    origin = core.settings.public_url or f"http://localhost:{st.get_option('server.port')}"
    origin = origin if path and origin.endswith(path) else origin + path
    print(f"\n  Make the first account here (works once):\n  {origin}/?setup={core.setup_code}\n", flush=True)  # noqa: T201


def _on_script_error(error: Exception) -> bool:
    """A defect of ours: the log has it whole, the person a sentence."""
    log.error("a page failed", exc_info=error)
    st.error("Something went wrong on our side. Reload the page and try again.", icon=":material/error:")
    return True
