"""The route to the audit log as a file: for whom, of which entries, and what is said where there is none."""

import csv
import io
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select
from starlette.applications import Starlette

from chatcore.accounts import Accounts, Console
from chatcore.accounts.audit_log import AuditLog
from chatcore.api import COOKIE, middleware, routes
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import AuditEntry
from chatcore.errors import Unauthorized

with warnings.catch_warnings():
    # It would rather have httpx2, which nothing else here needs.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

URL = "/api/audit/log.csv"


@pytest.fixture
def core(database: Database, settings: Settings) -> Any:
    """ada, an operator, and bob of one tenant, eve, an admin of another; ada made bob an admin and took it back."""
    accounts = Accounts(database, settings)
    accounts.ensure_ready()
    console = Console(database)
    console.add_tenant("Elsewhere")
    for name, role, tenant in (("ada", "operator", None), ("bob", "member", None), ("eve", "admin", "Elsewhere")):
        console.add_user(name, "correct horse", name=name, role=role, tenant=tenant, tier="free")
    ada, bob = (accounts.system_principal(name) for name in ("ada", "bob"))
    accounts.set_role(ada, bob.user_id, "admin")
    accounts.set_role(ada, bob.user_id, "member")
    audit = AuditLog(database)
    return SimpleNamespace(settings=settings, db=database, accounts=accounts, audit=audit, usage=None, attachments=None)


def client(core: Any, username: str | None, base: str = "") -> TestClient:
    app = Starlette(routes=routes(core, base), middleware=middleware(core, base))
    cookies = {COOKIE: core.accounts.new_session_token(username)} if username else {}
    return TestClient(app, cookies=cookies)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_an_admin_gets_the_entries_of_their_tenant(core: Any) -> None:
    with client(core, "eve") as opened:
        answer = opened.get(URL)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith('attachment; filename="chatcore-audit-')
    assert {row["tenant"] for row in rows(answer.text)} == {"Elsewhere"}
    assert rows(answer.text)[0]["action"] == "audit.export"


def test_filters_hold(core: Any) -> None:
    ada = core.accounts.system_principal("ada").user_id
    with client(core, "ada") as opened:
        found = rows(opened.get(URL, params={"action": "user.role", "actor": ada}).text)
        assert [row["words"] for row in found] == ["ada made bob a member", "ada made bob an admin"]
        everywhere = rows(opened.get(URL, params={"everywhere": "1"}).text)
    assert {row["tenant"] for row in everywhere} == {"Default", "Elsewhere"}


@pytest.mark.parametrize(
    ("username", "params", "status"),
    [
        (None, {}, 401),
        ("bob", {}, 403),
        ("eve", {"everywhere": "1"}, 403),
        ("eve", {"since": "yesterday"}, 422),
        ("eve", {"since": "2026-01-01T00:00:00"}, 422),
        ("eve", {"since": "0001-01-01T00:00:00+14:00"}, 422),
        ("eve", {"until": "9999-12-31T23:59:59-14:00"}, 422),
        ("eve", {"actor": "a\0"}, 422),
        ("eve", {"action": "\0"}, 422),
        ("eve", {"target": "x" * 501}, 422),
    ],
)
def test_who_may_not_gets_a_sentence(core: Any, username: str | None, params: dict[str, str], status: int) -> None:
    with client(core, username) as opened:
        answer = opened.get(URL, params=params)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].endswith(".")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200), ({"Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://testserver"}, 200), ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403), ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
    ],
)  # fmt: skip
def test_another_site_makes_nobody_ask_for_it(core: Any, headers: dict[str, str], status: int) -> None:
    with client(core, "eve") as opened:
        assert opened.get(URL, headers=headers).status_code == status
    assert len(exports(core)) == (status == 200)


def test_it_has_no_head(core: Any) -> None:
    with client(core, "eve") as opened:
        answer = opened.head(URL)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert exports(core) == []


@pytest.mark.parametrize("change", ["demoted", "disabled", "signed out", "nothing"])
def test_it_breaks_off_when_its_asker_may_not_read_on(core: Any, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr("chatcore.accounts.audit_log._PAGE", 2)
    console, eve = Console(core.db), core.accounts.system_principal("eve")
    console.add_user("fay", "correct horse", name="fay", role="admin", tenant="Elsewhere", tier="free")
    acts: dict[str, Callable[[], object]] = {
        "demoted": lambda: console.set_role("eve", "member"),
        "disabled": lambda: console.set_disabled("eve", True),
        "signed out": lambda: core.accounts.sign_out_everywhere(eve, keep_current=False),
        "nothing": lambda: None,
    }
    core.audit = SimpleNamespace(export_csv=lambda *asked: cut(AuditLog(core.db).export_csv(*asked), acts[change]))
    with client(core, "eve") as opened:
        if change == "nothing":
            assert len(rows(opened.get(URL).text)) > 4
            return
        with pytest.raises(Unauthorized, match="signed out"):
            opened.get(URL)


def cut(pieces: Iterator[str], act: Callable[[], object]) -> Iterator[str]:
    """The pieces, with an act between the ones that are sent first and the others."""
    yield next(pieces)
    yield next(pieces)
    act()
    yield from pieces


def exports(core: Any) -> list[str]:
    wanted = select(AuditEntry.id).where(AuditEntry.action == "audit.export")
    return list(core.db.read(lambda session: session.scalars(wanted).all()))
