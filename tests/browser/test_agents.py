"""Agents in a browser: made, tried while they are not saved, kept over a reload, shared, used."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.agents.test_pictures import picture
from tests.browser.conftest import Open, Screen
from tests.hostile import Call
from tests.serving import Site


def field(screen: Screen, label: str) -> Locator:
    return screen.page.locator(".stMain").get_by_label(label, exact=True)


def type_(screen: Screen, label: str, text: str) -> None:
    screen.write(field(screen, label), text)
    field(screen, label).press("Tab")
    screen.ready()


def try_it(screen: Screen, text: str) -> None:
    box = screen.page.get_by_placeholder("Ask it something")
    screen.write(box, text)
    box.press("Enter")
    screen.page.locator(".st-key-agent_try").get_by_text(text).wait_for()
    screen.messages.last.locator('[data-testid="stCaptionContainer"]').first.wait_for()
    screen.ready()


def test_an_agent_is_made_tried_before_it_is_saved_and_used(
    ada: Screen, open_tab: Open, site: Site, called: Callable[[str], Call]
) -> None:
    ada.go("/agents")
    ada.button("New agent").click()
    ada.ready()
    type_(ada, "Name", "Pilot **one**")
    type_(ada, "System prompt", "You are a pilot of the first kind.")
    try_it(ada, "are you pilot-1")
    assert "first kind" in str(called("are you pilot-1").messages)
    type_(ada, "System prompt", "You are a pilot of the second kind.")
    try_it(ada, "are you pilot-2")
    asked = called("are you pilot-2").messages
    assert "second kind" in str(asked[0])
    assert "pilot-1" in str(asked), "it goes on with the same chat"
    ada.page.reload()
    ada.ready()
    expect(field(ada, "System prompt")).to_have_value("You are a pilot of the second kind.")
    ada.page.get_by_text("The whole team").click()
    ada.ready()
    ada.button("Save").first.click()
    ada.ready()
    expect(ada.page.get_by_role("heading", name="Pilot **one**")).to_be_visible()
    expect(ada.button("Save").first).to_be_disabled()
    bob = open_tab(site.person("pilots-bob")).go("/agents")
    bob.page.get_by_text("Pilot **one**").wait_for()
    bob.go("/?agent=pilot-one")
    bob.ask("is anybody there-3").finished()
    assert "second kind" in str(called("is anybody there-3").messages[0])
    expect(bob.page.locator(".st-key-choice")).to_contain_text("Pilot **one**")
    ada.page.get_by_text("Only me").click()
    ada.ready()
    ada.button("Save").first.click()
    expect(ada.button("Save").first).to_be_disabled()
    bob.ask("and without it-4").finished()
    assert "second kind" not in str(called("and without it-4").messages[0])


def test_two_tabs_do_not_lose_each_others_words(ada: Screen, open_tab: Open) -> None:
    ada.go("/agents?edit=new")
    type_(ada, "Name", "Ours")
    ada.button("Save").first.click()
    expect(ada.button("Save").first).to_be_disabled()
    ada.ready()
    path = ada.page.url.removeprefix(ada.server.url)
    other = open_tab(beside=ada).go(path)
    type_(other, "System prompt", "Said in the other tab.")
    other.button("Save").first.click()
    expect(other.button("Save").first).to_be_disabled()
    type_(ada, "System prompt", "Said here.")
    expect(ada.alert.first).to_contain_text("saved version 2 of this agent")
    expect(field(ada, "System prompt")).to_have_value("Said here.")
    ada.button("Save mine as the newest").click()
    ada.ready()
    expect(ada.alert).to_have_count(0)
    history = ada.page.locator(".stMain").get_by_text("History", exact=True)
    history.click()
    expect(ada.page.locator(".stMain")).to_contain_text("Version 3")


def test_a_picture_becomes_small_and_a_bomb_a_sentence(ada: Screen) -> None:
    ada.go("/agents?edit=new")
    type_(ada, "Name", "Seen")
    for name, data, said in (
        ("bad.png", b"\x89PNG\r\n\x1a\nbroken", "no picture that can be read"),
        ("good.png", picture(), ""),
    ):
        ada.button("Picture").click()
        ada.page.locator('input[type="file"]').set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
        if said:
            expect(ada.alert.first).to_contain_text(said)
        ada.ready()
    ada.page.locator(".st-key-agent_looks img").wait_for()
    ada.button("Save").first.click()
    expect(ada.button("Save").first).to_be_disabled()
    ada.go("/agents").page.locator('[class*="st-key-agent_face-"] img').first.wait_for()


@pytest.mark.parametrize("path", ["/agents", "/agents?edit=new"])
def test_a_phone_is_wide_enough(person: str, open_tab: Open, path: str) -> None:
    screen = open_tab(person, viewport={"width": 390, "height": 844}).go(path)
    expect(screen.page.locator(".stMain h1")).to_be_visible()
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= 390
    main = screen.page.locator(".stMain")
    assert main.evaluate("e => e.scrollWidth") <= 390
    for box in (one.bounding_box() for one in main.locator("button:visible, input:visible, textarea:visible").all()):
        assert box is not None
        assert box["x"] + box["width"] <= 391
