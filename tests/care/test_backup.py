"""Backup and restore: what was there is there again, whatever the app was doing meanwhile."""

import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from chatcore.care.backup import backup
from chatcore.care.restore import restore
from chatcore.config import Settings, load_settings
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database, check
from chatcore.db.tables import Message, TurnChunk
from chatcore.errors import Conflict, InvalidInput
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
            with zipfile.ZipFile(bad, "a") as packed:
                packed.writestr(f"attachments/ab/ab{'0' * 62}", b"not what its name says")
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
