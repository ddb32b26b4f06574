"""Asking, following, stopping, queueing, trying again: the promises, through a real worker and real sockets."""

import asyncio
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from chatcore.agents.built_in import BUILT_IN
from chatcore.bootstrap import Core
from chatcore.db.tables import Conversation, Message, TurnChunk, UsageMetric
from chatcore.errors import Conflict, DatabaseError, InvalidInput, ModelUnavailable, NotFound, Unauthorized
from chatcore.turns import TurnSettings
from tests.chat import Chat, until
from tests.hostile import HostileProvider

SLOW = "ok;n=40;rate=20"  # two seconds of words


def numbers(content: str) -> list[int]:
    return [int(number) for number in re.findall(r"\[(\d+)\]", content)]


def test_the_question_is_stored_before_the_call(chat: Chat) -> None:
    asked = chat.ask("hang", "is it there?")
    question, reply = chat.messages(asked.conversation_id)
    assert (question.content, question.status, reply.status) == ("is it there?", "complete", "streaming")
    assert chat.ledger(asked.turn_id).outcome == "running"
    chat.core.turns.stop(chat.who, str(asked.turn_id))
    chat.words(asked)


def test_every_follower_sees_every_word_once_and_in_order(chat: Chat) -> None:
    asked = chat.ask(SLOW)
    with ThreadPoolExecutor(3) as pool:
        early = [pool.submit(chat.words, asked) for _ in range(2)]
        until(lambda: chat.core.turns.engine.live(str(asked.turn_id)).text())  # type: ignore[union-attr]
        late = pool.submit(chat.words, asked)
        texts = {future.result() for future in [*early, late]}
    assert [numbers(text) for text in texts] == [list(range(40))]
    assert texts == {chat.reply(asked).content}


def test_the_end_is_stored_before_followers_learn_of_it(chat: Chat) -> None:
    asked = chat.ask("ok;n=20")
    chat.words(asked)
    assert chat.reply(asked).status == "complete"
    assert chat.ledger(asked.turn_id).outcome == "ok"
    assert chat.turn(asked.turn_id).status == "complete"


def test_a_follower_in_another_process_tails_the_chunks(chat: Chat) -> None:
    asked = chat.ask(SLOW)
    here = chat.core.turns.engine._live.pop(str(asked.turn_id))  # what another process lacks
    assert numbers(chat.words(asked)) == list(range(40))
    until(lambda: here.finished)


@pytest.mark.parametrize("model", ["hang", SLOW])
def test_stop_closes_the_providers_connection_and_bills(chat: Chat, provider: HostileProvider, model: str) -> None:
    asked = chat.ask(model, f"stop me {model}")
    live = chat.core.turns.engine.live(str(asked.turn_id))
    assert live is not None
    provider.wait_until(lambda log: any("stop me" in str(call.messages) and call.model == model for call in log))
    if model == SLOW:
        until(lambda: "[3]" in live.text())
    stopped_at = time.time()
    chat.core.turns.stop(chat.who, str(asked.turn_id))
    said = chat.words(asked)
    call = chat.call(f"stop me {model}")
    until(lambda: call.closed_by_client_at is not None)
    row, reply = chat.ledger(asked.turn_id), chat.reply(asked)
    assert call.closed_by_client_at is not None
    assert call.closed_by_client_at - stopped_at < 0.5
    assert (reply.status, row.outcome, row.usage_source) == ("stopped", "stopped", "estimated")
    assert reply.content == said
    assert row.prompt_tokens > 0
    assert (row.completion_tokens > 0) == (model == SLOW)


def test_stop_reaches_a_turn_of_another_process(chat: Chat) -> None:
    asked = chat.ask("hang")
    turns = chat.core.turns
    turns.engine.stop = lambda _turn_id: None  # type: ignore[method-assign]  # as if it ran elsewhere
    try:
        turns.stop(chat.who, str(asked.turn_id))
    finally:
        del turns.engine.stop  # type: ignore[method-assign]
    chat.words(asked)
    assert chat.reply(asked).status == "stopped"


def test_a_question_waits_for_the_running_turn(chat: Chat) -> None:
    first = chat.ask(SLOW, "first")
    second = chat.ask("ok;n=20", "second", first.conversation_id)
    third = chat.ask("ok;n=20", "third", first.conversation_id)
    assert (second.turn_id, third.turn_id) == (None, None)
    waiting = chat.core.turns.queued(chat.who, first.conversation_id)
    assert [question.content for question in waiting] == ["second", "third"]
    chat.core.turns.edit_queued(chat.who, first.conversation_id, waiting[0].id, "second, changed")
    assert chat.core.turns.withdraw(chat.who, first.conversation_id, waiting[1].id) == waiting[1]
    chat.words(first)
    until(lambda: not chat.core.turns.active(chat.who, first.conversation_id))
    contents = [(message.role, message.content) for message in chat.messages(first.conversation_id)]
    assert [content for role, content in contents if role == "user"] == ["first", "second, changed"]
    assert chat.messages(first.conversation_id)[-1].status == "complete"
    with pytest.raises(NotFound):
        chat.core.turns.edit_queued(chat.who, first.conversation_id, waiting[0].id, "too late")


def test_two_questions_at_once_make_one_turn(chat: Chat) -> None:
    conversation_id = chat.ask("ok;n=20").conversation_id
    until(lambda: not chat.core.turns.active(chat.who, conversation_id))
    gate = threading.Barrier(4)

    def ask(number: int) -> str | None:
        gate.wait()
        return chat.ask("hang", f"at once {number}", conversation_id).turn_id

    with ThreadPoolExecutor(4) as pool:
        turns = [turn for turn in pool.map(ask, range(4)) if turn]
    assert len(turns) == 1
    for question in chat.core.turns.queued(chat.who, conversation_id):
        chat.core.turns.withdraw(chat.who, conversation_id, question.id)
    chat.core.turns.stop(chat.who, turns[0])
    until(lambda: not chat.core.turns.active(chat.who, conversation_id))


def test_retry_makes_a_sibling_and_keeps_the_first(chat: Chat) -> None:
    asked = chat.ask("500", "try this")
    chat.words(asked)
    again = chat.core.turns.retry(chat.who, str(asked.message_id), model="ok;n=20")
    chat.words(again)
    question, reply = chat.messages(asked.conversation_id)
    assert (question.content, reply.id, reply.status) == ("try this", again.message_id, "complete")
    siblings = chat.core.db.read(
        lambda s: s.scalar(select(func.count()).select_from(Message).where(Message.parent_id == question.id))
    )
    assert siblings == 2


def test_continue_goes_on_below_the_partial_reply(chat: Chat) -> None:
    asked = chat.ask("cut;n=40;at=12", "go on")
    chat.words(asked)
    more = chat.core.turns.resume(chat.who, str(asked.message_id), model="ok;n=20")
    chat.words(more)
    _, partial, rest = chat.messages(asked.conversation_id)
    assert (partial.id, rest.parent_id, rest.status) == (asked.message_id, partial.id, "complete")
    sent = [call for call in chat.provider.log if partial.content.strip() in str(call.messages)][-1].messages
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]


def test_nothing_is_tried_again_while_a_turn_runs(chat: Chat) -> None:
    asked = chat.ask(SLOW)
    with pytest.raises(Conflict):
        chat.core.turns.retry(chat.who, str(asked.message_id), model=SLOW)
    chat.words(asked)


def test_the_conversation_is_kept_up_to_date(chat: Chat) -> None:
    asked = chat.ask("ok;n=20", "What is  this\nabout? " + "x" * 200)
    chat.words(asked)
    row = chat.core.db.read(lambda s: s.get_one(Conversation, asked.conversation_id))
    assert row.title.startswith("What is this about?")
    assert len(row.title) <= 100
    assert row.message_count == 2
    assert row.head_message_id == asked.message_id
    assert row.preview.startswith("[0]")


def test_context_grows_and_settings_reach_the_provider(chat: Chat) -> None:
    [coder] = [agent for agent in chat.core.agents.list(chat.who) if agent.slug == "coder"]
    prompt = next(one["system_prompt"] for one in BUILT_IN if one["slug"] == "coder")
    first = chat.ask("ok;n=20", "remember me", agent_id=coder.id, settings=TurnSettings(0.9, 77))
    chat.words(first)
    chat.words(chat.ask("ok;n=20", "and now?", first.conversation_id, agent_id=coder.id))
    before, after = [call for call in chat.provider.log if "remember me" in str(call.messages)]
    assert before.messages[0] == {"role": "system", "content": prompt}
    assert (before.params["temperature"], before.params["max_tokens"]) == (0.9, 77)
    assert [message["role"] for message in after.messages] == ["system", "user", "assistant", "user"]
    assert after.params["temperature"] == 0.2, "the agent's own"


@pytest.mark.parametrize("text", ["", "   \n\t ", "\x00\x01"])
def test_nothing_is_sent_for_nothing(chat: Chat, text: str) -> None:
    with pytest.raises(InvalidInput):
        chat.ask("ok;n=20", text)
    assert chat.core.conversations.recent(chat.who) == []


def test_a_message_over_the_limit_is_refused_with_its_count(chat: Chat) -> None:
    with pytest.raises(InvalidInput, match="200,001"):
        chat.ask("ok;n=20", "x" * 200_001)


def test_a_long_message_goes_through_whole(chat: Chat) -> None:
    question = "long " * 39_999
    asked = chat.ask("ok;n=20", question)
    chat.words(asked)
    assert chat.messages(asked.conversation_id)[0].content == question.strip()


def test_a_model_that_is_not_there_is_a_sentence(chat: Chat) -> None:
    with pytest.raises(ModelUnavailable, match="Choose another"):
        chat.ask("no-such-model")


def assert_nothing_is_theirs(
    stranger: Chat, conversation_id: str, turn_id: str, message_id: str, queued_id: str
) -> None:
    core, turns, who = stranger.core, stranger.core.turns, stranger.who
    attempts = (
        lambda: stranger.ask(SLOW, "theirs", conversation_id),
        lambda: turns.stop(who, turn_id),
        lambda: next(turns.follow(who, turn_id)),
        lambda: turns.active(who, conversation_id),
        lambda: turns.retry(who, message_id, model=SLOW),
        lambda: turns.resume(who, message_id, model=SLOW),
        lambda: turns.send_queued(who, conversation_id),
        lambda: turns.edit_queued(who, conversation_id, queued_id, "stolen"),
        lambda: core.conversations.window(who, conversation_id),
        lambda: core.conversations.rename(who, conversation_id, "stolen"),
    )
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    assert turns.queued(who, conversation_id) == []
    assert turns.withdraw(who, conversation_id, queued_id) is None
    assert core.conversations.head(who, conversation_id) is None
    assert core.conversations.recent(who) == []


def test_another_persons_turns_do_not_exist(chat: Chat, core: Core, provider: HostileProvider) -> None:
    asked = chat.ask(SLOW, "mine")
    queued = chat.ask(SLOW, "mine too", asked.conversation_id)
    turn_id, message_id = str(asked.turn_id), str(asked.message_id)
    strangers = (
        Chat(core, provider, f"colleague-of-{chat.who.username}", role="admin"),
        Chat(core, provider, f"elsewhere-{chat.who.username}", tenant="Elsewhere", role="operator"),
    )
    for stranger in strangers:
        assert_nothing_is_theirs(stranger, asked.conversation_id, turn_id, message_id, str(queued.queued_id))
    chat.core.turns.withdraw(chat.who, asked.conversation_id, str(queued.queued_id))
    assert numbers(chat.words(asked)) == list(range(40))


def test_a_turn_that_cannot_be_written_does_not_spoil_the_others(
    chat: Chat, core: Core, provider: HostileProvider
) -> None:
    other = Chat(core, provider, f"other-{chat.who.username}")
    asked = chat.ask(SLOW)
    trigger = f"""CREATE TRIGGER refuse BEFORE INSERT ON turn_chunks WHEN NEW.turn_id = '{asked.turn_id}'
                  BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"""
    core.db.write(lambda s: s.execute(text(trigger)))
    try:
        assert other.answer("ok;n=20").status == "complete"
        live = core.turns.engine.live(str(asked.turn_id))
        assert live is not None
        until(lambda: len(numbers(live.text())) == 40)
        assert not live.finished
    finally:
        core.db.write(lambda s: s.execute(text("DROP TRIGGER refuse")))
    until(lambda: live.finished, timeout=15)
    assert numbers(chat.reply(asked).content) == list(range(40))


def test_chunks_go_a_minute_after_the_end(chat: Chat, core: Core) -> None:
    from chatcore.turns import store

    asked = chat.ask("ok;n=20")
    chat.words(asked)

    def chunks() -> int | None:
        statement = select(func.count()).select_from(TurnChunk).where(TurnChunk.turn_id == asked.turn_id)
        return core.db.read(lambda s: s.scalar(statement))

    core.db.write(store.purge_chunks)
    assert chunks()
    core.db.write(
        lambda s: s.execute(
            text("UPDATE turns SET finished_at = '2020-01-01 00:00:00.000000' WHERE id = :id"), {"id": asked.turn_id}
        )
    )
    core.db.write(store.purge_chunks)
    assert chunks() == 0


def test_many_at_once_lose_nothing(core: Core, provider: HostileProvider, chat: Chat) -> None:
    with ThreadPoolExecutor(25) as pool:
        replies = list(pool.map(lambda number: chat.answer("ok;n=20", f"one of many {number}"), range(25)))
    assert all(numbers(reply.content) == list(range(20)) for reply in replies)
    rows = core.db.read(
        lambda s: s.scalar(
            select(func.count())
            .select_from(UsageMetric)
            .where(UsageMetric.user_id == chat.who.user_id, UsageMetric.outcome == "ok")
        )
    )
    assert rows == 25


def test_stop_at_once_ends_every_time(chat: Chat) -> None:
    """The stop may overtake the question on its way through the engine and the worker."""
    for number in range(20):
        asked = chat.ask("hang", f"at once {number}")
        chat.core.turns.stop(chat.who, str(asked.turn_id))
        chat.words(asked)
        assert chat.reply(asked).status == "stopped"


def test_a_disabled_person_can_no_longer_act(chat: Chat, core: Core) -> None:
    asked = chat.ask(SLOW, "before")
    chat.ask(SLOW, "waiting", asked.conversation_id)
    core.db.write(
        lambda s: s.execute(text("UPDATE users SET disabled_at = created_at WHERE id = :id"), {"id": chat.who.user_id})
    )
    turns = core.turns
    for attempt in (
        lambda: chat.ask(SLOW, "after"),
        lambda: chat.ask(SLOW, "after", asked.conversation_id),
        lambda: turns.retry(chat.who, str(asked.message_id), model=SLOW),
        lambda: turns.stop(chat.who, str(asked.turn_id)),
        lambda: turns.send_queued(chat.who, asked.conversation_id),
    ):
        with pytest.raises(Unauthorized):
            attempt()
    chat.words(asked)
    assert [question.content for question in turns.queued(chat.who, asked.conversation_id)] == ["waiting"]
    assert not turns.active(chat.who, asked.conversation_id)


def test_a_failed_continuation_is_tried_again_as_one(chat: Chat, provider: HostileProvider) -> None:
    asked = chat.ask("cut;n=40;at=12", "go on and on")
    chat.words(asked)
    failed = chat.core.turns.resume(chat.who, str(asked.message_id), model="500")
    chat.words(failed)
    chat.words(chat.core.turns.retry(chat.who, str(failed.message_id), model="ok;n=20"))
    sent = [call.messages for call in provider.log if "go on and on" in str(call.messages)]
    assert [[message["role"] for message in messages] for messages in sent[1:]] == [["user", "assistant", "user"]] * 2


def test_the_owner_knows_better_than_who_took_it_for_dead(chat: Chat, core: Core) -> None:
    from chatcore.turns import recovery
    from chatcore.turns.owner import Owner

    asked = chat.ask(SLOW, "not dead yet")
    until(lambda: "[3]" in core.turns.engine.live(str(asked.turn_id)).text())  # type: ignore[union-attr]
    # As another host sees it while the database was away for this one.
    silent = text("UPDATE turns SET owner_host = 'far', heartbeat_at = '2020-01-01 00:00:00.000000' WHERE id = :id")

    def recover_elsewhere(session: Session) -> None:
        session.execute(silent, {"id": asked.turn_id})
        recovery.recover(session, Owner.this())

    core.db.write(recover_elsewhere)
    assert chat.reply(asked).status == "interrupted"
    chat.words(asked)
    assert (chat.reply(asked).status, numbers(chat.reply(asked).content)) == ("complete", list(range(40)))
    assert (chat.ledger(asked.turn_id).outcome, chat.ledger(asked.turn_id).usage_source) == ("ok", "provider")


def test_too_many_waiting_questions_are_refused(chat: Chat) -> None:
    asked = chat.ask(SLOW, "first")
    for number in range(20):
        chat.ask(SLOW, f"waiting {number}", asked.conversation_id)
    with pytest.raises(Conflict, match="20 questions"):
        chat.ask(SLOW, "one too many", asked.conversation_id)
    for question in chat.core.turns.queued(chat.who, asked.conversation_id):
        chat.core.turns.withdraw(chat.who, asked.conversation_id, question.id)
    chat.words(asked)


def test_a_coroutine_follows_like_a_thread(chat: Chat, core: Core) -> None:
    asked = chat.ask(SLOW, "for a coroutine")

    async def words() -> str:
        batches = core.turns.afollow(chat.who, str(asked.turn_id))
        return "".join([delta.text async for batch in batches for delta in batch])

    assert numbers(asyncio.run(words())) == list(range(40))


def test_a_commit_that_only_seemed_to_fail_is_written_again(
    chat: Chat, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the connection breaks after COMMIT: the words are there, and nobody has said so."""
    real, failed = core.db.awrite, []

    async def awrite(work: Any) -> Any:
        result = await real(work)
        if "Journal" in work.__qualname__ and not failed:
            failed.append(1)
            raise DatabaseError("the answer was lost")
        return result

    asked = chat.ask(SLOW, "in doubt")
    monkeypatch.setattr(core.db, "awrite", awrite)
    assert numbers(chat.words(asked)) == list(range(40))
    assert failed
    assert numbers(chat.reply(asked).content) == list(range(40))


def test_words_that_come_with_the_end_are_all_kept(chat: Chat, core: Core) -> None:
    """A loop that was busy finds the first words, the rest and the end in one piece."""
    asked = chat.ask("slow;first=1;n=20;rate=40", "while the loop is busy")
    chat.provider.wait_until(lambda log: any("while the loop is busy" in str(call.messages) for call in log))
    loop = core.turns.engine._loop
    assert loop is not None
    loop.call_soon_threadsafe(time.sleep, 2)
    assert numbers(chat.words(asked)) == numbers(chat.reply(asked).content) == list(range(20))


def test_a_hung_worker_does_not_keep_a_stop_waiting(chat: Chat, core: Core) -> None:
    asked = chat.ask(SLOW, "hung")
    live = core.turns.engine.live(str(asked.turn_id))
    assert live is not None
    until(lambda: "[3]" in live.text())
    os.kill(core.gateway.worker_pid or 0, signal.SIGSTOP)
    try:
        began = time.monotonic()
        core.turns.stop(chat.who, str(asked.turn_id))
        chat.words(asked)
        assert time.monotonic() - began < 1.5
    finally:
        os.kill(core.gateway.worker_pid or 0, signal.SIGCONT)
    row = chat.ledger(asked.turn_id)
    assert (chat.reply(asked).status, row.outcome, row.usage_source) == ("stopped", "stopped", "estimated")
    assert row.completion_tokens > 0
