"""Journeys of failure and of limits: a provider that fails, a limit, a budget, a flag that an operator changes."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from chatcore.flags import FlagStore, LimitRule
from chatcore.usage.budgets import Budgets
from tests.browser.conftest import Open, Screen
from tests.hostile import HostileProvider
from tests.serving import Server, Site

DEAD, GOOD, CUT, SILENT = "primary", "stand-in", "cutter", "silent"


@pytest.fixture(scope="module")
def gateway_site(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Site]:
    models = {DEAD: "503", GOOD: "ok;n=20", CUT: "cut;n=40;at=12", SILENT: "hang"}
    router = {"fallbacks": [{name: [GOOD]} for name in (DEAD, CUT, SILENT)]}
    folder = tmp_path_factory.mktemp("gateway")
    site = Site(folder, provider.url, models, router=router, default_model=DEAD, rate_limits=True, slow_after=2)
    site.person("root", "operator")
    yield site
    site.close()


@pytest.fixture(scope="module")
def gateway_server(gateway_site: Site) -> Iterator[Server]:
    with gateway_site.running() as server:
        yield server


@pytest.fixture
def eve(gateway_site: Site, gateway_server: Server, open_tab: Open, request: pytest.FixtureRequest) -> Screen:
    """A tab of a new person at the empty chat page of this server."""
    name = re.sub(r"[^a-z]", "", request.node.name)[-30:]
    return open_tab(gateway_site.person(name), at=gateway_server).go()


def caption(screen: Screen) -> str:
    return screen.messages.last.locator('[data-testid="stCaptionContainer"]').first.inner_text()


def test_a_fallback_answers_within_five_seconds_and_is_named(eve: Screen) -> None:
    eve.ask("the first question waits for litellm").finished(60)
    eve.go()
    started = time.monotonic()
    eve.ask("are you there?")
    eve.word(19).wait_for()
    assert time.monotonic() - started < 5
    eve.finished()
    assert caption(eve).startswith("stand-in, as primary could not be reached")
    assert eve.alert.count() == 0


def test_one_that_is_silent_does_not_keep_the_reader_waiting(eve: Screen) -> None:
    eve.choose("model", SILENT)
    started = time.monotonic()
    eve.ask("say something")
    eve.word(19).wait_for()
    assert time.monotonic() - started < 5
    eve.finished()
    assert caption(eve).startswith("stand-in, as silent was slower")


def test_what_was_said_before_a_cut_stays_and_is_gone_on_with(eve: Screen) -> None:
    eve.choose("model", CUT).ask("tell me a story").finished()
    assert eve.numbers() == [*range(12), *range(20)]
    assert caption(eve).startswith("cutter, continued by stand-in as it broke off")


def test_the_eleventh_request_is_refused_with_its_seconds(eve: Screen, gateway_site: Site) -> None:
    flags = FlagStore(gateway_site.database, gateway_site.settings)
    root = gateway_site.accounts.system_principal("root")
    flags.set(root, limits=[LimitRule("tier", "free", "requests", "day", 10)])
    try:
        eve.choose("model", GOOD)
        for number in range(10):
            eve.ask(f"question {number}").finished()
        eve.send("one too many")
        eve.alert.wait_for()
        assert re.search(r"[Tt]ry again in \d+ second", eve.alert.inner_text())
        assert len(eve.questions) == 10
        assert eve.input.input_value() == "one too many"
    finally:
        flags.set(root, limits=None)


def test_a_budget_that_is_used_up_refuses_and_says_why(eve: Screen, gateway_site: Site) -> None:
    root, budgets = gateway_site.accounts.system_principal("root"), Budgets(gateway_site.database)
    budgets.set(root, "tenant", "", "day", 1)
    try:
        eve.send("can I still ask?")
        eve.alert.wait_for()
        expect(eve.alert).to_contain_text("budget")
        assert eve.questions == []
        assert eve.input.input_value() == "can I still ask?"
    finally:
        for budget in budgets.list(root):
            budgets.remove(root, budget.id)


def test_an_operator_switches_streaming_off_and_a_chat_feels_it_within_seconds(
    eve: Screen, gateway_site: Site, gateway_server: Server, provider: HostileProvider, open_tab: Open
) -> None:
    token = gateway_site.accounts.new_session_token("root")
    operator = open_tab(token, at=gateway_server).go("/admin?tab=Flags")
    switch = operator.page.locator(".st-key-flag-streaming label")
    eve.choose("model", GOOD)
    switch.click()
    operator.ready()
    eve.ask("whole, please").finished()
    assert not provider.log[-1].params.get("stream")
    switch.click()
    operator.ready()
    eve.ask("streamed again").finished()
    assert provider.log[-1].params["stream"] is True
