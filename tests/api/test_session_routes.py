"""The cookie's way in and out, what the middleware takes away and adds, and the two health routes."""

import asyncio
import warnings
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from chatcore.accounts import Accounts, Console, passwords
from chatcore.api import COOKIE, middleware, routes
from chatcore.api.session import safe_path
from chatcore.config import Settings
from chatcore.db import Database, downgrade
from chatcore.db.tables import BrowserSession, utcnow

with warnings.catch_warnings():
    # It would rather have httpx2, which nothing else here needs.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

PASSWORD = "correct horse"


@pytest.fixture
def core(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(passwords, "_ROUNDS", 4)
    accounts = Accounts(database, settings)
    accounts.ensure_ready()
    Console(database).add_user("ada", PASSWORD, name="Ada", role=None, tenant=None, tier="free")
    return SimpleNamespace(settings=settings, db=database, accounts=accounts, turns=SimpleNamespace(is_running=True))


async def seen_by_http(request: Request) -> JSONResponse:
    return JSONResponse(ours(request.headers))


async def seen_by_websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(ours(websocket.headers))
    await websocket.close()


def ours(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if "chatcore" in name and name != "cookie"}


def client(core: Any, base: str = "", **options: Any) -> TestClient:
    extra = [
        Route(f"{base}/api/echo", seen_by_http),
        Route(f"{base}/static.js", seen_by_http),
        WebSocketRoute(f"{base}/_stcore/stream", seen_by_websocket),
    ]
    app = Starlette(routes=[*extra, *routes(core, base)], middleware=middleware(core, base))
    return TestClient(app, follow_redirects=False, client=("203.0.113.5", 4000), **options)


@pytest.fixture
def http(core: Any) -> Iterator[TestClient]:
    with client(core) as opened:
        yield opened


def sign_in(core: Any, http: TestClient, base: str = "", **query: str) -> Any:
    return http.get(f"{base}/session/enter", params={"ticket": core.accounts.ticket("ada"), **query})


def websocket_sees(http: TestClient, base: str = "", **headers: str) -> dict[str, str]:
    with http.websocket_connect(f"{base}/_stcore/stream", headers=headers) as socket:
        seen: dict[str, str] = socket.receive_json()
        return seen


def test_a_ticket_becomes_a_cookie_that_scripts_cannot_read(core: Any, http: TestClient) -> None:
    answer = sign_in(core, http, next="/usage?range=7d")
    assert (answer.status_code, answer.headers["location"]) == (303, "/usage?range=7d")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/;" in cookie
    assert "Secure" not in cookie
    assert answer.headers["cache-control"] == "no-store"
    row = core.db.read(lambda s: s.scalars(select(BrowserSession)).one())
    assert row.address == "203.0.113.5"
    assert 29 <= (row.expires_at - utcnow()).days <= 30
    assert websocket_sees(http)["x-chatcore-session"] == row.id


def test_under_https_the_cookie_is_for_https_only(core: Any) -> None:
    with client(core, base_url="https://testserver") as http:
        assert "Secure" in sign_in(core, http).headers["set-cookie"]


def test_a_named_proxy_says_whether_it_is_https(core: Any) -> None:
    for proxies, secure in (((ip_network("203.0.113.0/24"),), True), ((), False)):
        core.settings = replace(core.settings, trusted_proxies=proxies)
        with client(core) as http:
            ticket = core.accounts.ticket("ada")
            answer = http.get(f"/session/enter?ticket={ticket}", headers={"X-Forwarded-Proto": "https"})
            assert ("Secure" in answer.headers["set-cookie"]) is secure


def test_a_ticket_enters_once(core: Any, http: TestClient) -> None:
    ticket = core.accounts.ticket("ada")
    assert "set-cookie" in http.get(f"/session/enter?ticket={ticket}").headers
    for bad in (ticket, "", "x" * 5000, "%00"):
        answer = http.get(f"/session/enter?ticket={bad}")
        assert answer.status_code == 303
        assert "set-cookie" not in answer.headers


def test_a_link_on_another_site_signs_nobody_in(core: Any, http: TestClient) -> None:
    ticket = core.accounts.ticket("ada")
    for site in ("cross-site", "same-site"):
        answer = http.get(f"/session/enter?ticket={ticket}", headers={"Sec-Fetch-Site": site})
        assert "set-cookie" not in answer.headers
    assert (
        "set-cookie" in http.get(f"/session/enter?ticket={ticket}", headers={"Sec-Fetch-Site": "same-origin"}).headers
    )


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/a\r\nSet-Cookie: x=1", "evil",
     "javascript:alert(1)", "/\t/evil.example", "", "/session/enter?ticket=x", "///evil.example"],
)  # fmt: skip
def test_no_redirect_leads_away(core: Any, http: TestClient, target: str) -> None:
    assert sign_in(core, http, next=target).headers["location"] == "/"


@given(st.text())
def test_whatever_is_asked_for_the_path_stays_on_this_host(target: str) -> None:
    path = safe_path(target)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert path.isprintable()


def test_under_a_base_path(core: Any) -> None:
    with client(core, "/chat") as http:
        answer = sign_in(core, http, "/chat", next="/usage")
        assert answer.headers["location"] == "/chat/usage"
        assert "Path=/chat;" in answer.headers["set-cookie"]
        assert "x-chatcore-session" in websocket_sees(http, "/chat")
        assert http.get("/chat/api/health").json() == {"status": "ok"}
        assert http.get("/api/health").status_code == 404


def test_leaving_ends_the_session_and_takes_the_cookie(core: Any, http: TestClient) -> None:
    sign_in(core, http)
    answer = http.post("/session/leave", headers={"Origin": "http://testserver"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert core.db.read(lambda s: s.scalars(select(BrowserSession.revoked_at)).one()) is not None
    assert "x-chatcore-session" not in websocket_sees(http)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    ],
)
def test_another_site_signs_nobody_out(core: Any, http: TestClient, headers: dict[str, str]) -> None:
    sign_in(core, http)
    assert http.post("/session/leave", headers=headers).status_code == 403
    assert "x-chatcore-session" in websocket_sees(http)


def test_get_only_tidies_away_a_dead_cookie(core: Any, http: TestClient) -> None:
    sign_in(core, http)
    assert "set-cookie" not in http.get("/session/leave").headers
    core.accounts.sign_out(websocket_sees(http)["x-chatcore-session"])
    assert "Max-Age=0" in http.get("/session/leave").headers["set-cookie"]


def test_headers_that_only_we_set_are_taken_from_whoever_sends_them(core: Any, http: TestClient) -> None:
    session_id = asyncio.run(core.accounts.session_for_token(core.accounts.new_session_token("ada")))
    forged = {"X-Chatcore-Session": session_id, "X_Chatcore_Session": session_id, "X-Chatcore-Address": "6.6.6.6"}
    expected = {"x-chatcore-address": "203.0.113.5"}
    assert websocket_sees(http, **forged) == expected
    assert http.get("/api/echo", headers=forged).json() == expected
    assert http.get("/static.js", headers=forged).json() == expected


def test_a_forwarded_address_from_a_stranger_is_not_believed(core: Any, http: TestClient) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6"}
    assert websocket_sees(http, **forged)["x-chatcore-address"] == "203.0.113.5"


@pytest.mark.parametrize(
    "cookie", ["", "x", "a=b; chatcore_session", f"{COOKIE}=", f"{COOKIE}=\x7f\xff", f"{COOKIE}=nobody"]
)
def test_a_cookie_that_is_no_session_is_nobody(http: TestClient, cookie: str) -> None:
    assert "x-chatcore-session" not in http.get("/api/echo", headers={"Cookie": cookie.encode("latin-1")}).json()


def test_a_dead_cookie_of_the_same_name_hides_no_live_one(core: Any, http: TestClient) -> None:
    token = core.accounts.new_session_token("ada")
    cookie = f"{COOKIE}=dead; other=1; {COOKIE}={token}"
    assert "x-chatcore-session" in http.get("/api/echo", headers={"Cookie": cookie}).json()


def test_every_answer_carries_the_security_headers(http: TestClient) -> None:
    for path in ("/api/health", "/nowhere", "/session/leave", "/static.js"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "frame-ancestors 'self'; img-src 'self' data: blob:"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["referrer-policy"] == "same-origin"


def test_ready_says_what_is_missing(core: Any, http: TestClient) -> None:
    assert http.get("/api/ready").json() == {
        "status": "ready", "database": True, "migrations": True, "engine": True,
    }  # fmt: skip
    core.turns.is_running = False
    assert (http.get("/api/ready").status_code, http.get("/api/ready").json()["engine"]) == (503, False)
    core.turns.is_running = True
    downgrade(core.db, "base")
    assert (http.get("/api/ready").status_code, http.get("/api/ready").json()["migrations"]) == (503, False)
    assert http.get("/api/health").status_code == 200


def test_without_a_database_a_signed_in_person_is_not_taken_for_a_stranger(core: Any, http: TestClient) -> None:
    sign_in(core, http)
    with core.db.engine.begin() as connection:
        connection.execute(text("ALTER TABLE browser_sessions RENAME TO hidden"))
    assert http.get("/api/echo").status_code == 503
    with pytest.raises(WebSocketDisconnect), http.websocket_connect("/_stcore/stream"):
        pass
