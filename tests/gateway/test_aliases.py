"""Names that stand for models: where they come from, what they may be called, what is wrong with them."""

import logging
from typing import Any

import pytest
import yaml

from chatcore.config_file import ConfigFile, parse_config
from chatcore.errors import ConfigError
from chatcore.gateway.aliases import DESCRIPTIONS, PURPOSES, check, targets, title

MODELS = ["a", "b", "c", "d"]
DEMO = ["demo/assistant", "demo/quick", "demo/thinker", "demo/tables"]


def config(router: Any = None, **own: Any) -> ConfigFile:
    return parse_config(yaml.safe_dump({"router_settings": router or {}, "chatcore": own}).encode())


def test_no_aliases_without_any() -> None:
    assert targets(config(), MODELS) == {}
    assert targets(config(), []) == {}


def test_every_purpose_and_auto_over_them_in_a_fixed_order() -> None:
    found = targets(config(aliases={"reasoning": "d", "powerful": "c", "fast": "a", "balanced": "b"}), MODELS)
    assert found == {
        "auto": ("a", "b", "c", "d"), "fast": ("a",), "balanced": ("b",), "powerful": ("c",), "reasoning": ("d",),
    }  # fmt: skip
    assert list(found) == ["auto", *PURPOSES]


def test_one_purpose_leaves_nothing_to_choose() -> None:
    assert targets(config(aliases={"fast": "a"}), MODELS) == {"fast": ("a",)}


def test_two_purposes_may_have_one_model() -> None:
    assert targets(config(aliases={"fast": "a", "balanced": "a"}), MODELS)["auto"] == ("a", "a")


def test_the_proxy_s_aliases_come_after_ours() -> None:
    router = {"model_group_alias": {"gpt-4": "a", "old": {"model": "b", "hidden": True}}}
    assert targets(config(router, aliases={"fast": "c"}), MODELS) == {"fast": ("c",), "gpt-4": ("a",), "old": ("b",)}


def test_a_model_keeps_its_own_name() -> None:
    router = {"model_group_alias": {"b": "a"}}
    own = {"aliases": {"fast": "a", "balanced": "b"}}
    assert "b" not in targets(config(router), MODELS)
    assert set(targets(config(router, **own), [*MODELS, "auto", "fast"])) == {"balanced"}


def test_the_demo_has_aliases_where_nothing_else_is_configured() -> None:
    assert targets(config(), DEMO) == {
        "auto": ("demo/quick", "demo/assistant", "demo/thinker"),
        "fast": ("demo/quick",), "balanced": ("demo/assistant",), "reasoning": ("demo/thinker",),
    }  # fmt: skip
    assert targets(config(), [*DEMO, "a"]) == {}
    assert targets(config(aliases={"fast": "demo/tables"}), DEMO) == {"fast": ("demo/tables",)}


def test_how_they_are_shown() -> None:
    assert title("auto", "Claude") == "Auto"
    assert title("fast", "Claude Haiku") == "Fast · Claude Haiku"
    assert set(DESCRIPTIONS) == {"auto", *PURPOSES}


@pytest.mark.parametrize(
    ("router", "own", "wrong"),
    [
        ({}, {"default_model": "gone"}, "chatcore.default_model names gone"),
        ({}, {"default_model": "auto"}, "chatcore.default_model names auto"),
        ({}, {"default_model": "auto", "aliases": {"fast": "a"}}, "chatcore.default_model names auto"),
        ({}, {"default_model": "balanced", "aliases": {"fast": "a"}}, "chatcore.default_model names balanced"),
        ({}, {"aliases": {"fast": "gone"}}, "chatcore.aliases.fast names gone"),
        ({}, {"aliases": {"fast": "a", "balanced": "fast"}}, "chatcore.aliases.balanced names fast"),
        ({}, {"aliases": {"fast": "auto"}}, "chatcore.aliases.fast names auto"),
        ({"model_group_alias": {"old": "gone"}}, {}, "router_settings.model_group_alias names gone"),
        ({"model_group_alias": {"old": "older", "older": "old"}}, {}, "router_settings.model_group_alias names older"),
    ],
)
def test_a_name_that_stands_for_nothing_stops_the_start(router: Any, own: Any, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(config(router, **own), set(MODELS))
    assert str(caught.value) == f"{wrong}, which is not in model_list."


@pytest.mark.parametrize(
    ("router", "own"),
    [
        ({}, {}),
        ({}, {"default_model": "a"}),
        ({}, {"default_model": "fast", "aliases": {"fast": "a"}}),
        ({}, {"default_model": "auto", "aliases": {"fast": "a", "balanced": "b"}}),
        ({"model_group_alias": {"old": "a"}}, {"default_model": "old"}),
        ({}, {"default_model": "ollama/llama3", "aliases": {"fast": "ollama/llama3", "balanced": "demo/quick"}}),
        ({"model_group_alias": {"old": "ollama/llama3"}}, {}),
    ],
)
def test_names_that_stand_for_something_or_may_come_later_are_taken(
    router: Any, own: Any, caplog: pytest.LogCaptureFixture
) -> None:
    check(config(router, **own), set(MODELS))
    assert caplog.records == []


def test_auto_of_the_demo_can_be_the_default() -> None:
    check(config(default_model="auto"), set(DEMO))


@pytest.mark.parametrize("kind", ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks"])
def test_a_fallback_to_or_from_nothing_is_warned_of(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    router = {kind: [{"a": ["gone", "b", "ollama/x", "demo/quick"]}, {"lost": ["c", "gone"]}, {"*": ["d"]}]}
    with caplog.at_level(logging.WARNING):
        check(config(router), set(MODELS))
    assert [record.getMessage() for record in caplog.records] == [
        f"router_settings has a fallback to or from {name}, which is not in model_list" for name in ("gone", "lost")
    ]


def test_a_default_fallback_to_nothing_is_warned_of_and_to_an_alias_is_not(caplog: pytest.LogCaptureFixture) -> None:
    router = {"default_fallbacks": ["gone", "fast", "old", "auto"], "model_group_alias": {"old": "c"}}
    with caplog.at_level(logging.WARNING):
        check(config(router, aliases={"fast": "a", "balanced": "b"}), set(MODELS))
    assert len(caplog.records) == 1
    assert "gone" in caplog.text


def test_one_warning_for_a_name_that_is_missing_twice(caplog: pytest.LogCaptureFixture) -> None:
    router = {"fallbacks": [{"a": ["gone"]}, {"b": ["gone"]}], "default_fallbacks": ["gone"]}
    check(config(router), set(MODELS))
    assert caplog.text.count("gone") == 1
