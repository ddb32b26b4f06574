"""Making many imported messages findable at once: what `search.index` does, without its questions for each message."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import insert
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations import indexing, words
from chatcore.db.tables import SearchEntry

_ENTRIES: Final = insert(SearchEntry.__table__).returning(  # type: ignore[arg-type]
    SearchEntry.__table__.c.id, sort_by_parameter_order=True
)


def spelled(content: str) -> str:
    """The words of a message as the index has them. It takes a while, so it is not done inside a transaction."""
    return words.normal(content[: indexing.MAX_INDEXED])


def write(session: Session, principal: Principal, conversation_id: str, messages: Sequence[tuple[str, str]]) -> None:
    """Index new messages of a conversation: their ids and spelled words."""
    found = [(message_id, text) for message_id, text in messages if text]
    if not found:
        return
    whose = {"tenant_id": principal.tenant_id, "user_id": principal.user_id, "conversation_id": conversation_id}
    numbers = session.scalars(_ENTRIES, [whose | {"message_id": message_id} for message_id, _ in found]).all()
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    rows = [
        indexing.indexed(is_sqlite, number, principal.user_id, text)
        for number, (_, text) in zip(numbers, found, strict=True)
    ]
    session.execute(indexing.INSERT[is_sqlite], rows)
