"""Writing the full-text index: a row of `search_entries` for each message, and its words in `message_search`.

Entries are numbered by time: later messages go on from the highest number, what the background thread finds to be
missing is given numbers below the lowest, newest first. So the newest hits are those with the highest numbers.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import String, bindparam, delete, exists, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chatcore.conversations import words
from chatcore.db import Database
from chatcore.db.tables import Conversation, Message, SearchEntry, Setting, utcnow

log = logging.getLogger(__name__)

MAX_INDEXED: Final = 200_000  # characters of one message
BLOCK: Final = 1 << 13  # PostgreSQL: each row names the block of numbers it lies in, so that a part is quickly searched
# Limits of a tsvector: positions up to 16,383, 256 for each word, 1 MB in all.
_MAX_POSITION, _MAX_POSITIONS, _MAX_BYTES = 16_383, 255, 900_000
_SETTING: Final = "search_index"
_BATCH: Final = 200  # messages in one transaction: about 0.05 s of the writer
_PAUSE: Final = 0.25  # seconds between two of them
_NOTHING: Final[dict[str, Any]] = {"cursor": None, "seen": 0, "total": 0, "titles": False, "done": False}

INSERT: Final = {
    True: text("INSERT INTO message_search (rowid, owner, words) VALUES (:id, :owner, :words)"),
    False: text("INSERT INTO message_search (id, words) VALUES (:id, CAST(:words AS tsvector))"),
}
FORGET_ROW: Final = {
    True: text(
        "INSERT INTO message_search (message_search, rowid, owner, words) VALUES ('delete', :id, :owner, :words)"
    ),
    False: text("DELETE FROM message_search WHERE id = :id"),
}
_EMPTY: Final = {
    True: text("INSERT INTO message_search (message_search) VALUES ('delete-all')"),
    False: text("DELETE FROM message_search"),
}
_ENTRY: Final = insert(SearchEntry.__table__)  # type: ignore[arg-type]
_ENTRIES: Final = _ENTRY.returning(SearchEntry.__table__.c.id, sort_by_parameter_order=True)
_KNOWN: Final = exists().where(SearchEntry.message_id == Message.id)
# One statement, built once: it runs at the end of every turn. Nothing is entered for what is known or temporary.
_NUMBERED: Final = (
    insert(SearchEntry.__table__)  # type: ignore[arg-type]
    .from_select(
        ["tenant_id", "user_id", "conversation_id", "message_id"],
        select(Conversation.tenant_id, Conversation.user_id, Conversation.id, bindparam("message", type_=String)).where(
            Conversation.id == bindparam("conversation"),
            Conversation.expires_at.is_(None),
            ~exists().where(SearchEntry.message_id == bindparam("message")),
        ),
    )
    .returning(SearchEntry.__table__.c.id, SearchEntry.__table__.c.user_id)
)
_NUMBER: Final = select(SearchEntry.id, SearchEntry.user_id).where(SearchEntry.message_id == bindparam("message"))


def index(session: Session, conversation_id: str, message_id: str, content: str) -> None:
    """Make a message's words findable for the conversation's owner. Twice is once; a temporary chat's never are."""
    text = spelled(content)
    if not text:
        return
    entry = session.execute(_NUMBERED, {"conversation": conversation_id, "message": message_id}).one_or_none()
    if entry is not None:
        _write(session, [indexed(_is_sqlite(session), entry.id, entry.user_id, text)])


def spelled(content: str) -> str:
    """The words of a message as the index has them. It takes a while, so it is best done before a transaction."""
    return words.normal(content[:MAX_INDEXED])


def index_many(
    session: Session, conversation_id: str, whose: Mapping[str, str], messages: Iterable[tuple[str, str]]
) -> None:
    """Index new messages of a conversation at once: their ids and `spelled` words. `whose`: tenant_id and user_id."""
    found = [(message_id, text) for message_id, text in messages if text]
    if not found:
        return
    row = {**whose, "conversation_id": conversation_id}
    numbers = session.scalars(_ENTRIES, [row | {"message_id": message_id} for message_id, _ in found]).all()
    is_sqlite = _is_sqlite(session)
    _write(session, [indexed(is_sqlite, number, whose["user_id"], text)
                     for number, (_, text) in zip(numbers, found, strict=True)])  # fmt: skip


def reindex(session: Session, conversation_id: str, message_id: str, before: str, content: str) -> None:
    """Index a message whose text was `before` and may have been indexed as that."""
    entry = session.execute(_NUMBER, {"message": message_id}).one_or_none() if before else None
    if entry is not None:
        is_sqlite = _is_sqlite(session)
        row = {"id": entry.id, "owner": owner_word(entry.user_id), "words": spelled(before)}
        session.execute(FORGET_ROW[is_sqlite], row if is_sqlite else {"id": entry.id})
        gone = delete(SearchEntry).where(SearchEntry.id == entry.id)
        session.execute(gone.execution_options(synchronize_session=False))
    index(session, conversation_id, message_id, content)


def forget(session: Session, conversation_id: str) -> None:
    """Take a conversation's messages out of the index. To be called while they are still there."""
    query = (
        select(SearchEntry.id, SearchEntry.user_id, Message.content)
        .join(Message, Message.id == SearchEntry.message_id)
        .where(SearchEntry.conversation_id == conversation_id)
        .execution_options(yield_per=500)
    )
    is_sqlite = _is_sqlite(session)
    for part in session.execute(query).partitions():
        rows = []
        for entry_id, user_id, content in part:
            # SQLite keeps no text, so it must be told which words to take out.
            row = {"id": entry_id}
            rows.append(row | {"owner": owner_word(user_id), "words": spelled(content)} if is_sqlite else row)
        session.execute(FORGET_ROW[is_sqlite], rows)
    gone = delete(SearchEntry).where(SearchEntry.conversation_id == conversation_id)
    session.execute(gone.execution_options(synchronize_session=False))


def indexed(is_sqlite: bool, entry_id: int, user_id: str, spelled: str) -> dict[str, Any]:
    """The parameters of `INSERT` for a message whose words are spelled as `words.normal` does."""
    if is_sqlite:
        return {"id": entry_id, "owner": owner_word(user_id), "words": spelled}
    return {"id": entry_id, "words": _vector(entry_id, user_id, spelled)}


def owner_word(user_id: str) -> str:
    """A user id as a word of the index."""
    return user_id.replace("_", "")


def _vector(entry_id: int, user_id: str, spelled: str) -> str:
    """A tsvector as PostgreSQL reads it, so that no dictionary of the server has a say."""
    places: dict[str, list[int]] = {}
    size = 0
    for position, word in enumerate(spelled.split(), 1):
        held = places.get(word)
        if held is None:
            size += len(word.encode()) + 8
            if size > _MAX_BYTES:
                break
            held = places[word] = []
        if len(held) < _MAX_POSITIONS and position <= _MAX_POSITION:
            held.append(position)
            size += 2
    marks = [f"'@{owner_word(user_id)}'", f"'#{entry_id // BLOCK}'"]
    marks += (f"'{word}':{','.join(map(str, held))}" if held else f"'{word}'" for word, held in places.items())
    return " ".join(marks)


def _write(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    session.execute(INSERT[_is_sqlite(session)], list(rows))


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


class Indexer:
    """A thread that indexes what has no entry yet: messages from before the index, or after `words.VERSION` changed."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="search-indexer", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch that is being written."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def progress(self) -> float | None:
        """The share that is done, 0 to 1; None when there is nothing left to do."""
        state = self._db.read(_state)
        if state is None:
            return 0.0
        return None if state["done"] else min(state["seen"] / max(state["total"], 1), 1.0)

    def step(self) -> bool:
        """Index one batch. Returns whether there is more to do."""
        return self._db.write(_step)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.step():
                    return
            except IntegrityError:
                pass  # another process was quicker with the same number: the next look finds what is left
            except Exception:  # the search lags behind, and nothing else
                log.exception("the search index could not go on; it tries again in a minute")
                self._stopping.wait(60)
            self._stopping.wait(_PAUSE)


def _state(session: Session) -> dict[str, Any] | None:
    value = session.scalar(select(Setting.value).where(Setting.key == _SETTING))
    return value if value and value["version"] == words.VERSION else None


def _step(session: Session) -> bool:
    # One process at a time: whoever holds the row goes on, the next one sees how far it came.
    session.execute(select(Setting.key).where(Setting.key == _SETTING).with_for_update())
    state = _state(session) or _begin(session)
    if state["done"]:
        return False
    if not state["titles"]:
        state["titles"] = not _fill_titles(session)
        return _note(session, state)
    found = select(
        Message.id, Message.tenant_id, Conversation.user_id, Message.conversation_id, Message.content, _KNOWN
    )
    found = found.join(Conversation, Conversation.id == Message.conversation_id)
    if state["cursor"]:
        found = found.where(Message.id < state["cursor"])
    found = found.where(Message.status != "streaming", Conversation.expires_at.is_(None))
    # On PostgreSQL a conversation could else be deleted between this look and the index.
    found = found.order_by(Message.id.desc()).limit(_BATCH).with_for_update(of=Conversation, read=True, key_share=True)
    rows = session.execute(found).all()
    _add_below(session, [row for row in rows if not row[-1]])
    if rows:
        state |= {"cursor": rows[-1].id, "seen": state["seen"] + len(rows)}
    state["done"] = len(rows) < _BATCH
    return _note(session, state)


def _note(session: Session, state: dict[str, Any]) -> bool:
    values = {"value": dict(state), "updated_at": utcnow()}
    one = update(Setting).where(Setting.key == _SETTING).values(values)
    session.execute(one.execution_options(synchronize_session=False))
    return not state["done"]


def _begin(session: Session) -> dict[str, Any]:
    """Note the start; what an earlier spelling left is thrown away."""
    before = session.scalar(select(Setting.value).where(Setting.key == _SETTING))
    total = session.scalar(select(func.count()).select_from(Message)) or 0
    state = {"version": words.VERSION, **_NOTHING, "total": total}
    if before is None:
        session.execute(insert(Setting).values(key=_SETTING, value=state, updated_at=utcnow()))
        return state
    session.execute(_EMPTY[_is_sqlite(session)])
    session.execute(delete(SearchEntry).execution_options(synchronize_session=False))
    blank = update(Conversation).values(title_words="").execution_options(synchronize_session=False)
    session.execute(blank.where(Conversation.title_words != ""))
    return state


def _add_below(session: Session, rows: Iterable[Any]) -> None:
    entries, vectors = [], []
    number = session.scalar(select(func.min(SearchEntry.id)))
    number = 1 if number is None else number
    for row in rows:
        spelled = words.normal(row.content[:MAX_INDEXED])
        if spelled:
            number -= 1
            whose = {"tenant_id": row.tenant_id, "user_id": row.user_id, "conversation_id": row.conversation_id}
            entries.append({"id": number, "message_id": row.id, **whose})
            vectors.append(indexed(_is_sqlite(session), number, row.user_id, spelled))
    if entries:
        session.execute(_ENTRY, entries)
        _write(session, vectors)


def _fill_titles(session: Session) -> bool:
    """Spell the titles that are not spelled yet, some of them. Returns whether there were any."""
    query = select(Conversation.id, Conversation.title).where(Conversation.title_words == "", Conversation.title != "")
    rows = session.execute(query.limit(_BATCH)).all()
    for row in rows:
        spelled = words.normal(row.title) or " "
        one = update(Conversation).where(Conversation.id == row.id).values(title_words=spelled)
        session.execute(one.execution_options(synchronize_session=False))
    return bool(rows)
