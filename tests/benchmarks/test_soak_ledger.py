"""Every behaviour once, at once, and stops at the worst moment: the ledger and the provider tell one story."""

from collections.abc import Iterator

import pytest

from chatcore.bootstrap import Core
from tests.benchmarks.soak_ledger import BEHAVED, compare, run
from tests.chat import Chat, running_core, until
from tests.hostile import HostileProvider


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    with running_core(tmp_path_factory.mktemp("ledger"), provider, list(dict.fromkeys(BEHAVED))) as core:
        yield core


def test_every_behaviour_at_once(core: Core, provider: HostileProvider) -> None:
    turns = run(Chat(core, provider, "ada"), len(BEHAVED), seed=7)
    assert {model: faults for model, faults in compare(core, provider, turns).items() if faults} == {}


@pytest.mark.parametrize("model", ["cut", "ok;n=30"])
def test_a_stop_in_the_last_moment_is_billed(core: Core, provider: HostileProvider, model: str) -> None:
    """The words are there, the call is ending by itself, and its tokens are just being counted."""
    chat = Chat(core, provider, f"late-{model[:2]}")
    for _ in range(30):
        asked = chat.ask(model, "stop me late")
        live = core.turns.engine.live(str(asked.turn_id))
        assert live is not None
        until(lambda live=live: live.deltas or live.finished)
        core.turns.stop(chat.who, str(asked.turn_id))
        chat.words(asked)
        row, reply = chat.ledger(asked.turn_id), chat.reply(asked)
        assert reply.content
        assert row.usage_source != "none", f"{len(reply.content)} characters and no tokens: {row.outcome}"
        assert row.completion_tokens > 0
