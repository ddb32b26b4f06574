"""The audit log on the admin page: in words, filtered, paged, exported, and each tenant's own."""

from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from chatcore.accounts.audit_log import Entry
from chatcore.db.tables import utcnow
from pages.ui import audit_parts
from tests.pages.test_admin import page, press


@pytest.fixture
def busy(house: Any) -> Any:
    """The house after some acts."""
    admin = house.accounts.system_principal("admin")
    bob = house.accounts.system_principal("bob").user_id
    house.accounts.set_tier(admin, bob, "pro")
    house.accounts.set_role(house.accounts.system_principal("root"), bob, "admin")
    return house


def shown(at: Any) -> list[str]:
    found: list[str] = at.dataframe[0].value["words"].tolist()
    return found


def test_acts_are_sentences_newest_first(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(busy, monkeypatch, "admin", url="Audit")
    assert shown(at)[:2] == ["Root made Bob an admin", "Admin put Bob into the tier pro"]
    assert at.dataframe[0].value["details"].tolist()[0] == "before: member, after: admin"
    assert "tenant" not in at.dataframe[0].value.columns[:1]


def test_they_are_filtered_by_act_and_by_people(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(busy, monkeypatch, "admin", url="Audit")
    admin = busy.accounts.system_principal("admin").user_id
    at.selectbox(key="audit-by").select(admin).run()
    assert shown(at) == ["Admin put Bob into the tier pro"]
    at.selectbox(key="audit-what").select("budget.").run()
    assert "Nothing is noted that is like that." in at.info[0].value
    at.selectbox(key="audit-what").select("user.").run()
    at.selectbox(key="audit-to").select(admin).run()
    assert at.info


def test_another_tenants_admin_sees_nothing_of_it(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(busy, monkeypatch, "stranger", url="Audit")
    assert not any("Bob" in one for one in shown(at))
    assert not [one for one in at.toggle if one.key == "audit-everywhere"]


def test_an_operator_sees_all_tenants_where_they_wish(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = page(busy, monkeypatch, "root", url="Audit")
    assert "The command line added Stranger" not in shown(at)
    at.toggle(key="audit-everywhere").set_value(True).run()
    assert "The command line added Stranger" in shown(at)
    assert set(at.dataframe[0].value["tenant"]) == {"Default", "Other"}


def test_more_come_when_asked_for(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root, bob = (busy.accounts.system_principal(name) for name in ("root", "bob"))
    for number in range(60):
        busy.accounts.set_team(root, bob.user_id, f"Team {number}")
    at = page(busy, monkeypatch, "admin", url="Audit")
    assert len(shown(at)) == 50
    press(at, "Show more")
    assert len(shown(at)) > 60
    at.selectbox(key="audit-what").select("user.").run()
    assert len(shown(at)) == 50, "another question begins again"


def test_the_file_is_of_what_is_shown() -> None:
    since = datetime(2026, 1, 31, tzinfo=UTC)
    wanted = audit_parts.Wanted("usr_1", "user.", since=since, everywhere=True)
    path, _, query = audit_parts.file_url(wanted).partition("?")
    assert path == "/api/audit/log.csv"
    assert parse_qs(query) == {
        "actor": ["usr_1"], "action": ["user."], "since": ["2026-01-31T00:00:00+00:00"], "everywhere": ["1"],
    }  # fmt: skip


def test_days_begin_at_midnight() -> None:
    assert str(audit_parts._since(1, date(2026, 1, 31))) == "2026-01-31 00:00:00+00:00"
    assert str(audit_parts._since(7, date(2026, 1, 31))) == "2026-01-25 00:00:00+00:00"
    assert audit_parts._since(0, date(2026, 1, 31)) is None


def test_details_are_read_without_quotes_around_words() -> None:
    facts = {"role": "admin", "amount": 5, "models": ["a"], "hard": True}
    entry = Entry("a", utcnow(), "T", "", "x", "budget.set", "", "", "", facts)
    assert audit_parts.details(entry) == 'role: admin, amount: 5, models: ["a"], hard: true'
