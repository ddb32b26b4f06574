"""The message tree: siblings, the branch below a message, a window around one.

A child's id is always greater than its parent's, as ids are ordered by time; so the newest message below another one
is a leaf. Functions take a session and work inside the caller's transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import CTE, ColumnElement, bindparam, exists, func, literal, select
from sqlalchemy.orm import Session

from chatcore.conversations import store
from chatcore.conversations.values import Message, Window
from chatcore.db.tables import Message as MessageRow

_HERE: Final = MessageRow.conversation_id == bindparam("conversation")


@dataclass(frozen=True)
class Totals:
    """Tokens and cost of messages. `unknown`: replies whose cost is not known and is not in `cost_nano_usd`."""

    messages: int
    prompt_tokens: int
    completion_tokens: int
    cost_nano_usd: int
    unknown: int


def _upwards() -> CTE:
    """From a head towards the root: id, parent and depth, 1 at the head. Narrow: it may be 10,000 messages long."""
    columns = (MessageRow.id, MessageRow.parent_id)
    walk = (
        select(*columns, literal(1).label("depth")).where(MessageRow.id == bindparam("head"), _HERE).cte(recursive=True)
    )
    parent = MessageRow.__table__.alias("parent")
    step = select(parent.c.id, parent.c.parent_id, walk.c.depth + 1)
    return walk.union_all(
        step.where(
            parent.c.id == walk.c.parent_id,
            parent.c.conversation_id == bindparam("conversation"),
            walk.c.id != bindparam("until"),
        )
    )


def _downwards() -> CTE:
    walk = select(MessageRow.id).where(MessageRow.id == bindparam("message"), _HERE).cte(recursive=True)
    child = MessageRow.__table__.alias("child")
    return walk.union_all(
        select(child.c.id).where(child.c.parent_id == walk.c.id, child.c.conversation_id == bindparam("conversation"))
    )


_PATH: Final = (lambda walk: select(walk.c.id, walk.c.depth).order_by(walk.c.depth))(_upwards())
_NEWEST_BELOW: Final = (lambda walk: select(func.max(walk.c.id)))(_downwards())
_HAS_CHILDREN: Final = select(exists().where(MessageRow.parent_id == bindparam("message"), _HERE))
_IS_REPLY: Final = MessageRow.role == "assistant"


def _sums(condition: ColumnElement[bool]) -> Any:
    return select(
        func.count(),
        func.coalesce(func.sum(MessageRow.prompt_tokens), 0),
        func.coalesce(func.sum(MessageRow.completion_tokens), 0),
        func.coalesce(func.sum(MessageRow.cost_nano_usd), 0),
        func.count().filter(_IS_REPLY, MessageRow.cost_nano_usd.is_(None), MessageRow.status != "streaming"),
    ).where(condition)


_ALL_SUMS: Final = _sums(_HERE)
_BRANCH_SUMS: Final = (lambda walk: _sums(MessageRow.id.in_(select(walk.c.id))))(_upwards())


def siblings(session: Session, conversation_id: str, messages: Sequence[Message]) -> Mapping[str, tuple[str, ...]]:
    """For each of the messages that has siblings, the ids of all children of its parent, oldest first."""
    parents = [message.parent_id for message in messages if message.parent_id is not None]
    of_root = any(message.parent_id is None for message in messages)
    columns = (MessageRow.id, MessageRow.parent_id, MessageRow.conversation_id)
    # By the parents alone: asked for the conversation as well, SQLite reads all of its messages.
    found = session.execute(select(*columns).where(MessageRow.parent_id.in_(parents))).all()
    rows = [row for row in found if row.conversation_id == conversation_id]
    if of_root:
        roots = (MessageRow.conversation_id == conversation_id, MessageRow.parent_id.is_(None))
        rows += session.execute(select(*columns).where(*roots)).all()
    rows.sort(key=lambda row: row.id)
    families: dict[str | None, list[str]] = {}
    for row in rows:
        families.setdefault(row.parent_id, []).append(row.id)
    return {
        message.id: tuple(families[message.parent_id])
        for message in messages
        if len(families.get(message.parent_id, ())) > 1
    }


def children(session: Session, conversation_id: str, parent_id: str | None, limit: int) -> list[Message]:
    """The messages below another one, oldest first; None: the first ones."""
    of_parent = MessageRow.parent_id.is_(None) if parent_id is None else MessageRow.parent_id == parent_id
    query = select(MessageRow.id).where(of_parent, MessageRow.conversation_id == conversation_id)
    ids = list(session.scalars(query.order_by(MessageRow.id).limit(limit)))
    found = store.messages(session, conversation_id, ids)
    return [found[one] for one in ids if one in found]


def newest_below(session: Session, conversation_id: str, message_id: str) -> str:
    """The leaf that was written last below a message; itself where nothing is below."""
    found = session.scalar(_NEWEST_BELOW, {"message": message_id, "conversation": conversation_id})
    return str(found or message_id)


def has_children(session: Session, conversation_id: str, message_id: str) -> bool:
    """Whether anything was said below a message."""
    return bool(session.scalar(_HAS_CHILDREN, {"message": message_id, "conversation": conversation_id}))


def around(session: Session, conversation_id: str, head_id: str, message_id: str, limit: int) -> Window | None:
    """Up to `limit` messages of the branch with `message_id` in their midst; None where it is not on the branch."""
    path = _path(session, conversation_id, head_id, message_id)
    if not path:
        return None
    below = len(path) - 1
    start = path[max(0, below - limit // 2)]
    window = store.branch(session, conversation_id, start, limit)
    return Window(window.messages, window.earlier, later=start != head_id)


def is_above(session: Session, conversation_id: str, head_id: str, message_id: str) -> bool:
    """Whether a message is on the branch that ends at the head."""
    return bool(_path(session, conversation_id, head_id, message_id))


def _path(session: Session, conversation_id: str, head_id: str, message_id: str) -> list[str]:
    """The ids from the head up to a message; empty where it is not on that branch."""
    parameters = {"head": head_id, "conversation": conversation_id, "until": message_id}
    path = [str(row.id) for row in session.execute(_PATH, parameters)]
    return path if path and path[-1] == message_id else []


def totals(session: Session, conversation_id: str, head_id: str | None) -> tuple[Totals, Totals]:
    """What the branch that ends at the head used, and what the whole conversation did."""
    where = {"conversation": conversation_id}
    branch = session.execute(_BRANCH_SUMS, where | {"head": head_id, "until": ""}).one()
    return Totals(*map(int, branch)), Totals(*map(int, session.execute(_ALL_SUMS, where).one()))
