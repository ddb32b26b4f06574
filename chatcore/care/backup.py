"""Backup: the database as of one moment and the files that it names, in one archive, while the app runs.

The archive is a ZIP: `chatcore.db`, `attachments/…` and `knowledge/…` as they lie in the data folder, `backup.json`,
and the secret key where that was asked for. Files never change, so they may be read after the database; one that is
erased in between is missing in the archive, as its message or document is soon to be.
"""

import json
import os
import secrets
import shlex
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import URL

from chatcore.config import Settings
from chatcore.conversations.attachments.blobs import Blobs
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, DatabaseError, InvalidInput

DATABASE: Final = "chatcore.db"
ABOUT: Final = "backup.json"
KEY_FILE: Final = "secret_key"
FOLDERS: Final = {"attachments": "attachments", "knowledge": "knowledge_documents"}
"""Folders of files, each with the table that names them."""
_FORM: Final = 1
_PAGE: Final = 1_000


@dataclass(frozen=True)
class Made:
    """What a backup holds. `attachments`: files, the documents of knowledge bases among them; `missing`: of those that
    the database names, how many were not there.

    `revision`: of the database's schema. `has_secret_key`: provider keys and links of the copy open with it.
    """

    form: int
    made_at: str
    revision: str
    messages: int
    calls: int
    attachments: int
    missing: int
    has_secret_key: bool


def backup(settings: Settings, target: Path | None = None, *, with_secret_key: bool = False) -> tuple[Path, Made]:
    """Write a backup; returns where it is, and what it holds. Safe beside a running app.

    `target`: the archive to write, a dated one below `data/backups` where None. One that ends in `.db` gets the
    database alone. Raises `InvalidInput` when it exists or cannot be written, `DatabaseError` where there is no
    database, `Conflict` on PostgreSQL, which has its own tool.
    """
    if settings.database_url.get_backend_name() != "sqlite":
        raise Conflict(
            f"PostgreSQL is backed up with its own tool: "
            f"{_command('pg_dump --format=custom --file=chatcore.dump', settings)} "
            f"and then the folders {' and '.join(FOLDERS)} in {settings.data_dir}."
        )
    source = Path(settings.database_url.database or "")
    if not source.is_file():
        raise DatabaseError("There is no database yet, so there is nothing to back up.")
    if with_secret_key and settings.environment.get("CHATCORE_SECRET_KEY"):
        raise InvalidInput("The secret key comes from CHATCORE_SECRET_KEY: keep it where it is kept now.")
    target = target or settings.data_dir / "backups" / f"chatcore-{utcnow():%Y%m%d-%H%M%S}.zip"
    if target.exists():
        raise InvalidInput(f"{target} exists already; a backup never overwrites a file.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _beside(target) as copy:
            _copy_database(source, copy)
            if target.suffix == ".db":
                made = _about(copy, 0, 0, has_key=False)
                _publish(copy, target)
                return target, made
            with _beside(target) as archive:
                made = _pack(settings, copy, archive, with_secret_key)
                _publish(archive, target)
    except FileExistsError as error:
        raise InvalidInput(f"{target} exists already; a backup never overwrites a file.") from error
    except (OSError, sqlite3.Error) as error:
        raise InvalidInput(f"{target} could not be written: {error}.") from error
    return target, made


def _command(words: str, settings: Settings) -> str:
    url = settings.database_url
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    return f"{words} {shlex.quote(bare.render_as_string(hide_password=False))}"


def restore_command(settings: Settings) -> str:
    """How PostgreSQL takes a backup back, with its own tool."""
    return _command("pg_restore --clean --if-exists --no-owner --dbname", settings) + " chatcore.dump"


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """An empty file in the folder of `target` that only this account reads, gone afterwards."""
    path = target.with_name(f".part-{secrets.token_hex(6)}")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source, timeout=30)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))  # takes an empty file


def _publish(path: Path, target: Path) -> None:
    """Give a whole file its name, unless something has it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        path.replace(target)


def _pack(settings: Settings, copy: Path, archive: Path, with_secret_key: bool) -> Made:
    found = missing = 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        packed.write(copy, DATABASE, zipfile.ZIP_DEFLATED, compresslevel=1)
        for folder in FOLDERS:
            files = Blobs(settings.data_dir / folder)
            for sha256 in hashes(copy, folder):
                there = _pack_file(packed, files, sha256)
                found, missing = found + there, missing + (not there)
        if with_secret_key:
            packed.write(settings.data_dir / KEY_FILE, KEY_FILE)
        made = _about(copy, found, missing, has_key=with_secret_key)
        packed.writestr(ABOUT, json.dumps(asdict(made), indent=1))
    return made


def _pack_file(packed: zipfile.ZipFile, files: Blobs, sha256: str) -> bool:
    """One content and its text; smaller pictures are made anew. Returns whether it was there."""
    path, text = files.path(sha256), files.beside(sha256, "txt")
    try:
        for one in (path, text) if text.exists() else (path,):
            packed.write(one, f"{files.folder.name}/{one.parent.name}/{one.name}")
    except FileNotFoundError:
        return path.is_file()
    return True


def hashes(copy: Path, folder: str) -> Iterator[str]:
    """The hashes of the files of a folder that a database names; of an older one that knows no such files, none."""
    table = FOLDERS[folder]
    with closing(sqlite3.connect(copy)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            return
        rows = connection.execute(f"SELECT DISTINCT sha256 FROM {table} ORDER BY sha256")  # noqa: S608 - ours
        while some := rows.fetchmany(_PAGE):
            yield from (row[0] for row in some)


def _about(copy: Path, attachments: int, missing: int, *, has_key: bool) -> Made:
    with closing(sqlite3.connect(copy)) as connection:

        def one(statement: str) -> Any:
            return connection.execute(statement).fetchone()[0]

        return Made(
            form=_FORM,
            made_at=utcnow().isoformat(timespec="seconds"),
            revision=one("SELECT version_num FROM alembic_version"),
            messages=one("SELECT count(*) FROM messages"),
            calls=one("SELECT count(*) FROM usage_metrics"),
            attachments=attachments,
            missing=missing,
            has_secret_key=has_key,
        )
