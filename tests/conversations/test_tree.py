"""Branches: siblings, the branch below a message, windows, forks, totals; without a model."""

from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.conversations import Conversations, store
from chatcore.db import Database
from chatcore.db.tables import Conversation, Message
from chatcore.errors import Conflict, InvalidInput, NotFound
from tests.conftest import add_person


class Tree:
    """A conversation of one person, and messages written straight into it."""

    def __init__(self, database: Database, who: Principal) -> None:
        self.database, self.who = database, who
        self.conversations = Conversations(database)
        made = database.write(
            lambda db: store.create(db, who, "a tree", model="m", agent_id=None, settings={"temperature": 1})
        )
        self.id = made.id

    def say(self, role: str, parent: str | None, content: str = "words", **values: Any) -> str:
        """Write a message below `parent` and make it the head; returns its id."""

        def work(db: Session) -> str:
            row = {"role": role, "content": content, "status": "complete", "parts": [], **values}
            message_id = store.add_message(db, self.who, self.id, parent_id=parent, **row)
            store.advance(db, self.id, message_id, 1)
            return message_id

        return self.database.write(work)

    def exchange(self, parent: str | None, content: str = "words") -> tuple[str, str]:
        question = self.say("user", parent, f"{content}?")
        return question, self.say("assistant", question, f"{content}!")

    def shown(self, **options: Any) -> list[str]:
        return [message.id for message in self.conversations.window(self.who, self.id, **options)[1].messages]

    @property
    def head(self) -> str | None:
        return self.conversations.get(self.who, self.id).head_message_id


@pytest.fixture
def tree(any_database: Database) -> Tree:
    return Tree(any_database, add_person(any_database, "ada"))


def test_siblings_are_all_children_of_one_parent_oldest_first(tree: Tree) -> None:
    question, first = tree.exchange(None)
    second = tree.say("assistant", question)
    other = tree.say("user", None, "another beginning")
    tree.conversations.switch(tree.who, tree.id, first)
    window = tree.conversations.window(tree.who, tree.id)[1]
    assert window.siblings == {question: (question, other), first: (first, second)}


def test_a_message_alone_has_no_siblings(tree: Tree) -> None:
    tree.exchange(None)
    assert tree.conversations.window(tree.who, tree.id)[1].siblings == {}


def test_switching_goes_down_to_what_was_written_last(tree: Tree) -> None:
    question, first = tree.exchange(None)
    below, end = tree.exchange(first)
    second = tree.say("assistant", question)
    assert tree.shown() == [question, second]
    tree.conversations.switch(tree.who, tree.id, first)
    assert tree.shown() == [question, first, below, end]
    assert tree.head == end


def test_the_chosen_branch_is_remembered_and_is_no_activity(tree: Tree) -> None:
    question, first = tree.exchange(None)
    tree.say("assistant", question)
    before = tree.conversations.get(tree.who, tree.id).last_message_at
    tree.conversations.switch(tree.who, tree.id, first)
    after = tree.conversations.get(tree.who, tree.id)
    assert (after.head_message_id, after.last_message_at, after.message_count) == (first, before, 3)


def test_a_reply_in_the_middle_can_be_replied_to_and_nothing_is_lost(tree: Tree) -> None:
    question, first = tree.exchange(None)
    below, end = tree.exchange(first)
    tree.conversations.reply_from(tree.who, tree.id, first)
    window = tree.conversations.window(tree.who, tree.id)[1]
    assert [message.id for message in window.messages] == [question, first]
    assert window.branches_below
    other = tree.say("user", first)
    assert tree.conversations.window(tree.who, tree.id)[1].siblings == {other: (below, other)}
    tree.conversations.switch(tree.who, tree.id, below)
    assert tree.shown() == [question, first, below, end]


def test_only_a_reply_that_has_ended_is_replied_to(tree: Tree) -> None:
    question, _ = tree.exchange(None)
    running = tree.say("assistant", question, "", status="streaming")
    for message_id in (question, running):
        with pytest.raises(InvalidInput, match="Only a reply that has ended"):
            tree.conversations.reply_from(tree.who, tree.id, message_id)


def test_a_window_around_a_message_holds_it_in_the_midst(tree: Tree) -> None:
    ids: list[str] = []
    for _ in range(20):
        ids += tree.exchange(ids[-1] if ids else None)
    window = tree.conversations.window(tree.who, tree.id, 10, around=ids[20])[1]
    assert [message.id for message in window.messages] == ids[16:26]
    assert (window.earlier, window.later) == (True, True)
    newest = tree.conversations.window(tree.who, tree.id, 10, around=ids[-1])[1]
    assert [message.id for message in newest.messages] == ids[-10:]
    assert not newest.later
    oldest = tree.conversations.window(tree.who, tree.id, 10, around=ids[0])[1]
    assert ids[0] in [message.id for message in oldest.messages]
    assert not oldest.earlier


def test_around_a_message_of_another_branch_is_the_end_of_this_one(tree: Tree) -> None:
    question, first = tree.exchange(None)
    second = tree.say("assistant", question)
    assert tree.shown(around=first) == [question, second]
    tree.conversations.switch_to(tree.who, tree.id, question)
    assert tree.head == second, "it was visible already"
    tree.conversations.switch_to(tree.who, tree.id, first)
    assert tree.shown(around=first) == [question, first]


def test_a_fork_is_a_conversation_of_its_own(tree: Tree) -> None:
    question, first = tree.exchange(None, "kept")
    tree.exchange(first, "left out")
    tree.say("assistant", question, "a sibling")
    forked = tree.conversations.fork(tree.who, first)
    conversation, window = tree.conversations.window(tree.who, forked)
    assert [(message.role, message.content) for message in window.messages] == [
        ("user", "kept?"),
        ("assistant", "kept!"),
    ]
    assert (conversation.parent_conversation_id, conversation.message_count) == (tree.id, 2)
    assert conversation.settings == {"temperature": 1}
    assert conversation.head_message_id == window.messages[-1].id
    assert {message.id for message in window.messages}.isdisjoint({question, first})
    assert window.messages[1].parent_id == window.messages[0].id
    assert len(tree.shown()) == 2
    assert tree.conversations.get(tree.who, tree.id).message_count == 5


def test_a_reply_that_is_being_written_and_a_temporary_chat_are_not_forked(tree: Tree, any_database: Database) -> None:
    question, _ = tree.exchange(None)
    running = tree.say("assistant", question, "", status="streaming")
    with pytest.raises(Conflict, match="being written"):
        tree.conversations.fork(tree.who, running)
    later = (
        func.datetime("now", "+1 hour") if any_database.is_sqlite else func.now() + func.make_interval(0, 0, 0, 0, 1)
    )
    any_database.write(lambda db: db.execute(update(Conversation).values(expires_at=later)))
    with pytest.raises(Conflict, match="temporary"):
        tree.conversations.fork(tree.who, question)


def test_totals_tell_this_branch_from_the_whole(tree: Tree) -> None:
    question = tree.say("user", None)
    spent = {"prompt_tokens": 10, "completion_tokens": 5, "cost_nano_usd": 700}
    first = tree.say("assistant", question, **spent)
    tree.say("assistant", question, **spent)
    tree.say("assistant", question, prompt_tokens=1, completion_tokens=1)
    tree.conversations.switch(tree.who, tree.id, first)
    branch, everything = tree.conversations.totals(tree.who, tree.id)
    assert (branch.messages, branch.prompt_tokens, branch.completion_tokens, branch.cost_nano_usd) == (2, 10, 5, 700)
    assert (everything.messages, everything.prompt_tokens, everything.cost_nano_usd) == (4, 21, 1400)
    assert (branch.unknown, everything.unknown) == (0, 1), "an unknown cost is counted, not taken for nothing"


def test_a_summary_is_edited_and_removed(tree: Tree) -> None:
    tree.conversations.edit_summary(tree.who, tree.id, "  What was said.\x00 ")
    summary = tree.conversations.get(tree.who, tree.id).summary
    assert summary == {"text": "What was said.", "edited": True}
    tree.conversations.edit_summary(tree.who, tree.id, " ")
    assert tree.conversations.get(tree.who, tree.id).summary is None
    with pytest.raises(InvalidInput, match="at most 20,000 characters"):
        tree.conversations.edit_summary(tree.who, tree.id, "x" * 20_001)


def test_a_long_conversation_with_many_branches_is_walked_by_parents_only(tree: Tree, any_database: Database) -> None:
    """What is opened reads the window and the siblings in it, however many messages lie elsewhere."""
    parent: str | None = None
    for _ in range(30):
        _, parent = tree.exchange(parent)
        for _ in range(3):
            tree.say("assistant", tree.conversations.replies(tree.who, tree.id, [parent])[0].parent_id, "branch")
    assert parent is not None
    tree.conversations.switch(tree.who, tree.id, parent)
    conversation, window = tree.conversations.window(tree.who, tree.id, 6)
    assert len(window.messages) == 6
    assert sorted(map(len, window.siblings.values())) == [4, 4, 4]
    count = any_database.read(lambda db: db.scalar(select(func.count()).select_from(Message)))
    assert conversation.message_count == count


@pytest.mark.parametrize("tenant", ["Default", "Elsewhere"])
def test_another_persons_tree_does_not_exist(tree: Tree, any_database: Database, tenant: str) -> None:
    question, reply = tree.exchange(None)
    bob = add_person(any_database, "bob", tenant=tenant)
    own = Tree(any_database, bob)
    _, bobs = own.exchange(None)
    asked = tree.conversations
    before = tree.shown()
    for call in (
        lambda: asked.get(bob, tree.id),
        lambda: asked.window(bob, tree.id),
        lambda: asked.window(bob, tree.id, around=reply),
        lambda: asked.replies(bob, tree.id, [reply]),
        lambda: asked.switch(bob, tree.id, question),
        lambda: asked.switch_to(bob, tree.id, question),
        lambda: asked.switch(bob, own.id, question),
        lambda: asked.reply_from(bob, tree.id, reply),
        lambda: asked.reply_from(bob, own.id, reply),
        lambda: asked.pick(bob, tree.id, reply),
        lambda: asked.pick(bob, own.id, reply),
        lambda: asked.fork(bob, reply),
        lambda: asked.totals(bob, tree.id),
        lambda: asked.rename(bob, tree.id, "mine"),
        lambda: asked.edit_summary(bob, tree.id, "mine"),
        lambda: asked.remember(bob, tree.id, "m", None, {}),
    ):
        with pytest.raises(NotFound):
            call()
    assert asked.head(bob, tree.id) is None
    assert asked.replies(bob, own.id, [reply, bobs]) == asked.replies(bob, own.id, [bobs])
    assert all(summary.id == own.id for summary in asked.recent(bob) + asked.pinned(bob))
    assert (tree.shown(), tree.conversations.get(tree.who, tree.id).title) == (before, "a tree")
