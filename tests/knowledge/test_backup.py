"""Knowledge in a backup: documents come back with their bytes, and can be indexed again from them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from chatcore.care.backup import backup, hashes
from chatcore.care.restore import restore
from chatcore.config import Settings, load_settings
from chatcore.db import Database
from chatcore.knowledge import Knowledge
from tests.conftest import add_person


def test_documents_are_in_a_backup_and_come_back(database: Database, settings: Settings, tmp_path: Path) -> None:
    ann, knowledge = add_person(database, "ann"), Knowledge(database, settings)
    base_id = knowledge.create(ann, "Garden")
    knowledge.add(ann, base_id, "ferns.txt", b"Ferns like shade.")
    knowledge.work_off()
    knowledge.add(ann, base_id, "roses.txt", b"Roses like the sun.")
    archive, made = backup(settings, tmp_path / "backup.zip")
    assert (made.attachments, made.missing) == (2, 0)
    elsewhere = tmp_path / "elsewhere"
    restore(settings, archive, elsewhere)
    there = load_settings({"CHATCORE_DATA_DIR": str(elsewhere)}, root=tmp_path)
    with closing(Database(there.database_url)) as copy:
        restored = Knowledge(copy, there)
        assert [one.title for one in restored.search(ann, None, "ferns")] == ["ferns.txt"]
        restored.work_off()
        assert [one.title for one in restored.search(ann, None, "roses")] == ["roses.txt"]


def test_a_database_from_before_knowledge_names_no_documents(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute("CREATE TABLE attachments (sha256 TEXT)")
    assert list(hashes(tmp_path / "old.db", "knowledge")) == []
