"""The route to the bytes of attachments: for whom, as what, and with which headers."""

import secrets
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette

from chatcore.accounts import Accounts, Console
from chatcore.api import COOKIE, middleware, routes
from chatcore.config import Settings
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database
from tests.conversations.test_attachments import document, picture, sound, words
from tests.tools import films

with warnings.catch_warnings():
    # It would rather have httpx2, which nothing else here needs.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


@pytest.fixture
def core(database: Database, settings: Settings) -> Any:
    accounts = Accounts(database, settings)
    accounts.ensure_ready()
    console = Console(database)
    console.add_tenant("Elsewhere")
    for name, tenant in (("ada", None), ("bob", None), ("eve", "Elsewhere")):
        console.add_user(name, "correct horse", name=name, role=None, tenant=tenant, tier="free")
    return SimpleNamespace(
        settings=settings,
        db=database,
        accounts=accounts,
        attachments=Attachments(database, settings),
        turns=SimpleNamespace(is_running=True),
    )


def client(core: Any, username: str | None, base: str = "") -> TestClient:
    app = Starlette(routes=routes(core, base), middleware=middleware(core, base))
    cookies = {COOKIE: core.accounts.new_session_token(username)} if username else {}
    return TestClient(app, cookies=cookies)


@pytest.fixture
def ada(core: Any) -> Iterator[TestClient]:
    with client(core, "ada") as opened:
        yield opened


def add(core: Any, name: str, data: bytes, username: str = "ada") -> str:
    found: str = core.attachments.add(core.accounts.system_principal(username), name, data).id
    return found


@pytest.mark.parametrize(
    ("name", "data", "served_as", "how"),
    [
        ("a.png", picture(), "image/png", "inline"),
        ("a.gif", picture("GIF"), "image/gif", "inline"),
        ("a.wav", sound(), "audio/wav", "inline"),
        ("a.html", b"<script>alert(1)</script>", "text/plain; charset=utf-8", "attachment"),
        ("a.pdf", document(words(b"Hi")), "application/octet-stream", "attachment"),
    ],
)
def test_only_what_cannot_run_is_drawn_by_the_browser(
    core: Any, ada: TestClient, name: str, data: bytes, served_as: str, how: str
) -> None:
    answer = ada.get(f"/api/attachments/{add(core, name, data)}")
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"] == served_as
    assert answer.headers["content-disposition"] == f"{how}; filename*=UTF-8''{name}"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["cache-control"] == "private, no-cache"


def test_any_name_makes_a_safe_header(core: Any, ada: TestClient) -> None:
    name = 'a"; x=ü\r\nSet-Cookie: y🎉.txt'
    answer = ada.get(f"/api/attachments/{add(core, name, b'words')}")
    disposition = answer.headers["content-disposition"]
    assert disposition == "attachment; filename*=UTF-8''a%22%3B%20x%3D%C3%BC%20Set-Cookie%3A%20y%F0%9F%8E%89.txt"
    assert "set-cookie" not in answer.headers


def test_a_browser_that_has_it_is_not_sent_it_again(core: Any, ada: TestClient) -> None:
    url = f"/api/attachments/{add(core, 'a.png', picture())}"
    tag = ada.get(url).headers["etag"]
    answer = ada.get(url, headers={"If-None-Match": f'"other", {tag}'})
    assert (answer.status_code, answer.content) == (304, b"")
    assert ada.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_player_may_ask_for_a_part(core: Any, ada: TestClient) -> None:
    data = sound()
    answer = ada.get(f"/api/attachments/{add(core, 'a.wav', data)}", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, data[10:20])


def test_a_video_is_played_by_the_browser_piece_by_piece(core: Any, ada: TestClient) -> None:
    data = films.film()
    url = f"/api/attachments/{add(core, 'clip.mp4', data)}"
    answer = ada.get(url, headers={"Range": "bytes=1000-1999"})
    assert (answer.status_code, answer.content) == (206, data[1000:2000])
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''clip.mp4"


def test_nobody_and_strangers_are_told_that_it_is_not_there(core: Any, ada: TestClient) -> None:
    url = f"/api/attachments/{add(core, 'a.txt', b'secret')}"
    absent = ada.get("/api/attachments/att_nobody")
    assert absent.status_code == 404
    for username in (None, "bob", "eve"):
        with client(core, username) as other:
            answer = other.get(url)
            assert (answer.status_code, answer.json()) == (404, absent.json())
            assert other.get(url, headers={"X-Chatcore-Session": "bs_made_up"}).status_code == 404
            assert other.get(f"{url}?s={secrets.token_hex(8)}").status_code == 404


def test_who_signed_out_is_nobody(core: Any, ada: TestClient) -> None:
    url = f"/api/attachments/{add(core, 'a.txt', b'secret')}"
    assert ada.get(url).status_code == 200
    ada.post("/session/leave")
    assert ada.get(url).status_code == 404


def test_a_shares_token_opens_what_it_shows(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def reads(_session: object, _settings: object, _who: object, token: str, _attachment_id: str) -> bool:
        return token == "good"

    monkeypatch.setattr("chatcore.conversations.sharing.reads_attachment", reads)
    url = f"/api/attachments/{add(core, 'a.txt', b'shared')}"
    with client(core, "bob") as bob, client(core, None) as nobody, client(core, "eve") as eve:
        assert bob.get(f"{url}?s=good").content == b"shared"
        assert bob.get(f"{url}?s=bad").status_code == 404
        assert nobody.get(f"{url}?s=good").status_code == 404
        assert eve.get(f"{url}?s=good").status_code == 404


def test_the_route_stands_below_the_base_path(core: Any) -> None:
    attachment_id = add(core, "a.png", picture())
    with client(core, "ada", "/chat") as below:
        assert below.get(f"/chat/api/attachments/{attachment_id}").status_code == 200
        assert below.get(f"/api/attachments/{attachment_id}").status_code == 404


@pytest.mark.parametrize("wanted", ["..%2f..%2fsecret_key", "%00", "x" * 5000, "a' OR 1=1 --"])
def test_no_id_leads_anywhere_else(ada: TestClient, wanted: str) -> None:
    assert ada.get(f"/api/attachments/{wanted}").status_code == 404
