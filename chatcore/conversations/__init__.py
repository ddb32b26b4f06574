"""Conversations: who may read them, their messages as a tree, and the branch that ends at the head."""

from typing import Any

from sqlalchemy import update

from chatcore.accounts.principal import Principal
from chatcore.conversations import store
from chatcore.conversations.text import TITLE_LENGTH, clean
from chatcore.conversations.values import Conversation, ConversationSummary, Message, Window
from chatcore.db import Database
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import utcnow
from chatcore.errors import InvalidInput

__all__ = ["RECENT", "WINDOW", "Conversation", "ConversationSummary", "Conversations", "Message", "Window"]

WINDOW = 30  # messages drawn at a time: a page's cost must not grow with the age of the conversation
RECENT = 20


class Conversations:
    """Reads and small changes. Messages are written by the turn engine."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, principal: Principal, conversation_id: str) -> Conversation:
        """Raises `NotFound`, the same for absent and for somebody else's."""
        return self._db.read(lambda session: store.get(session, principal, conversation_id))

    def recent(self, principal: Principal, limit: int = RECENT, offset: int = 0) -> list[ConversationSummary]:
        """The principal's conversations, newest activity first, without the archived ones."""
        return self._db.read(lambda session: store.recent(session, principal, limit, offset))

    def window(self, principal: Principal, conversation_id: str, limit: int = WINDOW) -> tuple[Conversation, Window]:
        """The conversation and the newest `limit` messages of its branch, oldest first. Raises `NotFound`."""

        def work(session: Any) -> tuple[Conversation, Window]:
            conversation = store.get(session, principal, conversation_id)
            return conversation, store.branch(session, conversation_id, conversation.head_message_id, limit)

        return self._db.read(work)

    def head(self, principal: Principal, conversation_id: str) -> str | None:
        """The id of the newest message of its branch: it changes whenever the conversation goes on."""
        return self._db.read(lambda session: store.head(session, principal, conversation_id))

    def rename(self, principal: Principal, conversation_id: str, title: str) -> None:
        """Give it another title: 1 to 100 characters. Raises `NotFound`, `InvalidInput`."""
        title = " ".join(clean(title).split())
        if not 0 < len(title) <= TITLE_LENGTH:
            raise InvalidInput(f"A title has 1 to {TITLE_LENGTH} characters.")
        self._update(principal, conversation_id, title=title)

    def remember(
        self, principal: Principal, conversation_id: str, model: str, agent_id: str | None, settings: dict[str, Any]
    ) -> None:
        """Keep what the person chose for the next turn. Raises `NotFound`."""
        self._update(principal, conversation_id, model=model, agent_id=agent_id, settings=settings)

    def _update(self, principal: Principal, conversation_id: str, **values: Any) -> None:
        def work(session: Any) -> None:
            store.get(session, principal, conversation_id)
            session.execute(
                update(ConversationRow)
                .where(ConversationRow.id == conversation_id)
                .values(updated_at=utcnow(), **values)
                .execution_options(synchronize_session=False)
            )

        self._db.write(work)
