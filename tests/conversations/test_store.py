"""Conversations in SQL: the branch that is shown, the list of recent ones, and that nobody sees another's."""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.conversations import Conversations, store
from chatcore.conversations.values import Message
from chatcore.db import Database
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import Turn as TurnRow
from chatcore.db.tables import utcnow
from chatcore.errors import InvalidInput, NotFound
from chatcore.ids import new_id
from tests.conftest import add_person


class House:
    """Ann, her colleague Bob, Cleo of another tenant, and the few verbs of these tests."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.all = Conversations(db)
        mark = secrets.token_hex(4)
        self.ann = add_person(db, f"ann-{mark}", tenant=f"A-{mark}")
        self.bob = add_person(db, f"bob-{mark}", tenant=f"A-{mark}", role="admin")
        self.cleo = add_person(db, f"cleo-{mark}", tenant=f"C-{mark}", role="operator")

    def new(self, who: Principal, text: str = "hello", **values: Any) -> str:
        def work(session: Session) -> str:
            made = store.create(session, who, text, model="m", agent_id=None, settings={"temperature": 0.5})
            if values:
                session.execute(update(ConversationRow).where(ConversationRow.id == made.id).values(**values))
            return made.id

        return self.db.write(work)

    def say(self, who: Principal, conversation_id: str, text: str, parent: str | None, *, head: bool = True) -> str:
        def work(session: Session) -> str:
            message_id = store.add_message(
                session, who, conversation_id, parent_id=parent, role="user", content=text, parts=[], status="complete"
            )
            if head:
                store.advance(session, conversation_id, message_id, 1)
            return message_id

        return self.db.write(work)

    def thread(self, who: Principal, count: int) -> tuple[str, list[str]]:
        conversation_id, said, parent = self.new(who), [], None
        for number in range(count):
            parent = self.say(who, conversation_id, str(number), parent)
            said.append(parent)
        return conversation_id, said

    def run_turn(self, who: Principal, conversation_id: str, status: str = "running") -> None:
        row = {
            "id": new_id("turn"), "tenant_id": who.tenant_id, "user_id": who.user_id, "message_id": "m",
            "status": status, "conversation_id": conversation_id, "owner_host": "h",
            "owner_pid": 1, "owner_started": "x",
        }  # fmt: skip
        self.db.write(lambda session: session.execute(insert(TurnRow), [row]))


@pytest.fixture
def house(module_database: Database) -> House:
    return House(module_database)


def contents(messages: tuple[Message, ...]) -> list[str]:
    return [message.content for message in messages]


# --- the branch -----------------------------------------------------------------------------------------------------


def test_an_empty_conversation_has_an_empty_window(house: House) -> None:
    conversation, window = house.all.window(house.ann, house.new(house.ann))
    assert (window.messages, window.earlier) == ((), False)
    assert (conversation.title, conversation.message_count, conversation.settings) == ("hello", 0, {"temperature": 0.5})


@pytest.mark.parametrize(
    ("count", "limit", "shown", "earlier"),
    [(5, 3, ["2", "3", "4"], True), (3, 3, ["0", "1", "2"], False), (1, 3, ["0"], False)],
)
def test_the_newest_are_shown_oldest_first(
    house: House, count: int, limit: int, shown: list[str], earlier: bool
) -> None:
    conversation_id, _ = house.thread(house.ann, count)
    conversation, window = house.all.window(house.ann, conversation_id, limit)
    assert (contents(window.messages), window.earlier) == (shown, earlier)
    assert conversation.message_count == count


def test_siblings_are_not_shown(house: House) -> None:
    conversation_id, (root, _) = house.thread(house.ann, 2)
    second = house.say(house.ann, conversation_id, "another answer", root)
    house.say(house.ann, conversation_id, "a forgotten one", root, head=False)
    _, window = house.all.window(house.ann, conversation_id)
    assert contents(window.messages) == ["0", "another answer"]
    assert window.messages[-1].id == second == house.all.head(house.ann, conversation_id)


def test_going_back_to_the_first_branch_shows_that(house: House) -> None:
    conversation_id, (root, first) = house.thread(house.ann, 2)
    house.say(house.ann, conversation_id, "another answer", root)
    house.db.write(lambda session: store.advance(session, conversation_id, first, 0))
    assert contents(house.all.window(house.ann, conversation_id)[1].messages) == ["0", "1"]


def test_a_parent_in_another_conversation_is_not_followed(house: House) -> None:
    _, (theirs,) = house.thread(house.bob, 1)
    conversation_id = house.new(house.ann)
    house.say(house.ann, conversation_id, "mine", theirs)
    assert contents(house.all.window(house.ann, conversation_id)[1].messages) == ["mine"]


def test_a_head_in_another_conversation_shows_nothing(house: House) -> None:
    _, (theirs,) = house.thread(house.bob, 1)
    conversation_id = house.new(house.ann, head_message_id=theirs)
    assert house.all.window(house.ann, conversation_id)[1].messages == ()


def test_parents_that_go_in_a_circle_end_at_the_limit(house: House) -> None:
    conversation_id, (first, second) = house.thread(house.ann, 2)
    house.db.write(
        lambda session: session.execute(update(MessageRow).where(MessageRow.id == first).values(parent_id=second))
    )
    _, window = house.all.window(house.ann, conversation_id, 10)
    assert len(window.messages) == 10


def test_a_finished_reply_makes_the_preview(house: House) -> None:
    conversation_id, (message_id,) = house.thread(house.ann, 1)
    house.db.write(
        lambda session: store.finish_message(session, conversation_id, message_id, "It  is\nso.", status="complete")
    )
    row = house.db.read(lambda session: session.get_one(ConversationRow, conversation_id))
    assert row.preview == "It is so."
    assert contents(house.all.window(house.ann, conversation_id)[1].messages) == ["It  is\nso."]


# --- recent ---------------------------------------------------------------------------------------------------------


def test_recent_ones_by_their_activity_page_by_page(house: House) -> None:
    now = utcnow()
    made = [
        house.new(house.ann, f"number {age}", last_message_at=now - timedelta(hours=age)) for age in (3, 1, 2, 5, 4)
    ]
    in_order = [made[1], made[2], made[0], made[4], made[3]]
    assert [one.id for one in house.all.recent(house.ann)] == in_order
    assert [one.id for one in house.all.recent(house.ann, 2)] == in_order[:2]
    assert [one.id for one in house.all.recent(house.ann, 2, 2)] == in_order[2:4]
    assert [one.id for one in house.all.recent(house.ann, 2, 4)] == in_order[4:]
    assert house.all.recent(house.ann, 2, 6) == []


def test_of_two_at_one_moment_the_younger_is_first(house: House) -> None:
    now = utcnow()
    made = [house.new(house.ann, last_message_at=now) for _ in range(3)]
    assert [one.id for one in house.all.recent(house.ann)] == made[::-1]


def test_archived_ones_are_not_recent_and_can_be_opened(house: House) -> None:
    conversation_id = house.new(house.ann, archived_at=utcnow())
    assert house.all.recent(house.ann) == []
    assert house.all.get(house.ann, conversation_id).id == conversation_id


def test_running_ones_are_marked(house: House) -> None:
    idle, busy = house.new(house.ann, "idle"), house.new(house.ann, "busy")
    house.run_turn(house.ann, busy)
    house.run_turn(house.ann, busy, "complete")
    house.run_turn(house.ann, idle, "complete")
    assert {one.id: one.running for one in house.all.recent(house.ann)} == {idle: False, busy: True}


def test_going_on_moves_a_conversation_to_the_top(house: House) -> None:
    long_ago = utcnow() - timedelta(days=3)
    old, new = house.new(house.ann, last_message_at=long_ago), house.new(house.ann)
    house.say(house.ann, old, "again", None)
    assert [one.id for one in house.all.recent(house.ann)] == [old, new]


# --- small changes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "title"), [("  A new\n name ", "A new name"), ("x" * 100, "x" * 100), ("<b>\x00\x1b</b>", "<b></b>")]
)
def test_renaming(house: House, typed: str, title: str) -> None:
    conversation_id = house.new(house.ann)
    house.all.rename(house.ann, conversation_id, typed)
    assert house.all.get(house.ann, conversation_id).title == title


@pytest.mark.parametrize("typed", ["", " \n\t", "\x00", "x" * 101])
def test_a_title_that_is_none_is_refused(house: House, typed: str) -> None:
    conversation_id = house.new(house.ann)
    with pytest.raises(InvalidInput, match="1 to 100"):
        house.all.rename(house.ann, conversation_id, typed)
    assert house.all.get(house.ann, conversation_id).title == "hello"


def test_remembering_what_was_chosen(house: House) -> None:
    conversation_id = house.new(house.ann)
    house.all.remember(house.ann, conversation_id, "another", None, {"max_tokens": 5})
    found = house.all.get(house.ann, conversation_id)
    assert (found.model, found.agent_id, found.settings) == ("another", None, {"max_tokens": 5})


# --- whose it is ----------------------------------------------------------------------------------------------------

Touch = Callable[[House, Principal, str, str], object]
TOUCHES: dict[str, Touch] = {
    "get": lambda house, who, conversation, _: house.all.get(who, conversation),
    "window": lambda house, who, conversation, _: house.all.window(who, conversation),
    "rename": lambda house, who, conversation, _: house.all.rename(who, conversation, "stolen"),
    "remember": lambda house, who, conversation, _: house.all.remember(who, conversation, "stolen", None, {}),
    "lock": lambda house, who, conversation, _: house.db.write(lambda s: store.get(s, who, conversation, lock=True)),
    "message": lambda house, who, _, message: house.db.read(lambda s: store.message(s, who, message)),
}


@pytest.mark.parametrize("stranger", ["bob", "cleo"])
@pytest.mark.parametrize("touch", TOUCHES)
def test_anothers_conversation_is_as_absent_as_one_that_never_was(house: House, touch: str, stranger: str) -> None:
    conversation_id, (message_id,) = house.thread(house.ann, 1)
    who = getattr(house, stranger)
    TOUCHES[touch](house, house.ann, conversation_id, message_id)
    before = house.all.window(house.ann, conversation_id)
    said = []
    for conversation, message in ((conversation_id, message_id), ("conv_never", "msg_never"), ("' OR 1=1 --", "%")):
        with pytest.raises(NotFound) as caught:
            TOUCHES[touch](house, who, conversation, message)
        said.append(str(caught.value))
    assert len(set(said)) == 1
    assert said[0].endswith("does not exist, or it is not yours.")
    assert house.all.window(house.ann, conversation_id) == before


def test_somebody_who_moved_to_another_tenant_leaves_what_was_there(house: House) -> None:
    conversation_id = house.new(house.ann)
    moved = Principal(house.ann.user_id, house.cleo.tenant_id, house.ann.username, house.ann.name, "admin")
    with pytest.raises(NotFound):
        house.all.get(moved, conversation_id)
    assert house.all.recent(moved) == []


def test_everybody_lists_their_own_and_nothing_else(house: House) -> None:
    made = {who.user_id: house.new(who) for who in (house.ann, house.bob, house.cleo)}
    for who in (house.ann, house.bob, house.cleo):
        assert [one.id for one in house.all.recent(who)] == [made[who.user_id]]


@pytest.mark.parametrize("stranger", ["bob", "cleo"])
def test_the_head_of_anothers_is_unknown(house: House, stranger: str) -> None:
    conversation_id, _ = house.thread(house.ann, 1)
    assert house.all.head(house.ann, conversation_id)
    assert house.all.head(getattr(house, stranger), conversation_id) is None


def test_a_message_carries_whose_it_is(house: House) -> None:
    conversation_id, _ = house.thread(house.ann, 3)
    owned = select(func.count()).select_from(MessageRow).where(
        MessageRow.conversation_id == conversation_id, MessageRow.tenant_id == house.ann.tenant_id,
        MessageRow.user_id == house.ann.user_id,
    )  # fmt: skip
    assert house.db.read(lambda session: session.scalar(owned)) == 3
