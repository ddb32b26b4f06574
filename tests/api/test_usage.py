"""The route to the ledger's rows as a file: for whom, of which calls, and what is said where there is none."""

import csv
import io
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import insert, select
from starlette.applications import Starlette

from chatcore.accounts import Accounts, Console
from chatcore.api import COOKIE, middleware, routes
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import AuditEntry, UsageMetric
from chatcore.errors import Unauthorized
from chatcore.usage import Usage

with warnings.catch_warnings():
    # It would rather have httpx2, which nothing else here needs.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
RANGE = {"start": "2026-03-01T00:00:00+00:00", "end": "2026-03-02T00:00:00+00:00"}


@pytest.fixture
def core(database: Database, settings: Settings) -> Any:
    """ada, an admin, and bob of one tenant, eve, an admin of another: one call each of a model named after them."""
    accounts = Accounts(database, settings)
    accounts.ensure_ready()
    console = Console(database)
    console.add_tenant("Elsewhere")
    for name, role, tenant in (("ada", "admin", None), ("bob", "member", None), ("eve", "admin", "Elsewhere")):
        console.add_user(name, "correct horse", name=name, role=role, tenant=tenant, tier="free")  # type: ignore[arg-type]
    rows = []
    for name in ("ada", "bob", "eve"):
        who = accounts.system_principal(name)
        rows.append({
            "id": f"use_{name}", "created_at": AT + timedelta(minutes=len(rows)), "tenant_id": who.tenant_id,
            "user_id": who.user_id, "purpose": "chat", "provider": "acme", "model": f"={name}", "outcome": "ok",
            "trace_id": "t",
        })  # fmt: skip
    database.write(lambda session: session.execute(insert(UsageMetric), rows))
    return SimpleNamespace(settings=settings, db=database, accounts=accounts, usage=Usage(database), attachments=None)


def client(core: Any, username: str | None, base: str = "") -> TestClient:
    app = Starlette(routes=routes(core, base), middleware=middleware(core, base))
    cookies = {COOKIE: core.accounts.new_session_token(username)} if username else {}
    return TestClient(app, cookies=cookies)


def models(text: str) -> list[str]:
    return [row["model"] for row in csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))]


def test_a_file_holds_the_calls_that_one_may_count(core: Any) -> None:
    for name, expected in (("ada", ["'=bob", "'=ada"]), ("bob", ["'=bob"]), ("eve", ["'=eve"])):
        with client(core, name) as opened:
            answer = opened.get("/api/usage/calls.csv", params=RANGE)
        assert answer.status_code == 200
        assert models(answer.text) == expected


def test_a_member_asking_for_another_gets_no_row(core: Any) -> None:
    ada = core.accounts.system_principal("ada").user_id
    with client(core, "bob") as opened:
        assert models(opened.get("/api/usage/calls.csv", params=RANGE | {"person": ada}).text) == []


def test_filters_hold_and_can_be_repeated(core: Any) -> None:
    with client(core, "ada") as opened:
        asked = {**RANGE, "model": ["=ada", "=gone"], "provider": "acme"}
        assert models(opened.get("/api/usage/calls.csv", params=asked).text) == ["'=ada"]
        assert models(opened.get("/api/usage/calls.csv", params={**RANGE, "tier": "pro"}).text) == []


def test_parquet_can_be_read(core: Any) -> None:
    with client(core, "ada", "/base") as opened:
        answer = opened.get("/base/api/usage/calls.parquet", params=RANGE)
    table = pq.read_table(io.BytesIO(answer.content))
    assert table["model"].to_pylist() == ["=bob", "=ada"]
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"


def test_the_file_has_a_name_and_is_kept_by_no_cache(core: Any) -> None:
    with client(core, "ada") as opened:
        headers = opened.get("/api/usage/calls.csv", params=RANGE).headers
    assert headers["content-disposition"] == 'attachment; filename="usage-2026-03-01-to-2026-03-01.csv"'
    assert headers["cache-control"] == "private, no-store"


def test_nobody_gets_a_sentence(core: Any) -> None:
    with client(core, None) as opened:
        answer = opened.get("/api/usage/calls.csv", params=RANGE)
    assert answer.status_code == 401
    assert "Sign in" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "asked",
    [{}, {"start": "x", "end": "y"}, {"start": "2026-03-01", "end": "2026-03-02"}, {**RANGE, "end": RANGE["start"]},
     {"start": "1066-01-01T00:00:00Z", "end": "1067-01-01T00:00:00Z"},
     {**RANGE, "start": "0001-01-01T00:00:00+14:00"}, {**RANGE, "end": "9999-12-31T23:59:59-14:00"}],
)  # fmt: skip
def test_a_range_that_is_none_is_told_so(core: Any, asked: dict[str, str]) -> None:
    with client(core, "ada") as opened:
        answer = opened.get("/api/usage/calls.csv", params=asked)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].endswith(".")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("asked", [{"person": "a\0"}, {"team": "x" * 501}, {"model": ["x"] * 5_001}])
def test_values_that_no_call_has_are_told_so(core: Any, kind: str, asked: dict[str, Any]) -> None:
    with client(core, "ada") as opened:
        answer = opened.get(f"/api/usage/calls.{kind}", params={**RANGE, **asked})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].endswith(".")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200), ({"Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Origin": "https://evil.example"}, 403),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_another_site_makes_nobody_ask_for_it(core: Any, kind: str, headers: dict[str, str], status: int) -> None:
    with client(core, "ada") as opened:
        assert opened.get(f"/api/usage/calls.{kind}", params=RANGE, headers=headers).status_code == status
    assert len(exports(core)) == (status == 200)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_it_has_no_head(core: Any, kind: str) -> None:
    with client(core, "ada", "/base") as opened:
        assert opened.head(f"/base/api/usage/calls.{kind}", params=RANGE).status_code == 405
    assert exports(core) == []


@pytest.mark.parametrize("change", ["demoted", "disabled", "signed out", "nothing"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_it_breaks_off_when_its_asker_may_not_read_on(
    core: Any, monkeypatch: pytest.MonkeyPatch, kind: str, change: str
) -> None:
    monkeypatch.setattr("chatcore.usage.rows._PAGE", 1)
    monkeypatch.setattr("chatcore.usage.export._GROUP_ROWS", 1)
    console, ada = Console(core.db), core.accounts.system_principal("ada")
    console.add_user("amy", "correct horse", name="amy", role="operator", tenant=None, tier="free")
    acts: dict[str, Callable[[], object]] = {
        "demoted": lambda: console.set_role("ada", "member"),
        "disabled": lambda: console.set_disabled("ada", True),
        "signed out": lambda: core.accounts.sign_out_everywhere(ada, keep_current=False),
        "nothing": lambda: None,
    }
    usage = core.usage
    core.usage = SimpleNamespace(
        export_csv=lambda *asked: cut(usage.export_csv(*asked), 2, acts[change]),
        export_parquet=lambda *asked: cut(usage.export_parquet(*asked), 1, acts[change]),
    )
    with client(core, "ada") as opened:
        if change == "nothing":
            assert opened.get(f"/api/usage/calls.{kind}", params=RANGE).status_code == 200
            return
        with pytest.raises(Unauthorized, match="signed out"):
            opened.get(f"/api/usage/calls.{kind}", params=RANGE)


def cut(pieces: Iterator[Any], first: int, act: Callable[[], object]) -> Iterator[Any]:
    """The pieces, with an act between the ones that are sent first and the others."""
    for _ in range(first):
        yield next(pieces)
    act()
    yield from pieces


def exports(core: Any) -> list[str]:
    wanted = select(AuditEntry.id).where(AuditEntry.action == "usage.export")
    return list(core.db.read(lambda session: session.scalars(wanted).all()))
