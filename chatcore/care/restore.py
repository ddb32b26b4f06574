"""Restore: a backup becomes the database and the attachments of a data folder in which no app runs."""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import sqlite3
import zipfile
import zlib
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from chatcore.care import backup
from chatcore.config import Settings
from chatcore.conversations.attachments import blobs
from chatcore.conversations.attachments.checks import MAX_CHARACTERS
from chatcore.db.migrate import revisions, triggers
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, DatabaseError, InvalidInput

_FILE: Final = re.compile(rf"({'|'.join(backup.FOLDERS)})/([0-9a-f]{{2}})/([0-9a-f]{{64}})(\.txt)?")
_SQLITE: Final = b"SQLite format 3\0"
_BESIDE: Final = ("-wal", "-shm", "-journal")
_FIRST_LOCK: Final = 0x40000000  # the bytes that SQLite locks, whether the file is so long or not
_LOCKS: Final = 512
_PIECE: Final = 1 << 20
_LARGEST: Final = 256 * 2**20  # bytes of an attachment: a picture of 50 megapixels, not compressed
_LONGEST_TEXT: Final = 4 * MAX_CHARACTERS
_LONGEST_KEY: Final = 4096
# An encrypted archive raises a plain RuntimeError, a packing that is not known here one of its children.
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
_FALSE: Final = "The backup is damaged: an attachment is not what its name says. Nothing was restored."
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
    key: str  # restored | kept, the backup has another | there, the backup has none | absent


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
        if not is_database:
            done = _unpack(file, fresh, target, folder)
        else:
            with file.open("rb") as opened:
                _copy(opened, fresh)
            _require_ours(fresh)
            done = _settle(fresh, target, 0)
        is_there = done.key == "absent" and (folder / backup.KEY_FILE).is_file()
        return replace(done, key="there") if is_there else done
    except _BROKEN as error:
        raise InvalidInput(_NOT_OURS.format(name=file)) from error
    except (OSError, sqlite3.Error) as error:
        raise InvalidInput(f"{file} could not be restored: {error}.") from error
    finally:
        for ending in ("", *_BESIDE):
            fresh.with_name(fresh.name + ending).unlink(missing_ok=True)


def _place(settings: Settings, into: Path | None) -> tuple[Path, Path]:
    """The data folder and the database in it."""
    if into is not None:
        return into, into / backup.DATABASE
    if settings.database_url.get_backend_name() != "sqlite":
        raise Conflict(
            f"PostgreSQL is restored with its own tool: {backup.restore_command(settings)}; and the folders "
            f"{' and '.join(backup.FOLDERS)} are copied back to {settings.data_dir}."
        )
    return settings.data_dir, Path(settings.database_url.database or "")


def _copy(source: IO[bytes], target: Path) -> None:
    private = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(private, "wb") as copy:
        shutil.copyfileobj(source, copy, _PIECE)
        os.fsync(copy.fileno())


# ---- what the archive holds


def _unpack(file: Path, fresh: Path, target: Path, folder: Path) -> Restored:
    with zipfile.ZipFile(file) as packed:
        names = packed.namelist()
        _require_room(packed, folder)
        if backup.DATABASE not in names or packed.testzip() is not None:
            raise zipfile.BadZipFile
        with packed.open(backup.DATABASE) as entry:
            _copy(entry, fresh)
        _require_ours(fresh)
        was_there = target.exists()
        # Attachments first: until a database names them they do no harm, and the other way round some would be missing.
        files = _put_all(packed, fresh, folder)
        restored = _settle(fresh, target, files)
        if backup.KEY_FILE in names:
            key = _restore_key(packed, folder, keep=was_there)
            restored = replace(restored, key=key)
    return restored


def _require_room(packed: zipfile.ZipFile, folder: Path) -> None:
    """No entry unpacks to more than the archive says of it, so that what it says can be believed."""
    needed, free = sum(one.file_size for one in packed.infolist()), shutil.disk_usage(folder).free
    if needed > free:
        words = f"The backup unpacks to {needed / 2**20:,.0f} MB, and {free / 2**20:,.0f} MB are free in {folder}."
        raise InvalidInput(f"{words} Nothing was restored.")


def _put_all(packed: zipfile.ZipFile, database: Path, folder: Path) -> int:
    """The files that the database names, then their texts. Whatever else the archive holds stays in it."""
    named, done = {one: set(backup.hashes(database, one)) for one in backup.FOLDERS}, 0
    entries = [(one, found) for one in packed.infolist() if (found := _FILE.fullmatch(one.filename))]
    for one, found in sorted(entries, key=lambda entry: entry[1][4] or ""):
        kind, prefix, sha256, ending = found[1], found[2], found[3], found[4] or ""
        path = folder / kind / prefix / f"{sha256}{ending}"
        if sha256 not in named[kind] or (ending and not path.with_suffix("").is_file()):
            continue
        if not sha256.startswith(prefix) or one.file_size > (_LONGEST_TEXT if ending else _LARGEST):
            raise InvalidInput(_FALSE)
        if not path.exists():
            _put(packed, one, path, "" if ending else sha256)
        done += not ending
    return done


def _put(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, sha256: str) -> None:
    """Write one file, whose content must have this hash where there is one."""
    hashed = hashlib.sha256()
    with packed.open(entry) as source, blobs.writing(path) as file:
        while piece := source.read(_PIECE):
            hashed.update(piece)
            file.write(piece)
        if sha256 and hashed.hexdigest() != sha256:
            raise InvalidInput(_FALSE)


def _restore_key(packed: zipfile.ZipFile, folder: Path, *, keep: bool) -> str:
    """The key of an instance that is there already may be in use elsewhere and is not replaced."""
    path = folder / backup.KEY_FILE
    if keep and path.exists():
        return "kept"
    path.unlink(missing_ok=True)
    with packed.open(backup.KEY_FILE) as entry:
        blobs.write(path, entry.read(_LONGEST_KEY))
    return "restored"


# ---- the database


def _require_ours(path: Path) -> None:
    """Raises `InvalidInput` unless it is a sound database of Chatcore that does nothing by itself but what ours do."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            acts = connection.execute("SELECT sql FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchall()
        except (sqlite3.DatabaseError, TypeError) as error:
            raise InvalidInput("The backup is damaged, or no database of Chatcore. Nothing was restored.") from error
    if found != "ok":
        raise InvalidInput("The database in the backup is damaged. Nothing was restored.")
    if revision not in revisions():
        raise InvalidInput(f"The backup is of a newer Chatcore (revision {revision}). Restore it with that one.")
    if acts and not {sql for (sql,) in acts} <= triggers(revision):
        raise InvalidInput("The database in the backup has triggers that are not Chatcore's. Nothing was restored.")


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


def _settle(fresh: Path, target: Path, files: int) -> Restored:
    """Give the checked copy its place, what was there another name, and look at it once more."""
    interrupted = _orphan_turns(fresh)
    moved = _move_aside(target)
    fresh.replace(target)
    with closing(sqlite3.connect(target)) as connection:
        try:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            (messages,) = connection.execute("SELECT count(*) FROM messages").fetchone()
        except sqlite3.DatabaseError:
            found = ""
    if found != "ok":
        words = f"The backup is sound, but damaged as it lies at {target}. See to the disk, then restore with --force."
        raise DatabaseError(words)
    return Restored(target, messages, files, interrupted, moved, "absent")


def _move_aside(target: Path) -> Path | None:
    """Rename a database that nobody has open, and what lies beside it: a log that was left there would be read into
    the new one and spoil both. Returns its new name. Raises `Conflict` where somebody has it open.
    """
    was_there = target.exists()
    if was_there:
        _require_unused(target)
    moved = _free_name(target)
    for ending in ("", *_BESIDE):
        old = target.with_name(target.name + ending)
        if old.exists():
            old.rename(moved.with_name(moved.name + ending))
    return moved if was_there else None


def _free_name(target: Path) -> Path:
    name = f"{target.name}.before-{utcnow():%Y%m%d-%H%M%S}"
    found, number = target.with_name(name), 1
    while any(found.with_name(found.name + ending).exists() for ending in ("", *_BESIDE)):
        number += 1
        found = target.with_name(f"{name}-{number}")
    return found


def _require_unused(target: Path) -> None:
    in_use = Conflict(f"{target} is in use: stop the app, then restore. Nothing was changed.")
    with closing(sqlite3.connect(target, timeout=1)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=DELETE")  # needs the file alone, and empties the log into it
            return
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise in_use from error
    # What is damaged cannot be asked, but whoever has it open holds one of SQLite's locks on it.
    with target.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCKS, _FIRST_LOCK)
        except BlockingIOError as error:
            raise in_use from error
