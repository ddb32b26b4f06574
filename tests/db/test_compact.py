"""Compacting: of what was deleted nothing is left in the files, and what was not is."""

from sqlalchemy import select

from chatcore.care.people import PersonEraser
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.compact import compact
from chatcore.db.tables import Message
from tests.care.conftest import Place
from tests.conftest import add_person


def in_files(settings: Settings, word: bytes) -> int:
    return sum(path.read_bytes().count(word) for path in settings.data_dir.rglob("*") if path.is_file())


def test_nothing_of_an_erased_person_is_left_in_the_files(database: Database, settings: Settings) -> None:
    admin = add_person(database, "root", role="admin")
    place = Place(database, add_person(database, "ada"), add_person(database, "bob"), admin)
    for _ in range(20):
        place.chat(place.bob, 1, 1, words="quixotic")
        place.chat(place.ada, 1, 1, words="harmless")
    PersonEraser(database).erase(place.admin, place.bob.user_id, "bob")
    assert in_files(settings, b"quixotic") > 0, "deleting alone does not do it"
    compact(database)
    assert in_files(settings, b"quixotic") == 0
    texts = database.read(lambda session: session.scalars(select(Message.content)).all())
    assert len([one for one in texts if one.startswith("harmless")]) == 40


def test_it_can_be_done_on_both_databases(any_database: Database) -> None:
    compact(any_database)
    compact(any_database)
