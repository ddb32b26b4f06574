"""Settings from the environment and the config file.

The only module that reads `os.environ`. Everything else receives a `Settings` value.
"""

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from chatcore.config_file import ChatcoreSection, ConfigFile, parse_config
from chatcore.config_oidc import Oidc
from chatcore.errors import ConfigError

PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent

_NO_FOLDER: Final = "The data folder cannot be written; set CHATCORE_DATA_DIR to one that can."
_NOT_THE_WORKERS: Final = frozenset(
    {
        "CHATCORE_DATABASE_URL",
        "CHATCORE_SECRET_KEY",
        "CHATCORE_REDIS_URL",
        "CHATCORE_ADMIN_PASSWORD",
        "CHATCORE_METRICS_TOKEN",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "PGPASSWORD",
    }
)
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
        "CHATCORE_METRICS_TOKEN",
        "CHATCORE_TRUSTED_PROXIES",
        "CHATCORE_PUBLIC_URL",
    }
)


@dataclass(frozen=True)
class Settings:
    """All that the environment and the config file say, checked. Secrets stay out of its repr."""

    database_url: URL
    data_dir: Path
    secret_key: str = field(repr=False)
    file: ConfigFile = field(default_factory=ConfigFile, repr=False)  # with the keys that stand in it
    config_path: Path | None = None
    redis_url: str | None = field(default=None, repr=False)
    admin_username: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    drain_seconds: float = 20.0
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    public_url: str | None = None
    metrics_token: str | None = field(default=None, repr=False)
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

    def oidc(self) -> Oidc | None:
        """A company's identity provider, None where there is none. Raises `ConfigError`: what it needs is missing.

        Asked for where people sign in, so that a command that signs nobody in needs none of it.
        """
        if self.own.oidc is None:
            return None
        if self.public_url is None:
            raise ConfigError("chatcore.oidc needs CHATCORE_PUBLIC_URL, the address that people see in their browser.")
        return self.own.oidc.resolved(self.environment)


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
    url = database_url(env.get("CHATCORE_DATABASE_URL"), root, data_dir)
    if url.get_backend_name() == "sqlite" and Path(url.database or "").parent == data_dir:
        _make_data_folder(data_dir)
    return Settings(
        database_url=url,
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
        metrics_token=env.get("CHATCORE_METRICS_TOKEN") or None,
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


def _make_data_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # conversations are nobody else's on this machine
    except OSError as error:
        raise ConfigError(_NO_FOLDER) from error


def _kept_secret(data_dir: Path) -> str:
    """The secret kept in the data folder, made on the first start. Two processes starting at once agree on one."""
    path = data_dir / "secret_key"
    _make_data_folder(data_dir)
    try:
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
        raise ConfigError(_NO_FOLDER) from error
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


def process_environment() -> dict[str, str]:
    """This process's variables."""
    return dict(os.environ)


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
    not_its = _NOT_THE_WORKERS.union(settings.own.oidc.variables if settings.own.oidc else ())
    return {name: value for name, value in settings.environment.items() if name not in not_its} | fixed
