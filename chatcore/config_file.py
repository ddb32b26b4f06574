"""The config file: the LiteLLM proxy's format, with our own settings under `chatcore:`."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from chatcore.config_oidc import ENV_REFERENCE as ENV_REFERENCE
from chatcore.config_oidc import Oidc
from chatcore.errors import ConfigError

_LARGEST_WINDOW: Final = 1_000_000_000  # tokens
_DEAREST: Final = 2.0  # USD a token: the cost of a call of any size stays within what a column holds
_PRICE: Final = re.compile(r"(\w+_cost_per_(reasoning_)?token|cache_\w+_input_token_cost)(_above_\d+k_tokens)?")

Purpose = Literal["fast", "balanced", "powerful", "reasoning"]
"""What a model is good for: an alias that `chatcore.aliases` gives a model."""


def resolved(value: Any, env: Mapping[str, str]) -> tuple[Any, list[str]]:
    """`value` with its `os.environ/NAME` replaced, also inside lists and mappings, and the names that are not set."""
    if isinstance(value, str) and value.startswith(ENV_REFERENCE):
        name = value.removeprefix(ENV_REFERENCE)
        found = env.get(name, "").strip()  # a line end that came along with a key breaks the call
        return found or None, [] if found else [name]
    if isinstance(value, dict):
        pairs = {key: resolved(inner, env) for key, inner in value.items()}
        return {key: found for key, (found, _) in pairs.items()}, [
            name for _, absent in pairs.values() for name in absent
        ]
    if isinstance(value, list):
        items = [resolved(inner, env) for inner in value]
        return [found for found, _ in items], [name for _, absent in items for name in absent]
    return value, []


class _Loader(yaml.SafeLoader):
    """Dates stay the text they are written as: `api_version: 2025-01-01` is an argument of a call."""

    yaml_implicit_resolvers = {
        sign: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _refused(loader: _Loader, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(None, None, "write this value as plain text", node.start_mark)


# Bytes, sets and dates have no place in a call's arguments, which travel as JSON.
for _tag in ("binary", "set", "omap", "pairs", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _refused)


def _sendable(value: Any) -> Any:
    """An argument of a call as it is. Raises `ValueError` where JSON has no form for it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        _sendable(one)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("Input should be a finite number")
    return value


_Sendable = Annotated[Any, AfterValidator(_sendable)]
_Price = Annotated[float, Field(ge=0, le=_DEAREST)]


class ModelParams(BaseModel):
    """`litellm_params` of one entry: what is handed to `litellm.acompletion`. Unknown keys pass through."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, _Sendable]

    model: str = Field(min_length=1)
    api_key: str | None = None
    api_base: str | None = None
    input_cost_per_token: _Price | None = None
    output_cost_per_token: _Price | None = None
    timeout: float | None = Field(None, gt=0)
    stream_timeout: float | None = Field(None, gt=0)
    num_retries: int | None = Field(None, ge=0, le=10)
    order: int = 0
    weight: float = Field(1.0, gt=0, le=1_000_000)

    @field_validator("api_key", "api_base")
    @classmethod
    def _without_line_end(cls, value: str | None) -> str | None:
        """A header cannot hold the line end that a block of YAML leaves behind a key."""
        return None if value is None else value.strip()

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """A secret may stand under any name."""
        yield "model", self.model


class Access(BaseModel):
    """Who may use a model, by role, tier and tenant (its name or id). An empty list lets everybody."""

    model_config = ConfigDict(extra="forbid")

    roles: list[str] = Field(default_factory=list)
    tiers: list[str] = Field(default_factory=list)
    tenants: list[str] = Field(default_factory=list)


class ModelFacts(BaseModel):
    """`model_info` of one entry: what the registry shows and prices with. Unknown keys pass through."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    display_name: str | None = None
    description: str | None = None
    max_input_tokens: int | None = Field(None, gt=0, le=_LARGEST_WINDOW)
    max_output_tokens: int | None = Field(None, gt=0, le=_LARGEST_WINDOW)
    input_cost_per_token: _Price | None = None
    output_cost_per_token: _Price | None = None
    cache_read_input_token_cost: _Price | None = None
    cache_creation_input_token_cost: _Price | None = None
    output_cost_per_reasoning_token: _Price | None = None
    supports_vision: bool | None = None
    supports_function_calling: bool | None = None
    supports_reasoning: bool | None = None
    first_word_timeout: float | None = Field(None, gt=0)
    between_words_timeout: float | None = Field(None, gt=0)
    access: Access = Access()


class ModelEntry(BaseModel):
    """One deployment in `model_list`. Several entries may share a `model_name`."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_name: str = Field(min_length=1, max_length=200)
    litellm_params: ModelParams
    model_info: ModelFacts = Field(default_factory=ModelFacts)


class Policy(BaseModel):
    """How often a model is tried, and how many seconds it has for its first word."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    tries: int = Field(ge=1, le=10)
    timeout: float = Field(gt=0, le=3600)


class Policies(BaseModel):
    """By the part a model plays in a request: the one that was asked for, one behind it, one that reasons first."""

    model_config = ConfigDict(extra="forbid")

    primary: Policy = Policy(tries=3, timeout=30)
    fallback: Policy = Policy(tries=2, timeout=45)
    reasoning: Policy = Policy(tries=2, timeout=60)


class NamedDatabase(BaseModel):
    """A database that the tool `query_database` may read. `url`: SQLAlchemy's, or `os.environ/NAME`; of a role that
    can only read, wherever the database has such roles. `tables`: those that may be read, `schema.table` or `table`;
    empty for all. `rows`: at most that a query gives. `timeout`: seconds that it may take."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"[a-z][a-z0-9_]{0,39}")
    url: str = Field(min_length=1, repr=False)
    description: str = ""
    tables: list[str] = Field(default_factory=list)
    access: Access = Access()
    rows: int = Field(1_000, ge=1, le=1_000)
    timeout: float = Field(10.0, gt=0, le=300)


class McpServer(BaseModel):
    """A server of the Model Context Protocol, in the LiteLLM proxy's form: a program (`command`, `args`, `env`) or an
    address (`url`, `headers`); values may be `os.environ/NAME`.

    `allowed_tools`: those that may be chosen; empty for all. `asks_first`: tools that wait for the person's yes; None
    for all that do not say of themselves that they only read. `allow_private`: its address may be a private one.
    `timeout`: seconds of a call.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    transport: Literal["stdio", "http", "streamable_http"] | None = None
    command: str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    description: str = ""
    allowed_tools: list[str] = Field(default_factory=list)
    asks_first: list[str] | None = None
    allow_private: bool = False
    access: Access = Access()
    timeout: float = Field(60.0, gt=0, le=600)


class ChatcoreSection(BaseModel):
    """Our own settings, under `chatcore:`. A key we do not know is kept and named in a warning at the start."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    default_model: str | None = None
    demo_models: Literal["auto"] | bool = "auto"
    rate_limits: bool = True
    ollama: bool = True
    max_message_chars: int = Field(200_000, ge=1, le=5_000_000)
    max_attachment_mb: int = Field(20, ge=1, le=100)
    max_video_mb: int = Field(200, ge=1, le=1000)
    title_model: str | None = None
    first_word_timeout: float | None = Field(None, gt=0)
    between_words_timeout: float = Field(45.0, gt=0)
    session_days: int = Field(30, ge=1, le=400)
    oidc: Oidc | None = None
    aliases: dict[Purpose, str] = Field(default_factory=dict)
    attempts: Policies = Policies()
    mid_reply: Literal["continue", "restart"] = "continue"
    slow_after: float | None = Field(4.0, gt=0)
    retry_after_limit: float = Field(5.0, ge=0, le=60)
    breaker_failures: int = Field(5, ge=1, le=1000)
    breaker_seconds: float = Field(30.0, gt=0, le=3600)
    cache: bool = True
    cache_scope: Literal["person", "tenant"] = "person"
    cache_seconds: int = Field(3600, ge=1, le=7 * 86_400)
    cache_mb: int = Field(64, ge=1, le=10_000)
    cache_max_temperature: float = Field(0.7, ge=0, le=2)
    budget_reply_tokens: int = Field(4096, ge=1, le=10_000_000)
    log_text: bool = False
    alert_seconds: float = Field(60.0, ge=1, le=3600)
    alerts_private_addresses: bool = False
    tool_rounds: int = Field(8, ge=1, le=50)
    tool_decision_seconds: float = Field(600.0, gt=0, le=86_400)
    databases: list[NamedDatabase] = Field(default_factory=list)
    embedding_model: str | None = None


class RouterSettings(BaseModel):
    """`router_settings` of the proxy: where a request goes on when a model fails. Unknown keys are left alone.

    A fallback list maps a `model_name` (or `*`) to the names that follow it.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=(), allow_inf_nan=False)

    fallbacks: list[dict[str, list[str]]] = Field(default_factory=list)
    context_window_fallbacks: list[dict[str, list[str]]] = Field(default_factory=list)
    content_policy_fallbacks: list[dict[str, list[str]]] = Field(default_factory=list)
    default_fallbacks: list[str] = Field(default_factory=list)
    num_retries: int | None = Field(None, ge=0, le=10)
    timeout: float | None = Field(None, gt=0)
    allowed_fails: int | None = Field(None, ge=0)
    cooldown_time: float | None = Field(None, gt=0, le=31_536_000)
    model_group_alias: dict[str, str] = Field(default_factory=dict)

    @field_validator("model_group_alias", mode="before")
    @classmethod
    def _plain_alias(cls, value: Any) -> Any:
        """The proxy also takes `{model: NAME, hidden: true}` for an alias."""
        if not isinstance(value, dict):
            return value or {}
        return {name: one.get("model") if isinstance(one, dict) else one for name, one in value.items()}

    @field_validator(
        "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks", mode="before"
    )
    @classmethod
    def _empty_list(cls, value: Any) -> Any:
        return value or []


class ConfigFile(BaseModel):
    """The whole file. Sections that only the LiteLLM proxy uses are accepted and left alone."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_list: list[ModelEntry] = Field(default_factory=list)
    router_settings: RouterSettings = Field(default_factory=RouterSettings)
    litellm_settings: dict[str, Any] = Field(default_factory=dict)
    general_settings: dict[str, Any] = Field(default_factory=dict)
    mcp_servers: dict[str, McpServer] = Field(default_factory=dict)
    chatcore: ChatcoreSection = Field(default_factory=ChatcoreSection)

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """The proxy's other sections hold secrets too."""
        yield "model_list", self.model_list

    @field_validator(
        "model_list", "router_settings", "litellm_settings", "general_settings", "mcp_servers", "chatcore",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_section(cls, value: Any, info: Any) -> Any:
        if value is not None:
            return value
        return [] if info.field_name == "model_list" else {}


def parse_config(text: bytes, *, name: str = "config.yaml") -> ConfigFile:
    """Parse and check a config file. Raises `ConfigError`: `<name>, line N: <what is wrong>`."""
    try:
        source = text.decode("utf-8-sig")
        node = yaml.compose(source, Loader=_Loader)
        data = yaml.load(source, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 text.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}, line {line}: {error.problem or 'not valid YAML'}.") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML lets what its constructors raise pass, such as a ValueError for `!!int x`.
        raise ConfigError(f"{name} is not valid YAML.") from error
    if data is None:
        return ConfigFile()
    if not isinstance(data, dict):
        raise ConfigError(f"{name}, line 1: the file must be a mapping with model_list, router_settings or chatcore.")
    try:
        file = ConfigFile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = first["msg"].removeprefix("Value error, ")
        raise ConfigError(_placed(name, node, first["loc"], what)) from error
    except RecursionError as error:
        raise ConfigError(f"{name} holds a value that contains itself.") from error
    for path in _wrong_prices(file):
        raise ConfigError(_placed(name, node, path, f"Input should be a price from 0 to {_DEAREST:g} USD a token"))
    return file


def _wrong_prices(file: ConfigFile) -> Iterator[tuple[int | str, ...]]:
    """Where prices stand that are none. Those of large prompts (`…_above_128k_tokens`) are fields of no model."""
    for index, entry in enumerate(file.model_list):
        for section, values in (("litellm_params", entry.litellm_params), ("model_info", entry.model_info)):
            for field, value in (values.model_extra or {}).items():
                if _PRICE.fullmatch(field) and value is not None and not _is_price(value):
                    yield "model_list", index, section, field


def _is_price(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and 0 <= float(value) <= _DEAREST
    except (ValueError, TypeError, OverflowError):
        return False


def _placed(name: str, node: yaml.Node | None, path: tuple[int | str, ...], what: str) -> str:
    return f"{name}, line {_line_of(node, path)}: {'.'.join(str(part) for part in path)}: {what}."


def _line_of(node: yaml.Node | None, path: tuple[int | str, ...]) -> int:
    """The line where the value at `path` stands, or that of the nearest parent that exists."""
    line = 1
    for part in path:
        child = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, child = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
            line = child.start_mark.line + 1
        if child is None:
            break
        node = child
    return line
