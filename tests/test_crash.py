"""`kill -9` in mid-reply and a new start: no message is lost, and at most half a second of a reply."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.benchmarks.soak_crash import MODELS, crash, lost_seconds
from tests.hostile import Call, HostileProvider
from tests.serving import Server, Site, end


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("crash"), provider.url, MODELS)
    yield site
    site.close()


@pytest.fixture(scope="module")
def cookie(site: Site) -> str:
    return site.person("ada")


@pytest.fixture(scope="module")
def alive(site: Site) -> Iterator[list[Server]]:
    """The server that runs now: each test kills it and leaves the next one here."""
    servers = [site.start()]
    yield servers
    end(servers[-1])


@pytest.mark.parametrize("after", [0.2, 1.4, 2.7])
def test_a_killed_reply_keeps_its_words_and_can_be_continued(
    site: Site, provider: HostileProvider, cookie: str, alive: list[Server], after: float
) -> None:
    """Before the first word, early, late. `after`: seconds from the call; the first word comes after one."""
    found = asyncio.run(crash(site, alive[-1], provider, cookie, after))
    alive.append(found.server)
    assert found.faults() == []
    assert bool(found.kept) == (after > 1.0)


def test_lost_seconds_are_counted_from_the_first_word_that_is_missing() -> None:
    call = Call("1", "ok", "ok", [], {}, "", started=99.0, first_word_at=100.0, words=31)
    assert lost_seconds(call, 31, 101.5) == 0
    assert lost_seconds(call, 24, 101.5) == pytest.approx(0.3)
    assert lost_seconds(call, 0, 101.5) == pytest.approx(1.5)
