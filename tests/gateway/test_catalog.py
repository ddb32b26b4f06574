"""The registry: what can be called, what is missing where not, and where prices and windows come from."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import yaml

from chatcore.config import load_settings
from chatcore.errors import ConfigError, ModelUnavailable
from chatcore.gateway import Catalog, Model, ollama
from chatcore.gateway.catalog import KEY_VARIABLES, provider_of
from chatcore.gateway.prices import Prices

KEY = "sk-planted-0123456789"


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Makes the catalog of a config file's content in an environment."""

    def catalog(entries: list[dict[str, Any]], env: dict[str, str] | None = None, **own: Any) -> Catalog:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"model_list": entries, "chatcore": own}))
        environ = {"CHATCORE_SECRET_KEY": "x", **(env or {})}
        return Catalog(load_settings(environ, root=tmp_path))

    return catalog


def entry(name: str, target: str, info: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": target, **params}, "model_info": info or {}}


def names(catalog: Catalog) -> list[str]:
    return [model.name for model in catalog.models()]


def one(catalog: Catalog, name: str = "m") -> Model:
    found = catalog.find(name)
    assert found is not None
    return found


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", KEY_VARIABLES)
def test_a_missing_key_names_its_variable_and_any_of_them_will_do(make: Any, provider: str) -> None:
    entries = [entry("m", f"{provider}/some-model", {"display_name": "Some model"})]
    absent = one(make(entries))
    assert not absent.available
    assert absent.why_not == f"Set {' or '.join(KEY_VARIABLES[provider])} to use Some model."
    for variable in KEY_VARIABLES[provider]:
        present = one(make(entries, {variable: KEY}))
        assert present.available
        assert present.why_not == ""


def test_an_empty_key_is_no_key(make: Any) -> None:
    assert not one(make([entry("m", "openai/x")], {"OPENAI_API_KEY": ""})).available


def test_a_key_in_the_file_is_enough_and_is_handed_on(make: Any) -> None:
    model = one(make([entry("m", "openai/x", api_key=KEY)]))
    assert model.available
    assert model.arguments["api_key"] == KEY


def test_a_reference_is_resolved(make: Any) -> None:
    entries = [entry("m", "openai/x", api_key="os.environ/TEAM_KEY", api_base="os.environ/TEAM_BASE")]
    model = one(make(entries, {"TEAM_KEY": KEY, "TEAM_BASE": "http://127.0.0.1:9/v1"}))
    assert model.arguments == {"api_key": KEY, "api_base": "http://127.0.0.1:9/v1"}


def test_a_reference_that_leads_nowhere_is_what_is_missing(make: Any) -> None:
    entries = [entry("m", "openai/x", api_key="os.environ/TEAM_KEY")]
    model = one(make(entries, {"OPENAI_API_KEY": KEY}))
    assert model.missing == ("TEAM_KEY",)
    assert "os.environ" not in model.why_not
    with pytest.raises(ModelUnavailable, match=r"Set TEAM_KEY to use m\."):
        make(entries).get("m")


def test_a_server_of_ones_own_needs_no_key(make: Any) -> None:
    model = one(make([entry("m", "openai/llama", api_base="http://127.0.0.1:9/v1")]))
    assert model.available
    assert model.arguments["api_key"], "the client library insists on some key"


def test_a_provider_without_a_known_key_is_taken_to_be_available(make: Any) -> None:
    assert one(make([entry("m", "bedrock/x")])).available


def test_no_key_stands_in_the_repr(make: Any) -> None:
    catalog = make([entry("m", "openai/x", api_key=KEY, extra_headers={"Authorization": KEY})])
    assert KEY not in repr(catalog.models())
    assert KEY not in str(catalog.models())


def test_what_steers_the_proxy_is_no_argument_of_a_call(make: Any) -> None:
    params = {"rpm": 6, "tpm": 1, "weight": 2, "timeout": 9, "max_retries": 3, "input_cost_per_token": 1e-6,
              "api_version": "2025-01-01", "temperature": 0.2, "organization": "o"}  # fmt: skip
    model = one(make([entry("m", "openai/x", api_key=KEY, **params)]))
    assert model.arguments == {"api_key": KEY, "api_version": "2025-01-01", "temperature": 0.2, "organization": "o"}


RESERVED = {"stream": False, "messages": [], "stream_options": {}, "mock_response": "hi", "n": 3, "logger_fn": "x"}


@pytest.mark.parametrize("name", RESERVED)
def test_what_a_call_says_for_itself_is_left_out_with_a_warning(
    make: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = one(make([entry("m", "openai/x", api_key=KEY, temperature=0.5, **{name: RESERVED[name]})]))
    assert model.arguments == {"api_key": KEY, "temperature": 0.5}
    [record] = [record for record in caplog.records if record.name == "chatcore.gateway.catalog"]
    assert record.getMessage() == f"litellm_params of m#1: left out, as it is not for a file: {name}"


def test_a_line_end_behind_a_key_is_taken_off(make: Any) -> None:
    entries = [entry("m", "openai/x", api_key=f"{KEY}\n"), entry("n", "openai/x", api_key="os.environ/TEAM_KEY")]
    catalog = make(entries, {"TEAM_KEY": f"{KEY}\r\n"})
    assert [one(catalog, name).arguments["api_key"] for name in ("m", "n")] == [KEY, KEY]
    assert not one(make(entries, {"TEAM_KEY": " \n"}), "n").available


def test_arguments_can_travel_to_the_worker(make: Any, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "model_list: [{model_name: m, litellm_params: {model: azure/x, api_key: k, api_version: 2025-01-01}}]"
    )
    model = one(Catalog(load_settings({"CHATCORE_SECRET_KEY": "x"}, root=tmp_path)))
    assert json.loads(json.dumps(dict(model.arguments))) == {"api_key": "k", "api_version": "2025-01-01"}


# --- names ----------------------------------------------------------------------------------------------------------


def test_the_order_is_the_files_and_the_first_of_a_name_stands(make: Any) -> None:
    catalog = make([entry("b", "openai/1", api_key=KEY), entry("a", "openai/2"), entry("b", "openai/3", api_key=KEY)])
    assert names(catalog) == ["b", "a"]
    assert one(catalog, "b").target == "openai/1"


def test_a_model_that_is_not_there(make: Any) -> None:
    catalog = make([])
    assert catalog.find("gone") is None
    assert catalog.find(None) is None
    with pytest.raises(ModelUnavailable, match="no longer in the configuration"):
        catalog.get("gone")


@pytest.mark.parametrize(
    ("target", "provider"),
    [
        ("openai/gpt-5", "openai"),
        ("gemini/gemini-2.5-pro", "gemini"),
        ("openrouter/anthropic/claude", "openrouter"),
        ("gpt-5", "openai"),
        ("GPT-4o", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("o3-mini", "openai"),
        ("claude-sonnet-5", "anthropic"),
        ("command-r", "command"),
        ("7b", "unknown"),
    ],
)
def test_the_provider_of_a_target(target: str, provider: str) -> None:
    assert provider_of(target) == provider


def test_custom_llm_provider_says_it(make: Any) -> None:
    model = one(make([entry("m", "whatever", custom_llm_provider="groq")]))
    assert (model.provider, model.missing) == ("groq", ("GROQ_API_KEY",))


# --- the default and the demo ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("b", "b"), (None, "a"), ("without-key", "a")],
)
def test_the_default_is_the_wanted_one_where_it_can_be_called(make: Any, wanted: str | None, chosen: str) -> None:
    entries = [entry("without-key", "openai/x"), entry("a", "bedrock/x"), entry("b", "bedrock/y")]
    assert make(entries, default_model=wanted).default.name == chosen


def test_a_default_that_is_not_in_the_list_stops_the_start(make: Any) -> None:
    with pytest.raises(ConfigError, match="default_model names not-there"):
        make([entry("a", "bedrock/x")], default_model="not-there")


def test_of_two_deployments_the_one_with_a_key_stands(make: Any) -> None:
    model = one(make([entry("m", "openai/x"), entry("m", "bedrock/y")]))
    assert (model.target, model.available) == ("bedrock/y", True)


def test_a_reference_inside_a_mapping_is_resolved(make: Any) -> None:
    headers = {"extra_headers": {"X-Team": "os.environ/TEAM_KEY"}}
    assert one(make([entry("m", "bedrock/x", **headers)])).missing == ("TEAM_KEY",)


def test_nothing_at_all_has_no_default(make: Any) -> None:
    assert make([], demo_models=False).default is None
    assert make([entry("m", "openai/x")], demo_models=False).default is None


@pytest.mark.parametrize(
    ("setting", "key", "demos"),
    [("auto", False, True), ("auto", True, False), (True, False, True), (True, True, True), (False, False, False)],
)
def test_when_the_demo_models_are_there(make: Any, setting: Any, key: bool, demos: bool) -> None:
    catalog = make([entry("m", "openai/x")], {"OPENAI_API_KEY": KEY} if key else None, demo_models=setting)
    assert names(catalog)[0] == "m"
    assert any(model.demo for model in catalog.models()) == demos
    if key:
        assert catalog.default.name == "m", "a real model comes before a demo"


def test_the_demo_models_are_priced_and_say_that_they_are_demos(make: Any) -> None:
    demos = make([]).models()
    assert demos
    assert all(model.demo and model.available and model.name.startswith("demo/") for model in demos)
    assert {model.prices.source for model in demos} == {"demo"}


# --- prices and windows ---------------------------------------------------------------------------------------------


def test_prices_come_from_model_info_then_litellm_params_then_the_table(make: Any) -> None:
    info, params = {"input_cost_per_token": 1e-6}, {"input_cost_per_token": 2e-6}
    both = one(make([entry("m", "openai/gpt-4o", info, **params)])).prices
    assert both.source == "config"
    table = one(make([entry("m", "openai/gpt-4o")])).prices
    assert both.unit == {**(table.unit or {}), "prompt": "0.000001"}, "what is not written stands in the table"
    assert (one(make([entry("m", "openai/gpt-4o", **params)])).prices.unit or {})["prompt"] == "0.000002"
    elsewhere = one(make([entry("m", "hosted_vllm/gpt-4o", **params)])).prices
    assert elsewhere == Prices("config", {"prompt": "0.000002"}), "another provider's model has prices of its own"
    assert table.source == "litellm"
    assert (table.unit or {})["prompt"] == "0.0000025"


def test_an_unknown_model_has_no_price_and_no_window(make: Any) -> None:
    model = one(make([entry("m", "openai/made-up-model", api_key=KEY)]))
    assert model.prices == Prices()
    assert model.context_window is None
    assert (model.vision, model.tools, model.reasoning) == (False, False, False)


def test_the_files_facts_win_over_the_table(make: Any) -> None:
    table = one(make([entry("m", "openai/gpt-4o")]))
    assert table.context_window == 128_000
    assert (table.vision, table.tools) == (True, True)
    info = {"max_input_tokens": 5000, "supports_vision": False, "display_name": "Ours", "description": "d"}
    model = one(make([entry("m", "openai/gpt-4o", info)]))
    assert (model.context_window, model.vision, model.tools) == (5000, False, True)
    assert (model.display_name, model.description) == ("Ours", "d")


@pytest.mark.parametrize(
    ("info", "params", "own", "first", "between"),
    [
        ({}, {}, {}, None, 45),  # that of the part it plays
        ({}, {}, {"first_word_timeout": 5, "between_words_timeout": 6}, 5, 6),
        ({}, {"timeout": 90}, {}, 90, 45),
        ({}, {"timeout": 90, "stream_timeout": 20}, {}, 20, 45),
        ({"first_word_timeout": 1, "between_words_timeout": 2}, {"timeout": 90}, {}, 1, 2),
    ],
)
def test_times(
    make: Any, info: dict[str, Any], params: dict[str, Any], own: dict[str, Any], first: float | None, between: float
) -> None:
    model = one(make([entry("m", "openai/x", info, **params)], **own))
    assert (model.first_word_timeout, model.between_words_timeout) == (first, between)


# --- a local Ollama -------------------------------------------------------------------------------------------------


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """A server on loopback that answers everything with `body`; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/api/tags" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


TAGS = json.dumps({"models": [{"name": "llama3:8b", "size": 1}, {"name": "qwen3:4b"}]}).encode()


def test_ollamas_models_are_found_free_and_callable() -> None:
    with answering(TAGS) as url:
        found = ollama.find(url)
    assert [model.name for model in found] == ["ollama/llama3:8b", "ollama/qwen3:4b"]
    assert [model.target for model in found] == ["ollama_chat/llama3:8b", "ollama_chat/qwen3:4b"]
    assert all(model.available and model.arguments == {"api_base": url} for model in found)
    assert all(set((model.prices.unit or {}).values()) == {"0"} for model in found)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"models": 5}', b'{"models": [{}]}', b'{"models": ["x"]}', b"null",
             b'{"models": null}', b"\xff\xfe"],
)  # fmt: skip
def test_somebody_else_at_that_port_is_no_ollama(body: bytes) -> None:
    with answering(body) as url:
        assert ollama.find(url) == ()


def test_an_ollama_that_fails_has_no_models() -> None:
    with answering(TAGS, 500) as url:
        assert ollama.find(url) == ()


def test_nobody_there_is_quickly_known() -> None:
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        started = time.monotonic()
        assert ollama.find(f"http://127.0.0.1:{nobody.getsockname()[1]}") == ()
        assert time.monotonic() - started < 2.5


@pytest.mark.parametrize("url", ["http://127.0.0.1:port", "http://", "nothing://x", "http://[::1", "http://\x00"])
def test_an_address_that_is_none_has_no_models(url: str) -> None:
    assert ollama.find(url) == ()


def test_watching_adds_them_behind_the_others_and_does_not_block(make: Any) -> None:
    catalog = make([entry("ollama/qwen3:4b", "bedrock/x")])
    added, stopped = threading.Event(), threading.Event()
    keep = catalog.set_found
    catalog.set_found = lambda models: (keep(models), added.set())
    with answering(TAGS) as url:
        before = names(catalog)
        thread = ollama.watch(catalog, {"OLLAMA_HOST": url.removeprefix("http://")}, stopped)
        assert added.wait(10)
        stopped.set()
        thread.join(10)
    assert not thread.is_alive()
    assert names(catalog) == [*before, "ollama/llama3:8b"], "a configured one of that name stands"
    assert one(catalog, "ollama/qwen3:4b").target == "bedrock/x"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://127.0.0.1:11434"),
        ({"OLLAMA_HOST": "0.0.0.0:11434"}, "http://127.0.0.1:11434"),
        ({"OLLAMA_HOST": "box:1234"}, "http://box:1234"),
        ({"OLLAMA_HOST": "box"}, "http://box:11434"),
        ({"OLLAMA_HOST": "0.0.0.0"}, "http://127.0.0.1:11434"),
        ({"OLLAMA_API_BASE": "https://o.example/", "OLLAMA_HOST": "box"}, "https://o.example"),
        ({"OLLAMA_API_BASE": ""}, "http://127.0.0.1:11434"),
    ],
)
def test_where_ollama_would_be(environment: dict[str, str], url: str) -> None:
    assert ollama.base_url(environment) == url


# --- what a model takes in a question -------------------------------------------------------------------------------


def test_hearing_comes_from_model_info_or_litellms_table(make: Any) -> None:
    entries = [
        entry("said", "openai/unheard-of", {"supports_audio_input": True}),
        entry("listed", "openai/gpt-audio"),
        entry("denied", "openai/gpt-audio", {"supports_audio_input": False}),
        entry("plain", "openai/unheard-of"),
    ]
    catalog = make(entries, {"OPENAI_API_KEY": "sk-x"})
    assert {name: catalog.find(name).audio for name in ("said", "listed", "denied", "plain")} == {
        "said": True,
        "listed": True,
        "denied": False,
        "plain": False,
    }


def test_a_demo_model_sees_and_another_does_not(make: Any) -> None:
    seeing = {model.name: model.vision for model in make([]).models() if model.demo}
    assert seeing == {"demo/assistant": True, "demo/quick": False, "demo/thinker": True}
    assert not any(model.audio for model in make([]).models())
