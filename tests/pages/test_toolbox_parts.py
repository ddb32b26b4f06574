"""The admin page's tab of tools: what there is, what cannot be used and why, and how MCP servers do."""

import time
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from chatcore.bootstrap import Core
from chatcore.tools.mcp import Health
from tests.conftest import add_person


class Servers:
    """What the page asks of `core().mcp`."""

    def __init__(self, *found: Health) -> None:
        self.found = list(found)
        self.again: list[str] = []

    def health(self, who: Any) -> list[Health]:
        return self.found

    def reconnect(self, who: Any, name: str) -> None:
        self.again.append(name)


def script() -> None:
    from pages.ui import session, toolbox_parts

    toolbox_parts.draw(session.require_principal())


@pytest.fixture
def tab(house: Core, monkeypatch: pytest.MonkeyPatch) -> Any:
    def opened(role: str, servers: Servers) -> AppTest:
        who = add_person(house.db, f"{role}-of-tools", role=role)  # type: ignore[arg-type]
        object.__setattr__(house, "mcp", servers)
        monkeypatch.setattr("pages.ui.session.require_principal", lambda: who)
        at = AppTest.from_function(script, default_timeout=20).run()
        assert not at.exception
        return at

    return opened


def words(at: AppTest) -> str:
    return "\n".join(one.value for one in [*at.markdown, *at.caption])


def test_tools_that_cannot_be_used_say_why(tab: Any) -> None:
    at = tab("admin", Servers())
    assert "Query a database" in words(at)
    assert "switched off" in words(at), "running code is"
    assert "None is configured" in words(at)


def test_servers_show_how_they_do_and_operators_connect_anew(tab: Any) -> None:
    away = Health("files", "away", time.time(), "Its program is not there.")
    servers = Servers(Health("docs", "ready", time.time(), tools=7, kept_out=1, round_trip_ms=12), away)
    at = tab("operator", servers)
    assert "7 tools" in words(at)
    assert "1 kept out" in words(at)
    assert "Its program is not there." in words(at).replace("\\", "")
    at.button(key="mcp-again-files").click().run()
    assert servers.again == ["files"]
    assert not [one for one in tab("admin", servers).button if str(one.key).startswith("mcp-again")]
