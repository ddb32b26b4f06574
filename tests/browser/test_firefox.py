"""The chat in Firefox: what a browser may do differently, in the same words as the journeys in Chromium."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Open, Screen
from tests.hostile import Call, HostileProvider
from tests.serving import PASSWORD, Site

CURSOR = "▍"


@pytest.fixture
def browser(firefox: Browser) -> Browser:
    return firefox


@pytest.fixture
def dark_browser(start_firefox: Callable[..., Browser]) -> Iterator[Browser]:
    browser = start_firefox(dark=True)
    yield browser
    browser.close()


def brightness(page: Page, selector: str, part: str) -> float:
    """How bright `color` or `background-color` of an element is as drawn: 0 is black, 1 is white."""
    color = page.locator(selector).first.evaluate("(e, part) => getComputedStyle(e)[part]", part)
    return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3 / 255


def test_the_chat_page_appears_for_who_has_signed_in(ada: Screen) -> None:
    assert "Firefox" in ada.page.evaluate("navigator.userAgent")
    expect(ada.input).to_be_visible()
    expect(ada.sidebar.get_by_text("Sign out")).to_be_visible()
    assert brightness(ada.page, '[data-testid="stApp"]', "background-color") > 0.9


def test_signing_in_sets_a_cookie_that_no_script_can_read(site: Site, open_tab: Open) -> None:
    site.person("reynard")
    reynard = open_tab().go()
    assert reynard.input.count() == 0
    reynard.write(reynard.page.get_by_label("Username"), "reynard")
    reynard.write(reynard.page.get_by_label("Password", exact=True), PASSWORD)
    reynard.page.get_by_role("button", name="Sign in").click()
    reynard.input.wait_for()
    [cookie] = [found for found in reynard.page.context.cookies() if found["name"] == "chatcore_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert "chatcore_session" not in reynard.page.evaluate("document.cookie")


def test_words_arrive_while_they_are_said_and_stop_ends_them(
    person: str, open_tab: Open, called: Callable[[str], Call]
) -> None:
    ada = open_tab(person).go("/?model=slow").ask("a story for a fox")
    ada.word(3).wait_for()
    assert CURSOR in ada.messages.nth(1).inner_text()
    seen = len(ada.numbers())
    ada.until(lambda: len(ada.numbers()) > seen)
    call = called("story for a fox")
    assert call.ended is None
    ada.stop.click()
    ada.page.get_by_text("Stopped.").wait_for()
    ada.until(lambda: call.closed_by_client_at is not None)
    ada.finished()
    kept = ada.numbers()
    assert kept == list(range(len(kept)))
    assert seen < len(kept) < 200
    assert CURSOR not in ada.messages.nth(1).inner_text()


def test_a_reload_in_mid_reply_shows_every_word_once(person: str, open_tab: Open) -> None:
    ada = open_tab(person).go("/?model=short").ask("a fox comes back")
    ada.word(5).wait_for()
    ada.page.reload()
    ada.word(10).wait_for()
    seen = ada.numbers()
    assert seen == list(range(len(seen)))
    ada.finished()
    assert ada.numbers() == list(range(60))


def test_a_reply_in_markdown_is_drawn(person: str, open_tab: Open) -> None:
    ada = open_tab(person).go("/?model=md").ask("show me everything").finished()
    reply = ada.messages.nth(1)
    expect(reply.get_by_text("The end.")).to_be_attached()
    for drawn in ("table", "pre code", ".katex", "li"):
        expect(reply.locator(drawn).first, drawn).to_be_attached()
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_browser_in_dark_gets_a_dark_page(person: str, open_tab: Open, dark_browser: Browser) -> None:
    ada = open_tab(person, browser=dark_browser).go("/?model=fast").ask("lights out").finished()
    assert brightness(ada.page, '[data-testid="stApp"]', "background-color") < 0.2
    assert brightness(ada.page, '[data-testid="stChatMessage"] p', "color") > 0.7


def test_the_input_is_docked_on_a_phone(person: str, open_tab: Open) -> None:
    phone = open_tab(person, viewport={"width": 390, "height": 844}).go("/?model=md")
    phone.ask("does it fit?").finished()
    assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    expect(phone.input).to_be_in_viewport()
    box = phone.page.locator(".st-key-chat_input").bounding_box()
    assert box is not None
    assert 844 - 120 < box["y"] + box["height"] <= 844
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    phone.write(phone.input, "from below")
    phone.input.press("Shift+Enter")
    phone.input.press_sequentially("two lines")
    assert phone.input.input_value() == "from below\ntwo lines"


def test_the_provider_is_asked_once_for_a_question(ada: Screen, provider: HostileProvider) -> None:
    ada.ask("once, and only once").finished()
    assert len([call for call in provider.log if "once, and only once" in str(call.messages)]) == 1
