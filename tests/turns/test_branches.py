"""Asking in a tree: edits, compared models, temporary chats, titles and summaries, and whose turns they are."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from chatcore.accounts import Principal
from chatcore.bootstrap import Core
from chatcore.conversations import erasing
from chatcore.db.tables import Conversation, Message, Share, UsageMetric, utcnow
from chatcore.errors import Conflict, InvalidInput, ModelUnavailable, NotFound, ProviderDown
from chatcore.ids import new_id
from tests.chat import Chat, running_core, until
from tests.conftest import add_person
from tests.hostile import HostileProvider

QUICK, SLOW = "ok;n=20", "ok;n=40;rate=20"


def rows(core: Core, conversation_id: str) -> list[UsageMetric]:
    """The ledger's rows of a conversation, in the order of the calls."""
    statement = select(UsageMetric).where(UsageMetric.conversation_id == conversation_id).order_by(UsageMetric.id)
    return core.db.read(lambda session: list(session.scalars(statement)))


def test_an_edit_is_a_sibling_of_the_question_and_keeps_all_below_the_old_one(
    chat: Chat, provider: HostileProvider
) -> None:
    first = chat.answer(QUICK, "the first version")
    conversation_id = chat.core.conversations.recent(chat.who)[0].id
    chat.answer(QUICK, "and then?", conversation_id)
    question = chat.messages(conversation_id)[0]
    asked = chat.core.turns.edit(chat.who, question.id, "the second version", model=QUICK)
    chat.words(asked)
    changed, reply = chat.messages(conversation_id)
    assert (changed.content, changed.parent_id, changed.edited_at is not None) == ("the second version", None, True)
    assert reply.id == asked.message_id
    sent = chat.call("the second version").messages
    assert "the first version" not in str(sent)
    chat.core.conversations.switch(chat.who, conversation_id, question.id)
    assert [message.content for message in chat.messages(conversation_id)][0::2] == ["the first version", "and then?"]
    assert chat.messages(conversation_id)[1].id == first.id
    assert chat.core.conversations.get(chat.who, conversation_id).message_count == 6


def test_nothing_is_edited_while_a_turn_runs(chat: Chat) -> None:
    asked = chat.ask(SLOW)
    question = chat.messages(asked.conversation_id)[0]
    with pytest.raises(Conflict, match="A reply is being written"):
        chat.core.turns.edit(chat.who, question.id, "changed", model=QUICK)
    assert chat.words(asked).count("[") == 40
    assert len(chat.messages(asked.conversation_id)) == 2


def test_only_questions_are_edited_and_not_into_nothing(chat: Chat) -> None:
    reply = chat.answer(QUICK)
    with pytest.raises(InvalidInput, match="Only a question can be edited"):
        chat.core.turns.edit(chat.who, reply.id, "mine", model=QUICK)
    assert reply.parent_id is not None
    with pytest.raises(InvalidInput, match="nothing to send"):
        chat.core.turns.edit(chat.who, reply.parent_id, " \x00 ", model=QUICK)


def test_regenerating_an_earlier_reply_branches_there(chat: Chat) -> None:
    first = chat.answer(QUICK, "one")
    conversation_id = chat.core.conversations.recent(chat.who)[0].id
    chat.answer(QUICK, "two", conversation_id)
    again = chat.core.turns.retry(chat.who, first.id, model="md")
    chat.words(again)
    messages = chat.messages(conversation_id)
    assert [message.id for message in messages] == [first.parent_id, again.message_id]
    window = chat.core.conversations.window(chat.who, conversation_id)[1]
    assert window.siblings[str(again.message_id)] == (first.id, again.message_id)


def test_models_are_compared_each_in_a_turn_of_its_own(chat: Chat, provider: HostileProvider) -> None:
    models = [SLOW, QUICK, "401"]
    marker = secrets.token_hex(4)
    asked = chat.core.turns.compare(chat.who, None, f"compare {marker}", models=models)
    conversation_id = asked[0].conversation_id
    assert [turn.turn_id for turn in chat.core.turns.active(chat.who, conversation_id)][:1] == [asked[0].turn_id]
    words: dict[str, str] = {}
    for round_ in chat.core.turns.follow_together(chat.who, [str(one.turn_id) for one in asked]):
        for turn_id, batch in round_.items():
            words[turn_id] = words.get(turn_id, "") + "".join(delta.text for delta in batch if delta.kind == "text")
    assert [words[str(one.turn_id)].count("[") for one in asked] == [40, 20, 0]
    ids = [str(one.message_id) for one in asked]
    replies = chat.core.conversations.replies(chat.who, conversation_id, ids)
    assert [(reply.model, reply.status) for reply in replies] == [
        (SLOW, "complete"), (QUICK, "complete"), ("401", "failed"),
    ]  # fmt: skip
    assert len({reply.parent_id for reply in replies}) == 1
    assert [chat.ledger(one.turn_id).outcome for one in asked] == ["ok", "ok", "error"]
    conversation, window = chat.core.conversations.window(chat.who, conversation_id)
    assert (conversation.message_count, conversation.head_message_id) == (4, ids[0])
    assert window.messages[0].meta == {"compare": ids}


def test_one_of_the_compared_is_picked_and_gone_on_with(chat: Chat) -> None:
    asked = chat.core.turns.compare(chat.who, None, "which?", models=[QUICK, "md"])
    for one in asked:
        chat.words(one)
    chosen = asked[1]
    chat.core.conversations.pick(chat.who, chosen.conversation_id, str(chosen.message_id))
    question, reply = chat.messages(chosen.conversation_id)
    assert (reply.id, question.meta["picked"]) == (chosen.message_id, chosen.message_id)
    chat.answer(QUICK, "go on", chosen.conversation_id)
    assert [message.id for message in chat.messages(chosen.conversation_id)][1] == chosen.message_id


def test_each_of_the_compared_stops_alone(chat: Chat) -> None:
    asked = chat.core.turns.compare(chat.who, None, "stop one", models=[SLOW, "ok;n=4000"])
    until(lambda: chat.core.turns.engine.live(str(asked[0].turn_id)).text())  # type: ignore[union-attr]
    chat.core.turns.stop(chat.who, str(asked[0].turn_id))
    for one in asked:
        chat.words(one)
    ids = [str(one.message_id) for one in asked]
    replies = chat.core.conversations.replies(chat.who, asked[0].conversation_id, ids)
    assert [reply.status for reply in replies] == ["stopped", "complete"]


def test_a_question_asked_while_models_are_compared_waits_for_all_of_them(chat: Chat) -> None:
    asked = chat.core.turns.compare(chat.who, None, "compare", models=[SLOW, QUICK])
    waiting = chat.ask(QUICK, "afterwards", asked[0].conversation_id)
    assert waiting.queued_id
    chat.words(asked[1])
    assert len(chat.core.turns.queued(chat.who, waiting.conversation_id)) == 1
    chat.words(asked[0])
    until(lambda: not chat.core.turns.active(chat.who, waiting.conversation_id))
    messages = chat.messages(waiting.conversation_id)
    assert [message.id for message in messages][1] == asked[0].message_id, "it goes on from the first"
    assert messages[2].content == "afterwards"


@pytest.mark.parametrize("models", [[QUICK], [QUICK, QUICK], [QUICK, "md", "crlf;n=10", "empty", "cached"], []])
def test_two_to_four_different_models_are_compared(chat: Chat, models: list[str]) -> None:
    with pytest.raises(InvalidInput, match="two to 4 different models"):
        chat.core.turns.compare(chat.who, None, "no", models=models)
    with pytest.raises(ModelUnavailable):
        chat.core.turns.compare(chat.who, None, "no", models=[QUICK, "gone"])
    assert chat.core.conversations.recent(chat.who) == []


def test_nothing_is_compared_beside_a_running_turn(chat: Chat) -> None:
    asked = chat.ask(SLOW)
    with pytest.raises(Conflict, match="A reply is being written"):
        chat.core.turns.compare(chat.who, asked.conversation_id, "now", models=[QUICK, "md"])
    chat.words(asked)


def test_a_temporary_chat_is_in_no_list_and_goes_when_it_is_left(chat: Chat) -> None:
    asked = chat.ask(QUICK, "between us", temporary=True)
    chat.words(asked)
    conversations = chat.core.conversations
    found = conversations.get(chat.who, asked.conversation_id)
    assert found.expires_at is not None
    assert timedelta(minutes=59) < found.expires_at - utcnow() <= timedelta(hours=1)
    assert (conversations.recent(chat.who), conversations.pinned(chat.who)) == ([], [])
    chat.core.turns.leave(chat.who, asked.conversation_id)
    with pytest.raises(NotFound):
        conversations.get(chat.who, asked.conversation_id)
    until(lambda: chat.core.db.read(lambda s: s.get(Conversation, asked.conversation_id)) is None, 15)
    left = chat.core.db.read(lambda s: list(s.scalars(select(Message.id).where(Message.turn_id == asked.turn_id))))
    assert left == []
    assert chat.ledger(asked.turn_id).outcome == "ok", "the ledger keeps its row"


def test_leaving_a_temporary_chat_stops_its_turn_and_bills_it(chat: Chat) -> None:
    asked = chat.ask("ok;n=40;rate=20", "between us", temporary=True)
    until(lambda: chat.core.turns.engine.live(str(asked.turn_id)).text())  # type: ignore[union-attr]
    chat.core.turns.leave(chat.who, asked.conversation_id)
    until(lambda: chat.core.db.read(lambda s: s.get(Conversation, asked.conversation_id)) is None, 15)
    row = chat.ledger(asked.turn_id)
    assert (row.outcome, row.completion_tokens > 0) == ("stopped", True)


def test_a_temporary_chats_hour_begins_anew_with_each_question(chat: Chat) -> None:
    asked = chat.ask(QUICK, "between us", temporary=True)
    chat.words(asked)
    soon = utcnow() + timedelta(minutes=5)
    chat.core.db.write(
        lambda s: s.execute(
            update(Conversation).where(Conversation.id == asked.conversation_id).values(expires_at=soon)
        )
    )
    chat.answer(QUICK, "still here", asked.conversation_id)
    expires_at = chat.core.conversations.get(chat.who, asked.conversation_id).expires_at
    assert expires_at is not None
    assert expires_at > soon


def test_a_kept_conversation_is_not_left(chat: Chat) -> None:
    chat.answer(QUICK)
    kept = chat.core.conversations.recent(chat.who)[0].id
    with pytest.raises(Conflict, match="delete it in the history"):
        chat.core.turns.leave(chat.who, kept)


def test_custom_instructions_reach_the_model(chat: Chat) -> None:
    chat.core.preferences.save(chat.who, instructions="Always answer in rhymes.")
    marker = secrets.token_hex(4)
    chat.answer(QUICK, marker)
    system = chat.call(marker).messages[0]
    assert system["role"] == "system"
    assert system["content"].endswith("The person you talk to asks you to keep this in mind:\nAlways answer in rhymes.")


def test_a_summary_is_made_kept_and_brought_up_to_date(chat: Chat, provider: HostileProvider) -> None:
    first, second = f"alpha-{secrets.token_hex(3)}", f"beta-{secrets.token_hex(3)}"
    chat.answer(QUICK, first)
    conversation_id = chat.core.conversations.recent(chat.who)[0].id
    chat.core.turns.summarise(chat.who, conversation_id, model="md")
    conversation = chat.core.conversations.get(chat.who, conversation_id)
    assert conversation.summary is not None
    assert conversation.summary["up_to"] == conversation.head_message_id
    assert conversation.summary["model"] == "md"
    assert conversation.summary["text"]
    chat.core.conversations.edit_summary(chat.who, conversation_id, "In my own words.")
    chat.answer(QUICK, second, conversation_id)
    chat.core.turns.summarise(chat.who, conversation_id, model=QUICK)
    sent = [call for call in provider.log if "In my own words." in str(call.messages)][-1]
    assert second in str(sent.messages)
    assert first not in str(sent.messages), "what the summary holds is not sent again"
    assert [(row.purpose, row.turn_id is None, row.outcome) for row in rows(chat.core, conversation_id)] == [
        ("chat", False, "ok"), ("chat", True, "ok"), ("chat", False, "ok"), ("chat", True, "ok"),
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="nothing new"):
        chat.core.turns.summarise(chat.who, conversation_id, model=QUICK)


def test_a_summary_that_fails_leaves_the_old_one(chat: Chat) -> None:
    chat.answer(QUICK)
    conversation_id = chat.core.conversations.recent(chat.who)[0].id
    chat.core.conversations.edit_summary(chat.who, conversation_id, "The old one.")
    with pytest.raises(ProviderDown, match="cannot be reached right now"):
        chat.core.turns.summarise(chat.who, conversation_id, model="500")
    assert (chat.core.conversations.get(chat.who, conversation_id).summary or {})["text"] == "The old one."
    assert rows(chat.core, conversation_id)[-1].outcome == "error"


@pytest.fixture(scope="module")
def titling(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    folder = tmp_path_factory.mktemp("titles")
    with running_core(folder, provider, [QUICK, "ok;n=4", "500"], title_model="ok;n=4") as core:
        yield core


def title(chat: Chat, conversation_id: str) -> str:
    return chat.core.conversations.get(chat.who, conversation_id).title


def test_a_better_title_comes_from_the_cheap_model_and_is_billed(titling: Core, provider: HostileProvider) -> None:
    chat = Chat(titling, provider, f"person-{secrets.token_hex(4)}")
    asked = chat.ask(QUICK, "what shall this be called?")
    assert title(chat, asked.conversation_id) == "what shall this be called?"
    chat.words(asked)
    until(lambda: title(chat, asked.conversation_id).startswith("[0]"))
    assert len(title(chat, asked.conversation_id)) <= 100
    until(lambda: rows(titling, asked.conversation_id)[-1].outcome == "ok")
    row = rows(titling, asked.conversation_id)[-1]
    assert (row.purpose, row.model, row.turn_id, bool(row.cost_nano_usd)) == ("title", "ok;n=4", None, True)
    chat.answer(QUICK, "more", asked.conversation_id)
    assert [row.purpose for row in rows(titling, asked.conversation_id)].count("title") == 1


def test_a_title_of_ones_own_stays(titling: Core, provider: HostileProvider) -> None:
    chat = Chat(titling, provider, f"person-{secrets.token_hex(4)}")
    asked = chat.ask(QUICK, "first words")
    titling.conversations.rename(chat.who, asked.conversation_id, "My own")
    chat.words(asked)
    other = chat.ask(QUICK, "another")
    chat.words(other)
    until(lambda: title(chat, other.conversation_id).startswith("[0]"))
    assert title(chat, asked.conversation_id) == "My own"


def test_who_wants_no_better_titles_pays_for_none(titling: Core, provider: HostileProvider) -> None:
    chat = Chat(titling, provider, f"person-{secrets.token_hex(4)}")
    titling.preferences.save(chat.who, better_titles=False)
    asked = chat.ask(QUICK, "leave it")
    chat.words(asked)
    temporary = chat.ask(QUICK, "leave this too", temporary=True)
    chat.words(temporary)
    chat.answer(QUICK, "and on", asked.conversation_id)
    assert [row.purpose for row in rows(titling, asked.conversation_id)] == ["chat", "chat"]
    assert [row.purpose for row in rows(titling, temporary.conversation_id)] == ["chat"]


def share_with_team(chat: Chat, conversation_id: str, *, can_reply: bool) -> None:
    share = {"id": new_id("share"), "tenant_id": chat.who.tenant_id, "user_id": chat.who.user_id, "kind": "team"}
    chat.core.db.write(lambda s: s.add(Share(conversation_id=conversation_id, can_reply=can_reply, **share)))


def test_a_colleague_replies_where_the_team_may_and_is_billed(chat: Chat, provider: HostileProvider) -> None:
    chat.answer(QUICK, "ours")
    conversation_id = chat.core.conversations.recent(chat.who)[0].id
    bob = Chat(chat.core, provider, f"bob-{secrets.token_hex(4)}")
    with pytest.raises(NotFound):
        bob.ask(QUICK, "may I?", conversation_id)
    share_with_team(chat, conversation_id, can_reply=True)
    asked = bob.ask(SLOW, "I may", conversation_id)
    assert chat.words(asked).count("[") == 40, "the owner follows"
    assert bob.ledger(asked.turn_id).user_id == bob.who.user_id
    assert chat.messages(conversation_id)[2].user_id == bob.who.user_id
    assert bob.core.conversations.recent(bob.who) == []
    with pytest.raises(NotFound):
        bob.core.conversations.rename(bob.who, conversation_id, "mine now")


def test_what_colleagues_ask_at_once_is_answered_in_turn_each_as_whoever_asked(
    chat: Chat, provider: HostileProvider
) -> None:
    first = chat.ask(SLOW, "first")
    share_with_team(chat, first.conversation_id, can_reply=True)
    bob = Chat(chat.core, provider, f"bob-{secrets.token_hex(4)}")
    assert bob.ask(QUICK, "bob's", first.conversation_id).queued_id
    assert chat.ask(QUICK, "ada's", first.conversation_id).queued_id
    assert [one.content for one in chat.core.turns.queued(bob.who, first.conversation_id)] == ["bob's"]
    until(lambda: len(chat.messages(first.conversation_id)) == 6)
    until(lambda: not chat.core.turns.active(chat.who, first.conversation_id))
    messages = chat.messages(first.conversation_id)
    assert [message.user_id for message in messages[2:]] == [bob.who.user_id] * 2 + [chat.who.user_id] * 2


@pytest.mark.parametrize("can_reply", [False, None])
def test_without_the_right_to_reply_a_colleague_reaches_nothing(
    chat: Chat, core: Core, provider: HostileProvider, can_reply: bool | None
) -> None:
    asked = chat.ask(SLOW, "ours")
    question = chat.messages(asked.conversation_id)[0]
    if can_reply is not None:
        share_with_team(chat, asked.conversation_id, can_reply=can_reply)
    bob = add_person(core.db, f"bob-{secrets.token_hex(4)}")
    _refused(core, bob, asked.conversation_id, question.id, str(asked.message_id), str(asked.turn_id))
    chat.words(asked)


def test_another_tenant_reaches_nothing_even_of_what_the_team_shares(chat: Chat, core: Core) -> None:
    asked = chat.ask(SLOW, "ours")
    question = chat.messages(asked.conversation_id)[0]
    share_with_team(chat, asked.conversation_id, can_reply=True)
    eve = add_person(core.db, f"eve-{secrets.token_hex(4)}", tenant="Elsewhere")
    _refused(core, eve, asked.conversation_id, question.id, str(asked.message_id), str(asked.turn_id))
    chat.words(asked)


def _refused(core: Core, who: Principal, conversation_id: str, question_id: str, reply_id: str, turn_id: str) -> None:
    turns = core.turns
    for call in (
        lambda: turns.ask(who, conversation_id, "x", model=QUICK),
        lambda: turns.compare(who, conversation_id, "x", models=[QUICK, "md"]),
        lambda: turns.edit(who, question_id, "x", model=QUICK),
        lambda: turns.retry(who, reply_id, model=QUICK),
        lambda: turns.resume(who, reply_id, model=QUICK),
        lambda: turns.stop(who, turn_id),
        lambda: turns.active(who, conversation_id),
        lambda: turns.leave(who, conversation_id),
        lambda: turns.summarise(who, conversation_id, model=QUICK),
        lambda: next(turns.follow(who, turn_id)),
        lambda: next(turns.follow_together(who, [turn_id])),
        lambda: turns.send_queued(who, conversation_id),
        lambda: core.conversations.get(who, conversation_id),
    ):
        with pytest.raises(NotFound):
            call()
    assert turns.queued(who, conversation_id) == []


def test_a_question_that_cannot_wait_is_refused_at_once_and_spoils_nothing(chat: Chat) -> None:
    asked = chat.ask(SLOW, "first")
    with pytest.raises(NotFound):
        chat.ask(QUICK, "with a file that is not there", asked.conversation_id, attachments=["att_gone"])
    assert chat.words(asked).count("[") == 40
    assert chat.reply(asked).status == "complete"
    assert chat.ledger(asked.turn_id).outcome == "ok"


def test_what_waits_in_a_temporary_chat_goes_with_it(chat: Chat) -> None:
    asked = chat.ask(SLOW, "between us", temporary=True)
    assert chat.ask(QUICK, "and this", asked.conversation_id).queued_id
    chat.core.turns.leave(chat.who, asked.conversation_id)
    until(lambda: chat.core.db.read(lambda s: s.get(Conversation, asked.conversation_id)) is None, 15)
    assert [row.outcome for row in rows(chat.core, asked.conversation_id)] == ["stopped"]


def test_who_may_no_longer_reply_is_not_heard_from_the_queue(chat: Chat, provider: HostileProvider) -> None:
    asked = chat.ask(SLOW, "ours")
    share_with_team(chat, asked.conversation_id, can_reply=True)
    bob = Chat(chat.core, provider, f"bob-{secrets.token_hex(4)}")
    assert bob.ask(QUICK, "bob's", asked.conversation_id).queued_id
    chat.core.db.write(
        lambda s: s.execute(
            update(Share).where(Share.conversation_id == asked.conversation_id).values(revoked_at=utcnow())
        )
    )
    chat.words(asked)
    until(lambda: not chat.core.turns.active(chat.who, asked.conversation_id))
    assert [message.user_id for message in chat.messages(asked.conversation_id)] == [chat.who.user_id] * 2


def test_a_waiting_question_goes_on_from_the_reply_it_waited_for(chat: Chat) -> None:
    first = chat.answer(QUICK, "one")
    conversation_id = chat.core.conversations.recent(chat.who)[0].id
    again = chat.core.turns.retry(chat.who, first.id, model=SLOW)
    assert chat.ask(QUICK, "go on with that", conversation_id).queued_id
    chat.core.conversations.switch(chat.who, conversation_id, first.id)
    chat.words(again)
    until(lambda: not chat.core.turns.active(chat.who, conversation_id))
    until(lambda: len(chat.messages(conversation_id)) == 4)
    assert chat.messages(conversation_id)[1].id == again.message_id


def test_a_conversation_that_is_erased_under_a_running_turn_still_has_its_call_settled(chat: Chat) -> None:
    asked = chat.ask("ok;n=40;rate=20", "soon gone")
    until(lambda: chat.core.turns.engine.live(str(asked.turn_id)).text())  # type: ignore[union-attr]
    chat.core.db.write(lambda session: erasing.erase(session, [asked.conversation_id]))
    until(lambda: chat.ledger(asked.turn_id).outcome != "running", 15)
    assert chat.ledger(asked.turn_id).outcome == "stopped"
    assert chat.answer(QUICK, "others go on").content


def test_a_summary_does_not_overwrite_what_was_written_meanwhile(chat: Chat) -> None:
    chat.answer(QUICK)
    conversation_id = chat.core.conversations.recent(chat.who)[0].id
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(chat.core.turns.summarise, chat.who, conversation_id, model="slow;first=1;n=5")
        until(lambda: rows(chat.core, conversation_id)[-1].turn_id is None)
        chat.core.conversations.edit_summary(chat.who, conversation_id, "My own words.")
        with pytest.raises(Conflict, match="changed meanwhile"):
            making.result(15)
    assert (chat.core.conversations.get(chat.who, conversation_id).summary or {})["text"] == "My own words."
    assert rows(chat.core, conversation_id)[-1].outcome == "ok", "it is billed all the same"


def test_a_title_that_the_end_of_the_process_cuts_off_is_settled_as_interrupted(
    tmp_path: Path, provider: HostileProvider
) -> None:
    with running_core(tmp_path, provider, [QUICK, "hang"], title_model="hang") as core:
        chat = Chat(core, provider, "ada")
        asked = chat.ask(QUICK, "a title, please")
        chat.words(asked)
        until(lambda: rows(core, asked.conversation_id)[-1].purpose == "title")
        core.turns.engine.drain(1)
        row = rows(core, asked.conversation_id)[-1]
        assert (row.purpose, row.outcome, row.cost_nano_usd) == ("title", "interrupted", None)
