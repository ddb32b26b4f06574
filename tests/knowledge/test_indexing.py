"""Indexing: what is found when, what a kill leaves, and two processes at once."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import update

from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import KnowledgeDocument, Lease
from chatcore.errors import Conflict, NotFound
from chatcore.knowledge import Knowledge, extracting, indexing, passages, sweeping
from tests.chat import until
from tests.conftest import add_person
from tests.knowledge import documents
from tests.knowledge.conftest import House

TABLES = ("knowledge_passages", "knowledge_search", "knowledge_vectors", "knowledge_sketches", "knowledge_documents")


def long_text(words: int = 20_000) -> bytes:
    return " ".join(f"word{n}" for n in range(words)).encode()


def test_a_document_is_found_when_it_is_ready(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # by a child, as everywhere
    base = house.base()
    added = house.knowledge.add(house.ann, base, "Care of ferns.pdf", documents.pdf(["Water them daily", "In shade"]))
    assert (added.document.state, added.document.passages) == ("waiting", None)
    assert house.knowledge.base(house.ann, base).working == 1
    assert house.knowledge.search(house.ann, [base], "water") == []
    house.knowledge.work_off()
    document = house.document(base)
    assert (document.state, document.pages, document.passages, document.done) == ("ready", 2, 2, 2)
    (found,) = house.knowledge.search(house.ann, [base], "Which plants need watering?")
    assert (found.title, found.place, found.text) == ("Care of ferns.pdf", "page 1", "Water them daily")
    assert len(house.titles("fern")) == 2, "the name counts, too"
    assert not list(house.knowledge.files.folder.glob("*/*.passages*")), "what was read lies in the database now"


def test_one_that_cannot_be_read_says_why_and_can_be_tried_again(house: House) -> None:
    base = house.base()
    added = house.knowledge.add(house.ann, base, "a.pdf", b"%PDF-1.7 broken")
    house.knowledge.work_off()
    failed = house.document(base)
    assert (failed.state, failed.problem) == ("failed", extracting.PROBLEMS["broken"])
    assert house.knowledge.base(house.ann, base).failed == 1
    house.knowledge.retry(house.ann, added.document.id)
    assert house.document(base).state == "waiting"
    house.knowledge.work_off()
    again = house.knowledge.add(house.ann, base, "a.pdf", b"%PDF-1.7 broken")
    assert (again.is_new, again.document.state, again.document.problem) == (False, "waiting", "")


def test_a_lost_file_and_a_fault_of_ours_are_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    base = house.base()
    house.knowledge.add(house.ann, base, "a.txt", b"one")
    for path in house.knowledge.files.folder.glob("*/*"):
        path.unlink()
    house.knowledge.work_off()
    assert house.document(base).problem == "The file is lost. Upload it again."
    other = house.base()
    house.knowledge.add(house.ann, other, "a.txt", b"two")
    monkeypatch.setattr(passages, "add", lambda *_: 1 / 0)
    house.knowledge.work_off()
    assert house.document(other).problem == indexing._FAULT


def test_a_full_base_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "MAX_PASSAGES", 2)
    base = house.base("one", "two", "three")
    assert sorted(one.state for one in house.knowledge.documents(house.ann, base)) == ["failed", "ready", "ready"]


def test_the_page_sees_how_far_it_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    add = passages.add

    def watched(*arguments: object) -> None:
        seen.append(house.document(base))
        add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(passages, "add", watched)
    base = house.base()
    house.knowledge.add(house.ann, base, "a.txt", long_text())
    house.knowledge.work_off()
    assert [one.state for one in seen] == ["indexing"] * len(seen)
    assert [one.done for one in seen] == [40 * n for n in range(len(seen))]
    assert len(seen) > 2
    assert seen[0].passages == house.document(base).done


def test_after_a_kill_it_goes_on_where_it_was(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    base = house.base()
    house.knowledge.add(house.ann, base, "a.txt", long_text())
    monkeypatch.setattr(indexing, "_PAUSE", 0.05)
    house.knowledge.start()
    until(lambda: house.document(base).done >= 40)
    house.knowledge.stop()
    half = house.document(base)
    assert half.state == "indexing"
    assert half.passages is not None
    assert half.done < half.passages
    written = house.count("knowledge_passages")
    monkeypatch.setattr(extracting, "extract", lambda *_: pytest.fail("it was read already"))
    Knowledge(house.db, house.settings).work_off()
    whole = house.document(base)
    assert (whole.state, whole.done, house.count("knowledge_passages")) == ("ready", half.passages, half.passages)
    assert written == half.done
    assert house.titles("word1") == ["a.txt"]
    assert house.titles("word19999") == ["a.txt"]


KILLED = """
import sys
from pathlib import Path
from chatcore.config import load_settings
from chatcore.db import Database
from chatcore.knowledge import Knowledge, indexing
indexing._PAUSE = 0.05
settings = load_settings({"CHATCORE_DATA_DIR": sys.argv[1]}, root=Path(sys.argv[1]).parent)
knowledge = Knowledge(Database(settings.database_url), settings)
knowledge.start()
print("started", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_leaves_its_work_to_the_next(database: Database, settings: Settings) -> None:
    knowledge, ann = Knowledge(database, settings), add_person(database, "ann")
    base = knowledge.create(ann, "Base")
    knowledge.add(ann, base, "a.txt", long_text())
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(settings.data_dir)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    until(lambda: knowledge.documents(ann, base)[0].done >= 40, 30)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    half = knowledge.documents(ann, base)[0]
    assert half.state == "indexing"
    knowledge.work_off()
    assert knowledge.documents(ann, base)[0].done == half.done, "the dead one's lease still lasts"
    ended = update(Lease).where(Lease.name.like("knowledge/%")).values(until=half.created_at)
    database.write(lambda session: session.execute(ended) and None)
    knowledge.work_off()
    assert knowledge.documents(ann, base)[0].state == "ready"


def test_two_processes_at_once_index_each_passage_once(house: House) -> None:
    base = house.base()
    for number in range(6):
        house.knowledge.add(house.ann, base, f"{number}.txt", long_text(3_000) + f" number{number}".encode())
    both = [Knowledge(house.db, house.settings) for _ in range(2)]
    threads = [threading.Thread(target=one.work_off) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    house.knowledge.work_off()
    found = house.knowledge.documents(house.ann, base)
    assert {one.state for one in found} == {"ready"}
    assert house.count("knowledge_passages") == house.count("knowledge_search") == sum(one.done for one in found)


def test_who_lost_the_lease_writes_no_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    base = house.base()
    document = house.knowledge.add(house.ann, base, "a.txt", long_text()).document
    indexer = house.knowledge._worker._indexer
    other = Knowledge(house.db, house.settings)._worker._indexer._holder

    def robbed() -> None:
        if house.document(base).done == 80:
            ended = update(Lease).values(until=document.created_at)
            house.db.write(lambda session: session.execute(ended) and None)
            assert other.take(document.id)

    monkeypatch.setattr(indexer, "_rest", robbed)
    assert indexer.next()
    assert house.document(base).done == 80
    assert not indexer.next() or house.document(base).done == 80, "nor begins again while the other works on it"


def test_a_deleted_document_is_found_no_more_and_nothing_of_it_stays(house: House) -> None:
    base = house.base("alpha " * 3_000, "beta")
    gone = next(one for one in house.knowledge.documents(house.ann, base) if one.name == "text0.txt")
    house.knowledge.remove(house.ann, gone.id)
    assert house.titles("alpha") == []
    assert [one.name for one in house.knowledge.documents(house.ann, base)] == ["text1.txt"]
    with pytest.raises(NotFound):
        house.knowledge.passage(house.ann, f"{gone.id}.0")
    house.knowledge.work_off()
    assert [house.count(table) for table in TABLES] == [1, 1, 0, 0, 1]
    again = house.knowledge.add(house.ann, base, "text0.txt", b"alpha " * 3_000)
    assert again.is_new
    house.knowledge.work_off()
    assert "text0.txt" in house.titles("alpha")


def test_the_same_bytes_can_be_uploaded_while_they_are_being_deleted(house: House) -> None:
    base = house.base("alpha")
    house.knowledge.remove(house.ann, house.document(base).id)
    again = house.knowledge.add(house.ann, base, "new.txt", b"alpha")
    assert again.is_new
    house.knowledge.work_off()
    assert house.titles("alpha") == ["new.txt"]
    assert sweeping.collect(house.db, house.knowledge.files, seconds=-1) == 0, "its file is still named"


def test_a_document_that_is_deleted_while_it_is_indexed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    base = house.base()
    document = house.knowledge.add(house.ann, base, "a.txt", long_text()).document
    indexer = house.knowledge._worker._indexer
    monkeypatch.setattr(indexer, "_rest", lambda: house.knowledge.remove(house.ann, document.id))
    assert indexer.next()
    house.knowledge.work_off()
    assert [house.count(table) for table in TABLES] == [0] * len(TABLES)


def test_a_deleted_base_goes_with_all_that_is_in_it(house: House) -> None:
    base = house.base("alpha", "beta", visibility="team")
    house.knowledge.delete(house.dora, base)
    assert house.knowledge.bases(house.ann) == []
    assert house.titles("alpha") == []
    with pytest.raises(NotFound):
        house.knowledge.add(house.ann, base, "a.txt", b"one")
    house.knowledge.work_off()
    assert [house.count(table) for table in (*TABLES, "knowledge_bases")] == [0] * 6
    assert sweeping.collect(house.db, house.knowledge.files, seconds=-1) == 2
    assert not [path for path in house.knowledge.files.folder.rglob("*") if path.is_file()]


def test_another_spelling_indexes_everything_anew(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    base = house.base("alpha")
    old = update(KnowledgeDocument).values(spelling=0)
    house.db.write(lambda session: session.execute(old) and None)
    house.knowledge.work_off()
    assert house.titles("alpha") == ["text0.txt"]
    assert house.count("knowledge_passages") == house.count("knowledge_search") == 1
    assert house.document(base).state == "ready"


def test_a_database_that_is_away_fails_no_document(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    base = house.base()
    house.knowledge.add(house.ann, base, "a.txt", b"one")

    def away(*_: object) -> None:
        raise Conflict("The database does not answer.")

    monkeypatch.setattr(passages, "add", away)
    with pytest.raises(Conflict):
        house.knowledge.work_off()
    monkeypatch.undo()
    house.knowledge.work_off()
    assert house.document(base).state == "ready"
