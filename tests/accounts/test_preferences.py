"""What a person prefers, and that it is theirs alone."""

import secrets

import pytest
from sqlalchemy import select, update

from chatcore.accounts import Principal
from chatcore.accounts.preferences import MAX_INSTRUCTIONS, Preferences, Prefs
from chatcore.db import Database
from chatcore.db.tables import User
from chatcore.errors import InvalidInput
from tests.conftest import add_person


@pytest.fixture
def ann(module_database: Database) -> Principal:
    return add_person(module_database, f"ann-{secrets.token_hex(4)}")


@pytest.fixture
def preferences(module_database: Database) -> Preferences:
    return Preferences(module_database)


def test_at_first_there_are_no_instructions_and_titles_may_be_improved(
    preferences: Preferences, ann: Principal
) -> None:
    assert preferences.get(ann) == Prefs("", True)


def test_what_is_saved_is_read_and_the_rest_stays(preferences: Preferences, ann: Principal) -> None:
    preferences.save(ann, instructions="Answer briefly.")
    preferences.save(ann, better_titles=False)
    assert preferences.get(ann) == Prefs("Answer briefly.", False)
    preferences.save(ann, instructions="")
    assert preferences.get(ann) == Prefs("", False)


def test_a_turn_reads_them_by_the_persons_id(
    module_database: Database, preferences: Preferences, ann: Principal
) -> None:
    preferences.save(ann, instructions="In French.")
    read = module_database.read
    assert read(lambda session: Preferences.of(session, ann.user_id)).instructions == "In French."
    assert read(lambda session: Preferences.of(session, "user_none")) == Prefs()


def test_nobody_elses_are_touched(module_database: Database, preferences: Preferences, ann: Principal) -> None:
    bob = add_person(module_database, f"bob-{secrets.token_hex(4)}")
    cleo = add_person(module_database, f"cleo-{secrets.token_hex(4)}", tenant="Other", role="operator")
    preferences.save(ann, instructions="Ann's", better_titles=False)
    assert [preferences.get(one) for one in (bob, cleo)] == [Prefs(), Prefs()]
    # A principal that names another tenant's person is nobody's.
    forged = Principal(ann.user_id, cleo.tenant_id, "x", "X", "operator")
    assert preferences.get(forged) == Prefs()


def test_other_settings_of_the_person_stay(module_database: Database, preferences: Preferences, ann: Principal) -> None:
    row = User.id == ann.user_id
    module_database.write(lambda session: session.execute(update(User).where(row).values(settings={"theme": "dark"})))
    preferences.save(ann, instructions="x")
    found = module_database.read(lambda session: session.scalar(select(User.settings).where(row)))
    assert found == {"theme": "dark", "instructions": "x"}


def test_control_characters_go_and_lines_stay(preferences: Preferences, ann: Principal) -> None:
    preferences.save(ann, instructions="  one\r\ntwo\x00\x1b[31m\tthree\ud800 🦜 ñ\x85\n ")
    assert preferences.get(ann).instructions == "one\ntwo[31m\tthree 🦜 ñ"


def test_instructions_have_a_limit(preferences: Preferences, ann: Principal) -> None:
    preferences.save(ann, instructions="é" * MAX_INSTRUCTIONS)
    with pytest.raises(InvalidInput, match="at most 4,000 characters"):
        preferences.save(ann, instructions="é" * (MAX_INSTRUCTIONS + 1))
    assert len(preferences.get(ann).instructions) == MAX_INSTRUCTIONS
