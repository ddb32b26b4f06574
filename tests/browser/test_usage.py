"""Journeys on the usage page: its tabs, from a bar to the calls behind it, and the live panel beside a reply."""

import pytest
from playwright.sync_api import Locator, WebSocket, expect

from tests.browser.conftest import Open, Screen

TABS = ("Spend", "Tokens", "Speed", "Reliability", "Cache", "Adoption", "Now")


def tab(screen: Screen, name: str) -> Locator:
    return screen.page.get_by_role("tab", name=name, exact=True)


def card(screen: Screen, label: str) -> str:
    """What a card says."""
    metric = screen.page.locator('[data-testid="stMetric"]').filter(has_text=label)
    return metric.locator('[data-testid="stMetricValue"]').inner_text()


def asked(screen: Screen, model: str = "fast") -> Screen:
    """A person who has asked something, at the usage page."""
    screen.go(f"/?model={model}").ask("a question that costs").finished(60)
    return screen.go("/usage")


def test_every_tab_opens_and_stands_in_the_address(ada: Screen) -> None:
    asked(ada)
    for name in TABS:
        tab(ada, name).click()
        ada.ready()
        expect(tab(ada, name)).to_have_attribute("aria-selected", "true")
        assert ada.page.locator('[data-testid="stAlertContentError"]').count() == 0, name
        if name != TABS[0]:
            ada.until(lambda name=name: f"tab={name}" in ada.page.url)
    ada.page.reload()
    ada.ready()
    expect(tab(ada, "Now")).to_have_attribute("aria-selected", "true")


def test_a_bar_leads_to_the_calls_behind_it_as_often_as_wanted(ada: Screen) -> None:
    asked(ada)
    for chart in (0, 0, 1):  # cost over time, twice the same bar, and the share of the cost
        select(ada, chart)
        dialog = ada.page.get_by_role("dialog")
        dialog.wait_for()
        dialog.locator('[data-testid="stDataFrame"]').first.wait_for()
        assert " of " in dialog.inner_text()
        assert dialog.locator('[data-testid="stAlert"]').count() == 0
        ada.page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        ada.ready()


def select(ada: Screen, chart: int) -> None:
    """Click the chart's first bar that has a size; days without a call have none."""
    bars = ada.page.locator(".js-plotly-plot").nth(chart).locator(".barlayer .point path")

    def drawn() -> list[Locator]:
        boxes = [(bar, bar.bounding_box()) for bar in bars.all()]
        return [bar for bar, box in boxes if box and min(box["height"], box["width"]) > 4]

    ada.until(drawn, 15)
    drawn()[0].scroll_into_view_if_needed()
    box = drawn()[0].bounding_box()
    assert box is not None
    place = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    ada.page.mouse.move(*place)
    ada.page.wait_for_timeout(200)  # Plotly looks what is below the pointer before it takes a click
    ada.page.mouse.click(*place)


def test_the_live_panel_moves_while_a_reply_is_said_and_rests_when_it_is_left(ada: Screen, open_tab: Open) -> None:
    live = open_tab(beside=ada)
    sent: list[object] = []
    live.page.on("websocket", lambda socket: _count(socket, sent))
    live.go("/usage?tab=Now")
    assert card(live, "Replies running") == "0"
    ada.go("/?model=steady").ask("say something long")
    live.until(lambda: card(live, "Replies running") == "1", 8)
    live.until(lambda: card(live, "Words a second") not in ("–", "0"), 8)
    ada.finished(30)
    live.until(lambda: card(live, "Replies running") == "0", 8)
    tab(live, "Spend").click()
    live.ready()
    live.page.wait_for_timeout(500)
    before = len(sent)
    live.page.wait_for_timeout(3000)  # longer than it would rest
    assert len(sent) == before, "the panel looks again though nobody sees it"


def _count(socket: WebSocket, sent: list[object]) -> None:
    socket.on("framesent", lambda frame: sent.append(frame))


@pytest.mark.parametrize("width", [390])
def test_the_live_panel_fits_a_phone(person: str, open_tab: Open, width: int) -> None:
    screen = open_tab(person, viewport={"width": width, "height": 800}).go("/usage?tab=Now")
    screen.page.locator('[data-testid="stMetric"]').first.wait_for()
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= width
    for box in (metric.bounding_box() for metric in screen.page.locator('[data-testid="stMetric"]').all()):
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
