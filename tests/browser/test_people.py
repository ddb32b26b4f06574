"""Coming and going: the first start, signing in and out, whose pages are whose, and text that stays text."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Screen
from tests.serving import PASSWORD, Site


def sign_in(screen: Screen, username: str, password: str = PASSWORD) -> None:
    screen.page.get_by_label("Username").fill(username)
    screen.page.get_by_label("Password", exact=True).fill(password)
    screen.page.get_by_role("button", name="Sign in").click()


def test_the_printed_link_makes_the_first_account(tmp_path: Path, open_tab: Open) -> None:
    site = Site(tmp_path, demo_models=True)
    with site.running() as own:
        stranger = open_tab(at=own)
        stranger.until(lambda: "/?setup=" in own.log.read_text(), 10)
        [path] = re.findall(r"(/\?setup=\S+)", own.log.read_text())
        stranger.go(path)
        stranger.page.get_by_label("Username").fill("grace")
        stranger.page.get_by_label("Your name").fill("Grace Hopper")
        stranger.page.get_by_label("Password", exact=True).fill(PASSWORD)
        stranger.page.get_by_label("Password again").fill(PASSWORD)
        stranger.page.get_by_role("button", name="Make account").click()
        stranger.input.wait_for()
        expect(stranger.page.get_by_text("Hello, Grace")).to_be_visible()
        assert "setup" not in stranger.page.url
        expect(stranger.sidebar.get_by_text("Admin", exact=True)).to_be_visible()
        again = open_tab(at=own).go(path)
        again.alert.wait_for()
        assert again.page.get_by_label("Your name").count() == 0
    site.close()


def test_signing_in_keeps_the_deep_link_and_a_reload_shows_no_form(site: Site, open_tab: Open) -> None:
    site.person("deep")
    deep = open_tab().go("/usage")
    sign_in(deep, "deep", "not the password")
    deep.alert.wait_for()
    sign_in(deep, "deep")
    expect(deep.page.get_by_role("heading", name="Usage")).to_be_visible()
    assert deep.page.url.endswith("/usage")
    [cookie] = [found for found in deep.page.context.cookies() if found["name"] == "chatcore_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert deep.page.evaluate("document.cookie").find("chatcore_session") == -1
    deep.page.context.add_init_script(
        """new MutationObserver(() => {
             if (document.querySelector("input[type=password]")) window.sawForm = true
           }).observe(document, {childList: true, subtree: true})"""
    )
    deep.page.reload()
    deep.ready()
    deep.sidebar.get_by_text("Sign out").wait_for()
    assert deep.page.evaluate("window.sawForm") is None


def test_signing_out_is_noticed_by_another_tab_at_its_next_action(person: str, open_tab: Open) -> None:
    first = open_tab(person).go("/?model=fast").ask("before leaving").finished()
    second = open_tab(beside=first).go("/account")
    first.page.locator(".st-key-sign_out button").click()
    first.page.get_by_label("Username").wait_for()
    second.sidebar.get_by_role("link", name="Usage").click()
    second.page.get_by_label("Username").wait_for()
    second.page.get_by_text("before leaving").wait_for(state="detached")
    second.sidebar.get_by_text("Sign out").wait_for(state="detached")


def test_somebody_elses_conversation_is_not_found_like_any_other(site: Site, person: str, open_tab: Open) -> None:
    ada = open_tab(person).go("/?model=fast").ask("for my eyes only").finished()
    theirs = open_tab(site.person("nosy", "operator")).go(f"/?c={ada.conversation}")
    theirs.alert.wait_for()
    told = theirs.alert.inner_text()
    assert theirs.page.get_by_text("for my eyes only").count() == 0
    theirs.go("/?c=conv_00000000000000000000000000")
    theirs.alert.wait_for()
    assert theirs.alert.inner_text() == told


MARKUP = ("<img src=x onerror=alert(1)>", "<script>alert(2)</script>", '<b id="evil">bold</b>')
EVIL = " ".join((*MARKUP, "[x](javascript:alert(3))"))


def test_markup_in_a_question_and_its_title_stays_text(person: str, open_tab: Open) -> None:
    ada = open_tab(person).go("/?model=fast").ask(EVIL).finished()
    shown = ada.messages.nth(0).inner_text()
    assert [part in shown for part in MARKUP] == [True] * 3
    assert MARKUP[0] in ada.sidebar.inner_text(), "the title in the list of conversations"
    assert ada.page.locator("#evil").count() == 0
    assert ada.page.locator('img[src="x"], .stMain script').count() == 0
    assert ada.page.locator('a[href^="javascript"]').count() == 0
    assert ada.dialogs == []


def test_markup_in_a_reply_stays_text(person: str, open_tab: Open) -> None:
    ada = open_tab(person).go("/?model=script").ask("say something wicked").finished()
    assert "<script>alert(1)</script>" in ada.messages.nth(1).inner_text()
    assert ada.page.locator(".stMain :is(img[src=x], script)").count() == 0
    assert ada.page.locator('a[href^="javascript"]').count() == 0
    assert ada.dialogs == []
    ada.page.reload()
    ada.messages.nth(1).wait_for()
    ada.ready()
    assert ada.dialogs == []


def test_an_image_in_a_message_is_not_fetched_from_elsewhere(person: str, open_tab: Open) -> None:
    """Its address could carry words of the conversation away. `open_tab` fails the test when it is asked for."""
    ada = open_tab(person).go("/?model=fast")
    ada.ask("look: ![a](https://elsewhere.example/a.png?secret=1)").finished()
    assert ada.page.locator('img[src*="elsewhere.example"]').count() == 1
    ada.page.reload()
    ada.ready()


def test_markup_in_a_name_stays_text(site: Site, open_tab: Open) -> None:
    cookie = site.person("bobby", name='<i id="evil">B</i> **x** :red[y] $z$')
    bobby = open_tab(cookie).go()
    assert '<i id="evil">B</i> **x** :red[y] $z$' in bobby.sidebar.inner_text()
    assert bobby.page.locator("#evil").count() == 0


def test_usage_is_the_persons_own_and_an_admins_tenants(site: Site, open_tab: Open) -> None:
    member = open_tab(site.person("member-of-usage")).go("/?model=fast").ask("count me").finished()
    member.go("/usage")
    expect(member.page.get_by_text("Cost per day by model")).to_be_visible()
    expect(member.page.locator('[data-testid="stMetric"]').filter(has_text="Calls").first).to_contain_text("1")
    member.button("Filters").click()
    expect(member.page.get_by_label("Models")).to_be_visible()
    assert member.page.get_by_label("People").count() == 0
    admin = open_tab(site.person("admin-of-usage", "admin")).go("/usage")
    expect(admin.page.get_by_text("Cost per day by model")).to_be_visible()
    admin.button("Filters").click()
    expect(admin.page.get_by_label("People")).to_be_visible()
    expect(admin.page.locator('[data-testid="stMetric"]').filter(has_text="Calls").first).to_contain_text(r"Calls")
    assert admin.page.locator('[data-testid="stException"]').count() == 0
    assert member.page.locator('[data-testid="stException"]').count() == 0


@pytest.mark.parametrize("path", ["/", "/usage", "/account"])
def test_a_phone_sees_the_page_without_sideways_scrolling(person: str, open_tab: Open, path: str) -> None:
    phone = open_tab(
        person, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2
    ).go(path)
    if path == "/":
        phone.send("how do I look on a phone?")
        phone.messages.nth(1).wait_for()
        phone.finished()
        expect(phone.input).to_be_in_viewport()
    expect(phone.sidebar).to_have_attribute("data-collapsed", "true")
    assert phone.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert phone.page.evaluate("document.querySelector('.stMain').scrollWidth <= window.innerWidth")
