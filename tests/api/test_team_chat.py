"""The eleven checks of a team's chat, over HTTP: each named after what must hold."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from chatcore.db.tables import UsageMetric
from chatcore.ids import new_id
from tests.api.asking import Place, api_place, chunks, text_of
from tests.chat import Chat, until

QUICK, OTHER, SLOW, LONG = "ok;n=12", "ok;n=13", "ok;n=40;rate=20", "ok;n=1500"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with api_place(tmp_path_factory.mktemp("core"), [QUICK, OTHER, SLOW, LONG]) as found:
        yield found


class Person(Chat):
    """A person at the API."""

    def __init__(self, place: Place, **person: Any) -> None:
        core, provider, url = place
        super().__init__(core, provider, new_id("p"), **person)
        self.key_info, key = core.accounts.create_key(self.who, "program")
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def say(self, text: str, model: str = QUICK, **more: Any) -> tuple[str, str]:
        """Ask; returns the conversation's id and what was streamed."""
        answer = self.http.post("/api/v1/chat", json={"message": text, "model": model, **more})
        assert answer.status_code == 200, answer.text
        return answer.headers["x-conversation-id"], text_of(chunks(answer.content))

    def read(self, conversation_id: str) -> list[dict[str, Any]]:
        """The visible branch, oldest first."""
        found: list[dict[str, Any]] = self.http.get(f"/api/v1/chat/{conversation_id}?limit=100").json()["messages"]
        return found[::-1]


@pytest.fixture
def somebody(place: Place) -> Iterator[Callable[..., Person]]:
    """Makes people, by the columns of their rows."""
    made: list[Person] = []

    def make(**person: Any) -> Person:
        made.append(Person(place, **person))
        return made[-1]

    yield make
    for one in made:
        one.http.close()


@pytest.fixture
def ada(somebody: Callable[..., Person]) -> Person:
    return somebody()


def test_1_one_message_streams(ada: Person) -> None:
    with ada.http.stream("POST", "/api/v1/chat", json={"message": "hello", "model": SLOW}) as answer:
        pieces = [piece for piece in answer.iter_bytes() if b"text-delta" in piece]
    assert len(pieces) > 5, "in pieces, as they are said"


def test_2_turns_accumulate_context(ada: Person) -> None:
    marker = new_id("mark")
    conversation_id, first = ada.say(f"one {marker}")
    ada.say("two", conversationId=conversation_id)
    sent = ada.provider.log[-1].messages
    assert [one["content"] for one in sent if one["role"] != "system"] == [f"one {marker}", first, "two"]


def test_3_it_is_kept(ada: Person) -> None:
    conversation_id, said = ada.say("keep this")
    question, reply = ada.read(conversation_id)
    assert (question["content"], reply["content"], reply["status"]) == ("keep this", said, "complete")
    assert reply["totalTokens"] == reply["promptTokens"] + reply["completionTokens"]
    (row,) = ada.http.get("/api/v1/chat").json()["conversations"]
    assert (row["title"], row["messageCount"], bool(row["preview"])) == ("keep this", 2, True)


def test_4_another_tenant_sees_nothing(ada: Person, somebody: Callable[..., Person]) -> None:
    conversation_id, _ = ada.say("ours")
    eve = somebody(tenant=new_id("t"), role="admin")
    assert eve.http.get(f"/api/v1/chat/{conversation_id}").status_code == 404
    assert eve.http.get("/api/v1/chat").json()["conversations"] == []


def test_5_another_person_sees_nothing(ada: Person, somebody: Callable[..., Person]) -> None:
    conversation_id, _ = ada.say("mine")
    bob = somebody()
    assert bob.who.tenant_id == ada.who.tenant_id
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/archive"), ("POST", "/shares")):
        answer = bob.http.request(
            method, f"/api/v1/chat/{conversation_id}{path}", json={} if method == "POST" else None
        )
        assert answer.status_code == 404
    asked = bob.http.post("/api/v1/chat", json={"message": "x", "model": QUICK, "conversationId": conversation_id})
    assert asked.status_code == 404
    assert len(ada.read(conversation_id)) == 2


def test_6_a_reply_given_anew_takes_the_visible_place_and_the_old_one_stays_beside_it(ada: Person) -> None:
    conversation_id, _ = ada.say("again")
    question, old = ada.read(conversation_id)
    body = {
        "id": conversation_id, "trigger": "regenerate-message", "messageId": old["id"], "model": OTHER,
        "messages": [{"id": question["id"], "role": "user", "parts": [{"type": "text", "text": "again"}]}],
    }  # fmt: skip
    assert ada.http.post("/api/chat", json=body).status_code == 200
    _, new = ada.read(conversation_id)
    assert (new["model"], new["id"] != old["id"]) == (OTHER, True)
    below = ada.http.get(f"/api/v1/chat/{conversation_id}/messages", params={"parentId": question["id"]}).json()
    assert [one["id"] for one in below["messages"]] == [old["id"], new["id"]]


def test_7_a_reply_over_4000_characters_is_whole(ada: Person) -> None:
    conversation_id, said = ada.say("long", LONG)
    assert len(said) > 4_000
    assert said.count("[") == 1_500
    assert ada.read(conversation_id)[1]["content"] == said


def test_8_a_connection_lost_in_mid_stream_loses_no_word(ada: Person) -> None:
    with ada.http.stream("POST", "/api/v1/chat", json={"message": "cut", "model": SLOW}) as answer:
        conversation_id = answer.headers["x-conversation-id"]
        next(answer.iter_bytes())
    again = chunks(ada.http.get(f"/api/chat/{conversation_id}/stream").content)
    until(lambda: ada.read(conversation_id)[1]["status"] == "complete")
    kept = ada.read(conversation_id)[1]["content"]
    assert kept.count("[") == 40
    assert text_of(again) == kept


def test_9_concurrent_chats_do_not_mix(ada: Person) -> None:
    found: dict[str, tuple[str, str]] = {}

    def ask(text: str) -> None:
        found[text] = ada.say(text, SLOW)

    threads = [threading.Thread(target=ask, args=(f"chat {number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({conversation_id for conversation_id, _ in found.values()}) == 12
    for text, (conversation_id, said) in found.items():
        question, reply = ada.read(conversation_id)
        assert (question["content"], reply["content"]) == (text, said)
        assert said.count("[") == 40


def test_10_the_model_is_switched_in_mid_conversation(ada: Person) -> None:
    conversation_id, _ = ada.say("first")
    _, said = ada.say("second", OTHER, conversationId=conversation_id)
    assert said.count("[") == 13
    assert [one["model"] for one in ada.read(conversation_id) if one["role"] == "assistant"] == [QUICK, OTHER]
    assert len(ada.provider.log[-1].messages) >= 3, "with what was said before"


def test_11_changing_a_key_does_not_break_running_streams(ada: Person) -> None:
    """A provider's key of one's own: the stream that runs was begun with the old one, the next uses the new one."""
    slot = next(one.key_slot for one in ada.core.gateway.choices(ada.who) if one.name == SLOW)
    ada.core.turns.save_key(ada.who, slot, "sk-first-0123456789")
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(ada.say("with the first", SLOW)[1]))
    thread.start()
    until(lambda: any("with the first" in str(call.messages) for call in ada.provider.log))
    ada.core.turns.save_key(ada.who, slot, "sk-second-987654321")
    thread.join(30)
    assert found[0].count("[") == 40
    ada.say("with the second")
    keys = {str(call.messages[-1]["content"]): call.key_last4 for call in ada.provider.log}
    assert (keys["with the first"], keys["with the second"]) == ("6789", "4321")
    mine = select(UsageMetric.key_source).where(
        UsageMetric.user_id == ada.who.user_id, UsageMetric.conversation_id.is_not(None)
    )
    assert set(ada.core.db.read(lambda session: session.scalars(mine).all())) == {"person"}
