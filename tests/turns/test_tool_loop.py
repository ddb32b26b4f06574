"""The tool loop: what a model asks for is checked, run, paid, stored, and never run twice."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from chatcore.bootstrap import Core
from chatcore.conversations import store as conversation_store
from chatcore.db.tables import Message, Reservation, ToolDecision, Turn, TurnChunk, UsageMetric
from chatcore.errors import Conflict, Forbidden, NotFound
from chatcore.gateway import Delta
from chatcore.ids import new_id
from chatcore.turns import Asked, recovery, store
from chatcore.turns.owner import Owner
from chatcore.turns.tool_calls import Called, Ran
from tests.chat import Chat, until
from tests.conftest import add_person
from tests.turns.tools import Source, agent_with, script


@pytest.fixture
def source(core: Core) -> Iterator[Source]:
    before = core.toolbox._sources
    source = Source()
    core.toolbox.add(source)
    yield source
    core.toolbox._sources = before


def tool_parts(message: Any) -> list[dict[str, Any]]:
    return [dict(part) for part in message.parts if part["type"] == "tool_call"]


def asked_with(chat: Chat, *rounds: list[Any], tools: tuple[Any, ...] = ("double",), model: str = "script") -> Asked:
    return chat.ask(model, script(*rounds), agent_id=agent_with(chat, *tools))


def test_a_call_is_run_and_its_result_goes_back_to_the_model(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, ["Let me see. ", ["double", {"n": 21}]])
    chat.words(asked)
    reply = chat.reply(asked)
    assert reply.status == "complete"
    assert reply.content.startswith("Let me see. \n\n[0]"), "what is said later stands apart"
    (part,) = tool_parts(reply)
    assert (part["state"], part["result"], part["name"]) == ("success", "42", "double")
    assert [one["type"] for one in reply.parts] == ["text", "tool_call", "text"]
    second = [call for call in chat.provider.log if "Let me see" in str(call.messages)][-1]
    assistant, result = second.messages[-2:]
    assert assistant["tool_calls"][0]["function"] == {"name": "double", "arguments": '{"n": 21}'}
    assert assistant["content"] == "Let me see."
    assert result == {"role": "tool", "tool_call_id": assistant["tool_calls"][0]["id"], "content": "42"}


def test_every_hop_is_in_the_ledger_as_the_provider_counted_it(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["double", {"n": 1}]], [["double", {"n": 2}], ["double", {"n": 3}]])
    chat.words(asked)
    rows, calls = chat.ledger_rows(asked.turn_id), [c for c in chat.provider.log if '"n": 3' in str(c.messages)]
    assert [row.purpose for row in rows] == ["chat", "tool", "tool"]
    assert [row.attempt for row in rows] == [1, 2, 3]
    assert {row.outcome for row in rows} == {"ok"}
    assert [row.prompt_tokens for row in rows] == [call.usage["prompt_tokens"] for call in calls]
    assert [row.completion_tokens for row in rows] == [call.usage["completion_tokens"] for call in calls]
    reply = chat.reply(asked)
    assert reply.prompt_tokens == sum(row.prompt_tokens for row in rows)
    assert reply.cost_nano_usd == sum(row.cost_nano_usd or 0 for row in rows)
    assert reply.meta["tool_rounds"] == 2


def test_calls_of_a_round_run_at_once(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["wait", {"n": k}] for k in range(5)], tools=("wait",))
    until(lambda: source.made["wait"].running == 5)
    source.made["wait"].go_on.set()
    chat.words(asked)
    assert [part["result"] for part in tool_parts(chat.reply(asked))] == ["waited"] * 5


def test_more_calls_at_once_than_sixteen_are_refused_in_words(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["double", {"n": k}] for k in range(20)])
    chat.words(asked)
    states = [part["state"] for part in tool_parts(chat.reply(asked))]
    assert states == ["success"] * 16 + ["error"] * 4
    assert len(source.made["double"].calls) == 16


BAD = [
    ("double", '{"n": 1', "not valid JSON"),
    ("double", {"n": "one"}, "do not fit at $.n"),
    ("double", {"m": 1}, "do not fit"),
    ("double", [1], "do not fit"),
    ("nothing", {"n": 1}, "There is no tool of this name. There are: double."),
    ("double", '{"n": ' + "1" * 70_000 + "}", "the most is 65,536"),
    ("", {}, "There is no tool of this name"),
]


@pytest.mark.parametrize(("name", "given", "why"), BAD)
def test_an_invalid_call_goes_back_once_with_the_reason(
    chat: Chat, source: Source, name: str, given: Any, why: str
) -> None:
    asked = asked_with(chat, [[name, given]], [["double", {"n": 4}]])
    chat.words(asked)
    first, second = tool_parts(chat.reply(asked))
    assert first["state"] == "error"
    assert why in first["result"]
    assert second["result"] == "8"
    assert chat.reply(asked).status == "complete"


def test_a_second_invalid_call_ends_the_turn(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["double", {}]], [["double", {}]], [["double", {"n": 1}]])
    chat.words(asked)
    reply = chat.reply(asked)
    assert reply.status == "failed"
    assert "called double twice in a way that cannot be" in reply.parts[-1]["message"]
    assert source.made["double"].calls == []
    assert [row.outcome for row in chat.ledger_rows(asked.turn_id)] == ["ok", "ok"]


def test_a_model_that_loops_for_ever_is_stopped_after_the_rounds(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["double", {"n": 1}]], model="script;how=forever")
    chat.words(asked)
    reply = chat.reply(asked)
    assert reply.status == "failed"
    assert "after 8 rounds" in reply.parts[-1]["message"]
    assert len(source.made["double"].calls) == 8
    assert len(chat.ledger_rows(asked.turn_id)) == 9
    last = [call for call in chat.provider.log if call.model.endswith("forever")][-1]
    assert last.params["tool_choice"] == "none"


@pytest.mark.parametrize(
    ("tool", "says"),
    [("refuse", "There is no such number."), ("break", "The tool failed on our side"), ("slow", "within 0.2 seconds")],
)
def test_a_tool_that_fails_says_so_and_the_reply_goes_on(chat: Chat, source: Source, tool: str, says: str) -> None:
    if tool == "slow":
        source.made["wait"].spec = source.made["slow"].spec
        source.made = {"slow": source.made["wait"]}
        source.made["slow"].__class__ = type("Waiting", (type(source.made["slow"]),), {"_done": _waits})
    name = "wait_short" if tool == "slow" else tool
    asked = asked_with(chat, [[name, {"n": 1}]], tools=(tool,))
    chat.words(asked)
    reply = chat.reply(asked)
    (part,) = tool_parts(reply)
    assert (part["state"], reply.status) == ("error", "complete")
    assert says in part["result"]
    assert "secret" not in str(reply.parts)


async def _waits(self: Any, n: int, call: Any) -> Any:
    import asyncio

    await asyncio.sleep(60)


def test_a_long_result_is_cut_and_says_so(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["long", {"n": 100_000}]], tools=("long",))
    chat.words(asked)
    (part,) = tool_parts(chat.reply(asked))
    assert len(part["result"]) < 61_000
    assert part["result"].endswith("[The result was cut off: it has 100,000 characters.]")


def test_parts_of_a_result_are_parts_of_the_reply_where_they_are_valid(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["chart", {"n": 3}]], tools=("chart",))
    chat.words(asked)
    assert [part["type"] for part in chat.reply(asked).parts] == ["tool_call", "chart", "text"]


def test_stop_ends_the_tools_and_keeps_what_was_said(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, ["Wait. ", ["wait", {"n": 1}], ["double", {"n": 2}]], tools=("wait", "double"))
    until(lambda: source.made["wait"].running)
    chat.core.turns.stop(chat.who, str(asked.turn_id))
    chat.words(asked)
    reply = chat.reply(asked)
    assert reply.status == "stopped"
    assert source.made["wait"].cancelled == 1
    assert [part["state"] for part in tool_parts(reply)] == ["error", "success"]
    assert [row.outcome for row in chat.ledger_rows(asked.turn_id)] == ["ok"]
    assert reply.content == "Wait. "


def test_a_model_that_a_tool_asks_is_in_the_ledger_of_the_turn(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["ask_model", {"n": 7}]], tools=("ask_model",))
    chat.words(asked)
    rows, reply = chat.ledger_rows(asked.turn_id), chat.reply(asked)
    assert [(row.purpose, row.model) for row in rows] == [("chat", "script"), ("tool", "ok;n=4"), ("tool", "script")]
    assert tool_parts(reply)[0]["result"].startswith("[0] ")
    assert reply.cost_nano_usd == sum(row.cost_nano_usd or 0 for row in rows)


def test_later_questions_know_what_tools_said(chat: Chat, source: Source) -> None:
    agent_id = agent_with(chat, "double")
    asked = chat.ask("script", script([["double", {"n": 5}]]), agent_id=agent_id)
    chat.words(asked)
    again = chat.ask("script", script([["double", {"n": 678}]]), asked.conversation_id, agent_id=agent_id)
    chat.words(again)
    sent = next(call.messages for call in chat.provider.log if '"n": 678' in str(call.messages))
    assert [one["role"] for one in sent] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent[2]["content"] == "10"


def test_without_tools_an_earlier_call_is_left_out(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["double", {"n": 9}]])
    chat.words(asked)
    after = chat.ask("ok;n=4", "and now?", asked.conversation_id)
    chat.words(after)
    assert [one["role"] for one in chat.call("and now?").messages] == ["user", "assistant", "user"]


# ---- tools that ask first


def asking(chat: Chat, source: Source, n: int = 3) -> Asked:
    asked = asked_with(chat, [["double", {"n": n}]], tools=({"name": "double", "asks_first": True},))
    until(lambda: '"state": "asking"' in chat.core.turns.engine.live(str(asked.turn_id)).text("tool_result"))  # type: ignore[union-attr]
    assert source.made["double"].calls == []
    return asked


def test_a_tool_that_asks_first_runs_after_a_yes(chat: Chat, source: Source) -> None:
    asked = asking(chat, source)
    chat.core.turns.decide(chat.who, str(asked.turn_id), "call_0_0", approved=True)
    chat.words(asked)
    assert tool_parts(chat.reply(asked))[0]["result"] == "6"


def test_and_never_after_a_no(chat: Chat, source: Source) -> None:
    asked = asking(chat, source)
    chat.core.turns.decide(chat.who, str(asked.turn_id), "call_0_0", approved=False)
    chat.words(asked)
    (part,) = tool_parts(chat.reply(asked))
    assert part["state"] == "error"
    assert "did not allow" in part["result"]
    assert source.made["double"].calls == []


def test_a_word_from_another_process_counts(chat: Chat, source: Source) -> None:
    asked = asking(chat, source)
    row = ToolDecision(
        turn_id=asked.turn_id, call_id="call_0_0", tenant_id=chat.who.tenant_id, user_id=chat.who.user_id, approved=True
    )
    chat.core.db.write(lambda session: session.add(row))  # nobody wakes the engine: it looks by itself
    chat.words(asked)
    assert tool_parts(chat.reply(asked))[0]["result"] == "6"


def test_only_who_asked_decides_and_only_once(chat: Chat, source: Source) -> None:
    asked, turns = asking(chat, source), chat.core.turns
    stranger = add_person(chat.core.db, "stranger-to-tools")
    with pytest.raises(NotFound):
        turns.decide(stranger, str(asked.turn_id), "call_0_0", approved=True)
    chat.core.shares.create(chat.who, asked.conversation_id, kind="team", can_reply=True)
    colleague = add_person(chat.core.db, "colleague-of-tools")
    with pytest.raises(Forbidden):
        turns.decide(colleague, str(asked.turn_id), "call_0_0", approved=True)
    turns.decide(chat.who, str(asked.turn_id), "call_0_0", approved=False)
    with pytest.raises(Conflict):
        turns.decide(chat.who, str(asked.turn_id), "call_0_0", approved=True)
    chat.words(asked)
    assert source.made["double"].calls == []
    count = select(func.count()).select_from(ToolDecision).where(ToolDecision.turn_id == asked.turn_id)
    assert chat.core.db.read(lambda session: session.scalar(count)) == 1


def test_stop_while_a_tool_asks(chat: Chat, source: Source) -> None:
    asked = asking(chat, source)
    chat.core.turns.stop(chat.who, str(asked.turn_id))
    chat.words(asked)
    assert chat.reply(asked).status == "stopped"
    assert source.made["double"].calls == []


def test_flags_switch_all_tools_off(chat: Chat, source: Source) -> None:
    root = add_person(chat.core.db, "root-of-tools", role="operator")
    chat.core.flags.set(root, tools=False)
    try:
        asked = asked_with(chat, [["double", {"n": 1}]])
        chat.words(asked)
    finally:
        chat.core.flags.set(root, tools=None)
    assert source.made["double"].calls == []
    assert json.loads(json.dumps(chat.provider.log[-1].params)).get("tools") is None


# ---- after a crash


def died(chat: Chat, *deltas: Any) -> Asked:
    """A turn whose process died after these were written, recovered by the next start."""
    first = chat.ask("ok;n=4", script([["double", {"n": 1}]], [["double", {"n": 2}]]))
    chat.words(first)
    question = chat.messages(first.conversation_id)[0]
    reply_id, turn_id = new_id("msg"), new_id("turn")
    who = {"tenant_id": chat.who.tenant_id, "user_id": chat.who.user_id, "conversation_id": first.conversation_id}
    row = {"role": "assistant", "content": "", "parts": [], "status": "streaming", "turn_id": turn_id, "meta": {}}
    dead = {
        "owner_host": Owner.this().host,
        "owner_pid": 2**22 - 3,
        "owner_started": Owner.this().started.split("/")[0] + "/1",
    }

    def work(session: Session) -> None:
        session.add(Message(id=reply_id, parent_id=question.id, model="script", provider="openai", **who, **row))
        session.add(Turn(id=turn_id, message_id=reply_id, status="running", **who, **dead))
        session.flush()
        store.add_chunks(
            session, {turn_id: chat.who.tenant_id}, [(turn_id, seq, delta) for seq, delta in enumerate(deltas)]
        )
        recovery.recover(session, Owner.this(), [])

    chat.core.db.write(work)
    return Asked(first.conversation_id, turn_id, reply_id)


def stored_reply(chat: Chat, asked: Asked) -> Any:
    found = chat.core.db.read(lambda s: conversation_store.messages(s, asked.conversation_id, [str(asked.message_id)]))
    return found[str(asked.message_id)]


def test_a_recovered_turn_never_runs_a_finished_tool_twice(chat: Chat, source: Source) -> None:
    call = Called("call_0_0", "double", '{"n": 1}', 1, 0)
    asked = died(chat, call.delta(), Ran(call, "success", "2").delta())
    (part,) = tool_parts(stored_reply(chat, asked))
    assert (part["state"], part["result"]) == ("success", "2")
    agent_id = agent_with(chat, "double")
    going_on = chat.core.turns.resume(chat.who, str(asked.message_id), model="script", agent_id=agent_id)
    chat.words(going_on)
    assert [n for n, _ in source.made["double"].calls] == [2], "the model knows of the first, and asks for the second"
    assert chat.reply(going_on).parent_id == asked.message_id


def test_a_call_that_had_begun_is_told_as_unknown(chat: Chat, source: Source) -> None:
    call = Called("call_0_0", "double", '{"n": 1}', 1, 0)
    asked = died(chat, Delta("text", "I will. "), call.delta())
    assert tool_parts(stored_reply(chat, asked))[0]["state"] == "pending"
    agent_id = agent_with(chat, "double")
    going_on = chat.core.turns.resume(chat.who, str(asked.message_id), model="script", agent_id=agent_id)
    chat.words(going_on)
    sent = next(call.messages for call in reversed(chat.provider.log) if "I will." in str(call.messages))
    told = next(one["content"] for one in sent if one["role"] == "tool")
    assert "It is not known whether this was done" in told


def test_a_call_is_in_the_database_before_the_tool_runs(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["wait", {"n": 1}]], tools=("wait",))
    until(lambda: source.made["wait"].running)
    chunks = select(TurnChunk.kind).where(TurnChunk.turn_id == asked.turn_id)
    assert "tool_call" in chat.core.db.read(lambda session: list(session.scalars(chunks)))
    source.made["wait"].go_on.set()
    chat.words(asked)


# ---- money


def test_a_round_that_the_budget_does_not_pay_for_is_not_begun(core: Core, chat: Chat, source: Source) -> None:
    admin = add_person(core.db, new_id("admin"), role="admin")
    nano = 50_000_000  # five cents: for the first call with its reply, not for 60,000 characters of a result
    core.budgets.set(admin, "user", chat.who.user_id, "day", nano, hard=True)
    asked = asked_with(chat, [["long", {"n": 60_000}]], tools=("long",))
    chat.words(asked)
    reply = chat.reply(asked)
    assert reply.status == "failed"
    assert reply.parts[-1]["code"] == "budget_exceeded"
    assert [row.outcome for row in chat.ledger_rows(asked.turn_id)] == ["ok"]
    held = select(func.count()).where(Reservation.holder == asked.turn_id)
    assert core.db.read(lambda session: session.scalar(held)) == 0


# ---- vectors


def test_vectors_are_made_in_the_ledger_and_count_as_no_request(chat: Chat) -> None:
    found = chat.core.turns.vectors(chat.who, ["one", "three"], "embed")
    assert [vector[:2] for vector in found] == [[3.0, 0.0], [5.0, 1.0]]
    rows = select(UsageMetric.purpose, UsageMetric.outcome).where(UsageMetric.user_id == chat.who.user_id)
    assert chat.core.db.read(lambda session: session.execute(rows).all()) == [("embedding", "ok")]


def test_a_tool_gets_vectors(chat: Chat, source: Source) -> None:
    asked = asked_with(chat, [["embed", {"n": 1}]], tools=("embed",))
    chat.words(asked)
    assert tool_parts(chat.reply(asked))[0]["result"] == "[[3.0, 0.0, 0.5], [5.0, 1.0, 0.5]]"
    assert [row.purpose for row in chat.ledger_rows(asked.turn_id)] == ["chat", "embedding", "tool"]
