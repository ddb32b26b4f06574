"""`POST /api/chat` as `useChat` sends it: stored once, regenerated, edited, resumed by the program's own ids."""

import base64
from typing import Any

import httpx
import pytest

from chatcore.turns import Asked
from tests.api.asking import QUICK, SLOW, Client, chunks, text_of


def user(message_id: str, text: str) -> dict[str, Any]:
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def user_with(url: str, message_id: str = "u1") -> dict[str, Any]:
    file = {"type": "file", "mediaType": "text/plain", "filename": "notes.txt", "url": url}
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": "read this"}, file]}


def send(client: Client, *messages: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"id": "chat-1", "messages": list(messages), "model": QUICK, "trigger": "submit-message"} | more
    return client.http.post("/api/chat", json=body)


def reply_id(answer: httpx.Response) -> str:
    return answer.headers["x-message-id"]


def test_a_chat_goes_on_under_the_programs_id_and_is_stored(client: Client) -> None:
    first = send(client, user("u1", "one"))
    said = {
        "id": reply_id(first),
        "role": "assistant",
        "parts": [{"type": "text", "text": text_of(chunks(first.content))}],
    }
    second = send(client, user("u1", "one"), said, user("u2", "two"))
    conversation_id = first.headers["x-conversation-id"]
    assert second.headers["x-conversation-id"] == conversation_id
    page = client.http.get("/api/chat/chat-1").json()
    assert page["id"] == conversation_id
    assert [one["role"] for one in page["messages"]] == ["user", "assistant", "user", "assistant"]
    assert page["messages"][3]["parts"][0]["text"] == text_of(chunks(second.content))
    assert page["messages"][3]["metadata"]["modelUsed"] == f"openai/{QUICK}"


def test_what_is_sent_twice_is_answered_with_the_same_reply(client: Client) -> None:
    first, again = send(client, user("u1", "one")), send(client, user("u1", "one"))
    assert reply_id(again) == reply_id(first)
    assert text_of(chunks(again.content)) == text_of(chunks(first.content))
    assert int(again.headers["x-token-count"]) > 0
    assert len(client.chat.messages(first.headers["x-conversation-id"])) == 2


def test_a_retry_while_it_is_written_follows_the_same_turn(client: Client) -> None:
    body = {"id": "chat-1", "messages": [user("u1", "one")], "model": SLOW}
    with client.http.stream("POST", "/api/chat", json=body) as first:
        again = client.http.post("/api/chat", json=body)
        assert text_of(chunks(first.read())) == text_of(chunks(again.content))
    assert reply_id(again) == first.headers["x-message-id"]


@pytest.mark.parametrize("named", ["reply", "question", None])
def test_a_reply_is_regenerated(client: Client, named: str | None) -> None:
    first = send(client, user("u1", "one"))
    message_id = {"reply": reply_id(first), "question": "u1", None: None}[named]
    again = send(client, user("u1", "one"), trigger="regenerate-message", messageId=message_id)
    assert again.status_code == 200
    assert reply_id(again) != reply_id(first)
    page = client.http.get("/api/chat/chat-1").json()
    assert [one["id"] for one in page["messages"]][-1] == reply_id(again)


def test_a_question_is_edited_in_its_place(client: Client) -> None:
    send(client, user("u1", "one"))
    edited = send(client, user("u1", "one, better"), messageId="u1")
    page = client.http.get("/api/chat/chat-1").json()
    assert page["messages"][0]["parts"][0]["text"] == "one, better"
    assert [one["id"] for one in page["messages"]][-1] == reply_id(edited)


def test_a_cut_stream_is_resumed_by_the_programs_id(client: Client) -> None:
    body = {"threadId": "chat-7", "messages": [user("u1", "one")], "model": SLOW}
    with client.http.stream("POST", "/api/chat", json=body) as first:
        next(first.iter_bytes())
    with client.http.stream("GET", "/api/chat/chat-7/stream") as resumed:
        whole = text_of(chunks(resumed.read()))
    asked = Asked(first.headers["x-conversation-id"], first.headers["x-turn-id"], first.headers["x-message-id"])
    assert client.chat.reply(asked).content == whole
    assert client.http.get("/api/chat/chat-7/stream").status_code == 204
    assert client.http.post("/api/chat/chat-7/stop").json() == {"stopped": 0}


def test_a_step_of_a_workshop_is_saved_and_loaded(client: Client) -> None:
    step = {"sessionId": "spring-2026", "stepId": "empathize"}
    send(client, user("u1", "who are they"), **step)
    send(client, user("u2", "what do they need"), id="another-tab", **step)
    page = client.http.get("/api/chat", params=step).json()
    said = [one["parts"][0]["text"] for one in page["messages"] if one["role"] == "user"]
    assert said == ["who are they", "what do they need"]
    assert client.http.get("/api/chat", params=step | {"stepId": "define"}).status_code == 404


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"id": "a", "role": "assistant", "parts": []}]}, "messages"),
        ({"messages": [{"id": "u", "role": "user", "parts": [{"type": "file", "url": "data:,x"}]}]}, "data URL"),
        ({"messages": [user_with("data:text/plain;base64,%%%")]}, "base64"),
        ({"messages": [user_with("http://169.254.169.254/")]}, "data URL"),
        ({"messages": [{"role": "user", "parts": []}]}, "messages.0.id"),
        ({"trigger": "resume"}, "trigger"),
        ({"modle": "x"}, "modle"),
        ({"sessionId": "s"}, "stepId"),
        ({"sessionId": "s", "stepId": "Not A Step"}, "stepId"),
        ({"id": "a\r\nb"}, "id"),
        ({"temperature": 9}, "temperature"),
    ],
)
def test_what_cannot_be_is_a_problem_that_names_it(
    client: Client,
    change: dict[str, Any],
    word: str,
) -> None:
    answer = send(client, *change.pop("messages", [user("u1", "one")]), **change)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert word in answer.json()["detail"]


def test_a_file_of_the_question_is_kept_and_read_by_the_model(client: Client) -> None:
    marker = client.chat.who.user_id[-8:]
    words = base64.b64encode(f"porcupines {marker}".encode()).decode()
    answer = send(client, user_with(f"data:text/plain;base64,{words}"))
    assert answer.status_code == 200
    question = client.chat.messages(answer.headers["x-conversation-id"])[0]
    assert question.content == "read this"
    assert [part["name"] for part in question.parts if "attachment_id" in part] == ["notes.txt"]
    assert f"porcupines {marker}" in str(client.chat.call(marker).messages)
    again = send(client, user_with(f"data:text/plain;base64,{words}"))
    assert again.headers["x-turn-id"] == answer.headers["x-turn-id"]


def test_a_long_chat_that_is_known_goes_on_however_much_of_it_is_sent_along(client: Client) -> None:
    first = send(client, user("u1", "one"))
    long = {"id": reply_id(first), "role": "assistant", "parts": [{"type": "text", "text": "x" * 300_000}]}
    second = send(client, user("u1", "one"), long, user("u2", "two"))
    assert second.status_code == 200
    assert second.headers["x-conversation-id"] == first.headers["x-conversation-id"]
    refused = send(client, user("u1", "one"), long, user("u2", "two"), id="a new one")
    assert (refused.status_code, "300,003 characters" in refused.json()["detail"]) == (422, True)


def test_reading_what_is_not_there_is_404(client: Client) -> None:
    for path in ("/api/chat/nothing", "/api/chat/nothing/stream"):
        assert client.http.get(path).status_code == 404
    again = send(client, user("u1", "one"), id="nothing", trigger="regenerate-message")
    assert again.status_code == 404
