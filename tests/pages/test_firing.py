"""What fires, as a badge in the sidebar: for admins, and never in the way."""

from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from chatcore.accounts import Principal
from chatcore.errors import DatabaseError
from pages.ui import firing

ADMIN = Principal("user_a", "tenant_a", "ann", "Ann", "admin")
MEMBER = Principal("user_b", "tenant_a", "bob", "Bob", "member")


@pytest.fixture(autouse=True)
def alerts(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = SimpleNamespace(firing=lambda _who: [SimpleNamespace(rule_name="Slow replies", state="firing")])
    monkeypatch.setattr("chatcore.bootstrap._core", SimpleNamespace(alerts=found))
    st.cache_data.clear()
    yield found
    st.cache_data.clear()


def test_an_admin_sees_how_many_fire_and_a_member_nothing() -> None:
    assert firing.badge(ADMIN) == " :red-badge[1]"
    assert firing.badge(MEMBER) == ""


def test_what_is_about_to_fire_is_not_counted(alerts: Any) -> None:
    alerts.firing = lambda _who: [SimpleNamespace(rule_name="Slow replies", state="pending")]
    assert firing.badge(ADMIN) == ""


def test_a_database_that_is_away_takes_no_page_along(alerts: Any) -> None:
    def away(_who: Principal) -> None:
        raise DatabaseError("The database does not answer right now.")

    alerts.firing = away
    assert firing.badge(ADMIN) == ""


def test_the_answer_is_of_ones_own_tenant_and_role(alerts: Any) -> None:
    alerts.firing = lambda who: [SimpleNamespace(rule_name=f"{who.tenant_id} {who.role}", state="firing")]
    other, root = (
        Principal("user_c", "tenant_b", "c", "C", "admin"),
        Principal("user_r", "tenant_a", "r", "R", "operator"),
    )
    assert [firing.rules(who)[0] for who in (ADMIN, other, root)] == [
        "tenant_a admin", "tenant_b admin", "tenant_a operator",
    ]  # fmt: skip
