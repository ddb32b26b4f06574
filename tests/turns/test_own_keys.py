"""Keys that are tried before they are saved: they count against the limits, and leave nothing behind."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatcore.bootstrap import Core
from chatcore.errors import InvalidInput, LimitExceeded
from chatcore.flags import LimitRule
from tests.chat import Chat, running_core
from tests.hostile import HostileProvider
from tests.turns.test_limits import DAY, hits, rules


def key() -> str:
    return f"sk-own-{secrets.token_hex(8)}"


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    folder = tmp_path_factory.mktemp("own-keys")
    with running_core(folder, provider, ["ok;n=5"], first_word=20, rate_limits=True) as core:
        yield core


@pytest.fixture
def broken(request: pytest.FixtureRequest, tmp_path: Path, provider: HostileProvider) -> Iterator[Core]:
    """Its first model fails."""
    with running_core(tmp_path, provider, [request.param], first_word=20, breaker_failures=1) as core:
        yield core


def someone(core: Core, provider: HostileProvider) -> Chat:
    mark = secrets.token_hex(4)
    return Chat(core, provider, f"ada-{mark}", tenant=mark)


def slot(core: Core) -> str:
    return core.gateway.catalog.models()[0].key_slot


def test_of_many_keys_only_as_many_are_tried_as_the_limit_allows(core: Core, provider: HostileProvider) -> None:
    ada = someone(core, provider)
    saved = key()
    with rules(core, LimitRule("user", ada.who.user_id, "requests", "day", 2)):
        core.turns.save_key(ada.who, slot(core), key())
        core.turns.save_key(ada.who, slot(core), saved)
        calls = len(provider.log)
        with pytest.raises(LimitExceeded) as caught:
            core.turns.save_key(ada.who, slot(core), key())
    assert DAY - 60 < caught.value.retry_after <= DAY
    assert len(provider.log) == calls, "nobody was asked"
    assert [one.last4 for one in core.keyring.list(ada.who)] == [saved[-4:]]
    assert hits(ada) == {("free", "requests", slot(core)): 1}


def test_tries_and_questions_count_together(core: Core, provider: HostileProvider) -> None:
    ada = someone(core, provider)
    with rules(core, LimitRule("user", ada.who.user_id, "requests", "day", 1)):
        core.turns.save_key(ada.who, slot(core), key())
        with pytest.raises(LimitExceeded):
            ada.ask("ok;n=5")


def test_what_is_no_key_is_refused_without_counting(core: Core, provider: HostileProvider) -> None:
    ada = someone(core, provider)
    with rules(core, LimitRule("user", ada.who.user_id, "requests", "day", 1)):
        for _ in range(3):
            with pytest.raises(InvalidInput):
                core.turns.save_key(ada.who, slot(core), "short")
        core.turns.save_key(ada.who, slot(core), key())


def test_a_key_that_is_tried_has_no_breaker(core: Core, provider: HostileProvider) -> None:
    ada = someone(core, provider)
    core.turns.save_key(ada.who, slot(core), key())
    assert {one.key for one in core.gateway.health()} == {"shared"}
    assert ada.answer("ok;n=5").status == "complete"
    (own,) = (one for one in core.gateway.health() if one.key != "shared")
    assert own.key == core.keyring.list(ada.who)[0].id
    assert own.calls == 1


@pytest.mark.parametrize("broken", ["401"], indirect=True)
def test_a_key_that_is_refused_is_not_kept_and_leaves_no_breaker(broken: Core, provider: HostileProvider) -> None:
    ada = someone(broken, provider)
    for _ in range(3):
        with pytest.raises(InvalidInput, match="refused this key"):
            broken.turns.save_key(ada.who, slot(broken), key())
    assert broken.keyring.list(ada.who) == []
    assert broken.gateway.breakers.known() == []


@pytest.mark.parametrize("broken", ["503"], indirect=True)
def test_a_model_that_is_down_while_a_key_is_tried_opens_nothing(broken: Core, provider: HostileProvider) -> None:
    ada, calls = someone(broken, provider), len(provider.log)
    broken.turns.save_key(ada.who, slot(broken), key())  # another model of the provider answers
    assert len(provider.log) == calls + 2
    assert broken.gateway.breakers.known() == []
