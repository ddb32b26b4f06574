"""A real browser at a real process, with the hostile provider behind it. One server for all journeys of the folder."""

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser import firefox as debian_firefox
from tests.conftest import skip_or_fail
from tests.hostile import Call, HostileProvider
from tests.serving import Server, Site

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import (  # noqa: E402
    Browser,
    BrowserContext,
    Locator,
    Page,
    Playwright,
    Route,
    expect,
    sync_playwright,
)
from playwright.sync_api import TimeoutError as TooLate  # noqa: E402

expect.set_options(timeout=15_000)  # as for everything else: a busy machine draws a page in more than 5 s

MODELS = {
    "fast": "ok;n=20",
    "slow": "ok;n=200;rate=20",
    "short": "ok;n=60;rate=20",
    "unhurried": "ok;n=60;rate=6",
    "lengthy": "ok;n=800;rate=20",
    "steady": "ok;n=120;rate=15",
    "late": "slow;first=2;n=5",
    "401": "401",
    "cut": "cut;n=40;at=12",
    "md": "md",
    "reasoning": "reasoning;rate=20",
    "hang": "hang",
    "script": "control",
    "eyes": "ok;n=5",
}
SEEING = ("eyes",)  # those of them that take pictures
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
              "--disable-sync", "--no-first-run")  # fmt: skip
READY = '[data-testid="stApp"][data-test-script-state="notRunning"][data-test-connection-state="CONNECTED"]'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the journeys."""
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("browser")
    site = Site(folder, provider.url, MODELS, seeing=SEEING, demo_models=True, default_model="fast")
    yield site
    site.close()


@pytest.fixture(scope="session")
def server(site: Site) -> Iterator[Server]:
    with site.running() as server:
        yield server


@pytest.fixture(scope="module")
def driver() -> Iterator[Playwright]:
    """Playwright, no longer than a module: while it is open this thread cannot run another asyncio loop."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def chromium(driver: Playwright) -> Iterator[Browser]:
    """Chromium, for all journeys that do not say otherwise."""
    path = os.environ.get("PLAYWRIGHT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        skip_or_fail("no Chromium: set PLAYWRIGHT_CHROMIUM, or install the package chromium")
    browser = driver.chromium.launch(executable_path=path, args=[*_ARGUMENTS])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def start_firefox(driver: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Browser]:
    """`start_firefox(dark=False)` starts a Firefox, which whoever asks closes."""

    def start(*, dark: bool = False) -> Browser:
        path = debian_firefox.find()
        if path is None:
            skip_or_fail("no Firefox: set CHATCORE_TEST_FIREFOX, or install the package firefox-esr")
        return debian_firefox.launch(driver, path, tmp_path_factory.mktemp("firefox"), dark=dark)

    return start


@pytest.fixture(scope="module")
def firefox(start_firefox: Callable[..., Browser]) -> Iterator[Browser]:
    """Firefox: a module whose fixture `browser` returns this has all its journeys in it, with the same `Screen`."""
    browser = start_firefox()
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The browser in which `open_tab` opens tabs; a module may override it."""
    return chromium


@dataclass
class Screen:
    """One tab, and the verbs that the journeys are written in."""

    page: Page
    server: Server
    dialogs: list[str] = field(default_factory=list)

    def go(self, path: str = "/") -> "Screen":
        """Open a path of the app and wait until it stands still."""
        self.page.goto(self.server.url + path)
        return self.ready()

    def ready(self, timeout: float = 20.0) -> "Screen":
        """Wait until no script runs."""
        self.page.locator(READY).wait_for(timeout=timeout * 1000)
        return self

    @property
    def input(self) -> Locator:
        return self.page.locator(".st-key-chat_input textarea")

    @property
    def stop(self) -> Locator:
        return self.page.locator(".st-key-stop button")

    @property
    def messages(self) -> Locator:
        return self.page.locator('[data-testid="stChatMessage"]')

    @property
    def alert(self) -> Locator:
        return self.page.locator('[data-testid="stAlert"]')

    @property
    def sidebar(self) -> Locator:
        return self.page.locator('[data-testid="stSidebar"]')

    @property
    def conversation(self) -> str:
        """The id in the address."""
        return parse_qs(urlsplit(self.page.url).query).get("c", [""])[0]

    @property
    def questions(self) -> list[str]:
        """What the questions on the page say, oldest first."""
        user = '[data-testid="stChatMessageAvatarUser"]'
        found = [message for message in self.messages.all() if message.locator(user).count()]
        return [message.locator('[data-testid="stMarkdownContainer"]').first.inner_text() for message in found]

    def button(self, name: str) -> Locator:
        """The buttons of this very name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def choose(self, key: str, label: str) -> "Screen":
        """Choose from the select box, or the choice of several, that has this key."""
        field = self.page.locator(f".st-key-{key} input")
        option = self.page.get_by_role("option", name=label, exact=True)

        def chosen() -> bool:
            """Typed, as a long list draws only what is in view; again where the list was drawn anew meanwhile."""
            if not field.evaluate("(e, text) => e === document.activeElement && e.value === text", label):
                field.click()
                self.write(field, label)
            with contextlib.suppress(TooLate):
                option.click(timeout=1000)
                return True
            return False

        self.until(chosen, 15)
        return self.ready()

    def pick(self, menu: str, entry: str) -> "Screen":
        """Choose an entry of a menu that a button opens."""
        self.button(menu).click()
        self.page.get_by_role("menuitem", name=entry).or_(self.page.get_by_role("option", name=entry)).click()
        return self.ready()

    def send(self, text: str) -> "Screen":
        """Type into the input and press Enter."""
        self.write(self.input, text)
        self.input.press("Enter")
        return self

    def write(self, field: Locator, text: str) -> "Screen":
        """Replace the text of a field. In Firefox by its keys: there React does not hear of Playwright's `fill`."""
        browser = self.page.context.browser
        if browser and browser.browser_type.name == "firefox":
            field.press("Control+A")
            field.press_sequentially(text)
        else:
            field.fill(text)
        return self

    def ask(self, text: str) -> "Screen":
        """`send`, and wait until the question stands on the page as a message."""
        before = self.messages.count()
        self.send(text)
        self.messages.nth(before).wait_for()
        return self

    def numbers(self) -> list[int]:
        """All numbered words on the page, in the order they stand."""
        texts = self.page.locator('.stMain [data-testid="stMarkdownContainer"]').all_text_contents()
        return [int(number) for text in texts for number in re.findall(r"\[(\d+)\]", text)]

    def word(self, number: int) -> Locator:
        """The element in which this numbered word stands."""
        return self.page.locator(".stMain").get_by_text(f"[{number}]").first

    def until(self, condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait for something that no locator can say."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout:g} s; on the page: {self.page.inner_text('body')[-500:]!r}")
            self.page.wait_for_timeout(20)

    def finished(self, timeout: float = 20.0) -> "Screen":
        """Wait for the end of the reply that is being said: the last message has its caption, and Stop has gone."""
        caption = self.messages.last.locator('[data-testid="stCaptionContainer"]:visible')  # a folded tool has some
        caption.first.wait_for(timeout=timeout * 1000)  # behind it stands `2/3` where there are versions
        self.stop.wait_for(state="detached")
        return self.ready()


Open = Callable[..., Screen]


@pytest.fixture
def open_tab(browser: Browser, server: Server) -> Iterator[Open]:
    """Opens tabs: `open_tab(cookie)` in a browser of their own, `open_tab(beside=screen)` in the same one."""
    contexts: list[BrowserContext] = []
    strange: list[str] = []

    def guard(route: Route) -> None:
        if urlsplit(route.request.url).hostname in ("127.0.0.1", "localhost"):
            route.continue_()
        else:
            strange.append(route.request.url)
            route.abort()

    def open_one(
        cookie: str | None = None,
        *,
        beside: Screen | None = None,
        at: Server | None = None,
        browser: Browser = browser,
        **options: Any,
    ) -> Screen:
        target = at or (beside.server if beside else server)
        if beside is None:
            context = browser.new_context(**options)
            context.route("**/*", guard)
            context.set_default_timeout(15_000)
            contexts.append(context)
            if cookie:
                context.add_cookies([{"name": "chatcore_session", "value": cookie, "url": target.url}])
        else:
            context = beside.page.context
        screen = Screen(context.new_page(), target)

        def note(dialog: Any) -> None:
            screen.dialogs.append(dialog.message)
            dialog.dismiss()

        screen.page.on("dialog", note)
        return screen

    yield open_one
    for context in contexts:
        context.close()
    assert strange == [], "the page asked for something beyond this machine"


@pytest.fixture
def ada(site: Site, open_tab: Open, request: pytest.FixtureRequest) -> Screen:
    """A tab of a new person of the default tenant, at the empty chat page."""
    return open_tab(site.person(_username(request))).go()


@pytest.fixture
def person(site: Site, request: pytest.FixtureRequest) -> str:
    """A session cookie of a new person."""
    return site.person(_username(request))


def _username(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test, of which the page's greeting stays short."""
    return f"p{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:10]}"


@pytest.fixture
def called(provider: HostileProvider) -> Callable[[str], Call]:
    """`called(marker)`: the provider's own account of the call whose messages hold `marker`, once there is one."""

    def find(marker: str) -> Call:
        provider.wait_until(lambda log: any(marker in str(call.messages) for call in log), 15)
        return [call for call in provider.log if marker in str(call.messages)][-1]

    return find
