"""Compacting: of what was deleted nothing is left in the files, and what was not is."""

from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import URL

from chatcore.care.people import PersonEraser
from chatcore.config import Settings
from chatcore.db import Database, upgrade
from chatcore.db import compact as compacting
from chatcore.db.compact import compact
from chatcore.db.tables import Base, Message
from chatcore.errors import DatabaseError
from tests.care.conftest import Place
from tests.conftest import add_person


def in_files(settings: Settings, word: bytes) -> int:
    return sum(path.read_bytes().count(word) for path in settings.data_dir.rglob("*") if path.is_file())


_RELATIONS = """
    SELECT count(*) FROM pg_class
    WHERE pg_relation_filepath(oid) IS NOT NULL AND relpersistence = 'p'
    AND position(convert_to(:word, 'UTF8') IN pg_read_binary_file(pg_relation_filepath(oid), 0, 1000000000, true)) > 0
"""


def in_relations(database: Database, word: bytes) -> int:
    """In how many files of tables and indexes of a PostgreSQL database it stands."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
        return int(connection.execute(text(_RELATIONS), {"word": word.decode()}).scalar_one())


def test_nothing_of_an_erased_person_is_left_in_the_files(any_database: Database, settings: Settings) -> None:
    database = any_database
    found = partial(in_files, settings) if database.is_sqlite else partial(in_relations, database)
    admin = add_person(database, "root", role="admin")
    place = Place(database, add_person(database, "ada"), add_person(database, "bob"), admin)
    for _ in range(20):
        place.chat(place.bob, 1, 1, words="quixotic")
        place.chat(place.ada, 1, 1, words="harmless")
    if not database.is_sqlite:
        place.change(text("ANALYZE messages"))
    PersonEraser(database).erase(place.admin, place.bob.user_id, "bob")
    assert found(b"quixotic") > 0, "deleting alone does not do it"
    compact(database)
    assert found(b"harmless") > 0
    assert found(b"quixotic") == 0
    texts = database.read(lambda session: session.scalars(select(Message.content)).all())
    assert len([one for one in texts if one.startswith("harmless")]) == 40


def test_it_can_be_done_on_both_databases(any_database: Database) -> None:
    compact(any_database)
    compact(any_database)


@pytest.mark.postgres
def test_a_table_that_is_in_use_for_too_long_is_waited_for_in_vain(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "_PATIENCE", 0.2)
    with closing(Database(postgres_url)) as database:
        upgrade(database)
        with database.engine.begin() as connection:
            connection.execute(text("LOCK TABLE messages IN ACCESS SHARE MODE"))
            with pytest.raises(DatabaseError, match="busy"):
                compact(database)


def test_tables_that_are_left_are_tables() -> None:
    assert set(Base.metadata.tables) > compacting._NUMBERS
