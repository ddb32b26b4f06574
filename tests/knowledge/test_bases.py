"""Bases and documents: who may read, change and delete them."""

from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from chatcore.accounts import Principal
from chatcore.db.tables import AuditEntry, User, utcnow
from chatcore.errors import ChatcoreError, Conflict, Forbidden, InvalidInput, NotFound, Unauthorized
from chatcore.knowledge import Knowledge, store
from tests.knowledge.conftest import House

Act = Callable[[Knowledge, Principal, str, str], object]
READS: dict[str, Act] = {
    "base": lambda k, who, base, document: k.base(who, base),
    "documents": lambda k, who, base, document: k.documents(who, base),
    "passage": lambda k, who, base, document: k.passage(who, f"{document}.0"),
}
CHANGES: dict[str, Act] = {
    "change": lambda k, who, base, document: k.change(who, base, "Mine now", "", "team"),
    "delete": lambda k, who, base, document: k.delete(who, base),
    "add": lambda k, who, base, document: k.add(who, base, "b.txt", b"more"),
    "retry": lambda k, who, base, document: k.retry(who, document),
    "remove": lambda k, who, base, document: k.remove(who, document),
}


def refused(house: House, who: Principal, act: Act, base: str) -> type[ChatcoreError]:
    document = house.document(base).id
    with pytest.raises(ChatcoreError) as caught:
        act(house.knowledge, who, base, document)
    return caught.type


@pytest.mark.parametrize("act", [*READS, *CHANGES])
def test_a_base_of_ones_own_is_nobody_elses(house: House, act: str) -> None:
    base = house.base("Ann's secret garden")
    for other in (house.bob, house.dora, house.eve):
        assert refused(house, other, (READS | CHANGES)[act], base) is NotFound
        assert house.knowledge.bases(other) == []
        assert house.knowledge.search(other, None, "garden") == []
        assert house.knowledge.search(other, [base], "garden") == []
        assert house.knowledge.readable(other, [base]) == []
        assert not house.knowledge.has_passages(other, [base])
    assert house.knowledge.base(house.ann, base).documents == 1, "and nothing was changed"


@pytest.mark.parametrize("act", [*CHANGES])
def test_a_base_of_the_team_is_read_by_all_of_it_and_changed_by_its_owner_and_admins(house: House, act: str) -> None:
    base = house.base("Our common garden", visibility="team")
    assert house.titles("garden", house.bob) == ["text0.txt"]
    assert refused(house, house.bob, CHANGES[act], base) is Forbidden
    assert refused(house, house.eve, CHANGES[act], base) is NotFound
    assert house.knowledge.search(house.eve, None, "garden") == []
    document = house.document(base).id
    CHANGES[act](house.knowledge, house.dora, base, document)


def test_what_a_list_says_of_a_base(house: House) -> None:
    base = house.base("one", "two", visibility="team", name="Team's")
    house.base("three", name="Own")
    mine, ours = house.knowledge.bases(house.ann)
    assert [one.name for one in (mine, ours)] == ["Own", "Team's"], "each person's own come first or by name"
    (seen,) = house.knowledge.bases(house.bob)
    assert (seen.id, seen.documents, seen.passages, seen.working, seen.failed) == (base, 2, 2, 0, 0)
    assert (seen.owner, seen.is_own, seen.can_edit, seen.size) == ("Ann", False, False, 6)
    assert house.knowledge.bases(house.dora)[0].can_edit


def test_only_its_owner_takes_a_base_back_from_the_team(house: House) -> None:
    base = house.base("x", visibility="team")
    with pytest.raises(Forbidden):
        house.knowledge.change(house.dora, base, "Base", "", "own")
    house.knowledge.change(house.dora, base, "Renamed", "what it is", "team")
    house.knowledge.change(house.ann, base, "Renamed", "what it is", "own")
    assert house.knowledge.bases(house.bob) == []
    query = select(AuditEntry.action).where(AuditEntry.target == base).order_by(AuditEntry.id)
    assert house.db.read(lambda session: list(session.scalars(query))) == ["knowledge.share", "knowledge.take_back"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_a_base_needs_a_name(house: House, name: str) -> None:
    with pytest.raises(InvalidInput):
        house.knowledge.create(house.ann, name)


def test_nobody_has_too_many_bases_or_documents(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    base = house.base()
    monkeypatch.setattr(store, "MAX_BASES", 1)
    monkeypatch.setattr(store, "MAX_DOCUMENTS", 1)
    with pytest.raises(Conflict):
        house.knowledge.create(house.ann, "Another")
    house.knowledge.add(house.ann, base, "a.txt", b"one")
    with pytest.raises(Conflict):
        house.knowledge.add(house.ann, base, "b.txt", b"two")


def test_who_was_shut_out_changes_nothing(house: House) -> None:
    base = house.base("x")
    gone = update(User).where(User.id == house.ann.user_id).values(disabled_at=utcnow())
    house.db.write(lambda session: session.execute(gone) and None)
    for act in CHANGES.values():
        assert refused(house, house.ann, act, base) is Unauthorized


def test_the_same_bytes_are_one_document_and_the_same_name_is_not(house: House) -> None:
    base = house.base()
    first = house.knowledge.add(house.ann, base, "a.txt", b"one")
    again = house.knowledge.add(house.ann, base, "other.txt", b"one")
    assert (again.is_new, again.document.id) == (False, first.document.id)
    assert house.knowledge.add(house.ann, base, "a.txt", b"two").is_new
    assert [one.name for one in house.knowledge.documents(house.ann, base)] == ["a.txt", "a.txt"]
    elsewhere = house.base()
    assert house.knowledge.add(house.ann, elsewhere, "a.txt", b"one").is_new


def test_what_is_refused_is_not_kept(house: House) -> None:
    base = house.base()
    with pytest.raises(InvalidInput, match=r"x\.exe is of a kind"):
        house.knowledge.add(house.ann, base, "C:\\folder\\x.exe", b"MZ\0\0")
    with pytest.raises(NotFound):
        house.knowledge.add(house.bob, base, "a.txt", b"one")
    assert not list(house.settings.data_dir.glob("knowledge/*/*"))


@pytest.mark.parametrize("passage_id", ["", ".", "x.0", "doc_1.-1", "doc_1.²", f"doc_1.{10**20}"])
def test_a_passage_that_is_not_there(house: House, passage_id: str) -> None:
    with pytest.raises(NotFound):
        house.knowledge.passage(house.ann, passage_id)


def test_a_passage_is_shown_with_its_neighbours(house: House) -> None:
    house.base("\n\n".join(f"Paragraph {n}. " + "It goes on and on. " * 60 for n in range(3)))
    found = house.knowledge.search(house.ann, None, "paragraph 1", limit=1)[0]
    passage = house.knowledge.passage(house.ann, found.id)
    assert passage.found == found
    assert passage.base == "Base"
    assert passage.before.startswith("Paragraph 0")
    assert passage.after.startswith("Paragraph 2")
