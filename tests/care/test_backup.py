"""Backup and restore: what was there is there again, whatever the app was doing meanwhile."""

import hashlib
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from chatcore.care import restore as restoring
from chatcore.care.backup import backup
from chatcore.care.restore import restore
from chatcore.config import Settings, load_settings
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database, check
from chatcore.db.tables import Message, TurnChunk
from chatcore.errors import Conflict, DatabaseError, InvalidInput
from chatcore.usage.rollup_jobs import RollupJobs
from tests.care.conftest import Place
from tests.chat import Chat, running_core, until
from tests.hostile import HostileProvider


@pytest.fixture
def made(place: Place, settings: Settings, tmp_path: Path) -> Path:
    """A backup of a chat and an attachment."""
    place.chat(place.ada, 2, 1, words="kept")
    Attachments(place.db, settings).add(place.ada, "notes.txt", b"some notes")
    target, about = backup(settings, tmp_path / "it's.zip")
    assert (about.messages, about.attachments, about.missing, about.has_secret_key) == (2, 1, 0, False)
    return target


def settings_of(folder: Path) -> Settings:
    return load_settings({"CHATCORE_DATA_DIR": str(folder)}, root=folder.parent)


def files(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (folder / "attachments").rglob("*") if path.is_file())


def attachments(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as packed:
        return [name for name in packed.namelist() if name.startswith("attachments/")]


def repacked(archive: Path, target: Path, changed: dict[str, bytes]) -> Path:
    """The archive with these entries in place of its own, or besides."""
    with zipfile.ZipFile(archive) as packed:
        entries = {name: packed.read(name) for name in packed.namelist()} | changed
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)
    return target


def killed_with_a_log(database: Path) -> None:
    """A process is killed that has written to the database, and leaves a log beside it."""
    code = f"""
import os, sqlite3
connection = sqlite3.connect({str(database)!r})
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA wal_autocheckpoint=0")
for n in range(300):
    connection.execute("INSERT INTO settings VALUES (?, ?, '2026-01-01')", (f"s{{n}}", "z" * 500))
connection.commit()
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert database.with_name(f"{database.name}-wal").stat().st_size > 100_000


def sound(database: Path, messages: int) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        return (found, messages) == ("ok", connection.execute("SELECT count(*) FROM messages").fetchone()[0])


def test_a_backup_goes_into_a_new_folder_and_is_all_there(made: Path, settings: Settings, tmp_path: Path) -> None:
    done = restore(settings, made, tmp_path / "new")
    assert (done.messages, done.attachments, done.interrupted, done.moved, done.key) == (2, 1, 0, None, "absent")
    assert files(tmp_path / "new") == [b"some notes"]
    db = Database(settings_of(tmp_path / "new").database_url)
    check(db)
    texts = db.read(lambda session: [row.content.split()[0] for row in session.query(Message)])
    assert texts == ["kept", "kept"]
    db.close()
    assert (done.database.stat().st_mode & 0o777, made.stat().st_mode & 0o777) == (0o600, 0o600)


def test_the_secret_key_is_in_it_only_where_that_was_asked_for(
    place: Place, settings: Settings, made: Path, tmp_path: Path
) -> None:
    key = (settings.data_dir / "secret_key").read_bytes()
    assert key not in made.read_bytes()
    target, about = backup(settings, tmp_path / "whole.zip", with_secret_key=True)
    assert about.has_secret_key
    fresh = settings_of(tmp_path / "new")  # a command makes a key of its own there, before it restores
    assert restore(fresh, target).key == "restored"
    assert (tmp_path / "new" / "secret_key").read_bytes() == key
    shutil.copyfile(settings.data_dir / "secret_key", tmp_path / "other_key")
    (tmp_path / "new" / "secret_key").write_text("another")
    assert restore(fresh, target, force=True).key == "kept"
    assert (tmp_path / "new" / "secret_key").read_text() == "another"


def test_a_secret_key_that_is_there_already_is_not_called_absent(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copy.db"
    assert backup(settings, copied)[0] == copied
    for number, file in enumerate((made, copied)):
        assert restore(settings, file, tmp_path / f"bare{number}").key == "absent"
        folder = tmp_path / f"keyed{number}"
        folder.mkdir()
        (folder / "secret_key").write_text("brought along")
        assert restore(settings, file, folder).key == "there"
        assert (folder / "secret_key").read_text() == "brought along"


def test_a_secret_key_from_the_environment_is_not_backed_up(place: Place, settings: Settings, tmp_path: Path) -> None:
    url = settings.database_url.render_as_string()
    environ = {
        "CHATCORE_DATA_DIR": str(settings.data_dir),
        "CHATCORE_DATABASE_URL": url,
        "CHATCORE_SECRET_KEY": "k" * 40,
    }
    with pytest.raises(InvalidInput, match="CHATCORE_SECRET_KEY"):
        backup(load_settings(environ, root=tmp_path), tmp_path / "a.zip", with_secret_key=True)


def test_a_database_that_is_there_is_not_replaced(place: Place, settings: Settings, made: Path) -> None:
    with pytest.raises(Conflict, match="There is a database already"):
        restore(settings, made)
    with pytest.raises(Conflict, match="is in use"):
        restore(settings, made, force=True)
    assert place.count(Message) == 2


def test_with_force_the_old_one_is_kept_beside_it(place: Place, settings: Settings, made: Path) -> None:
    place.chat(place.bob, 1, 1, words="later")
    place.db.close()
    done = restore(settings, made, force=True)
    assert done.moved is not None
    for path, count in ((done.database, 2), (done.moved, 4)):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM messages").fetchone() == (count,)


def test_a_log_that_was_left_without_its_database_is_moved_away(made: Path, settings: Settings, tmp_path: Path) -> None:
    database = restore(settings, made, tmp_path / "new").database
    killed_with_a_log(database)
    database.unlink()
    assert restore(settings, made, tmp_path / "new").moved is None
    assert sound(database, 2)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM settings WHERE key LIKE 's%'").fetchone() == (0,)
    assert len(list(database.parent.glob("chatcore.db.before-*-wal"))) == 1


def test_a_killed_apps_last_words_are_in_the_database_that_is_kept(
    made: Path, settings: Settings, tmp_path: Path
) -> None:
    database = restore(settings, made, tmp_path / "new").database
    killed_with_a_log(database)
    moved = restore(settings, made, tmp_path / "new", force=True).moved
    assert moved is not None
    assert sound(database, 2)
    with closing(sqlite3.connect(moved)) as connection:
        assert connection.execute("SELECT count(*) FROM settings WHERE key LIKE 's%'").fetchone() == (300,)


def spoil(database: Path, *, whole: bool) -> None:
    with database.open("r+b") as file:
        file.seek(0 if whole else 100)
        file.write(b"garbage!" * 4_000)


@pytest.mark.parametrize("whole", [True, False])
def test_a_damaged_database_is_replaced_with_force(
    made: Path, settings: Settings, tmp_path: Path, *, whole: bool
) -> None:
    database = restore(settings, made, tmp_path / "new").database
    killed_with_a_log(database)
    spoil(database, whole=whole)
    moved = restore(settings, made, tmp_path / "new", force=True).moved
    assert moved is not None
    assert b"garbage!" in moved.read_bytes()
    assert sound(database, 2)


def test_a_damaged_database_that_an_app_has_open_is_left_alone(made: Path, settings: Settings, tmp_path: Path) -> None:
    database = restore(settings, made, tmp_path / "new").database
    code = f"""
import sqlite3
connection = sqlite3.connect({str(database)!r})
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("SELECT count(*) FROM messages").fetchone()
print("open", flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as app:
        assert app.stdout is not None
        assert app.stdout.readline() == b"open\n"
        spoil(database, whole=True)
        with pytest.raises(Conflict, match="is in use"):
            restore(settings, made, tmp_path / "new", force=True)
        app.communicate(b"\n")
    assert restore(settings, made, tmp_path / "new", force=True).messages == 2


def test_what_is_damaged_in_its_place_is_told_and_can_be_done_again(
    made: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_orphan_turns", lambda path: spoil(path, whole=False) or 0)
        with pytest.raises(DatabaseError, match="The backup is sound"):
            restore(settings, made, tmp_path / "new")
    assert sound(restore(settings, made, tmp_path / "new", force=True).database, 2)


def test_a_database_that_does_things_by_itself_is_refused(place: Place, settings: Settings, tmp_path: Path) -> None:
    backup(settings, copy := tmp_path / "copy.db")
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("CREATE TRIGGER evil AFTER UPDATE ON turns BEGIN DELETE FROM users; END")
    with pytest.raises(InvalidInput, match="triggers that are not Chatcore's"):
        restore(settings, copy, tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_only_what_the_database_names_and_its_text_are_taken(made: Path, settings: Settings, tmp_path: Path) -> None:
    (name,) = attachments(made)
    strange = hashlib.sha256(b"strange").hexdigest()
    more = {
        f"{name}.txt": b"its text",
        f"{name}.small": b"<script>",
        f"{name}.html": b"<script>",
        f"attachments/{strange[:2]}/{strange}": b"strange",
        f"attachments/{strange[:2]}/{strange}.txt": b"strange",
    }
    done = restore(settings, repacked(made, tmp_path / "more.zip", more), tmp_path / "new")
    assert done.attachments == 1
    assert files(tmp_path / "new") == [b"its text", b"some notes"]


@pytest.mark.parametrize("limit", ["_LARGEST", "_LONGEST_TEXT"])
def test_what_is_larger_than_any_attachment_is_refused(
    made: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    (name,) = attachments(made)
    monkeypatch.setattr(restoring, limit, 5)
    bad = repacked(made, tmp_path / "bad.zip", {f"{name}.txt": b"its text"})
    with pytest.raises(InvalidInput, match="not what its name says"):
        restore(settings, bad, tmp_path / "new")


def test_what_the_disk_cannot_hold_is_not_unpacked(
    made: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(InvalidInput, match="0 MB are free"):
        restore(settings, made, tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_at_once_again_and_again_each_old_one_is_kept(made: Path, settings: Settings, tmp_path: Path) -> None:
    moved = [restore(settings, made, tmp_path / "new", force=True).moved for _ in range(4)]
    assert moved[0] is None
    assert len({one for one in moved[1:] if one is not None and one.is_file()}) == 3


def test_a_copied_database_is_a_backup_too(place: Place, settings: Settings, tmp_path: Path) -> None:
    place.chat(place.ada, 1, 1)
    target, _ = backup(settings, tmp_path / "copy.db")
    assert restore(settings, target, tmp_path / "new").messages == 2


def test_an_attachment_that_is_lost_is_counted(place: Place, settings: Settings, tmp_path: Path) -> None:
    Attachments(place.db, settings).add(place.ada, "a.txt", b"gone")
    shutil.rmtree(settings.data_dir / "attachments")
    _, about = backup(settings, tmp_path / "a.zip")
    assert (about.attachments, about.missing) == (0, 1)


@pytest.mark.parametrize("damage", ["text", "empty", "zip", "cut", "page", "newer", "false", "strange"])
def test_what_is_damaged_or_no_backup_changes_nothing(
    place: Place, settings: Settings, made: Path, tmp_path: Path, damage: str
) -> None:
    bad = tmp_path / "bad"
    shutil.copyfile(made, bad)
    match damage:
        case "text" | "empty":
            bad.write_text("hello" if damage == "text" else "")
        case "zip":
            with zipfile.ZipFile(bad, "w") as packed:
                packed.writestr("hello", "you")
        case "cut":
            bad.write_bytes(made.read_bytes()[:-4_000])
        case "page" | "newer" | "strange":
            backup(settings, copy := tmp_path / "copy.db")
            bad.write_bytes(copy.read_bytes())
            if damage == "page":
                with bad.open("r+b") as file:
                    file.seek(8_192)
                    file.write(b"\xff" * 40_000)
            else:
                with closing(sqlite3.connect(bad)) as connection, connection:
                    newer = "UPDATE alembic_version SET version_num = '9999_later'"
                    connection.execute(newer if damage == "newer" else "DROP TABLE alembic_version")
        case "false":
            repacked(made, bad, dict.fromkeys(attachments(made), b"not what its name says"))
    with pytest.raises(InvalidInput):
        restore(settings, bad, tmp_path / "new")
    assert not (tmp_path / "new" / "chatcore.db").exists()
    assert not list((tmp_path / "new").glob(".restored-*"))


def test_names_that_lead_elsewhere_are_not_followed(made: Path, settings: Settings, tmp_path: Path) -> None:
    with zipfile.ZipFile(made, "a") as packed:
        for name in ("../evil", "attachments/../../evil", "/tmp/evil", "attachments/ab/../../../evil"):
            packed.writestr(name, b"evil")
    restore(settings, made, tmp_path / "deep" / "new")
    assert not list(tmp_path.rglob("*evil*"))


def test_postgresql_is_told_its_own_tools_without_the_password(settings: Settings, tmp_path: Path) -> None:
    environ = {
        "CHATCORE_DATABASE_URL": "postgresql://ada:hidden-word@db.example/chat",
        "CHATCORE_DATA_DIR": str(tmp_path),
    }
    theirs = load_settings(environ, root=tmp_path)
    (tmp_path / "f").touch()
    for work in (lambda: backup(theirs), lambda: restore(theirs, tmp_path / "f")):
        with pytest.raises(Conflict, match=r"pg_(dump|restore) .*postgresql://ada@db\.example/chat") as refused:
            work()
        assert "hidden-word" not in str(refused.value)


def test_a_backup_while_a_reply_streams_is_whole_and_the_reply_ends_as_interrupted(tmp_path: Path) -> None:
    with HostileProvider() as provider:
        folder = tmp_path / "app"
        folder.mkdir()
        with running_core(folder, provider, ["ok;n=20", "ok;n=400;rate=40"]) as core:
            chat = Chat(core, provider, "ada")
            first = chat.ask("ok;n=20", "first")
            chat.words(first)
            asked = chat.ask("ok;n=400;rate=40", "second", first.conversation_id)
            of_turn = select(func.count()).where(TurnChunk.turn_id == asked.turn_id)
            until(lambda: core.db.read(lambda session: session.scalar(of_turn)))
            target, about = backup(core.settings)
            assert about.messages == 4
            core.turns.stop(chat.who, asked.turn_id)
        new = tmp_path / "restored"
        new.mkdir()
        done = restore(core.settings, target, new / "data")
        assert done.interrupted == 1
        with running_core(new, provider, ["ok;n=20"]) as again:
            _, window = again.conversations.window(chat.who, first.conversation_id)
            assert [one.status for one in window.messages] == ["complete", "complete", "complete", "interrupted"]
            assert all(one.content for one in window.messages)
            assert RollupJobs(again.db).check() == []
