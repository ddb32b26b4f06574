"""Erasing a person: nothing of what they wrote is left, and what they cost stays as somebody's whom nobody knows.

The account goes at once (`accounts.erasure`). The rest follows in small transactions, so that others write in between:
conversations with all that is in them; what they said in colleagues' conversations; then their rows of the ledger and
the rollups get the id of the one that stands for them, so that no sum changes. Each step can be taken twice, and what a
killed process left is done by `resume`.
"""

import logging
import time
from functools import partial
from typing import Any, Final

from sqlalchemy import Table, delete, exists, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from chatcore import agents, knowledge
from chatcore.accounts import Principal, erasure
from chatcore.conversations import erasing, removing
from chatcore.db import Database
from chatcore.db.tables import (
    Attachment,
    Budget,
    CachedReply,
    Conversation,
    LimitHit,
    Message,
    Prompt,
    QueuedMessage,
    Rating,
    Share,
    ToolDecision,
    Turn,
    UsageDaily,
    UsageMetric,
    User,
    utcnow,
)
from chatcore.usage import rollups
from chatcore.usage.rollup_sums import keys_of, values_of
from chatcore.workshops import erasing as workshops

log = logging.getLogger(__name__)

SAID: Final = "Removed: this person was erased."
_CONVERSATIONS: Final = 50  # in one round
_MESSAGES: Final = 100  # in one transaction
_ROWS: Final = 1_000  # of the ledger in one transaction
_REST: Final = 0.02  # seconds between two transactions, for others to write
_PATIENCE: Final = 15.0  # seconds for running replies to stop; what is not done by then is done by `resume`


class PersonEraser:
    """Erases people."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def erase(self, principal: Principal, user_id: str, typed: str) -> bool:
        """Erase a person of the principal's tenant. `typed`: their username, to be sure.

        Their account is gone when this returns; returns whether everything else is, too: where a process that answers
        one of their questions cannot be reached, the rest is done within the hour. Raises as `erasure.begin` does.
        """
        self._db.write(lambda session: erasure.begin(session, principal, user_id, typed))
        deadline = time.monotonic() + _PATIENCE
        while not self.resume(user_id):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def resume(self, only: str | None = None) -> bool:
        """Go on with those who are being erased. Returns whether all of them are.

        Where that fails for somebody, it goes on with the others, and then the first error is raised.
        """
        done, errors = True, []
        for user_id, stand_in in self._db.read(erasure.unfinished):
            if only not in (None, user_id):
                continue
            try:
                done = self._go_on(user_id, stand_in) and done
            except Exception as error:
                log.exception("a person is not erased yet", extra={"as": stand_in})
                errors.append(error)
        if errors:
            raise errors[0]
        return done

    def _go_on(self, user_id: str, stand_in: str) -> bool:
        self._db.write(partial(_stop, user_id))
        runs = self._db.read(partial(_runs, user_id))  # what ends meanwhile may write once more
        self._db.write(lambda session: workshops.hand_on(session, user_id))
        self._erase_conversations(user_id)
        self._blank_messages(user_id, stand_in)
        while self._db.write(partial(_rename_calls, user_id, stand_in)):
            time.sleep(_REST)
        done = not runs and self._db.write(partial(_finish, user_id, stand_in))
        if done:
            log.info("a person was erased", extra={"as": stand_in})
        return done

    def _erase_conversations(self, user_id: str) -> None:
        while ids := self._db.write(partial(_condemn, user_id)):
            erasing.erase_in_steps(self._db, ids)
            if self._db.read(partial(_still_there, ids)):
                return  # the database was away: another round tries again

    def _blank_messages(self, user_id: str, stand_in: str) -> None:
        after = ""
        while ids := self._db.read(partial(_messages, user_id, after)):
            self._db.write(partial(_blank, ids, stand_in))
            after = ids[-1]
            time.sleep(_REST)


def _stop(user_id: str, session: Session) -> None:
    """Ask for the end of their running replies, and drop the questions that wait behind them."""
    running = update(Turn).where(Turn.user_id == user_id, Turn.status == "running", Turn.stop_requested_at.is_(None))
    queued = delete(QueuedMessage).where(QueuedMessage.user_id == user_id)
    for statement in (running.values(stop_requested_at=utcnow()), queued):
        session.execute(statement.execution_options(synchronize_session=False))


# ---- what they said


def _condemn(user_id: str, session: Session) -> list[str]:
    """Some of their conversations, without those in which a reply is being written."""
    running = exists().where(Turn.conversation_id == Conversation.id, Turn.status == "running")
    query = select(Conversation.id).where(Conversation.user_id == user_id, ~running).order_by(Conversation.id)
    ids = list(session.scalars(query.limit(_CONVERSATIONS).with_for_update(of=Conversation)))
    if ids:
        erasing.condemn(session, ids)
    return ids


def _still_there(ids: list[str], session: Session) -> bool:
    return bool(session.scalar(select(exists().where(Conversation.id.in_(ids)))))


def _runs(user_id: str, session: Session) -> bool:
    return bool(session.scalar(select(exists().where(Turn.status == "running", Turn.user_id == user_id))))


def _messages(user_id: str, after: str, session: Session) -> list[str]:
    """What they asked in conversations of others, and what was answered."""
    where = (Message.user_id == user_id, Message.id > after, Message.status != "streaming")
    return list(session.scalars(select(Message.id).where(*where).order_by(Message.id).limit(_MESSAGES)))


def _blank(ids: list[str], stand_in: str, session: Session) -> None:
    removing.remove(session, removing.rows(session, ids), SAID, {"erased": True})
    theirs = update(Message).where(Message.id.in_(ids)).values(user_id=stand_in)
    session.execute(theirs.execution_options(synchronize_session=False))


# ---- what they cost


def _rename_calls(user_id: str, stand_in: str, session: Session) -> int:
    query = select(UsageMetric.id).where(UsageMetric.user_id == user_id).order_by(UsageMetric.created_at)
    ids = list(session.scalars(query.limit(_ROWS)))
    rollups.take_out(session, ids)
    renamed = update(UsageMetric).where(UsageMetric.id.in_(ids)).values(user_id=stand_in)
    session.execute(renamed.execution_options(synchronize_session=False))
    rollups.note(session, *ids)
    return len(ids)


def _finish(user_id: str, stand_in: str, session: Session) -> bool:
    """What is left, in one transaction, if nothing of theirs runs or was written since. Returns whether it was done."""
    left = (Conversation.user_id == user_id, UsageMetric.user_id == user_id)
    if _runs(user_id, session) or any(session.scalar(select(exists().where(one))) for one in left):
        return False
    new: dict[str, Any] = {"user_id": stand_in}
    statements = (
        update(Rating).where(Rating.user_id == user_id).values(comment="", question=None, reply=None, **new),
        update(Turn).where(Turn.user_id == user_id).values(**new),
        update(Attachment).where(Attachment.user_id == user_id).values(**new),
        update(LimitHit).where(LimitHit.user_id == user_id).values(**new),
        update(Budget).where(Budget.scope == "user", Budget.scope_id == user_id).values(scope_id=stand_in),
        *(delete(table).where(table.user_id == user_id) for table in (Share, Prompt, CachedReply, ToolDecision)),
    )
    for statement in statements:
        session.execute(statement.execution_options(synchronize_session=False))
    _move_rollups(session, user_id, stand_in)  # after the budgets, as everybody locks them
    agents.erase_person(session, user_id)
    knowledge.erase_person(session, user_id)
    workshops.erase_person(session, user_id)
    erasure.finish(session, user_id)
    return True


def _move_rollups(session: Session, user_id: str, stand_in: str) -> None:
    """Add what the rollups still have of the person, such as days whose calls are gone, to the one in their place."""
    table = UsageDaily.__table__
    assert isinstance(table, Table)
    keys, values = keys_of(table), values_of(table)
    tenant_id = session.execute(select(User.tenant_id).where(User.id == user_id)).scalar_one()
    theirs = table.c.tenant_id == tenant_id, table.c.kind == "user", table.c.user_id == user_id
    rollups.hold(session, tenant_id, alone=True)
    columns = [literal(stand_in) if name == "user_id" else table.c[name] for name in (*keys, *values)]
    dialect: Any = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    moved = dialect.insert(table).from_select([*keys, *values], select(*columns).where(*theirs).order_by(*keys))
    added = {name: table.c[name] + moved.excluded[name] for name in values}
    session.execute(moved.on_conflict_do_update(index_elements=keys, set_=added))
    session.execute(delete(table).where(*theirs))
