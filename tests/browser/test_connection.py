"""The server goes away and comes back, while somebody looks."""

from pathlib import Path

from tests.browser.conftest import MODELS, Open
from tests.hostile import HostileProvider
from tests.serving import Site, end

BANNER = "The connection is down"


def test_a_killed_server_shows_a_banner_and_a_new_one_takes_it_away(
    tmp_path: Path, provider: HostileProvider, open_tab: Open
) -> None:
    site = Site(tmp_path, provider.url, MODELS, default_model="fast")
    cookie = site.person("ada")
    server = site.start()
    try:
        ada = open_tab(cookie, at=server).go("/?model=slow").ask("will you survive this?")
        ada.word(10).wait_for()
        server.kill()
        ada.page.get_by_text(BANNER).wait_for()
        before = ada.numbers()
        assert before == list(range(len(before))), "the words stay on the page"
        assert len(before) > 10

        server = site.start(port=server.port)
        ada.page.get_by_text(BANNER).wait_for(state="hidden", timeout=30_000)
        ada.page.get_by_text("Interrupted when the server stopped").wait_for()
        ada.ready()
        kept = ada.numbers()
        assert kept == list(range(len(kept)))
        assert len(kept) >= len(before) - 10, "at most half a second is lost"
        ada.ask("and are you back?")
        ada.word(30).wait_for()
        ada.stop.click()
        ada.page.get_by_text("Stopped.").wait_for()
    finally:
        end(server)
        site.close()
