"""What becomes of knowledge when a person is erased."""

import pytest
from sqlalchemy import select

from chatcore.db.tables import KnowledgeBase, KnowledgeDocument, KnowledgePassage
from chatcore.errors import NotFound
from chatcore.knowledge import erase_person, sweeping
from tests.knowledge.conftest import House


def test_their_own_goes_and_what_they_gave_to_the_team_stays(house: House) -> None:
    own = house.base("Ann's diary", name="Diary of Ann")
    team = house.base("The house rules", name="Rules", visibility="team")
    theirs = house.base(name="Dora's", who=house.dora, visibility="team")
    house.knowledge.add(house.dora, theirs, "a.txt", b"dora wrote")
    house.db.write(lambda session: erase_person(session, house.ann.user_id))
    assert house.titles("diary") == []
    with pytest.raises(NotFound):
        house.knowledge.base(house.ann, own)
    named = select(KnowledgeBase.name, KnowledgeBase.owner_id).where(KnowledgeBase.id == own)
    assert house.db.read(lambda session: session.execute(named).one()) == ("Former knowledge base", None)
    (rules,) = [one for one in house.knowledge.bases(house.bob) if one.id == team]
    assert (rules.owner, rules.can_edit, rules.documents) == ("", False, 1)
    assert house.document(team, house.bob).person == ""
    house.knowledge.work_off()
    assert house.count("knowledge_bases") == 2
    users = select(KnowledgeDocument.user_id)
    assert set(house.db.read(lambda session: list(session.scalars(users)))) == {None, house.dora.user_id}
    left = select(KnowledgePassage.content)
    assert sorted(house.db.read(lambda session: session.scalars(left).all())) == ["The house rules", "dora wrote"]
    assert sweeping.collect(house.db, house.knowledge.files, seconds=-1) == 1


def test_twice_is_once(house: House) -> None:
    house.base("x")
    for _ in range(2):
        house.db.write(lambda session: erase_person(session, house.ann.user_id))
    house.knowledge.work_off()
    assert house.count("knowledge_passages") == 0
