"""Finding words in one's own messages and titles. Few hits are ranked; of many, the newest are shown.

The index is asked for parts of itself, the newest first, until there are enough hits: a word that is everywhere is
found at once, a seldom one after a few questions. No query reads more than it must, on either database.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, and_, column, exists, func, or_, select, text
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations.indexing import BLOCK, MAX_INDEXED, Indexer, forget, index, owner_word
from chatcore.conversations.words import Query, Term, normal, snippet
from chatcore.db.tables import Conversation, Message, SearchEntry, Share, utcnow

__all__ = ["Filters", "Found", "Hit", "Indexer", "Query", "find", "forget", "index"]

CAP: Final = 300  # hits that are looked at; with more of them the newest are shown, not ranked
_FEW: Final = 1_000  # messages that a filter leaves, and they are read instead of the index
_SOME: Final = 100_000  # messages that a filter leaves, and their range of numbers is worth knowing
_MATCHING: Final = {  # on SQLite or not
    True: "SELECT rowid AS id FROM message_search WHERE message_search MATCH :words AND rowid BETWEEN :low AND :high",
    # `+ 0`: it must not go through the numbers, whose order it would like, and read what it could know from the words.
    False: "SELECT id FROM message_search WHERE words @@ CAST(:words AS tsquery) AND id + 0 BETWEEN :low AND :high",
}
_ENOUGH_SECONDS: Final = 0.1  # then a page of hits is enough
_MOST_SECONDS: Final = 3.0  # then it ends, whatever was found
_FIRST_PART: Final = 2 * BLOCK  # numbers
_FIRST_FILTERED: Final = 2_048  # where each hit is looked up for the filters
_MOST_AT_ONCE: Final = 32 * BLOCK
_SELDOM: Final = (
    CAP // 8
)  # hits in the newest ones: then the parts grow quickly, and soon the rest is asked for at once


@dataclass(frozen=True)
class Filters:
    """Which conversations. None: any. `since`, `until`: from and before which moment; in a search that of the message,
    else that of the last activity. `shared`: only those that others can read now.
    """

    agent_id: str | None = None
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    folder: str | None = None
    archived: bool | None = None
    shared: bool = False


@dataclass(frozen=True)
class Hit:
    """A place where the words stand. `message_id`, `role`: None for a title. `snippet`: pieces, True for a hit."""

    conversation_id: str
    title: str
    message_id: str | None
    role: str | None
    created_at: datetime
    snippet: tuple[tuple[str, bool], ...]
    archived: bool = False


@dataclass(frozen=True)
class Found:
    """The hits, best first; before the messages some titles. `capped`: there are more, and these are the newest."""

    hits: tuple[Hit, ...]
    capped: bool


def is_live() -> ColumnElement[bool]:
    """The share is neither revoked nor over."""
    return and_(Share.revoked_at.is_(None), or_(Share.expires_at.is_(None), Share.expires_at > utcnow()))


def shared() -> ColumnElement[bool]:
    """Others can read the conversation now."""
    return exists().where(Share.conversation_id == Conversation.id, is_live())


def own(principal: Principal) -> ColumnElement[bool]:
    """The principal's own conversations, without temporary chats."""
    return and_(
        Conversation.tenant_id == principal.tenant_id,
        Conversation.user_id == principal.user_id,
        Conversation.expires_at.is_(None),
    )


def allowed(principal: Principal, filters: Filters) -> ColumnElement[bool]:
    """The principal's own conversations that the filters let through, but for the dates."""
    return and_(own(principal), *_narrowed(filters))


def between(filters: Filters, moment: Any) -> list[ColumnElement[bool]]:
    """The dates of the filters, as conditions on `moment`."""
    conditions = [moment >= filters.since] if filters.since else []
    return [*conditions, moment < filters.until] if filters.until else conditions


def _narrowed(filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.agent_id is not None:
        conditions.append(Conversation.agent_id == filters.agent_id)
    if filters.model is not None:
        conditions.append(Conversation.model == filters.model)
    if filters.folder is not None:
        conditions.append(Conversation.folder == filters.folder)
    if filters.archived is not None:
        is_archived = Conversation.archived_at.is_not(None)
        conditions.append(is_archived if filters.archived else Conversation.archived_at.is_(None))
    if filters.shared:
        conditions.append(shared())
    return conditions


def find(session: Session, principal: Principal, query: Query, filters: Filters, limit: int) -> Found:
    """Where the query's words stand together: in a title, or in a message of any branch."""
    titles = _titles(session, principal, query, filters, limit)
    ids, capped = _Search(session, principal, query, filters, limit).messages()
    messages = _messages(session, ids, query, limit, ranked=not capped)
    room = max(limit // 4, limit - len(messages))  # titles must not crowd out what was said
    return Found((*titles[:room], *messages)[:limit], capped)


def _titles(session: Session, principal: Principal, query: Query, filters: Filters, limit: int) -> list[Hit]:
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    place = func.instr if is_sqlite else func.strpos
    spaced = " " + Conversation.title_words + " "
    looked_for = [" ".join(term.words) for term in query.terms]
    stands = [place(Conversation.title_words, words) > 0 for words in looked_for]  # most are out, and need no copy
    ends = ("" if term.prefix else " " for term in query.terms)
    stands += [place(spaced, f" {words}{end}") > 0 for words, end in zip(looked_for, ends, strict=True)]
    conditions = [allowed(principal, filters), *between(filters, Conversation.last_message_at), *stands]
    found = select(Conversation.id, Conversation.title, Conversation.last_message_at, Conversation.archived_at)
    newest = found.where(*conditions).order_by(Conversation.last_message_at.desc(), Conversation.id.desc()).limit(limit)
    return [
        Hit(row.id, row.title, None, None, row.last_message_at, snippet(row.title, query), row.archived_at is not None)
        for row in session.execute(newest)
    ]


def _messages(session: Session, ids: list[str], query: Query, limit: int, *, ranked: bool) -> list[Hit]:
    """The hits of these messages, given the newest first."""
    columns = (Message.id, Message.conversation_id, Message.role, Message.content, Message.created_at)
    found = select(*columns, Conversation.title, Conversation.archived_at)
    found = found.join(Conversation, Conversation.id == Message.conversation_id)
    # The index still has what is about to be erased, and already what is being copied.
    found = found.where(Conversation.expires_at.is_(None), Message.id.in_(ids if ranked else ids[:limit]))
    rows = list(session.execute(found))
    rows.sort(key=lambda row: (row.created_at, row.id), reverse=True)
    if ranked:
        rows.sort(key=lambda row: -_score(row.content, query))
    return [
        Hit(
            row.conversation_id, row.title, row.id, row.role, row.created_at, snippet(row.content, query),
            row.archived_at is not None,
        )
        for row in rows[:limit]
    ]  # fmt: skip


def _score(content: str, query: Query) -> float:
    """How much a message is about the words: how often each stands in it for its length, as bm25 weighs it, and more
    where they stand together as they were typed.
    """
    content = content[:20_000].casefold()
    around = 1.2 * (0.25 + 0.75 * len(content) / 1_000)
    counts = (content.count(word) for word in query.words)
    together = " ".join(query.words) in content if len(query.words) > 1 else False
    return sum(2.2 * count / (count + around) for count in counts) + 2.0 * together


class _Search:
    """One search through the index, part by part."""

    def __init__(self, session: Session, principal: Principal, query: Query, filters: Filters, limit: int) -> None:
        self._session = session
        self._query = query
        self._principal = principal
        self._filters = filters
        self._limit = limit
        self._is_sqlite = session.get_bind().dialect.name == "sqlite"
        self._narrowed = _narrowed(filters)
        self._dates = between(filters, Message.created_at)
        spelled = _fts5 if self._is_sqlite else _tsquery
        self._match = spelled(query.terms, owner_word(principal.user_id))

    def messages(self) -> tuple[list[str], bool]:
        """Ids of messages, newest first, at most `CAP`; and whether there are more."""
        low, high = self._bounds()
        if low is None or high is None:
            return [], False
        if self._narrowed or self._dates:
            count, low, high = self._left(low, high)
            if count <= _FEW:
                return self._cut(self._read())
        elif self._is_sqlite:  # it goes through its index backwards by itself, and ends when there are enough
            return self._cut(self._part(low, high))
        return self._walk(low, high)

    def _walk(self, low: int, high: int) -> tuple[list[str], bool]:
        found: list[str] = []
        is_filtered = bool(self._narrowed or self._dates)
        size = _FIRST_FILTERED if is_filtered else _FIRST_PART
        if not self._is_sqlite:  # it thinks too well of reading every row
            self._session.execute(text("SET LOCAL enable_seqscan = off"))
        begun = time.monotonic()
        while high >= low and len(found) <= CAP:
            took = time.monotonic() - begun
            if took > _MOST_SECONDS or (took > _ENOUGH_SECONDS and len(found) >= self._limit):
                return found[:CAP], True
            found += self._part(max(high - size + 1, low), high)
            high -= size
            size = _next_size(size, high - low + 1, is_seldom=len(found) <= _SELDOM and not is_filtered)
        return self._cut(found)

    def _cut(self, found: list[str]) -> tuple[list[str], bool]:
        return found[:CAP], len(found) > CAP

    def _bounds(self) -> tuple[int | None, int | None]:
        low, high = (self._session.scalar(select(one(SearchEntry.id))) for one in (func.min, func.max))
        return low, high

    def _left(self, low: int, high: int) -> tuple[int, int, int]:
        """How many messages the filters leave, about, and the range of numbers in which they lie."""
        part = self._filtered(SearchEntry.id).limit(_SOME).subquery()
        count, first, last = self._session.execute(select(func.count(), func.min(part.c.id), func.max(part.c.id))).one()
        return (count, first, last) if count < _SOME else (count, low, high)

    def _filtered(self, *columns: Any) -> Select[Any]:
        """Entries of the conversations that the filters leave."""
        conditions = [allowed(self._principal, self._filters)]
        if self._filters.since:
            conditions.append(Conversation.last_message_at >= self._filters.since)
        if self._filters.until:
            conditions.append(Conversation.created_at < self._filters.until)
        found = select(*columns).select_from(SearchEntry)
        found = found.join(Conversation, Conversation.id == SearchEntry.conversation_id)
        return found.where(*conditions)

    def _read(self) -> list[str]:
        """What `_part` returns, from the few messages themselves."""
        found = self._filtered(Message.id, Message.content).join(Message, Message.id == SearchEntry.message_id)
        rows = self._session.execute(found.where(*self._dates).order_by(SearchEntry.id.desc()))
        return [row.id for row in rows if self._query.matches(normal(row.content[:MAX_INDEXED]))]

    def _part(self, low: int, high: int) -> list[str]:
        """Ids of up to `CAP` + 1 messages with numbers from `low` to `high`, newest first."""
        # The words come first, whatever a planner thinks; the rest is looked up for each hit.
        enough = "" if self._narrowed or self._dates else f" ORDER BY 1 DESC LIMIT {CAP + 1}"
        match = self._match
        if not self._is_sqlite and high - low < _MOST_AT_ONCE:  # it knows a range by its blocks only
            blocks = (f"'#{number}'" for number in range(low // BLOCK, high // BLOCK + 1))
            match = f"{match} & ({' | '.join(blocks)})"
        words = (
            text(_MATCHING[self._is_sqlite] + enough)
            .bindparams(words=match, low=low, high=high)
            .columns(column("id", BigInteger))
        )
        matching = words.cte("matching").prefix_with("MATERIALIZED")
        hits = select(SearchEntry.message_id).join(matching, matching.c.id == SearchEntry.id)
        hits = hits.where(SearchEntry.tenant_id == self._principal.tenant_id)
        hits = hits.where(SearchEntry.user_id == self._principal.user_id)
        if self._narrowed:
            hits = hits.join(Conversation, Conversation.id == SearchEntry.conversation_id).where(*self._narrowed)
        if self._dates:
            hits = hits.join(Message, Message.id == SearchEntry.message_id).where(*self._dates)
        return list(self._session.scalars(hits.order_by(SearchEntry.id.desc()).limit(CAP + 1)))


def _next_size(size: int, left: int, *, is_seldom: bool) -> int:
    """How many numbers are looked at next. Asking has a price of its own, above all for the beginning of a word."""
    if not is_seldom:
        return min(2 * size, _MOST_AT_ONCE)
    return left if 8 * size > _MOST_AT_ONCE else 8 * size


def _fts5(terms: tuple[Term, ...], owner: str) -> str:
    """The terms as FTS5 reads them. Words have letters and digits only, so nothing in them can mean anything else."""
    spelled = (f'"{" ".join(term.words)}"{" *" if term.prefix else ""}' for term in terms)
    return f'owner : "{owner}" AND words : ({" AND ".join(spelled)})'


def _tsquery(terms: tuple[Term, ...], owner: str) -> str:
    """The terms as PostgreSQL's tsquery reads them."""
    spelled = []
    for term in terms:
        words = [f"'{word}'" for word in term.words]
        words[-1] += ":*" if term.prefix else ""
        spelled.append(f"({' <-> '.join(words)})")
    return " & ".join([f"'@{owner}'", *spelled])
