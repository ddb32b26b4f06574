"""One's own questions that wait behind a running reply: looked at, changed, taken back."""

from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.errors import NotFound
from chatcore.turns import queue
from chatcore.turns.asking import Asking
from chatcore.turns.following import Following
from chatcore.turns.values import QueuedMessage


class Waiting(Following):
    """The queue's part of the facade."""

    _asking: Asking

    def queued(self, principal: Principal, conversation_id: str) -> list[QueuedMessage]:
        """One's own questions that wait in a conversation, oldest first."""

        def work(session: Session) -> list[QueuedMessage]:
            return [queue.value(row) for row in queue.queued(session, principal, conversation_id)]

        return self._db.read(work)

    def edit_queued(self, principal: Principal, conversation_id: str, queued_id: str, text: str) -> None:
        """Change a question that waits. Raises `NotFound` when it no longer does, `InvalidInput`."""
        text = self._asking.question(text).text

        def work(session: Session) -> bool:
            return queue.edit_queued(session, principal, conversation_id, queued_id, text)

        if not self._db.write(work):
            raise NotFound("This question is no longer waiting.")

    def withdraw(self, principal: Principal, conversation_id: str, queued_id: str) -> QueuedMessage | None:
        """Take a question out of the queue; returns what it was, None when it no longer waits."""

        def work(session: Session) -> QueuedMessage | None:
            row = queue.take_queued(session, principal, conversation_id, queued_id)
            return queue.value(row) if row else None

        return self._db.write(work)
