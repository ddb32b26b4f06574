"""Messages whose words were removed: no model is told of them, and nothing is answered to them."""

import pytest
from sqlalchemy.orm import Session

from chatcore.conversations import removing
from chatcore.errors import Conflict
from tests.chat import Chat


def remove(chat: Chat, *message_ids: str | None) -> None:
    def work(session: Session) -> int:
        found = removing.rows(session, [one for one in message_ids if one])
        return removing.remove(session, found, "Removed after 90 days.", {"after_days": 90})

    assert chat.core.db.write(work) == len(message_ids)


def test_a_removed_message_is_not_sent_to_a_model(chat: Chat) -> None:
    first = chat.ask("ok;n=20", "an old secret")
    chat.words(first)
    _, window = chat.core.conversations.window(chat.who, first.conversation_id)
    remove(chat, *(one.id for one in window.messages))
    chat.answer("ok;n=20", "marker of the second", first.conversation_id)
    sent = chat.call("marker of the second").messages
    assert [one["content"] for one in sent if one["role"] != "system"] == ["marker of the second"]


def test_what_was_removed_is_not_answered_again(chat: Chat) -> None:
    reply = chat.answer("ok;n=20", "hello")
    remove(chat, reply.parent_id)
    with pytest.raises(Conflict, match="Ask anew"):
        chat.core.turns.retry(chat.who, reply.id, model="ok;n=20")
