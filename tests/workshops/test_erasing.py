"""Who is erased leaves nothing of theirs, and takes nothing away from the others; old words go."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from chatcore import workshops
from chatcore.accounts import Principal
from chatcore.conversations import Conversations, store
from chatcore.conversations.history import History
from chatcore.conversations.search import Filters
from chatcore.db.tables import (
    Conversation,
    Playbook,
    WorkshopNotes,
    WorkshopParticipant,
    WorkshopSession,
    WorkshopStep,
    utcnow,
)
from chatcore.errors import NotFound
from chatcore.workshops import talking
from tests.workshops.conftest import House
from tests.workshops.test_playbooks import RETRO

STEP = "empathize"


def said(house: House, who: Principal, text: str) -> str:
    """Somebody's question in the first step, as a turn writes it; the conversation's id."""

    def work(session: Session) -> str:
        found = talking.conversation(session, who, house.id, STEP, model=None, settings={})
        message = {"parent_id": found.head_message_id, "role": "user", "content": text, "status": "complete"}
        message_id = store.add_message(session, who, found.id, parts=[], **message)
        store.advance(session, found.id, message_id, 1)
        return found.id

    return house.db.write(work)


@pytest.fixture
def both(house: House) -> House:
    house.workshops.invite(house.ann, house.id, [house.bob.user_id])
    return house


def test_who_takes_part_longest_leads_on_and_has_the_conversations(both: House) -> None:
    both.workshops.invite(both.ann, both.id, [both.admin.user_id])
    conversation_id = said(both, both.bob, "a remarkable pelican")
    both.db.write(lambda session: workshops.hand_on(session, both.ann.user_id))
    found = both.workshops.get(both.bob, both.id)
    assert found.is_owner
    conversation = Conversations(both.db).get(both.admin, conversation_id)
    assert conversation.user_id == both.bob.user_id
    assert found.steps[0].conversation_id == conversation_id
    history = History(both.db)
    assert [hit.conversation_id for hit in history.find(both.bob, "pelican", Filters()).hits] == [conversation_id]
    assert not history.find(both.ann, "pelican", Filters()).hits
    both.workshops.rename(both.bob, both.id, "Bob's now")


def test_a_workshop_without_anybody_else_goes(house: House) -> None:
    house.workshops.save_notes(house.ann, house.id, STEP, "mine", 0)
    house.db.write(lambda session: workshops.hand_on(session, house.ann.user_id))
    for table in (WorkshopSession, WorkshopStep, WorkshopParticipant, WorkshopNotes):
        count = select(func.count()).select_from(table)
        assert house.db.read(lambda session, count=count: session.scalar(count)) == 0


def test_nothing_names_who_was_erased(both: House) -> None:
    playbook = both.workshops.create_playbook(both.bob, RETRO)
    both.workshops.save_notes(both.ann, both.id, STEP, "ann's", 0)
    both.workshops.save_notes(both.bob, both.id, STEP, "bob's", 1)
    both.workshops.save_notes(both.bob, both.id, "define", "bob's alone", 0)
    both.workshops.set_done(both.bob, both.id, STEP, done=True)
    for _ in range(2):
        both.db.write(lambda session: workshops.erase_person(session, both.bob.user_id))
    assert [one.name for one in both.workshops.get(both.ann, both.id).people] == ["Ann"]
    assert [one.text for one in both.workshops.versions(both.ann, both.id, STEP)] == ["ann's"]
    standing = both.workshops.notes(both.ann, both.id, STEP)
    assert standing is not None
    assert standing.text == "ann's"
    assert both.workshops.notes(both.ann, both.id, "define") is None
    assert both.workshops.save_notes(both.ann, both.id, "define", "anew", 0) == 1
    assert both.workshops.get(both.ann, both.id).steps[0].done_at is not None
    assert both.workshops.playbook(both.ann, playbook).owner is None
    columns = (Playbook.owner_id, WorkshopNotes.user_id, WorkshopStep.done_by, WorkshopSession.owner_id)
    for column in columns:
        left = select(func.count()).where(column == both.bob.user_id)
        assert both.db.read(lambda session, left=left: session.scalar(left)) == 0


def test_a_models_notes_stay_without_the_name_of_who_asked(both: House) -> None:
    both.db.write(lambda session: talking.keep(session, both.bob, both.id, STEP, "by a model", 0, "gpt"))
    both.db.write(lambda session: workshops.erase_person(session, both.bob.user_id))
    found = both.workshops.notes(both.ann, both.id, STEP)
    assert found is not None
    assert (found.text, found.author, found.model) == ("by a model", None, "gpt")


def test_what_is_old_goes_and_what_goes_on_stays(both: House) -> None:
    now = utcnow()
    other = both.workshops.create(both.ann, "design-thinking", "Talked in yesterday")
    quiet, both.id = both.id, other
    said(both, both.ann, "just now")
    both.workshops.save_notes(both.ann, other, "define", "old notes", 0)
    both.workshops.save_notes(both.ann, other, STEP, "older", 0)
    old = now - timedelta(days=40)

    def age(session: Session) -> None:
        session.execute(update(WorkshopSession).values(updated_at=old))
        session.execute(update(WorkshopNotes).values(created_at=old))

    both.db.write(age)
    both.workshops.save_notes(both.ann, other, STEP, "newer", 1)
    both.db.write(lambda session: session.execute(update(WorkshopSession).values(updated_at=old)))
    before = now - timedelta(days=30)
    assert both.db.write(lambda s: workshops.erase_old(s, both.stranger.tenant_id, before)) == 0
    assert both.db.write(lambda s: workshops.erase_old(s, both.ann.tenant_id, before)) == 1
    with pytest.raises(NotFound):
        both.workshops.get(both.ann, quiet)
    assert [one.text for one in both.workshops.versions(both.ann, other, STEP)] == ["newer"]
    assert both.workshops.notes(both.ann, other, "define") is None
    assert both.db.write(lambda s: workshops.erase_old(s, both.ann.tenant_id, before)) == 0


def test_the_conversation_of_a_workshop_that_went_is_its_leaders_own(both: House) -> None:
    conversation_id = said(both, both.bob, "hello")
    old = utcnow() - timedelta(days=40)
    both.db.write(lambda s: s.execute(update(WorkshopSession).values(updated_at=old)))
    both.db.write(lambda s: s.execute(update(Conversation).values(last_message_at=old)))
    both.db.write(lambda s: workshops.erase_old(s, both.ann.tenant_id, utcnow()))
    assert Conversations(both.db).get(both.ann, conversation_id)
    with pytest.raises(NotFound):
        Conversations(both.db).get(both.bob, conversation_id)
