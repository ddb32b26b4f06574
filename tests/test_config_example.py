"""`config.example.yaml`: it is valid, its models exist, and nothing in it claims to work without its key."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from chatcore.config import PROJECT_ROOT, Settings, load_settings
from chatcore.config_file import ChatcoreSection, ConfigFile, parse_config
from chatcore.gateway import Catalog
from chatcore.gateway.catalog import _table_entry as table_entry

EXAMPLE = PROJECT_ROOT / "config.example.yaml"
NOT_IN_THE_TABLE = {"openrouter", "ollama_chat", "company-llm"}


def example() -> ConfigFile:
    return parse_config(EXAMPLE.read_bytes(), name=EXAMPLE.name)


def settings(tmp_path: Path, **environ: str) -> Settings:
    return load_settings(
        {"CHATCORE_CONFIG": str(EXAMPLE), "CHATCORE_DATA_DIR": str(tmp_path), **environ}, root=tmp_path
    )


WANTED: Mapping[str, str] = {
    "gpt-5.6": "OPENAI_API_KEY",
    "gpt-5.4-mini": "OPENAI_API_KEY",
    "claude-opus-5-5": "ANTHROPIC_API_KEY",
    "claude-sonnet-5-5": "ANTHROPIC_API_KEY",
    "claude-haiku-5-5": "ANTHROPIC_API_KEY",
    "gemini-3.8-flash": "GEMINI_API_KEY",
    "grok-4.7": "XAI_API_KEY",
    "gpt-oss-120b": "GROQ_API_KEY",
    "openrouter-auto": "OPENROUTER_API_KEY",
    "qwen3-local": "OLLAMA_API_BASE",
    "company-llm": "COMPANY_LLM_URL",
}


def test_every_model_of_the_example_is_looked_at_here() -> None:
    assert [entry.model_name for entry in example().model_list] == list(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_without_its_variable_a_model_is_unavailable_and_names_it(name: str, tmp_path: Path) -> None:
    model = Catalog(settings(tmp_path)).find(name)
    assert model is not None
    assert not model.available
    assert WANTED[name] in model.why_not
    assert model.display_name in model.why_not


@pytest.mark.parametrize("name", WANTED)
def test_with_its_variable_alone_it_is_the_only_one_of_its_provider_family_available(name: str, tmp_path: Path) -> None:
    catalog = Catalog(settings(tmp_path, **{WANTED[name]: "http://127.0.0.1:9/v1"}))
    available = {model.name for model in catalog.models() if model.available}
    assert available == {other for other, variable in WANTED.items() if variable == WANTED[name]}


def test_with_no_key_at_all_the_demo_models_are_there(tmp_path: Path) -> None:
    catalog = Catalog(settings(tmp_path))
    assert catalog.default is not None
    assert catalog.default.demo


def test_the_default_model_is_one_of_the_list(tmp_path: Path) -> None:
    default = Catalog(settings(tmp_path, ANTHROPIC_API_KEY="sk-ant-test")).default
    assert default is not None
    assert default.name == example().chatcore.default_model


def test_every_setting_of_ours_is_known_and_every_known_one_that_acts_is_shown(tmp_path: Path) -> None:
    assert settings(tmp_path).unknown_settings == []
    shown = example().chatcore.model_fields_set
    assert shown == set(ChatcoreSection.model_fields)
    of_this_example = {"default_model", "aliases"}
    assert example().chatcore.model_dump(exclude=of_this_example) == ChatcoreSection().model_dump(
        exclude=of_this_example
    )


def test_windows_and_prices_are_those_of_the_installed_litellm(tmp_path: Path) -> None:
    catalog = Catalog(settings(tmp_path))
    for entry in example().model_list:
        model = catalog.find(entry.model_name)
        assert model is not None
        if {model.provider, model.name} & NOT_IN_THE_TABLE:
            continue
        known = table_entry(entry.litellm_params.model, model.provider)
        assert known, f"{model.target} is not in litellm's table"
        assert known["mode"] == "chat"
        assert date.fromisoformat(known.get("deprecation_date") or "9999-12-31") > date.today(), model.target
        assert model.prices.source == "litellm"
        assert Decimal((model.prices.unit or {})["completion"]) > 0
        assert model.context_window
        assert model.context_window >= 100_000


def test_prices_written_in_the_file_win_and_an_unpriced_model_says_so(tmp_path: Path) -> None:
    catalog = Catalog(settings(tmp_path))
    sources = {name: model.prices.source for name in WANTED if (model := catalog.find(name))}
    assert sources["company-llm"] == sources["qwen3-local"] == "config"
    assert sources["openrouter-auto"] == "none"
