"""Settings from the environment, and the config file in the LiteLLM proxy's format.

The only module that reads `os.environ`. Everything else receives a `Settings` value.
"""

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from chatcore.errors import ConfigError

PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent
ENV_REFERENCE: Final = "os.environ/"

_SETTING = re.compile(r"CHATCORE_[A-Z_]+")
_KNOWN_VARIABLES: Final = frozenset(
    {
        "CHATCORE_DATABASE_URL",
        "CHATCORE_CONFIG",
        "CHATCORE_SECRET_KEY",
        "CHATCORE_REDIS_URL",
        "CHATCORE_ADMIN_USERNAME",
        "CHATCORE_ADMIN_PASSWORD",
        "CHATCORE_DATA_DIR",
        "CHATCORE_DRAIN_SECONDS",
        "CHATCORE_TRUSTED_PROXIES",
        "CHATCORE_PUBLIC_URL",
    }
)


class _Loader(yaml.SafeLoader):
    """Dates stay the text they are written as: `api_version: 2025-01-01` is an argument of a call."""

    yaml_implicit_resolvers = {
        sign: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class ModelParams(BaseModel):
    """`litellm_params` of one entry: what is handed to `litellm.acompletion`. Unknown keys pass through."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1)
    api_key: str | None = None
    api_base: str | None = None
    input_cost_per_token: float | None = Field(None, ge=0)
    output_cost_per_token: float | None = Field(None, ge=0)
    timeout: float | None = Field(None, gt=0)
    stream_timeout: float | None = Field(None, gt=0)


class ModelFacts(BaseModel):
    """`model_info` of one entry: what the registry shows and prices with. Unknown keys pass through."""

    model_config = ConfigDict(extra="allow")

    display_name: str | None = None
    description: str | None = None
    max_input_tokens: int | None = Field(None, gt=0)
    max_output_tokens: int | None = Field(None, gt=0)
    input_cost_per_token: float | None = Field(None, ge=0)
    output_cost_per_token: float | None = Field(None, ge=0)
    cache_read_input_token_cost: float | None = Field(None, ge=0)
    cache_creation_input_token_cost: float | None = Field(None, ge=0)
    output_cost_per_reasoning_token: float | None = Field(None, ge=0)
    supports_vision: bool | None = None
    supports_function_calling: bool | None = None
    supports_reasoning: bool | None = None
    first_word_timeout: float | None = Field(None, gt=0)
    between_words_timeout: float | None = Field(None, gt=0)


class ModelEntry(BaseModel):
    """One deployment in `model_list`. Several entries may share a `model_name`."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_name: str = Field(min_length=1, max_length=200)
    litellm_params: ModelParams
    model_info: ModelFacts = Field(default_factory=ModelFacts)


class ChatcoreSection(BaseModel):
    """Our own settings, under `chatcore:`. A key we do not know is kept and named in a warning at the start."""

    model_config = ConfigDict(extra="allow")

    default_model: str | None = None
    demo_models: Literal["auto"] | bool = "auto"
    rate_limits: bool = True
    ollama: bool = True
    max_message_chars: int = Field(200_000, ge=1, le=5_000_000)
    first_word_timeout: float = Field(30.0, gt=0)
    between_words_timeout: float = Field(45.0, gt=0)
    session_days: int = Field(30, ge=1, le=400)


class ConfigFile(BaseModel):
    """The whole file. Sections that only the LiteLLM proxy uses are accepted and left alone."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model_list: list[ModelEntry] = Field(default_factory=list)
    router_settings: dict[str, Any] = Field(default_factory=dict)
    litellm_settings: dict[str, Any] = Field(default_factory=dict)
    general_settings: dict[str, Any] = Field(default_factory=dict)
    chatcore: ChatcoreSection = Field(default_factory=ChatcoreSection)

    @field_validator("model_list", "router_settings", "litellm_settings", "general_settings", "chatcore", mode="before")
    @classmethod
    def _empty_section(cls, value: Any, info: Any) -> Any:
        if value is not None:
            return value
        return [] if info.field_name == "model_list" else {}


@dataclass(frozen=True)
class Settings:
    """All that the environment and the config file say, checked. Secrets stay out of its repr."""

    database_url: URL
    data_dir: Path
    secret_key: str = field(repr=False)
    file: ConfigFile = field(default_factory=ConfigFile)
    config_path: Path | None = None
    redis_url: str | None = field(default=None, repr=False)
    admin_username: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    drain_seconds: float = 20.0
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    public_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def unknown_settings(self) -> list[str]:
        """Names that look like ours and are not: the start warns of each, as a typo is the likely reason."""
        variables = [name for name in self.environment if _SETTING.fullmatch(name) and name not in _KNOWN_VARIABLES]
        keys = [f"chatcore.{name}" for name in self.own.model_extra or {}]
        return sorted(name for name in variables if not name.startswith("CHATCORE_TEST_")) + sorted(keys)

    @property
    def own(self) -> ChatcoreSection:
        """The `chatcore:` section of the config file."""
        return self.file.chatcore


def load_settings(environ: Mapping[str, str] | None = None, *, root: Path = PROJECT_ROOT) -> Settings:
    """Read and check everything.

    `environ`: the variables to read, the process's own where None. `root`: the folder that relative paths start from.
    Raises `ConfigError` with one sentence that names the setting, or the file and line, that is wrong.
    """
    env = dict(os.environ if environ is None else environ)
    data_dir = root / (env.get("CHATCORE_DATA_DIR") or "data")
    config_path, config = _config_file(env.get("CHATCORE_CONFIG"), root)
    username, password = env.get("CHATCORE_ADMIN_USERNAME"), env.get("CHATCORE_ADMIN_PASSWORD")
    if bool(username) != bool(password):
        raise ConfigError("CHATCORE_ADMIN_USERNAME and CHATCORE_ADMIN_PASSWORD must be set together.")
    return Settings(
        database_url=database_url(env.get("CHATCORE_DATABASE_URL"), root, data_dir),
        data_dir=data_dir,
        secret_key=env.get("CHATCORE_SECRET_KEY") or _kept_secret(data_dir),
        file=config,
        config_path=config_path,
        redis_url=env.get("CHATCORE_REDIS_URL") or None,
        admin_username=username or None,
        admin_password=password or None,
        drain_seconds=_seconds(env, "CHATCORE_DRAIN_SECONDS", 20.0),
        trusted_proxies=_networks(env.get("CHATCORE_TRUSTED_PROXIES", "")),
        public_url=(env.get("CHATCORE_PUBLIC_URL") or "").rstrip("/") or None,
        environment=env,
    )


def database_url(value: str | None, root: Path = PROJECT_ROOT, data_dir: Path | None = None) -> URL:
    """The URL with our driver and an absolute SQLite path. Raises `ConfigError` naming CHATCORE_DATABASE_URL."""
    if not value:
        return make_url(f"sqlite:///{(data_dir or root / 'data') / 'chatcore.db'}")
    try:
        url = make_url(value)
    except (ArgumentError, ValueError) as error:
        raise ConfigError("CHATCORE_DATABASE_URL is not a database URL such as sqlite:///data/chatcore.db.") from error
    if url.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ConfigError(f"CHATCORE_DATABASE_URL names {url.drivername}; Chatcore runs on sqlite and postgresql.")
    if not url.database or url.database == ":memory:":
        raise ConfigError("CHATCORE_DATABASE_URL must name a SQLite file; a database in memory would lose every word.")
    return url.set(drivername="sqlite", database=str(root / url.database))


def _config_file(value: str | None, root: Path) -> tuple[Path | None, ConfigFile]:
    path = root / (value or "config.yaml")
    if not path.is_file():
        if value:
            raise ConfigError(f"CHATCORE_CONFIG names {value}, and there is no such file.")
        return None, ConfigFile()
    return path, parse_config(path.read_bytes(), name=value or "config.yaml")


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
        return ConfigFile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{name}, line {_line_of(node, first['loc'])}: {where}: {first['msg']}.") from error


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


def _kept_secret(data_dir: Path) -> str:
    """The secret kept in the data folder, made on the first start. Two processes starting at once agree on one."""
    path = data_dir / "secret_key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"secret_key.{secrets.token_hex(4)}")
        if not path.exists():
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(secrets.token_urlsafe(48))
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise ConfigError(
            "The data folder cannot be written; set CHATCORE_DATA_DIR to one that can, or CHATCORE_SECRET_KEY."
        ) from error
    if not secret:
        raise ConfigError(
            "The file secret_key in the data folder is empty; restore it, or delete it to make a new one."
        )
    return secret


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    value = env.get(name)
    if not value:
        return default
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise ConfigError(f"{name} must be a number of seconds from 0 to 3600, not {value!r}.")
    return seconds


def _networks(value: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(
            "CHATCORE_TRUSTED_PROXIES must list addresses or networks, such as 127.0.0.1, 10.0.0.0/8."
        ) from error


def worker_environment(settings: Settings) -> dict[str, str]:
    """The gateway worker's environment: ours, and what litellm must find before it is imported.

    litellm would else fetch its price table, load any `.env` above site-packages, and print.
    """
    fixed = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "HF_HUB_OFFLINE": "1",
        "REPEATED_STREAMING_CHUNK_LIMIT": "1000000",
        "MALLOC_ARENA_MAX": "2",
        "PYTHONUNBUFFERED": "1",
    }
    private = {"CHATCORE_DATABASE_URL", "CHATCORE_SECRET_KEY", "CHATCORE_REDIS_URL", "CHATCORE_ADMIN_PASSWORD"}
    return {name: value for name, value in settings.environment.items() if name not in private} | fixed
