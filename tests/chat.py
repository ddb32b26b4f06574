"""A whole Core over the hostile provider, and the few verbs that tests of turns are written in."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select
from sqlalchemy.engine import URL

from chatcore.accounts import Principal
from chatcore.bootstrap import Core, open_core
from chatcore.config import load_settings
from chatcore.conversations import Message
from chatcore.db.tables import Turn, UsageMetric
from chatcore.turns import Asked
from tests.conftest import add_person
from tests.hostile import Call, HostileProvider

KEY = "sk-hostile-0123456789abcdef"
PROMPT_PRICE, COMPLETION_PRICE = 0.0000015, 0.000006  # USD a token


def write_config(
    path: Path,
    url: str,
    behaviours: list[str],
    router: dict[str, Any] | None = None,
    first_word: float | None = None,
    servers: Mapping[str, Any] | None = None,
    **own: Any,
) -> None:
    """A config file with one model for each behaviour of the hostile provider, called like it, and an unpriced one.

    `router`: the section `router_settings`; by default nothing is tried a second time. `first_word`: seconds to it;
    None for few where the provider is meant to be silent, and for so many elsewhere that no busy machine takes longer.
    `servers`: the section `mcp_servers`.
    """
    prices = {"input_cost_per_token": PROMPT_PRICE, "output_cost_per_token": COMPLETION_PRICE}
    entries = [
        {
            "model_name": behaviour,
            "litellm_params": {"model": f"openai/{behaviour}", "api_base": url, "api_key": KEY},
            "model_info": {**_times(behaviour, first_word), **prices, **_mode(behaviour)},
        }
        for behaviour in behaviours
    ]
    entries.append(
        {"model_name": "unpriced", "litellm_params": entries[0]["litellm_params"] | {"model": "openai/ok;n=5"}}
    )
    own = {"ollama": False, "rate_limits": False, "breaker_failures": 1000, **own}
    router = {"num_retries": 0} if router is None else router
    path.write_text(
        yaml.safe_dump(
            {"model_list": entries, "router_settings": router, "mcp_servers": dict(servers or {}), "chatcore": own}
        )
    )


def _mode(behaviour: str) -> dict[str, Any]:
    if behaviour.startswith("script"):
        return {"supports_function_calling": True}
    return {"mode": "embedding"} if behaviour.startswith("embed") else {}


def _times(behaviour: str, first_word: float | None) -> dict[str, float]:
    silent = any(word in behaviour for word in ("hang", "stall"))
    return {
        "first_word_timeout": first_word or (2 if silent else 20),
        "between_words_timeout": 1 if silent else 20,
    }


@contextmanager
def running_core(
    folder: Path,
    provider: HostileProvider,
    behaviours: list[str],
    database_url: URL | None = None,
    router: dict[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    **own: Any,
) -> Iterator[Core]:
    """A started Core whose state is below `folder`. `environ`: more variables."""
    write_config(folder / "config.yaml", provider.url, behaviours, router, **own)
    variables = {"CHATCORE_DATA_DIR": str(folder / "data"), "CHATCORE_DRAIN_SECONDS": "1", **(environ or {})}
    variables["CHATCORE_CONFIG"] = str(folder / "config.yaml")
    if database_url is not None:
        variables["CHATCORE_DATABASE_URL"] = database_url.render_as_string(hide_password=False)
    core = open_core(load_settings(variables, root=folder))
    core.start()
    deadline = time.monotonic() + 60
    while not core.gateway.warm and time.monotonic() < deadline:
        time.sleep(0.05)
    yield core
    core.close()


class Chat:
    """One person at a Core."""

    def __init__(self, core: Core, provider: HostileProvider, username: str, **person: Any) -> None:
        self.core = core
        self.provider = provider
        self.who: Principal = add_person(core.db, username, **person)

    def ask(self, model: str, text: str = "hello", conversation_id: str | None = None, **more: Any) -> Asked:
        return self.core.turns.ask(self.who, conversation_id, text, model=model, **more)

    def words(self, asked: Asked) -> str:
        """Follow a turn to its end; returns the text that was seen."""
        assert asked.turn_id is not None
        batches = self.core.turns.follow(self.who, asked.turn_id, pace=lambda _: 0.0)
        return "".join(delta.text for batch in batches for delta in batch if delta.kind == "text")

    def answer(self, model: str, text: str = "hello", conversation_id: str | None = None, **more: Any) -> Message:
        """Ask, wait for the end, and return the stored reply."""
        asked = self.ask(model, text, conversation_id, **more)
        self.words(asked)
        return self.reply(asked)

    def reply(self, asked: Asked) -> Message:
        """The reply as it is stored."""
        messages = self.messages(asked.conversation_id)
        return next(message for message in messages if message.id == asked.message_id)

    def messages(self, conversation_id: str) -> tuple[Message, ...]:
        return self.core.conversations.window(self.who, conversation_id, 1000)[1].messages

    def ledger(self, turn_id: str | None) -> UsageMetric:
        """The one ledger row of a turn."""
        rows = self.core.db.read(lambda s: list(s.scalars(select(UsageMetric).where(UsageMetric.turn_id == turn_id))))
        assert len(rows) == 1, f"{len(rows)} ledger rows for {turn_id}"
        return rows[0]

    def ledger_rows(self, turn_id: str | None) -> list[UsageMetric]:
        """The ledger rows of a turn, in the order of its calls."""
        rows = select(UsageMetric).where(UsageMetric.turn_id == turn_id).order_by(UsageMetric.attempt)
        return self.core.db.read(lambda session: list(session.scalars(rows)))

    def turn(self, turn_id: str | None) -> Turn:
        return self.core.db.read(lambda s: s.get_one(Turn, turn_id))

    def call(self, marker: str) -> Call:
        """The provider's own account of the call whose last message holds `marker`."""
        found = [call for call in list(self.provider.log) if marker in str(call.messages)]
        assert len(found) == 1, f"{len(found)} calls with {marker!r}"
        return found[0]


def until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Wait for something that another thread or process does. Raises `TimeoutError`."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.01)
