"""Notes of a step: nothing that somebody saved is lost, and the second of two is told."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from chatcore.errors import Conflict, InvalidInput, NotFound
from chatcore.workshops import MAX_NOTES, notes
from tests.workshops.conftest import House

STEP = "empathize"


@pytest.fixture
def both(house: House) -> House:
    house.workshops.invite(house.ann, house.id, [house.bob.user_id])
    return house


def text(house: House) -> str | None:
    found = house.workshops.notes(house.ann, house.id, STEP)
    return found.text if found else None


def test_notes_are_saved_and_read_by_all(both: House) -> None:
    assert text(both) is None
    assert both.workshops.save_notes(both.ann, both.id, STEP, " People *wait*.\x00 ", 0) == 1
    found = both.workshops.notes(both.bob, both.id, STEP)
    assert found is not None
    assert (found.number, found.text, found.author, found.model) == (1, "People *wait*.", "Ann", None)
    assert both.workshops.get(both.bob, both.id).steps[0].notes == 1


def test_the_second_of_two_is_told_who_was_first(both: House) -> None:
    both.workshops.save_notes(both.ann, both.id, STEP, "first", 0)
    both.workshops.save_notes(both.bob, both.id, STEP, "bob's", 1)
    with pytest.raises(Conflict, match="Bob saved other notes"):
        both.workshops.save_notes(both.ann, both.id, STEP, "ann's", 1)
    assert text(both) == "bob's"
    both.workshops.save_notes(both.ann, both.id, STEP, "ann's", 2)
    assert [one.text for one in both.workshops.versions(both.bob, both.id, STEP)] == ["ann's", "bob's", "first"]


def test_of_many_at_once_one_is_saved(both: House) -> None:
    def save(number: int) -> bool:
        try:
            both.workshops.save_notes(both.ann, both.id, STEP, f"text {number}", 0)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(save, range(8)))
    assert saved.count(True) == 1
    assert text(both) == f"text {saved.index(True)}"
    assert len(both.workshops.versions(both.ann, both.id, STEP)) == 1


def test_emptied_notes_are_a_version_too(both: House) -> None:
    both.workshops.save_notes(both.ann, both.id, STEP, "words", 0)
    both.workshops.save_notes(both.ann, both.id, STEP, "", 1)
    assert text(both) == ""
    assert [one.text for one in both.workshops.versions(both.ann, both.id, STEP)] == ["", "words"]


def test_the_newest_are_kept(both: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "KEPT", 3)
    for number in range(6):
        both.workshops.save_notes(both.ann, both.id, STEP, f"text {number}", number)
    kept = [one.text for one in both.workshops.versions(both.ann, both.id, STEP)]
    assert kept == ["text 5", "text 4", "text 3"]


def test_what_is_too_long_is_refused(both: House) -> None:
    with pytest.raises(InvalidInput, match="Notes have at most 20,000 characters; there are 20,001"):
        both.workshops.save_notes(both.ann, both.id, STEP, "n" * (MAX_NOTES + 1), 0)


def test_others_read_and_write_none(both: House) -> None:
    both.workshops.save_notes(both.ann, both.id, STEP, "secret", 0)
    both.workshops.remove(both.ann, both.id, both.bob.user_id)
    for who in (both.bob, both.admin, both.stranger):
        for act in (
            lambda who=who: both.workshops.notes(who, both.id, STEP),
            lambda who=who: both.workshops.versions(who, both.id, STEP),
            lambda who=who: both.workshops.save_notes(who, both.id, STEP, "mine", 1),
            lambda who=who: both.workshops.pdf(who, both.id, labels={}),
        ):
            with pytest.raises(NotFound):
                act()
    with pytest.raises(NotFound):
        both.workshops.save_notes(both.ann, both.id, "no such step", "x", 0)
