"""The SQL of bases and documents. Functions take a session and work inside the caller's transaction."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import case, exists, func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import audit
from chatcore.accounts.active import require_active
from chatcore.accounts.principal import Principal
from chatcore.db.tables import KnowledgeBase as BaseRow
from chatcore.db.tables import KnowledgeDocument as DocumentRow
from chatcore.db.tables import User, utcnow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id
from chatcore.knowledge import access
from chatcore.knowledge.values import (
    MAX_BASES,
    MAX_DESCRIPTION,
    MAX_DOCUMENTS,
    MAX_NAME,
    VISIBILITIES,
    Base,
    Document,
    Kind,
    Visibility,
)

GONE: Final = "This knowledge base does not exist, or it is not yours."
NO_DOCUMENT: Final = "This document does not exist, or it is not yours."
_READY, _FAILED = DocumentRow.state == "ready", DocumentRow.state == "failed"
_COUNTS: Final = (
    select(
        DocumentRow.base_id,
        func.count(case((_READY, 1))).label("documents"),
        func.coalesce(func.sum(DocumentRow.done), 0).label("passages"),
        func.count(case((DocumentRow.state.in_(("waiting", "indexing")), 1))).label("working"),
        func.count(case((_FAILED, 1))).label("failed"),
        func.coalesce(func.sum(DocumentRow.size), 0).label("size"),
    )
    .where(access.THERE)
    .group_by(DocumentRow.base_id)
)


def bases(session: Session, principal: Principal, base_id: str | None = None) -> list[Base]:
    """Those that the principal may read, their own first, then by name; or the one of this id."""
    wanted = select(BaseRow.id).where(access.READABLE)
    if base_id is not None:
        wanted = wanted.where(BaseRow.id == base_id)
    counts = _COUNTS.where(DocumentRow.base_id.in_(wanted)).subquery()
    query = (
        select(BaseRow, User.name.label("owner"), counts)
        .outerjoin(User, User.id == BaseRow.owner_id)
        .outerjoin(counts, counts.c.base_id == BaseRow.id)
        .where(BaseRow.id.in_(wanted))
    )
    found = [_base(row, principal) for row in session.execute(query, access.scope(principal))]
    return sorted(found, key=lambda one: (not one.is_own, one.name.casefold(), one.id))


def base(session: Session, principal: Principal, base_id: str) -> Base:
    """One that they may read. Raises `NotFound`."""
    found = bases(session, principal, base_id)
    if not found:
        raise NotFound(GONE)
    return found[0]


def readable(session: Session, principal: Principal, ids: Sequence[str] | None) -> list[str]:
    """Those of the ids whose bases the principal may read, or all such for None."""
    query = select(BaseRow.id).where(access.READABLE)
    if ids is not None:
        query = query.where(BaseRow.id.in_(list(ids)))
    return list(session.scalars(query.order_by(BaseRow.id), access.scope(principal)))


def has_passages(session: Session, principal: Principal, ids: Sequence[str] | None) -> bool:
    """Whether anything can be found in those of these bases that they may read."""
    query = select(DocumentRow.id).join(BaseRow, BaseRow.id == DocumentRow.base_id)
    query = query.where(access.READABLE, access.THERE, DocumentRow.done > 0)
    if ids is not None:
        query = query.where(BaseRow.id.in_(list(ids)))
    return session.execute(query.limit(1), access.scope(principal)).first() is not None


def editable(session: Session, principal: Principal, base_id: str) -> Any:
    """The row of one that they may change, held until the end of the transaction. Raises `NotFound`, `Forbidden`."""
    require_active(session, principal)
    row = session.execute(
        select(BaseRow.id, BaseRow.name, BaseRow.owner_id, BaseRow.visibility)
        .where(BaseRow.id == base_id, access.EDITABLE)
        .with_for_update(),
        access.scope(principal),
    ).one_or_none()
    if row is None:
        base(session, principal, base_id)
        raise Forbidden("Only its owner and admins can change this knowledge base.")
    return row


def create(session: Session, principal: Principal, values: dict[str, Any]) -> str:
    """Write a new base of the principal's; returns its id. Raises `Conflict` where they have too many."""
    require_active(session, principal)
    own = select(func.count()).where(
        BaseRow.tenant_id == principal.tenant_id, BaseRow.owner_id == principal.user_id, BaseRow.deleted_at.is_(None)
    )
    if (session.scalar(own) or 0) >= MAX_BASES:
        raise Conflict(f"You have {MAX_BASES} knowledge bases already. Delete one that you no longer need.")
    base_id = new_id("kb")
    whose = {"tenant_id": principal.tenant_id, "owner_id": principal.user_id}
    session.execute(insert(BaseRow).values(id=base_id, **whose, **values))
    _note(session, principal, base_id, "own", values["visibility"], values["name"])
    return base_id


def change(session: Session, principal: Principal, base_id: str, values: dict[str, Any]) -> None:
    """Write it. Raises `Forbidden` where somebody else's would be taken from the team."""
    was = editable(session, principal, base_id)
    if was.owner_id != principal.user_id and values["visibility"] != was.visibility:
        raise Forbidden("Only its owner can take this knowledge base back from the team.")
    session.execute(update(BaseRow).where(BaseRow.id == base_id).values(**values, updated_at=utcnow()))
    _note(session, principal, base_id, was.visibility, values["visibility"], values["name"])


def delete(session: Session, principal: Principal, base_id: str) -> None:
    """It and its documents are gone for everybody; the indexer sweeps them away."""
    was = editable(session, principal, base_id)
    condemn(session, [base_id])
    if was.visibility == "team":
        audit.record(session, principal, "knowledge.delete", base_id, name=was.name)


def condemn(session: Session, base_ids: Sequence[str]) -> None:
    """Mark bases and all their documents for the sweep."""
    now = utcnow()
    for table, where in ((BaseRow, BaseRow.id.in_(base_ids)), (DocumentRow, DocumentRow.base_id.in_(base_ids))):
        marked = update(table).where(where, table.deleted_at.is_(None)).values(deleted_at=now)
        session.execute(marked.execution_options(synchronize_session=False))


def checked(name: str, description: str, visibility: Visibility) -> dict[str, Any]:
    """The columns of a base. Raises `InvalidInput`."""
    name, description = " ".join(name.split()), description.strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidInput(f"A knowledge base's name has 1 to {MAX_NAME} characters.")
    if len(description) > MAX_DESCRIPTION:
        raise InvalidInput(f"A description has at most {MAX_DESCRIPTION} characters.")
    if visibility not in VISIBILITIES:
        raise InvalidInput("A knowledge base is your own or the team's.")
    return {"name": name, "description": description, "visibility": visibility}


def documents(session: Session, principal: Principal, base_id: str) -> list[Document]:
    """Those of a base that they may read, newest first. Raises `NotFound`."""
    base(session, principal, base_id)
    return [_document(row) for row in session.execute(_documents().where(DocumentRow.base_id == base_id))]


def document(session: Session, document_id: str) -> Document:
    """One by its id; the caller has seen whose it is."""
    return _document(session.execute(_documents().where(DocumentRow.id == document_id)).one())


def add(
    session: Session, principal: Principal, base_id: str, name: str, kind: Kind, size: int, sha256: str
) -> tuple[str, bool]:
    """A document that waits to be indexed; returns its id, and whether it is new: the same bytes are one document, and
    one that had failed waits again. Raises as `editable`, and `Conflict` where the base has too many."""
    editable(session, principal, base_id)
    there = select(DocumentRow.id).where(DocumentRow.base_id == base_id, access.THERE)
    known = session.scalar(there.where(DocumentRow.sha256 == sha256))
    if known is not None:
        _wait_again(session, known)
        return known, False
    if (session.scalar(select(func.count()).select_from(there.subquery())) or 0) >= MAX_DOCUMENTS:
        raise Conflict(f"This knowledge base has {MAX_DOCUMENTS:,} documents, which is the most. Make another one.")
    document_id = new_id("doc")
    whose = {"tenant_id": principal.tenant_id, "base_id": base_id, "user_id": principal.user_id}
    what = {"name": name, "kind": kind, "size": size, "sha256": sha256}
    session.execute(insert(DocumentRow).values(id=document_id, **whose, **what))
    session.execute(update(BaseRow).where(BaseRow.id == base_id).values(updated_at=utcnow()))
    return document_id, True


def retry(session: Session, principal: Principal, document_id: str) -> None:
    """One that failed waits again. Raises as `editable`."""
    _editable_document(session, principal, document_id)
    _wait_again(session, document_id)


def remove(session: Session, principal: Principal, document_id: str) -> None:
    """It is gone for everybody; the indexer sweeps it away. Raises as `editable`."""
    base_id = _editable_document(session, principal, document_id)
    session.execute(update(DocumentRow).where(DocumentRow.id == document_id).values(deleted_at=utcnow()))
    session.execute(update(BaseRow).where(BaseRow.id == base_id).values(updated_at=utcnow()))


def kept(session: Session, hashes: Sequence[str]) -> set[str]:
    """Those of the hashes that some document names."""
    return set(session.scalars(select(DocumentRow.sha256).where(DocumentRow.sha256.in_(hashes))))


def _wait_again(session: Session, document_id: str) -> None:
    failed = update(DocumentRow).where(DocumentRow.id == document_id, _FAILED)
    session.execute(failed.values(state="waiting", problem=""))


def _editable_document(session: Session, principal: Principal, document_id: str) -> str:
    known = select(DocumentRow.base_id).where(DocumentRow.id == document_id, access.THERE)
    seen = exists().where(BaseRow.id == DocumentRow.base_id, access.READABLE)
    base_id = session.scalar(known.where(seen), access.scope(principal))
    if base_id is None:
        raise NotFound(NO_DOCUMENT)
    editable(session, principal, base_id)
    return base_id


def _documents() -> Any:
    query = select(DocumentRow, User.name.label("person")).outerjoin(User, User.id == DocumentRow.user_id)
    return query.where(access.THERE).order_by(DocumentRow.created_at.desc(), DocumentRow.id.desc())


def _note(session: Session, principal: Principal, base_id: str, before: str, after: str, name: str) -> None:
    if after == "team" and before != "team":
        audit.record(session, principal, "knowledge.share", base_id, name=name)
    elif before == "team" and after != "team":
        audit.record(session, principal, "knowledge.take_back", base_id, name=name)


def _base(row: Any, principal: Principal) -> Base:
    base: BaseRow = row[0]
    is_own = base.owner_id == principal.user_id
    return Base(
        id=base.id, name=base.name, description=base.description, visibility=base.visibility,  # type: ignore[arg-type]
        owner=row.owner or "", is_own=is_own, can_edit=is_own or (base.visibility == "team" and principal.is_admin),
        documents=row.documents or 0, passages=int(row.passages or 0), working=row.working or 0,
        failed=row.failed or 0, size=int(row.size or 0), updated_at=base.updated_at,
    )  # fmt: skip


def _document(row: Any) -> Document:
    values = {name: getattr(row[0], name) for name in Document.__dataclass_fields__ if name != "person"}
    return Document(person=row.person or "", **values)
