"""Questions of programs: known by the program's ids, each stored once, edited and answered again."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from chatcore.bootstrap import Core
from chatcore.conversations import Message as MessageValue
from chatcore.conversations import removing
from chatcore.db.tables import Conversation, Message, TurnChunk, UsageMetric
from chatcore.errors import ChatcoreError, Conflict, InvalidInput, NotFound
from chatcore.ids import new_id
from chatcore.turns import Asked, Submission
from tests.chat import Chat, running_core
from tests.conftest import fresh_postgres
from tests.hostile import HostileProvider

QUICK, SLOW = "ok;n=5", "ok;n=40;rate=20"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Core, Any]]:
    folder = tmp_path_factory.mktemp("core")
    with HostileProvider() as provider:
        if request.param == "sqlite":
            with running_core(folder, provider, [QUICK, SLOW]) as core:
                yield core, provider
        else:
            with fresh_postgres() as url, running_core(folder, provider, [QUICK, SLOW], url) as core:
                yield core, provider


class Program(Chat):
    """A person's program."""

    def submit(self, text: str = "hello", *, wait: bool = True, **more: Any) -> Asked:
        asked = self.core.turns.submit(self.who, Submission(text, more.pop("model", QUICK), **more))
        if wait:
            self.words(asked)
        return asked

    def count(self, conversation_id: str) -> int:
        here = select(func.count()).where(Message.conversation_id == conversation_id)
        return int(self.core.db.read(lambda session: session.scalar(here)) or 0)

    def visible(self, conversation_id: str) -> list[MessageValue]:
        return list(self.messages(conversation_id))


@pytest.fixture
def program(core: tuple[Core, HostileProvider]) -> Program:
    return Program(*core, new_id("p"))


def test_an_id_that_nobody_knows_becomes_an_alias(program: Program) -> None:
    first = program.submit("one", conversation_id="chat-1", message_id="m1")
    second = program.submit("two", conversation_id="chat-1", message_id="m2")
    assert first.conversation_id == second.conversation_id
    assert first.conversation_id.startswith("conv_")
    assert program.core.conversations.resolve(program.who, "chat-1") == first.conversation_id
    assert [one.content for one in program.visible(first.conversation_id) if one.role == "user"] == ["one", "two"]


def test_a_question_that_is_sent_again_is_one_question(program: Program) -> None:
    first = program.submit("one", conversation_id="chat-1", message_id="m1")
    again = program.submit("one", conversation_id="chat-1", message_id="m1")
    assert (again.turn_id, again.message_id, again.repeated) == (first.turn_id, first.message_id, True)
    assert program.count(first.conversation_id) == 2


def test_while_it_is_being_answered_the_running_turn_is_its_own(program: Program) -> None:
    first = program.submit("one", model=SLOW, conversation_id="chat-1", message_id="m1", wait=False)
    again = program.submit("one", model=SLOW, conversation_id="chat-1", message_id="m1", wait=False)
    assert again == replace(first, repeated=True)
    with pytest.raises(Conflict):
        program.submit("two", conversation_id="chat-1", message_id="m2", wait=False)
    program.core.turns.stop(program.who, str(first.turn_id))
    program.words(first)


def test_twenty_at_the_same_moment_are_one(program: Program) -> None:
    with ThreadPoolExecutor(20) as pool:
        sent = [
            pool.submit(program.submit, "one", conversation_id="chat-1", message_id="m1", wait=False) for _ in range(20)
        ]
        asked = [one.result() for one in sent]
    assert len({one.turn_id for one in asked}) == 1
    assert [one.repeated for one in asked].count(False) == 1
    program.words(asked[0])
    assert program.count(asked[0].conversation_id) == 2
    rows = select(func.count()).where(UsageMetric.conversation_id == asked[0].conversation_id)
    assert program.core.db.read(lambda session: session.scalar(rows)) == 1


def test_another_text_under_the_same_id_is_a_changed_version(program: Program) -> None:
    first = program.submit("one", conversation_id="chat-1", message_id="m1")
    program.submit("two", conversation_id="chat-1", message_id="m2")
    edited = program.submit("one, better", conversation_id="chat-1", message_id="m1")
    assert edited.conversation_id == first.conversation_id
    assert [one.content for one in program.visible(first.conversation_id) if one.role == "user"] == ["one, better"]
    assert program.count(first.conversation_id) == 6
    assert program.submit("one, better", conversation_id="chat-1", message_id="m1").turn_id == edited.turn_id


def test_a_reply_is_given_anew_beside_the_old_one(program: Program) -> None:
    first = program.submit("one", conversation_id="chat-1", message_id="m1")
    for named in (str(first.message_id), "m1", ""):
        again = program.submit("", conversation_id="chat-1", regenerates=named)
        assert again.message_id != first.message_id
        assert [one.id for one in program.visible(first.conversation_id)][-1] == again.message_id
    assert program.count(first.conversation_id) == 5
    siblings = program.core.conversations.window(program.who, first.conversation_id)[1].siblings
    assert len(siblings[str(again.message_id)]) == 4


def test_a_program_says_what_its_question_follows(program: Program) -> None:
    first = program.submit("one", conversation_id="chat-1", message_id="m1")
    program.submit("two", conversation_id="chat-1", message_id="m2")
    program.submit("other", conversation_id="chat-1", message_id="m3", parent_id=first.message_id)
    assert [one.content for one in program.visible(first.conversation_id) if one.role == "user"] == ["one", "other"]
    program.submit("more", conversation_id="chat-1", message_id="m4", parent_id="nobody-knows")
    users = [one.content for one in program.visible(first.conversation_id) if one.role == "user"]
    assert users == ["one", "other", "more"]


def test_anothers_conversation_is_neither_found_nor_hit(program: Program, core: tuple[Core, HostileProvider]) -> None:
    mine = program.submit("secret", conversation_id="chat-1", message_id="m1")
    other = Program(*core, new_id("p"))
    for any_id in ("chat-1", mine.conversation_id):
        theirs = other.submit("hello", conversation_id=any_id, message_id="m1")
        assert theirs.conversation_id != mine.conversation_id
        assert other.count(theirs.conversation_id) == 2
    with pytest.raises(NotFound):
        other.submit("", conversation_id="chat-2", regenerates="")
    assert program.count(mine.conversation_id) == 2


def test_a_step_has_one_conversation_and_answers_to_its_newest_id(program: Program) -> None:
    step = {"workshop_session_id": "spring", "step_id": "empathize"}
    first = program.submit("one", conversation_id="a", message_id="m1", **step)
    second = program.submit("two", conversation_id="b", message_id="m2", **step)
    elsewhere = program.submit(
        "x", conversation_id="c", message_id="m3", workshop_session_id="spring", step_id="define"
    )
    assert first.conversation_id == second.conversation_id != elsewhere.conversation_id
    assert program.core.conversations.of_step(program.who, "spring", "empathize") == first.conversation_id
    assert program.core.conversations.resolve(program.who, "b") == first.conversation_id
    row = program.core.db.read(lambda session: session.get_one(Conversation, first.conversation_id).workshop_session_id)
    assert row == "spring"


@pytest.mark.parametrize("bad", ["", "x" * 201, "a\nb", "a\x00b"])
def test_what_cannot_be_an_id_is_refused(program: Program, bad: str) -> None:
    with pytest.raises(InvalidInput):
        program.submit("one", conversation_id=bad)
    with pytest.raises(InvalidInput):
        program.submit("one", message_id=bad)


def test_an_empty_question_is_refused_and_leaves_no_conversation(program: Program) -> None:
    with pytest.raises(InvalidInput):
        program.submit("  ", conversation_id="chat-1", message_id="m1")
    with pytest.raises(NotFound):
        program.core.conversations.resolve(program.who, "chat-1")


def at_once(calls: list[Callable[[], Asked]]) -> list[Asked | Exception]:
    """What became of calls that were made at the same moment."""
    barrier = Barrier(len(calls))

    def call(one: Callable[[], Asked]) -> Asked | Exception:
        barrier.wait(10)
        try:
            return one()
        except ChatcoreError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_two_first_questions_of_one_chat_at_the_same_moment_are_one_after_the_other(program: Program) -> None:
    ask = [
        partial(program.submit, f"q{n}", model=SLOW, conversation_id="chat-1", message_id=f"m{n}", wait=False)
        for n in range(6)
    ]
    found = at_once(ask)
    asked = [one for one in found if isinstance(one, Asked)]
    assert len(asked) == 1, found
    assert {type(one) for one in found} == {Asked, Conflict}
    program.core.turns.stop(program.who, str(asked[0].turn_id))
    program.words(asked[0])


def test_first_questions_of_a_step_at_the_same_moment_meet_in_one_conversation(program: Program) -> None:
    step = {"workshop_session_id": "spring", "step_id": "ideate", "model": SLOW, "wait": False}
    found = at_once([
        partial(program.submit, f"q{n}", conversation_id=f"c{n}", message_id=f"m{n}", **step) for n in range(6)
    ])  # fmt: skip
    asked = [one for one in found if isinstance(one, Asked)]
    assert len(asked) == 1, found
    here = select(func.count()).where(Conversation.user_id == program.who.user_id)
    assert program.core.db.read(lambda session: session.scalar(here)) == 1
    program.core.turns.stop(program.who, str(asked[0].turn_id))
    program.words(asked[0])


def test_an_edit_by_our_own_id_that_is_sent_again_is_one_edit(program: Program) -> None:
    first = program.submit("one", conversation_id="chat-1", message_id="m1")
    question = program.visible(first.conversation_id)[0].id
    edited = program.submit("one, better", conversation_id="chat-1", message_id=question)
    again = program.submit("one, better", conversation_id="chat-1", message_id=question)
    assert (again.turn_id, again.repeated) == (edited.turn_id, True)
    assert program.count(first.conversation_id) == 4
    assert program.submit("one, best", conversation_id="chat-1", message_id=question).turn_id != edited.turn_id


def test_what_was_removed_is_not_answered_again(program: Program) -> None:
    asked = program.submit("secret words", conversation_id="chat-1", message_id="m1")
    question = program.visible(asked.conversation_id)[0].id

    def remove(session: Session) -> int:
        return removing.remove(session, removing.rows(session, [question]), "Removed.", {"by": "retention"})

    program.core.db.write(remove)
    with pytest.raises(Conflict, match="removed"):
        program.submit("", conversation_id="chat-1", regenerates=str(asked.message_id))


def test_a_chat_that_is_known_is_taken_into_the_step_it_is_sent_with(program: Program) -> None:
    step = {"workshop_session_id": "spring", "step_id": "empathize"}
    first = program.submit("one", conversation_id="a", message_id="m1")
    second = program.submit("two", conversation_id="a", message_id="m2", **step)
    assert second.conversation_id == first.conversation_id
    assert program.core.conversations.of_step(program.who, "spring", "empathize") == first.conversation_id
    question, reply = program.visible(first.conversation_id)[-2:]
    for one in (question, reply):
        assert (one.meta["session_id"], one.meta["step_id"]) == ("spring", "empathize")


def test_the_same_chat_id_in_another_step_is_that_steps_conversation(program: Program) -> None:
    first = program.submit("one", conversation_id="a", message_id="m1", workshop_session_id="s", step_id="define")
    second = program.submit("two", conversation_id="a", message_id="m2", workshop_session_id="s", step_id="ideate")
    assert second.conversation_id != first.conversation_id
    assert program.core.conversations.resolve(program.who, "a") == second.conversation_id
    back = program.submit("three", conversation_id="a", message_id="m3", workshop_session_id="s", step_id="define")
    assert back.conversation_id == first.conversation_id == program.core.conversations.resolve(program.who, "a")


def test_a_message_id_of_a_colleague_is_not_mine_to_edit(program: Program, core: tuple[Core, HostileProvider]) -> None:
    asked = program.submit("one", conversation_id="a", message_id="m1")
    program.core.shares.create(program.who, asked.conversation_id, kind="team", can_reply=True)
    other = Program(*core, new_id("p"))
    with pytest.raises(Conflict, match="Somebody else"):
        other.submit("mine", conversation_id=asked.conversation_id, message_id="m1")
    theirs = other.submit("mine", conversation_id=asked.conversation_id, message_id="m2")
    assert theirs.conversation_id == asked.conversation_id


def test_a_reply_whose_words_are_in_no_chunk_any_more_is_read_where_it_is_stored(program: Program) -> None:
    asked = program.submit("one", conversation_id="a", message_id="m1")
    engine = program.core.turns.engine
    whole = program.reply(asked).content

    async def words(skip: int) -> str:
        batches = program.core.turns.afollow(program.who, str(asked.turn_id), pace=lambda _: 0.0)
        found = []
        async for batch in batches:
            found += [delta.text for delta in batch]
            if len(found) == skip:
                engine._live.pop(str(asked.turn_id), None)  # as a minute after the end
        return "".join(found)

    assert asyncio.run(words(1)) == whole
    program.core.db.write(lambda session: session.execute(delete(TurnChunk).where(TurnChunk.turn_id == asked.turn_id)))
    engine._live.pop(str(asked.turn_id), None)
    assert asyncio.run(words(0)) == whole
