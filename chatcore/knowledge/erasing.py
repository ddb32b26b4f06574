"""Taking away what a person brought into knowledge bases."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from chatcore.db.tables import KnowledgeBase as BaseRow
from chatcore.db.tables import KnowledgeDocument as DocumentRow
from chatcore.knowledge import store

FORMER = "Former knowledge base"


def erase_person(session: Session, user_id: str) -> None:
    """A person's own bases go: their names at once, their passages within seconds by the indexer's sweep. What they
    gave to the team stays the team's, and nothing names them any more."""
    own = select(BaseRow.id).where(BaseRow.owner_id == user_id, BaseRow.visibility != "team")
    ids = list(session.scalars(own))
    store.condemn(session, ids)
    nameless = {"name": FORMER, "description": "", "owner_id": None}
    for statement in (
        update(BaseRow).where(BaseRow.id.in_(ids)).values(**nameless),
        update(DocumentRow).where(DocumentRow.base_id.in_(ids)).values(name=FORMER),
        update(BaseRow).where(BaseRow.owner_id == user_id).values(owner_id=None),
        update(DocumentRow).where(DocumentRow.user_id == user_id).values(user_id=None),
    ):
        session.execute(statement.execution_options(synchronize_session=False))
