"""The variables of a system prompt."""

import secrets
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, update

from chatcore.agents import Agent, Agents, prompt_for, prompt_of
from chatcore.db import Database
from chatcore.db.tables import Tenant
from tests.conftest import add_person

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def said(text: str, person: str = "Ann", team: str = "Acme") -> str:
    return prompt_for(Agent("a", "a", "A", "", text), person, team, NOW)


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("Today is {{date}}.", "Today is Thursday, 26 November 2026."),
        ("{{ person }} of {{team}}", "Ann of Acme"),
        ("{{Person}} {{unknown}} {person} {{{person}}} {{date", "{{Person}} {{unknown}} {person} {Ann} {{date"),
        ("", ""),
    ],
)
def test_variables_are_filled_and_the_rest_stays(written: str, filled: str) -> None:
    assert said(written) == filled


def test_a_name_is_no_template() -> None:
    assert said("{{person}}", person="{{team}} \\1 {date}") == "{{team}} \\1 {date}"


@given(st.text())
def test_what_has_no_variable_is_never_changed(text: str) -> None:
    assert said(text) == text or any(
        f"{{{{{pad}{name}{pad}}}}}" in text for pad in ("", " ") for name in ("date", "person", "team")
    )


def test_a_turn_gets_the_day_of_the_teams_clock_and_reads_nothing_without_need(module_database: Database) -> None:
    mark = secrets.token_hex(4)
    ann = add_person(module_database, f"ann-{mark}", tenant=f"A-{mark}")
    zone = update(Tenant).where(Tenant.id == ann.tenant_id).values(timezone="Pacific/Kiritimati")
    module_database.write(lambda session: session.execute(zone))
    asked: list[str] = []
    hear = lambda *one: asked.append(one[2])  # noqa: E731
    event.listen(module_database.engine, "before_cursor_execute", hear)
    plain, whole = (
        module_database.read(lambda s, text=text: prompt_of(s, ann, Agent("a", "a", "A", "", text)))  # type: ignore[misc]
        for text in ("Be brief.", "{{person}} of {{team}}, {{date}}")
    )
    event.remove(module_database.engine, "before_cursor_execute", hear)
    there = datetime.now(ZoneInfo("Pacific/Kiritimati"))
    assert plain == "Be brief."
    assert whole == f"{ann.name} of A-{mark}, {there:%A, %-d %B %Y}"
    assert len([one for one in asked if "tenants" in one]) == 1
    assert Agents(module_database).preview(ann, "{{team}}") == f"A-{mark}"
