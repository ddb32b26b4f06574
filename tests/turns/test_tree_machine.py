"""The message tree under everything that can be done to it, in any order, over a real gateway and a real database."""

import secrets
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, text

from chatcore.bootstrap import Core
from chatcore.conversations import words
from chatcore.conversations.exchange import json_form
from chatcore.conversations.exchange.writer import Writer
from chatcore.db.tables import Conversation, Message, SearchEntry
from chatcore.errors import NotFound
from tests.chat import Chat, running_core
from tests.hostile import HostileProvider

MODELS = ["ok;n=3", "ok;n=2", "401"]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12).filter(str.strip)
PICK = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    with running_core(tmp_path_factory.mktemp("machine"), provider, MODELS) as core:
        yield core


class TreeMachine(RuleBasedStateMachine):
    """Conversations of one person. The model is small: how many messages each must have, and which are there."""

    core: Core
    provider: HostileProvider
    conversations = Bundle("conversations")

    def __init__(self) -> None:
        super().__init__()
        self.chat = Chat(self.core, self.provider, f"machine-{secrets.token_hex(6)}")
        self.counts: dict[str, int] = {}

    def rows(self, conversation_id: str) -> list[Message]:
        statement = select(Message).where(Message.conversation_id == conversation_id).order_by(Message.id)
        return self.core.db.read(lambda session: list(session.scalars(statement)))

    def some(self, conversation_id: str, role: str, pick: int) -> Message:
        """One of its messages of a role; a fork of a question has no reply yet."""
        found = [row for row in self.rows(conversation_id) if row.role == role]
        assume(found)
        return found[pick % len(found)]

    def dumped(self, conversation_id: str) -> dict[str, Any]:
        return self.core.db.read(lambda session: json_form.dump(session, self.chat.who, conversation_id))

    @rule(target=conversations, text=WORDS)
    def begin(self, text: str) -> str:
        asked = self.chat.ask(MODELS[0], text)
        self.chat.words(asked)
        self.counts[asked.conversation_id] = 2
        return asked.conversation_id

    @rule(conversation_id=conversations, text=WORDS, model=st.sampled_from(MODELS))
    def ask(self, conversation_id: str, text: str, model: str) -> None:
        head = self.core.conversations.get(self.chat.who, conversation_id).head_message_id
        asked = self.chat.ask(model, text, conversation_id)
        self.chat.words(asked)
        question = next(row for row in self.rows(conversation_id) if row.id == self.chat.reply(asked).parent_id)
        assert question.parent_id == head
        self.counts[conversation_id] += 2

    @rule(conversation_id=conversations, text=WORDS)
    def compare(self, conversation_id: str, text: str) -> None:
        for asked in self.core.turns.compare(self.chat.who, conversation_id, text, models=MODELS[:2]):
            self.chat.words(asked)
        self.counts[conversation_id] += 3

    @rule(conversation_id=conversations, pick=PICK, text=WORDS)
    def edit(self, conversation_id: str, pick: int, text: str) -> None:
        old = self.some(conversation_id, "user", pick)
        asked = self.core.turns.edit(self.chat.who, old.id, text, model=MODELS[1])
        self.chat.words(asked)
        new = next(row for row in self.rows(conversation_id) if row.id == self.chat.reply(asked).parent_id)
        assert (new.parent_id, new.edited_at is not None) == (old.parent_id, True)
        assert self.core.conversations.replies(self.chat.who, conversation_id, [old.id])[0].content == old.content
        self.counts[conversation_id] += 2

    @rule(conversation_id=conversations, pick=PICK, model=st.sampled_from(MODELS))
    def regenerate(self, conversation_id: str, pick: int, model: str) -> None:
        old = self.some(conversation_id, "assistant", pick)
        asked = self.core.turns.retry(self.chat.who, old.id, model=model)
        self.chat.words(asked)
        assert self.chat.reply(asked).parent_id == old.parent_id
        self.counts[conversation_id] += 1

    @rule(conversation_id=conversations, pick=PICK)
    def switch(self, conversation_id: str, pick: int) -> None:
        rows = self.rows(conversation_id)
        wanted = rows[pick % len(rows)].id
        self.core.conversations.switch(self.chat.who, conversation_id, wanted)
        shown = [message.id for message in self.chat.messages(conversation_id)]
        assert wanted in shown
        assert shown[-1] not in {row.parent_id for row in rows}, "a branch is shown to its end"

    @rule(conversation_id=conversations, pick=PICK)
    def reply_from(self, conversation_id: str, pick: int) -> None:
        wanted = self.some(conversation_id, "assistant", pick).id
        self.core.conversations.reply_from(self.chat.who, conversation_id, wanted)
        assert self.core.conversations.head(self.chat.who, conversation_id) == wanted

    @rule(target=conversations, conversation_id=conversations, pick=PICK)
    def fork(self, conversation_id: str, pick: int) -> str:
        rows = self.rows(conversation_id)
        end = rows[pick % len(rows)]
        self.core.conversations.switch(self.chat.who, conversation_id, end.id)
        branch = [message.content for message in self.chat.messages(conversation_id)]
        forked = self.core.conversations.fork(self.chat.who, end.id)
        copied = [message.content for message in self.chat.messages(forked)]
        above = [message.id for message in self.chat.messages(conversation_id)].index(end.id) + 1
        assert copied == branch[:above]
        self.counts[forked] = len(copied)
        return forked

    @rule(target=conversations, conversation_id=consumes(conversations))
    def delete_and_import_what_was_exported(self, conversation_id: str) -> str:
        before = self.dumped(conversation_id)
        self.core.history.delete(self.chat.who, [conversation_id])
        with pytest.raises(NotFound):
            self.core.conversations.get(self.chat.who, conversation_id)
        assert self.rows(conversation_id) == []
        Writer(self.core.db, self.chat.who, self.core.attachments, lambda: None).write(json_form.read(before))
        known = set(self.counts)
        found = self.core.db.read(
            lambda s: list(s.scalars(select(Conversation.id).where(Conversation.user_id == self.chat.who.user_id)))
        )
        [imported] = [one for one in found if one not in known]
        assert json_form.canonical(self.dumped(imported)) == json_form.canonical(before)
        self.counts[imported] = self.counts.pop(conversation_id)
        return imported

    @rule(conversation_id=consumes(conversations))
    def delete(self, conversation_id: str) -> None:
        self.core.history.delete(self.chat.who, [conversation_id])
        assert self.rows(conversation_id) == []
        del self.counts[conversation_id]

    @invariant()
    def every_message_is_reachable_and_counted(self) -> None:
        for conversation_id, count in self.counts.items():
            rows = self.rows(conversation_id)
            ids = {row.id for row in rows}
            assert all(row.parent_id is None or row.parent_id in ids for row in rows)
            assert all(row.parent_id is None or row.parent_id < row.id for row in rows), "parent before child"
            conversation, window = self.core.conversations.window(self.chat.who, conversation_id, 1000)
            assert conversation.message_count == count == len(rows)
            assert conversation.head_message_id in ids
            shown = list(window.messages)
            assert shown[0].parent_id is None
            assert shown[-1].id == conversation.head_message_id
            assert all(child.parent_id == parent.id for parent, child in pairwise(shown))
            for message in shown:
                family = sorted(row.id for row in rows if row.parent_id == message.parent_id)
                assert window.siblings.get(message.id, (message.id,)) == tuple(family)

    @invariant()
    def what_has_words_is_indexed_once(self) -> None:
        for conversation_id in self.counts:
            rows = [row.id for row in self.rows(conversation_id) if words.normal(row.content)]
            statement = select(SearchEntry.message_id).where(SearchEntry.conversation_id == conversation_id)
            assert sorted(rows) == sorted(self.core.db.read(lambda session, of=statement: list(session.scalars(of))))

    @invariant()
    def the_index_holds_what_it_counts(self) -> None:
        """FTS5's own check fails where words were taken out that were never put in."""
        check = text("INSERT INTO message_search (message_search, rank) VALUES ('integrity-check', 0)")
        self.core.db.write(lambda session: session.execute(check) and None)

    def teardown(self) -> None:
        if self.counts:
            self.core.history.delete(self.chat.who, list(self.counts))


def test_the_tree_holds_whatever_is_done_to_it(quick: Core, provider: HostileProvider, tmp_path: Path) -> None:
    machine = type("Machine", (TreeMachine,), {"core": quick, "provider": provider})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15, stateful_step_count=20, deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )  # fmt: skip
