"""`doctor`: what a start would stumble over."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import exists, select

from chatcore.config import Settings
from chatcore.db import Database, check
from chatcore.db.migrate import current, head
from chatcore.db.tables import User
from chatcore.errors import ChatcoreError, ConfigError, DatabaseError
from chatcore.gateway.catalog import Catalog

_OLDEST_PYTHON: Final = (3, 11)
_PATIENCE: Final = 5.0  # seconds for the identity provider


@dataclass(frozen=True)
class Finding:
    """One thing the doctor looked at. `fine` is None for what is worth knowing and no fault."""

    what: str
    fine: bool | None
    words: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything a start needs, in the order in which a start needs it."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= _OLDEST_PYTHON, f"{version}, 3.11 or newer is needed")
    yield Finding("config", None, str(settings.config_path) if settings.config_path else "no config.yaml: defaults")
    for name in settings.unknown_settings:
        yield Finding("config", False, f"{name} is no setting of Chatcore and has no effect; is it mistyped?")
    yield _data_folder(settings)
    yield _secret(settings)
    yield from _database(settings)
    yield from _models(settings)
    yield from _company_sign_in(settings)


def _data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    fine = os.access(folder, os.W_OK) if folder.is_dir() else os.access(folder.parent, os.W_OK)
    return Finding("data folder", fine, f"{folder} {'can' if fine else 'cannot'} be written")


def _secret(settings: Settings) -> Finding:
    if settings.environment.get("CHATCORE_SECRET_KEY"):
        return Finding("secret key", True, "from CHATCORE_SECRET_KEY")
    mode = (settings.data_dir / "secret_key").stat().st_mode & 0o777
    words = (
        "in the data folder, readable by its owner only" if not mode & 0o077 else f"its file has mode {mode:o}, not 600"
    )
    return Finding("secret key", not mode & 0o077, words)


def _database(settings: Settings) -> Iterator[Finding]:
    where = settings.database_url.render_as_string(hide_password=True)
    if settings.database_url.get_backend_name() == "sqlite" and not Path(settings.database_url.database or "").exists():
        yield Finding("database", None, f"{where} is not there yet: the start makes it")
        return
    database = Database(settings.database_url)
    try:
        database.ping()
        yield Finding("database", True, where)
        if (current(database) or "") < head():
            yield Finding("migrations", None, "some are missing: the start applies them, or `db upgrade`")
            return
        check(database)
        yield Finding("migrations", True, "the schema is this version's")
        anybody = database.read(lambda session: session.scalar(select(exists().where(User.is_demo.is_(False)))))
        yield Finding("first account", None, "there" if anybody else "none yet: the start prints a link to make it")
    except DatabaseError as error:
        yield Finding("database", False, str(error))
    finally:
        database.close()


def _models(settings: Settings) -> Iterator[Finding]:
    try:
        models = Catalog(settings).models()
    except ChatcoreError as error:
        yield Finding("models", False, str(error))
        return
    for model in models:
        if not model.available:
            yield Finding("models", None, f"{model.name}: {model.why_not}")
    usable = sum(model.available for model in models)
    yield Finding("models", usable > 0, f"{usable} of {len(models)} can be used")


def _company_sign_in(settings: Settings) -> Iterator[Finding]:
    """Whether the identity provider answers, and the address that must be registered there."""
    what = "company sign-in"
    try:
        oidc = settings.oidc()
    except ConfigError as error:
        yield Finding(what, False, str(error))
        return
    if oidc is None:
        return
    wrong = "the address in server_metadata_url does not answer with an identity provider's description"
    there = _describes_a_provider(oidc.server_metadata_url)
    yield Finding(what, there, f"{oidc.name} answers" if there else wrong)
    yield Finding(what, None, f"the redirect address to register there is {settings.public_url}/oauth2callback")


def _describes_a_provider(address: str) -> bool:
    try:
        answer = httpx.get(address, timeout=_PATIENCE).raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return isinstance(answer, dict) and isinstance(answer.get("issuer"), str)
