"""Restore: a backup becomes the database and the attachments of a data folder in which no app runs."""

import hashlib
import os
import re
import secrets
import shutil
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from chatcore.care import backup
from chatcore.config import Settings
from chatcore.conversations.attachments.blobs import write
from chatcore.db.migrate import revisions
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, InvalidInput

_FILE: Final = re.compile(rf"{backup.FOLDER}/([0-9a-f]{{2}})/([0-9a-f]{{64}})(\.[a-z0-9]{{1,10}})?")
_SQLITE: Final = b"SQLite format 3\0"
_PIECE: Final = 1 << 20
_NOT_OURS: Final = "{name} is no backup of Chatcore: neither an archive of `backup` nor an SQLite database."


@dataclass(frozen=True)
class Restored:
    """What was restored. `moved`: where the database that was there lies now. `key`: what became of the secret key.

    `interrupted`: replies that were being written at the moment of the backup.
    """

    database: Path
    messages: int
    attachments: int
    interrupted: int
    moved: Path | None
    key: str  # restored | kept | absent


def restore(settings: Settings, file: Path, into: Path | None = None, *, force: bool = False) -> Restored:
    """Restore `file`, an archive of `backup` or a copied database, into the folder `into`, the instance's own for None.

    Nothing is changed before the whole backup was found sound. Raises `InvalidInput` for what is no backup, is damaged
    or is of a newer Chatcore; `Conflict` where there is a database already and not `force`, or one that is in use.
    With `force` the one that was there is kept beside it under another name.
    """
    folder, target = _place(settings, into)
    if target.exists() and not force:
        raise Conflict(f"There is a database already: {target}. Stop the app, and say --force to put the backup there.")
    if not file.is_file():
        raise InvalidInput(f"There is no file {file}.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = target.with_name(f".restored-{secrets.token_hex(6)}")
    try:
        with file.open("rb") as opened:
            is_database = opened.read(len(_SQLITE)) == _SQLITE
        if is_database:
            _copy(file, fresh)
            return _settle(fresh, target, 0)
        return _unpack(file, fresh, target, folder)
    except zipfile.BadZipFile as error:
        raise InvalidInput(_NOT_OURS.format(name=file)) from error
    except (OSError, sqlite3.Error) as error:
        raise InvalidInput(f"{file} could not be restored: {error}.") from error
    finally:
        fresh.unlink(missing_ok=True)


def _place(settings: Settings, into: Path | None) -> tuple[Path, Path]:
    """The data folder and the database in it."""
    if into is not None:
        return into, into / backup.DATABASE
    if settings.database_url.get_backend_name() != "sqlite":
        raise Conflict(
            f"PostgreSQL is restored with its own tool: {backup.restore_command(settings)}; and the folder "
            f"{backup.FOLDER} is copied back to {settings.data_dir}."
        )
    return settings.data_dir, Path(settings.database_url.database or "")


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file, os.fdopen(_private(target), "wb") as copy:
        shutil.copyfileobj(file, copy, _PIECE)


def _private(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)


def _unpack(file: Path, fresh: Path, target: Path, folder: Path) -> Restored:
    with zipfile.ZipFile(file) as packed:
        names = packed.namelist()
        if backup.DATABASE not in names or packed.testzip() is not None:
            raise zipfile.BadZipFile
        with packed.open(backup.DATABASE) as entry, os.fdopen(_private(fresh), "wb") as copy:
            shutil.copyfileobj(entry, copy, _PIECE)
        _require_sound(fresh)
        was_there = target.exists()
        # Attachments first: until a database names them they do no harm, and the other way round some would be missing.
        files = sum(_put(packed, found, folder) for name in names if (found := _FILE.fullmatch(name)))
        restored = _settle(fresh, target, files)
        if backup.KEY_FILE in names:
            key = _restore_key(packed.read(backup.KEY_FILE), folder, keep=was_there)
            restored = replace(restored, key=key)
    return restored


def _put(packed: zipfile.ZipFile, found: re.Match[str], folder: Path) -> int:
    """Write one attachment, or what was made of it, unless it is there; 1 for an attachment.

    Its name is of a form that leads nowhere else, and its content must be what its name says.
    """
    prefix, sha256, ending = found[1], found[2], found[3] or ""
    path = folder / backup.FOLDER / prefix / f"{sha256}{ending}"
    data = packed.read(found[0])
    if not ending and (hashlib.sha256(data).hexdigest() != sha256 or not sha256.startswith(prefix)):
        raise InvalidInput("The backup is damaged: an attachment is not what its name says. Nothing was restored.")
    if not path.exists():
        write(path, data)
    return int(not ending)


def _restore_key(data: bytes, folder: Path, *, keep: bool) -> str:
    """The key of an instance that is there already may be in use elsewhere and is not replaced."""
    path = folder / backup.KEY_FILE
    if keep and path.exists():
        return "kept"
    path.unlink(missing_ok=True)
    write(path, data)
    return "restored"


def _settle(fresh: Path, target: Path, files: int) -> Restored:
    """Give the checked copy its place, and the one that was there another name."""
    _require_sound(fresh)
    interrupted = _orphan_turns(fresh)
    moved = _move_aside(target) if target.exists() else None
    fresh.replace(target)
    with closing(sqlite3.connect(target)) as connection:
        messages = connection.execute("SELECT count(*) FROM messages").fetchone()[0]
    return Restored(target, messages, files, interrupted, moved, "absent")


def _require_sound(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        try:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except (sqlite3.DatabaseError, TypeError) as error:
            raise InvalidInput("The backup is damaged, or no database of Chatcore. Nothing was restored.") from error
    if found != "ok":
        raise InvalidInput("The database in the backup is damaged. Nothing was restored.")
    if revision not in revisions():
        raise InvalidInput(f"The backup is of a newer Chatcore (revision {revision}). Restore it with that one.")


def _orphan_turns(path: Path) -> int:
    """Replies that were being written belong to no process now: the next start ends them at once, words kept."""
    with closing(sqlite3.connect(path)) as connection, connection:
        orphan = (
            "UPDATE turns SET owner_host = '', heartbeat_at = '2000-01-01 00:00:00.000000' WHERE status = 'running'"
        )
        count = connection.execute(orphan).rowcount
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'leases'").fetchone():  # not in older ones
            connection.execute("DELETE FROM leases")
        return count


def _move_aside(target: Path) -> Path:
    """Rename a database that nobody has open. Raises `Conflict` where somebody has."""
    with closing(sqlite3.connect(target, timeout=1)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=DELETE")  # needs the file alone, and empties the log into it
        except sqlite3.OperationalError as error:
            raise Conflict(f"{target} is in use: stop the app, then restore. Nothing was changed.") from error
    moved = target.with_name(f"{target.name}.before-{utcnow():%Y%m%d-%H%M%S}")
    if moved.exists():
        raise Conflict(f"{moved} exists already; try again in a second.")
    target.rename(moved)
    for ending in ("-wal", "-shm"):
        target.with_name(target.name + ending).unlink(missing_ok=True)
    return moved
