"""A whole Core before the admin page, with nothing started: a few people of two tenants, and four deployments."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from chatcore import bootstrap
from chatcore.accounts import Console, passwords
from chatcore.config import load_settings

PASSWORD = "correct horse"
_PRICES = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002}


def _entry(name: str, target: str, title: str, **facts: Any) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"model": target, "api_key": "sk-planted-0123456789abcdef"},
        "model_info": {"display_name": title, **facts},
    }


CONFIG: dict[str, Any] = {
    "model_list": [
        _entry("gpt", "openai/gpt-x", "GPT *X*", **_PRICES),
        _entry("gpt", "openai/gpt-x-eu", "GPT *X*", **_PRICES),
        _entry("claude", "anthropic/claude-x", "Claude X", **_PRICES),
        _entry("mist", "mistral/no-such-model", "Mist"),
    ],
    "router_settings": {"fallbacks": [{"gpt": ["claude", "mist"]}], "context_window_fallbacks": [{"mist": ["gpt"]}]},
    "chatcore": {"default_model": "gpt", "demo_models": False, "ollama": False, "breaker_failures": 2},
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The Core's parts and a console, with root (operator), admin and bob in one tenant and stranger in another."""
    monkeypatch.setattr(passwords, "_ROUNDS", 4)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    environ = {"CHATCORE_DATA_DIR": str(tmp_path / "data"), "CHATCORE_CONFIG": str(tmp_path / "config.yaml")}
    core = bootstrap.open_core(load_settings(environ, root=tmp_path))
    console = Console(core.db)
    console.add_tenant("Other")
    for username, role, tenant in (
        ("root", "operator", None), ("admin", "admin", None), ("bob", "member", None), ("stranger", "admin", "Other"),
    ):  # fmt: skip
        console.add_user(username, PASSWORD, name=username.title(), role=role, tenant=tenant, tier="free")
    house = SimpleNamespace(**vars(core), console=console)
    bootstrap.use(house)  # type: ignore[arg-type]
    yield house
    bootstrap.use(None)
    core.shared.close()
    core.db.close()
