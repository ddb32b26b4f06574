"""The history: lists with filters, find, and what is done to many conversations at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_, select, true, tuple_, update
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations import erasing, search, sharing
from chatcore.conversations.access import OWNED, scope
from chatcore.conversations.search import Filters, Found, Hit
from chatcore.conversations.text import clean
from chatcore.conversations.words import Query
from chatcore.db import Database, changed_rows
from chatcore.db.tables import Conversation, Turn, utcnow
from chatcore.errors import Conflict, InvalidInput, NotFound

__all__ = ["Filters", "Found", "History", "HistoryPage", "HistoryRow", "Hit", "SharedRow"]

FOLDER_LENGTH: Final = 60
MAX_AT_ONCE: Final = 1_000
_RECOVER: Final = (
    update(Conversation)
    .where(OWNED, Conversation.id == bindparam("of"), Conversation.deleted_at > bindparam("since"))
    .values(expires_at=None, deleted_at=None)
    .execution_options(synchronize_session=False)
)
_RUNNING: Final = exists().where(Turn.conversation_id == Conversation.id, Turn.status == "running")


@dataclass(frozen=True)
class HistoryRow:
    """A line of the history. `shared`: the team, or whoever has a link, can read it now. `running`: a reply is on."""

    id: str
    title: str
    preview: str
    agent_id: str | None
    model: str | None
    message_count: int
    last_message_at: datetime
    folder: str | None
    pinned: bool
    archived: bool
    shared: bool
    running: bool


@dataclass(frozen=True)
class HistoryPage:
    """Some rows, pinned ones first, then newest activity; `total` counts all that the filters let through."""

    rows: tuple[HistoryRow, ...]
    total: int


@dataclass(frozen=True)
class SharedRow:
    """A colleague's conversation that the team may read. `share_id` opens it. With `can_reply` it can be opened as a
    conversation too.
    """

    conversation_id: str
    title: str
    author: str
    can_reply: bool
    share_id: str
    shared_at: datetime


class History:
    """One's own conversations, all of them but temporary chats."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def page(self, principal: Principal, filters: Filters, *, offset: int = 0, limit: int = 30) -> HistoryPage:
        """`limit` conversations from the `offset`th on, and how many there are."""
        where = and_(search.allowed(principal, filters), *search.between(filters, Conversation.last_message_at))

        def work(session: Session) -> HistoryPage:
            counts = select(func.count(), func.count(Conversation.pinned_at)).select_from(Conversation).where(where)
            total, pinned = session.execute(counts).one()
            # Apart, so that the rest comes in the order of an index.
            first = _rows(where, Conversation.pinned_at.is_not(None), offset, limit)
            rows = list(session.execute(first)) if offset < pinned else []
            rest = _rows(where, Conversation.pinned_at.is_(None), max(offset - pinned, 0), limit - len(rows))
            rows += session.execute(rest) if len(rows) < limit else []
            return HistoryPage(tuple(HistoryRow(**row._mapping) for row in rows), total)

        return self._db.read(work)

    def newest(
        self,
        principal: Principal,
        *,
        archived: bool | None,
        before: tuple[datetime, str] | None = None,
        offset: int = 0,
        limit: int = 30,
    ) -> list[HistoryRow]:
        """Conversations by their newest activity alone, pinned or not. `archived`: None for both.

        `before`: the last activity and the id of the conversation that they come behind.
        """
        where = search.allowed(principal, Filters(archived=archived))
        if before is not None:
            where = and_(where, tuple_(Conversation.last_message_at, Conversation.id) < before)

        def work(session: Session) -> list[HistoryRow]:
            rows = session.execute(_rows(where, true(), offset, limit))
            return [HistoryRow(**row._mapping) for row in rows]

        return self._db.read(work)

    def find(self, principal: Principal, text: str, filters: Filters, limit: int = 20) -> Found:
        """Where the words of `text` stand in titles and messages. Raises `InvalidInput` for what cannot be a search."""
        query = Query.parse(clean(text))
        return self._db.read(lambda session: search.find(session, principal, query, filters, limit))

    def folders(self, principal: Principal) -> list[str]:
        """The names of the principal's folders, in alphabetical order. A folder is there while something is in it."""
        where = and_(search.own(principal), Conversation.folder.is_not(None))
        names = self._db.read(
            lambda session: list(session.scalars(select(Conversation.folder).where(where).distinct()))
        )
        return sorted((name for name in names if name), key=str.casefold)

    def models(self, principal: Principal) -> list[str]:
        """The models that the principal's conversations were last asked of, in alphabetical order."""
        query = select(Conversation.model).where(search.own(principal)).distinct()
        return sorted(name for name in self._db.read(lambda session: list(session.scalars(query))) if name)

    def shared_with_me(self, principal: Principal, limit: int = 50) -> list[SharedRow]:
        """Conversations that colleagues share with the team now, the newest share first."""
        found = self._db.read(lambda session: sharing.with_team(session, principal, limit))
        return [
            SharedRow(one.conversation_id, one.title, one.author, one.can_reply, one.handle, one.created_at)
            for one in found
        ]

    def archive(self, principal: Principal, ids: Sequence[str]) -> None:
        """Put conversations away. Raises `NotFound`, as all of these do, when one of them is not the principal's."""
        self._change(principal, ids, archived_at=utcnow())

    def restore(self, principal: Principal, ids: Sequence[str]) -> None:
        """Bring archived conversations back."""
        self._change(principal, ids, archived_at=None)

    def pin(self, principal: Principal, ids: Sequence[str]) -> None:
        """Keep conversations at the top."""
        self._change(principal, ids, pinned_at=utcnow())

    def unpin(self, principal: Principal, ids: Sequence[str]) -> None:
        """Let conversations stand where their time puts them."""
        self._change(principal, ids, pinned_at=None)

    def move(self, principal: Principal, ids: Sequence[str], folder: str | None) -> None:
        """Put conversations into a folder, which begins to exist with the first; None: into none.

        Raises `InvalidInput` for a name without letters or of more than 60 characters, `NotFound`.
        """
        if folder is not None:
            folder = " ".join(clean(folder).split())
            if not 0 < len(folder) <= FOLDER_LENGTH:
                raise InvalidInput(f"The name of a folder has 1 to {FOLDER_LENGTH} characters.")
        self._change(principal, ids, folder=folder)

    def delete(self, principal: Principal, ids: Sequence[str]) -> None:
        """Erase conversations for good, with all that is in them.

        They are gone at once and together; what is in them is erased step by step, others write in between. Raises
        `NotFound`; `Conflict` while a reply is being written in one of them. Then none is erased.
        """

        def work(session: Session) -> list[str]:
            wanted = _idle(session, principal, ids, discarded=True)
            erasing.condemn(session, wanted)
            return wanted

        erasing.erase_in_steps(self._db, self._db.write(work))

    def discard(self, principal: Principal, ids: Sequence[str]) -> None:
        """Delete conversations so that `recover` can bring them back, for thirty days; then they are erased. Raises as
        `delete` does."""
        self._db.write(lambda session: erasing.condemn(session, _idle(session, principal, ids), utcnow()))

    def recover(self, principal: Principal, conversation_id: str) -> None:
        """Bring back a conversation that was discarded; an id that a program gave it is gone. Raises `NotFound`."""

        def work(session: Session) -> None:
            since = utcnow() - erasing.KEPT
            changed = session.execute(_RECOVER, {"of": conversation_id, "since": since, **scope(principal)})
            if changed_rows(changed) == 0:
                raise NotFound("This conversation does not exist, or it is not yours.")

        self._db.write(work)

    def _change(self, principal: Principal, ids: Sequence[str], **values: Any) -> None:
        def work(session: Session) -> None:
            wanted = _own_ids(session, principal, ids)
            session.execute(
                update(Conversation)
                .where(Conversation.id.in_(wanted))
                .values(updated_at=utcnow(), **values)
                .execution_options(synchronize_session=False)
            )

        self._db.write(work)


def _rows(where: ColumnElement[bool], pinned: ColumnElement[bool], offset: int, limit: int) -> Any:
    newest = (Conversation.last_message_at.desc(), Conversation.id.desc())
    ids = select(Conversation.id).where(where, pinned).order_by(*newest).offset(offset).limit(limit).subquery()
    return (
        select(
            Conversation.id,
            Conversation.title,
            Conversation.preview,
            Conversation.agent_id,
            Conversation.model,
            Conversation.message_count,
            Conversation.last_message_at,
            Conversation.folder,
            Conversation.pinned_at.is_not(None).label("pinned"),
            Conversation.archived_at.is_not(None).label("archived"),
            search.shared().label("shared"),
            _RUNNING.label("running"),
        )
        .where(Conversation.id.in_(select(ids.c.id)))
        .order_by(*newest)
    )


def _idle(session: Session, principal: Principal, ids: Sequence[str], *, discarded: bool = False) -> list[str]:
    """The ids when all are the principal's, and nothing runs in one of them. `discarded`: such ones count too."""
    wanted = _own_ids(session, principal, ids, lock=True, discarded=discarded)
    running = session.scalars(select(Conversation.title).where(Conversation.id.in_(wanted), _RUNNING)).first()
    if running is not None:
        raise Conflict(f"A reply is still being written in “{running}”. Stop it first; nothing was deleted.")
    return wanted


def _own_ids(
    session: Session, principal: Principal, ids: Sequence[str], *, lock: bool = False, discarded: bool = False
) -> list[str]:
    """The ids, each once, when all are the principal's."""
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > MAX_AT_ONCE:
        raise InvalidInput(f"Choose at most {MAX_AT_ONCE:,} conversations at once.")
    mine = search.own(principal)
    if discarded:
        theirs = (Conversation.tenant_id == principal.tenant_id, Conversation.user_id == principal.user_id)
        mine = or_(mine, and_(*theirs, Conversation.deleted_at.is_not(None)))
    query = select(Conversation.id).where(mine, Conversation.id.in_(wanted))
    found = session.scalars((query.with_for_update() if lock else query).order_by(Conversation.id)).all()
    if len(found) != len(wanted):
        raise NotFound("One of these conversations does not exist, or it is not yours. Nothing was changed.")
    return wanted
