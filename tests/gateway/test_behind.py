"""Which models follow which, as the gateway's panel shows it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from chatcore.config import load_settings
from chatcore.db import Database
from chatcore.flags import FlagStore
from chatcore.gateway import Behind, Gateway
from chatcore.shared import Shared
from tests.conftest import add_person

ROUTER: dict[str, Any] = {
    "fallbacks": [{"a": ["b", "c", "b"]}, {"*": ["c", "a"]}],
    "default_fallbacks": ["d"],
    "context_window_fallbacks": [{"b": ["a", "b"]}],
    "content_policy_fallbacks": [{"*": ["d"]}],
}


@pytest.fixture
def flags(database: Database, tmp_path: Path) -> FlagStore:
    entries = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_key": "sk-x"}} for name in "abcd"
    ]
    own = {"demo_models": False, "ollama": False, "cache": False}
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"model_list": entries, "router_settings": ROUTER, "chatcore": own})
    )
    environ = {"CHATCORE_DATA_DIR": str(tmp_path / "data"), "CHATCORE_CONFIG": str(tmp_path / "config.yaml")}
    return FlagStore(database, load_settings(environ, root=tmp_path))


@pytest.fixture
def gateway(database: Database, flags: FlagStore, tmp_path: Path) -> Gateway:
    environ = {"CHATCORE_DATA_DIR": str(tmp_path / "data"), "CHATCORE_CONFIG": str(tmp_path / "config.yaml")}
    return Gateway(load_settings(environ, root=tmp_path), database, flags, Shared(None))


@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("a", Behind(("b", "c", "d"), (), ("d",))),
        ("b", Behind(("c", "a", "d"), ("a",), ("d",))),
        ("d", Behind(("c", "a"), (), ())),
    ],
)
def test_each_follower_stands_once_and_nobody_follows_themself(gateway: Gateway, name: str, behind: Behind) -> None:
    assert gateway.planner.behind(name) == behind


def test_the_fallback_of_every_model_comes_last(gateway: Gateway, flags: FlagStore, database: Database) -> None:
    flags.set(add_person(database, "root", role="operator"), fallback="b")
    assert gateway.planner.behind("d").failed == ("c", "a", "b")
    assert gateway.planner.behind("a").failed == ("b", "c", "d")


def test_what_the_config_file_says_stays_known_whatever_is_changed(flags: FlagStore, database: Database) -> None:
    flags.set(add_person(database, "root", role="operator"), cache=True, streaming=False)
    assert (flags.now.cache, flags.now.streaming) == (True, False)
    assert (flags.configured.cache, flags.configured.streaming) == (False, True)
