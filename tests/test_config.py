"""Settings and the config file: what is read, and that every refusal names the setting or the line that is wrong."""

import stat
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.config import Settings, database_url, load_settings, worker_environment
from chatcore.config_file import parse_config
from chatcore.errors import ConfigError

SECRETS = {
    "CHATCORE_SECRET_KEY": "planted-secret-key",
    "CHATCORE_ADMIN_USERNAME": "root",
    "CHATCORE_ADMIN_PASSWORD": "planted-admin-password",
    "CHATCORE_METRICS_TOKEN": "planted-metrics-token",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=planted-collector-token",
    "CHATCORE_REDIS_URL": "redis://:planted-redis-password@cache/0",
    "CHATCORE_DATABASE_URL": "postgres://chat:planted-database-password@db.example/chat",
    "OPENAI_API_KEY": "planted-openai-key",
}


def load(root: Path, **environ: str) -> Settings:
    return load_settings({"CHATCORE_SECRET_KEY": "any", **environ}, root=root)


def refusal(root: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(root, **environ)
    return str(caught.value)


def wrong(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text if isinstance(text, bytes) else text.encode(), name="team.yaml")
    return str(caught.value)


# --- the environment ------------------------------------------------------------------------------------------------


def test_nothing_set_is_enough_for_a_start(tmp_path: Path) -> None:
    settings = load_settings({}, root=tmp_path)
    assert settings.database_url.database == str(tmp_path / "data" / "chatcore.db")
    assert settings.file.model_list == []
    assert settings.config_path is None
    assert (settings.redis_url, settings.admin_username, settings.public_url) == (None, None, None)
    assert settings.drain_seconds == 20.0
    assert settings.unknown_settings == []


def test_empty_variables_count_as_unset(tmp_path: Path) -> None:
    names = ["DATABASE_URL", "CONFIG", "SECRET_KEY", "REDIS_URL", "ADMIN_USERNAME", "ADMIN_PASSWORD", "DATA_DIR",
             "DRAIN_SECONDS", "TRUSTED_PROXIES", "PUBLIC_URL", "METRICS_TOKEN"]  # fmt: skip
    settings = load_settings({f"CHATCORE_{name}": "" for name in names}, root=tmp_path)
    assert settings.data_dir == tmp_path / "data"
    assert settings.redis_url is None
    assert settings.metrics_token is None
    assert settings.drain_seconds == 20.0
    assert len(settings.secret_key) >= 32


def test_the_data_folder_moves_the_database_and_the_secret(tmp_path: Path) -> None:
    settings = load_settings({"CHATCORE_DATA_DIR": "elsewhere"}, root=tmp_path)
    assert settings.database_url.database == str(tmp_path / "elsewhere" / "chatcore.db")
    assert (tmp_path / "elsewhere" / "secret_key").read_text() == settings.secret_key


def test_the_secret_is_private_and_kept(tmp_path: Path) -> None:
    first = load_settings({}, root=tmp_path).secret_key
    assert len(first) >= 43, "256 bits"
    path = tmp_path / "data" / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_settings({}, root=tmp_path).secret_key == first
    assert [one.name for one in path.parent.iterdir()] == ["secret_key"], "nothing half-made stays"


def test_many_first_starts_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = {one.secret_key for one in pool.map(lambda _: load_settings({}, root=tmp_path), range(64))}
    assert len(found) == 1


def test_a_secret_of_ones_own_is_taken_and_none_is_written(tmp_path: Path) -> None:
    assert load(tmp_path, CHATCORE_SECRET_KEY="short").secret_key == "short"
    assert not (tmp_path / "data" / "secret_key").exists()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_an_empty_secret_file_is_not_a_secret(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret_key").write_text(" \n")
    with pytest.raises(ConfigError, match="secret_key in the data folder is empty"):
        load_settings({}, root=tmp_path)


def test_a_data_folder_that_cannot_be_made_names_both_ways_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="CHATCORE_DATA_DIR"):
        load_settings({"CHATCORE_DATA_DIR": "file/below"}, root=tmp_path)


def test_secrets_stay_out_of_the_repr(tmp_path: Path) -> None:
    settings = load(tmp_path, **SECRETS)
    assert "planted" not in repr(settings)
    assert "planted" not in str(settings)
    assert settings.admin_password == "planted-admin-password"


def test_the_worker_sees_the_providers_keys_and_none_of_ours(tmp_path: Path) -> None:
    environment = worker_environment(load(tmp_path, PATH="/bin", **SECRETS))
    held = {value for value in environment.values() if "planted" in value}
    assert held == {"planted-openai-key"}
    assert environment["PATH"] == "/bin"
    assert environment["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


def test_the_worker_keeps_what_litellm_must_find(tmp_path: Path) -> None:
    assert worker_environment(load(tmp_path, LITELLM_MODE="DEV"))["LITELLM_MODE"] == "PRODUCTION"


def test_mistyped_names_are_listed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("chatcore: {rate_limit: false, default_model: x}")
    settings = load(
        tmp_path, CHATCORE_DATABSE_URL="x", CHATCORE_TEST_POSTGRES_URL="x", CHATCORELESS="x", OTHER_CHATCORE_X="x"
    )
    assert settings.unknown_settings == ["CHATCORE_DATABSE_URL", "chatcore.rate_limit"]


@pytest.mark.parametrize("given", [{"CHATCORE_ADMIN_USERNAME": "ada"}, {"CHATCORE_ADMIN_PASSWORD": "planted"}])
def test_half_an_admin_is_refused(tmp_path: Path, given: dict[str, str]) -> None:
    said = refusal(tmp_path, **given)
    assert "CHATCORE_ADMIN_USERNAME" in said
    assert "CHATCORE_ADMIN_PASSWORD" in said
    assert "planted" not in said


@pytest.mark.parametrize(("value", "seconds"), [("0", 0.0), ("2.5", 2.5), ("3600", 3600.0), (" 7 ", 7.0)])
def test_drain_seconds(tmp_path: Path, value: str, seconds: float) -> None:
    assert load(tmp_path, CHATCORE_DRAIN_SECONDS=value).drain_seconds == seconds


@pytest.mark.parametrize("value", ["soon", "-1", "3601", "nan", "inf", "1e9"])
def test_drain_seconds_that_are_none(tmp_path: Path, value: str) -> None:
    assert refusal(tmp_path, CHATCORE_DRAIN_SECONDS=value).startswith("CHATCORE_DRAIN_SECONDS must be")


def test_trusted_proxies(tmp_path: Path) -> None:
    settings = load(tmp_path, CHATCORE_TRUSTED_PROXIES=" 127.0.0.1, 10.0.0.0/8,,fd00::/8 ")
    trusted = {
        address: any(ip_address(address) in network for network in settings.trusted_proxies)
        for address in ("127.0.0.1", "127.0.0.2", "10.200.0.1", "11.0.0.1", "fd12::1", "::1")
    }
    assert trusted == {"127.0.0.1": True, "127.0.0.2": False, "10.200.0.1": True, "11.0.0.1": False, "fd12::1": True,
                       "::1": False}  # fmt: skip
    assert load(tmp_path).trusted_proxies == ()


@pytest.mark.parametrize("value", ["proxy.example", "10.0.0.0/40", "10.0.0.1/8", "*", "1.2.3"])
def test_trusted_proxies_that_are_none(tmp_path: Path, value: str) -> None:
    assert "CHATCORE_TRUSTED_PROXIES" in refusal(tmp_path, CHATCORE_TRUSTED_PROXIES=value)


def test_the_public_url_has_no_slash_at_its_end(tmp_path: Path) -> None:
    assert load(tmp_path, CHATCORE_PUBLIC_URL="https://chat.example/").public_url == "https://chat.example"


# --- the database URL -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql(scheme: str) -> None:
    url = database_url(f"{scheme}://me:p%40ss@db.example:6432/chat?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert (url.host, url.port, url.password, url.query) == ("db.example", 6432, "p@ss", {"sslmode": "require"})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("sqlite:///data/chat.db", "/srv/chatcore/data/chat.db"),
        ("sqlite+pysqlite:///chat.db", "/srv/chatcore/chat.db"),
        ("sqlite:////var/lib/chat.db", "/var/lib/chat.db"),
        ("", "/srv/chatcore/data/chatcore.db"),
        (None, "/srv/chatcore/data/chatcore.db"),
    ],
)
def test_sqlite_paths_start_from_the_root(value: str | None, path: str) -> None:
    url = database_url(value, Path("/srv/chatcore"))
    assert (url.drivername, url.database) == ("sqlite", path)


@pytest.mark.parametrize(
    "value",
    ["chat.db", "mysql://me:planted@db/chat", "sqlite://", "sqlite:///:memory:", "postgresql://me:planted@db:port/chat",
     "postgresql+asyncpg://me:planted@db/chat", "://", "sqlite+aiosqlite:///chat.db"],
)  # fmt: skip
def test_a_database_url_that_cannot_be_used_is_named_without_its_password(tmp_path: Path, value: str) -> None:
    said = refusal(tmp_path, CHATCORE_DATABASE_URL=value)
    assert said.startswith("CHATCORE_DATABASE_URL")
    assert said.endswith(".")
    assert "planted" not in said


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_database_url_is_taken_or_refused_and_never_a_crash(value: str) -> None:
    said = "CHATCORE_DATABASE_URL"
    try:
        database_url(value, Path("/srv"))
    except ConfigError as error:
        said = str(error)
    assert "CHATCORE_DATABASE_URL" in said


# --- the config file ------------------------------------------------------------------------------------------------

PROXY = """\
model_list:
  - model_name: gpt-5
    litellm_params:
      model: azure/gpt-5-eu
      api_base: os.environ/AZURE_API_BASE
      api_key: os.environ/AZURE_API_KEY
      api_version: "2025-01-01"
      rpm: 6
    model_info:
      mode: chat
      base_model: azure/gpt-5
      id: "1"
  - model_name: gpt-5
    litellm_params: {model: openai/gpt-5, api_key: os.environ/OPENAI_API_KEY}

litellm_settings:
  drop_params: True
  success_callback: ["langfuse"]
  cache: true
  cache_params: {type: redis}

router_settings:
  routing_strategy: simple-shuffle
  num_retries: 2
  fallbacks: [{"gpt-5": ["gpt-4o"]}]

general_settings:
  master_key: sk-1234
  database_url: os.environ/DATABASE_URL

environment_variables:
  REDIS_HOST: os.environ/REDIS_HOST

credential_list: []
"""


def test_a_file_of_the_litellm_proxy_is_taken_as_it_is() -> None:
    config = parse_config(PROXY.encode())
    first, second = config.model_list
    assert (first.model_name, second.model_name) == ("gpt-5", "gpt-5")
    assert first.litellm_params.api_key == "os.environ/AZURE_API_KEY"
    assert first.litellm_params.model_extra == {"api_version": "2025-01-01", "rpm": 6}
    assert first.model_info.model_extra == {"mode": "chat", "base_model": "azure/gpt-5", "id": "1"}
    assert config.router_settings.fallbacks == [{"gpt-5": ["gpt-4o"]}]
    assert config.general_settings["master_key"] == "sk-1234"


@pytest.mark.parametrize(
    "text", ["", "\n# nothing yet\n", "---\n", "model_list:\n", "chatcore:\nrouter_settings:\n", "{}"]
)
def test_nothing_in_it_is_nothing(text: str) -> None:
    config = parse_config(text.encode())
    assert config.model_list == []
    assert config.chatcore.max_message_chars == 200_000


def test_a_byte_order_mark_is_no_matter() -> None:
    assert parse_config(b"\xef\xbb\xbf" + PROXY.encode()) == parse_config(PROXY.encode())


def test_windows_line_ends_keep_the_line_numbers() -> None:
    text = "chatcore:\r\n  default_model: x\r\n  session_days: never\r\n"
    assert wrong(text).startswith("team.yaml, line 3: chatcore.session_days:")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("model_list:\n  - model_name: a\n    litellm_params:\n      api_key: k\n", 3, "litellm_params.model"),
        ("model_list:\n  - litellm_params: {model: x}\n", 2, "model_name"),
        ("model_list:\n  - model_name: ''\n    litellm_params: {model: x}\n", 2, "model_name"),
        (
            "# one\n\nmodel_list:\n  - model_name: a\n    litellm_params:\n      model: x\n      timeout: -1\n",
            7,
            "timeout",
        ),
        (
            "model_list:\n  - model_name: a\n    litellm_params: {model: x}\n    model_info:\n"
            "      input_cost_per_token: cheap\n",
            5,
            "input_cost_per_token",
        ),
        ("model_list: 5\n", 1, "model_list"),
        ("\nmodel_list:\n- model_name: a\n  litellm_params: x\n", 4, "litellm_params"),
        ("chatcore:\n  rate_limits: perhaps\n", 2, "chatcore.rate_limits"),
        ("chatcore:\n  demo_models: sometimes\n", 2, "chatcore.demo_models"),
        ("chatcore:\n  max_message_chars: 0\n", 2, "chatcore.max_message_chars"),
        ("router_settings: []\n", 1, "router_settings"),
        ("chatcore: 7\n", 1, "chatcore"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(text: str, line: int, what: str) -> None:
    said = wrong(text)
    assert said.startswith(f"team.yaml, line {line}: ")
    assert what in said
    assert said.endswith(".")


MODEL = "model_list:\n- model_name: a\n  litellm_params:\n    model: x\n"
TIER = "output_cost_per_token_above_128k_tokens"


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan"])
@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (f"{MODEL}    weight: NUMBER\n", 5, "weight"),
        (f"{MODEL}    timeout: NUMBER\n", 5, "timeout"),
        (f"{MODEL}    temperature: NUMBER\n", 5, "temperature"),
        (f"{MODEL}    extra_body: {{a: [{{b: NUMBER}}]}}\n", 5, "extra_body"),
        (f"{MODEL}    {TIER}: NUMBER\n", 5, TIER),
        (f"{MODEL}  model_info:\n    {TIER}: NUMBER\n", 6, TIER),
        (f"{MODEL}  model_info:\n    input_cost_per_token: NUMBER\n", 6, "input_cost_per_token"),
        (f"{MODEL}  model_info:\n    first_word_timeout: NUMBER\n", 6, "first_word_timeout"),
        ("chatcore:\n  slow_after: NUMBER\n", 2, "slow_after"),
        ("chatcore:\n  between_words_timeout: NUMBER\n", 2, "between_words_timeout"),
        ("chatcore:\n  attempts:\n    primary: {tries: 1, timeout: NUMBER}\n", 3, "timeout"),
        ("router_settings:\n  cooldown_time: NUMBER\n", 2, "cooldown_time"),
    ],
)
def test_every_number_is_finite(text: str, line: int, what: str, number: str) -> None:
    said = wrong(text.replace("NUMBER", number))
    assert said.startswith(f"team.yaml, line {line}: ")
    assert what in said
    assert "Value error" not in said


@pytest.mark.parametrize("price", ["-1", "cheap", "[1]", "3", "-1e-6", "1e400"])
@pytest.mark.parametrize("field", [TIER, "cache_read_input_token_cost", "input_cost_per_token_above_0k_tokens"])
def test_a_price_that_is_none_is_named_with_its_line(field: str, price: str) -> None:
    for section, line in (("", 5), ("  model_info:\n", 6)):
        said = wrong(f"{MODEL}{section}    {field}: {price}\n")
        assert said.startswith(f"team.yaml, line {line}: model_list.0.")
        assert field in said


def test_yes_is_no_price() -> None:
    assert TIER in wrong(f"{MODEL}    {TIER}: true\n")


def test_prices_of_large_prompts_are_taken_as_they_are_written() -> None:
    text = f"{MODEL}    {TIER}: 2e-6\n    cache_read_input_token_cost: null\n  model_info: {{{TIER}: 0.000003}}\n"
    [entry] = parse_config(text.encode()).model_list
    assert (entry.litellm_params.model_extra or {})[TIER] == "2e-6"
    assert (entry.model_info.model_extra or {})[TIER] == 0.000003


@pytest.mark.parametrize(
    "tag", ["!!binary /w==", "!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!timestamp 2025-01-01"]
)
def test_what_cannot_be_sent_is_named_with_its_line(tag: str) -> None:
    said = wrong(f"{MODEL}    extra_body:\n      deep: [1, {tag}]\n")
    assert said == "team.yaml, line 6: write this value as plain text."


def test_a_value_that_contains_itself_is_still_a_sentence() -> None:
    assert wrong(f"{MODEL}    extra_body: &a [*a]\n") == "team.yaml holds a value that contains itself."


@pytest.mark.parametrize("setting", ["budget_reply_tokens: 10000001", "budget_reply_tokens: 1000000000000000000000"])
def test_a_reply_for_the_budget_has_a_bound(setting: str) -> None:
    assert "budget_reply_tokens" in wrong(f"chatcore:\n  {setting}\n")
    assert parse_config(b"chatcore: {budget_reply_tokens: 10000000}").chatcore.budget_reply_tokens == 10_000_000


def test_a_key_loses_the_line_end_of_its_block() -> None:
    [entry] = parse_config(f"{MODEL}    api_key: |\n      planted-key\n".encode()).model_list
    assert entry.litellm_params.api_key == "planted-key"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model_list:\n  - a: [1\n", 3),
        ("a: b: c\n", 1),
        ("x:\n\t- y\n", 2),
        ("a: 1\nb: !!python/object:os.system {}\n", 2),
        ("a: *nobody\n", 1),
    ],
)
def test_broken_yaml_is_named_with_its_line(text: str, line: int) -> None:
    assert wrong(text).startswith(f"team.yaml, line {line}: ")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "5\n"])
def test_a_file_that_is_no_mapping(text: str) -> None:
    assert "must be a mapping" in wrong(text)


@pytest.mark.parametrize("text", [b"a: \xff\xfe", b"\x00\x01", b"a: 1\n---\nb: 2\n", b"\xff\xfea\x00"])
def test_no_text_at_all_is_still_a_sentence(text: bytes) -> None:
    assert wrong(text).startswith("team.yaml")


@pytest.mark.parametrize(
    "text", ["a: !!int x", "a: !!float x", "a: !!timestamp x", "a: !!bool x", "[" * 2000], ids=lambda text: text[:15]
)
def test_what_yaml_itself_stumbles_over_is_still_a_sentence(text: str) -> None:
    assert wrong(text).startswith("team.yaml")


@pytest.mark.parametrize("version", ["2025-01-01", "2024-06-31", "2024-02-15-preview", "2001-12-14t21:59:43.10-05:00"])
def test_a_version_that_looks_like_a_date_stays_as_it_is_written(version: str) -> None:
    text = f"model_list: [{{model_name: a, litellm_params: {{model: azure/x, api_version: {version}}}}}]"
    assert parse_config(text.encode()).model_list[0].litellm_params.model_extra == {"api_version": version}


def test_a_wrong_value_is_not_repeated_where_it_may_be_a_secret() -> None:
    said = wrong("model_list:\n  - model_name: a\n    litellm_params: {model: x, api_key: [planted-key]}\n")
    assert "api_key" in said
    assert "planted" not in said


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused_with_the_files_name(data: bytes) -> None:
    said = "team.yaml"
    try:
        parse_config(data, name=said)
    except ConfigError as error:
        said = str(error)
    assert said.startswith("team.yaml")


@given(st.text("[]{}:-,*&!|>'\"#%@`? \n\tab1~", max_size=40))
def test_any_punctuation_is_parsed_or_refused_with_the_files_name(text: str) -> None:
    said = "team.yaml"
    try:
        parse_config(text.encode(), name=said)
    except ConfigError as error:
        said = str(error)
    assert said.startswith("team.yaml")


def test_the_file_is_found_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text("chatcore: {default_model: here}")
    settings = load(tmp_path, CHATCORE_CONFIG="team.yaml")
    assert settings.own.default_model == "here"
    assert settings.config_path == tmp_path / "team.yaml"
    assert load(tmp_path, CHATCORE_CONFIG=str(tmp_path / "team.yaml")).own.default_model == "here"


def test_config_yaml_is_read_where_it_exists(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("chatcore: {default_model: found}")
    assert load(tmp_path).own.default_model == "found"


def test_a_named_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path, CHATCORE_CONFIG="gone.yaml") == "CHATCORE_CONFIG names gone.yaml, and there is no such file."
    )
