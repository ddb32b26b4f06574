"""A workshop by two people in two browsers at once: the same stream, a killed server, and all of it exported."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
import pytest
from sqlalchemy import select

from chatcore.accounts.sessions import as_principal
from chatcore.db.tables import User
from chatcore.workshops import Workshops
from tests.browser.conftest import MODELS, Open, Screen, expect
from tests.hostile import HostileProvider
from tests.serving import Server, Site, end


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Site]:
    """A folder of its own: its server is killed."""
    site = Site(tmp_path_factory.mktemp("workshops"), provider.url, MODELS, default_model="slow")
    yield site
    site.close()


@pytest.fixture(scope="module")
def alive(place: Site) -> Iterator[list[Server]]:
    """The server that runs now: who kills it leaves the next one here."""
    servers = [place.start()]
    yield servers
    end(servers[-1])


@dataclass
class Two:
    """Ann, who leads the workshop `id`, and Bob, each in a browser of their own."""

    ann: Screen
    bob: Screen
    id: str

    @property
    def both(self) -> tuple[Screen, Screen]:
        return self.ann, self.bob


@pytest.fixture
def two(place: Site, alive: list[Server], open_tab: Open) -> Two:
    mark = secrets.token_hex(3)
    cookies = [place.person(f"{name.lower()}-{mark}", name=name) for name in ("Ann", "Bob")]
    ann, bob = (
        place.read(lambda s, n=name: as_principal(s.scalars(select(User).where(User.username == f"{n}-{mark}")).one()))
        for name in ("ann", "bob")
    )
    workshops = Workshops(place.database)
    made = workshops.create(ann, "design-thinking", "Better mornings")
    workshops.invite(ann, made, [bob.user_id])
    first, second = (open_tab(cookie, at=alive[-1]).go(f"/workshops?w={made}") for cookie in cookies)
    return Two(first, second, made)


def kill_and_restart(place: Site, alive: list[Server], *screens: Screen) -> None:
    """`kill -9`, and a new start when each browser has noticed; returns when each is back."""
    alive[-1].kill()
    for screen in screens:
        screen.page.locator('[data-testid="stApp"]:not([data-test-connection-state="CONNECTED"])').wait_for()
    alive.append(place.start(port=alive[-1].port))
    for screen in screens:
        screen.ready(40)


def say(screen: Screen, text: str) -> None:
    field = screen.page.locator(".st-key-workshop_input textarea")
    screen.write(field, text)
    field.press("Enter")


def seen(screen: Screen) -> list[int]:
    """The numbered words that stand now, which must be in order and whole."""
    numbers = screen.numbers()
    assert numbers == list(range(len(numbers)))
    return numbers


def pdf(screen: Screen, folder: Path) -> str:
    """The text of the file that the page hands out."""
    with screen.page.expect_download() as downloading:
        screen.page.locator(".st-key-workshop_pdf button").first.click()
    path = folder / "workshop.pdf"
    downloading.value.save_as(path)
    with pypdfium2.PdfDocument(path) as opened:
        return " ".join(" ".join(page.get_textpage().get_text_bounded() for page in opened).split())


def test_two_at_once_killed_and_resumed_and_exported(
    place: Site, alive: list[Server], two: Two, tmp_path: Path
) -> None:
    say(two.ann, "what do commuters feel at six in the morning")
    two.ann.word(3).wait_for()
    two.bob.word(3).wait_for()  # nobody told Bob's browser: it noticed, and follows the same stream
    two.bob.word(20).wait_for()
    seen(two.ann)
    before = seen(two.bob)
    kill_and_restart(place, alive, *two.both)
    for screen in two.both:
        expect(screen.page.locator(".stMain").get_by_text("Interrupted when the server stopped")).to_be_visible(
            timeout=30_000
        )
        kept = seen(screen)
        assert len(kept) >= len(before) - 10  # half a second of a reply at 20 words a second
    assert seen(two.ann) == seen(two.bob)
    say(two.bob, "and who of them takes the bus")
    two.ann.page.get_by_text("and who of them takes the bus").first.wait_for()
    two.bob.stop.wait_for()
    two.ann.stop.wait_for()
    two.ann.stop.click()  # whoever takes part may stop it
    for screen in two.both:
        screen.page.get_by_text("Stopped.", exact=True).wait_for()
        screen.ready()
    write(two.ann, "People **wait** in the rain.")
    two.bob.page.locator(".st-key-workshop_notes").get_by_text("wait").first.wait_for()
    text = pdf(two.bob, tmp_path)
    for words in ("what do commuters feel at six in the morning", "and who of them takes the bus", "Ann", "Bob",
                  "People wait in the rain.", "1. Empathize", "5. Test", "[10]"):  # fmt: skip
        assert words in text, words


def write(screen: Screen, text: str) -> None:
    screen.page.locator(".st-key-workshop_edit button").click()
    area = screen.page.locator(".st-key-workshop_notes textarea")
    area.wait_for()
    screen.write(area, text)
    screen.page.locator(".st-key-workshop_save button").click()
    area.wait_for(state="detached")


def test_what_is_typed_into_the_notes_outlives_others_and_the_server(
    place: Site, alive: list[Server], two: Two
) -> None:
    two.ann.page.locator(".st-key-workshop_edit button").click()
    area = two.ann.page.locator(".st-key-workshop_notes textarea")
    two.ann.write(area, "ann is still writing")
    write(two.bob, "bob was quicker")
    warning = two.ann.page.get_by_text(re.compile("Bob saved other notes"))
    warning.wait_for()
    expect(area).to_have_value("ann is still writing")
    kill_and_restart(place, alive, *two.both)
    warning.wait_for()
    expect(area).to_have_value("ann is still writing")
    save = two.ann.page.locator(".st-key-workshop_save button")

    def saved() -> bool:
        """A click that comes before the new server has drawn the page is lost: then a person presses again."""
        if area.count():
            save.click()
            two.ann.page.wait_for_timeout(1000)
        return not area.count()

    two.ann.until(saved, 20)
    two.bob.page.locator(".st-key-workshop_notes").get_by_text("ann is still writing").wait_for()


def test_a_phone_has_all_of_it(two: Two, open_tab: Open, alive: list[Server]) -> None:
    cookie = next(one["value"] for one in two.bob.page.context.cookies() if one["name"] == "chatcore_session")
    phone = open_tab(cookie, at=alive[-1], viewport={"width": 390, "height": 844}).go(f"/workshops?w={two.id}")
    wide = phone.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    last = phone.page.locator(".st-key-workshop_step-test button").last
    last.scroll_into_view_if_needed()
    last.click()
    phone.page.get_by_text("Show it, be quiet, and learn.").wait_for()
    phone.ready()
    assert "step=test" in phone.page.url
    expect(phone.page.locator(".st-key-workshop_edit button")).to_be_visible()
