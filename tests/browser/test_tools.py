"""A tool in the page: it asks first, is allowed or refused, shows what it found, and is stored as it was shown."""

import re

import pytest
from playwright.sync_api import expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from chatcore.db.tables import Agent, User
from chatcore.ids import new_id
from tests.browser.conftest import Open, Screen
from tests.serving import Server, Site

QUESTION = "What did I spend, by model?"


@pytest.fixture
def gus(site: Site, server: Server, open_tab: Open, request: pytest.FixtureRequest) -> Screen:
    """A tab of a new person, with an agent that asks before it looks at their usage."""
    name = re.sub(r"[^a-z]", "", request.node.name)[-30:]
    cookie = site.person(name)
    slug = new_id("agent")

    def work(session: Session) -> None:
        tenant_id = session.scalar(select(User.tenant_id).where(User.username == name))
        tools = [{"name": "query_database", "asks_first": True}]
        session.add(Agent(id=slug, tenant_id=tenant_id, slug=slug, name="Accountant", tools=tools))

    site.database.write(work)
    return open_tab(cookie, at=server).go(f"/?agent={slug}&model=demo/quick")


def test_a_tool_asks_runs_after_a_yes_and_shows_what_it_found(gus: Screen) -> None:
    gus.ask(QUESTION)
    asks = gus.page.locator('[class*="st-key-asks-"]')
    expect(asks).to_contain_text("Query a database: usage")
    expect(asks).to_contain_text("SELECT")
    gus.page.get_by_role("button", name="Allow").click()
    gus.finished(60)
    reply = gus.messages.last
    expect(reply.get_by_text("The query gave")).to_be_visible()
    expect(reply.get_by_text("Query a database: usage")).to_be_visible()
    assert asks.count() == 0
    gus.page.reload()
    expect(gus.messages.last.get_by_text("The query gave")).to_be_visible()
    expect(gus.messages.last.get_by_text("Query a database: usage")).to_be_visible()


def test_a_refused_tool_does_not_run(gus: Screen, site: Site) -> None:
    gus.ask(QUESTION)
    gus.page.get_by_role("button", name="Refuse").click()
    gus.finished(60)
    expect(gus.messages.last.get_by_text(re.compile("failed"))).to_be_visible()
    gus.messages.last.get_by_text("Query a database: usage").click()
    expect(gus.messages.last.get_by_text("did not allow this call").first).to_be_visible()


def test_a_tool_that_asks_is_stopped_as_any_reply(gus: Screen) -> None:
    gus.ask(QUESTION)
    expect(gus.page.get_by_role("button", name="Allow")).to_be_visible()
    gus.page.locator(".st-key-stop button").click()
    gus.finished(60)
    expect(gus.messages.last.get_by_text("Stopped.", exact=True)).to_be_visible()
