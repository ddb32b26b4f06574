"""Ratings of replies: one to five stars and a comment; by model for admins, without the text unless it was sent."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.active import require_active
from chatcore.accounts.principal import Principal
from chatcore.conversations import store
from chatcore.conversations.text import clean
from chatcore.conversations.values import Message
from chatcore.db import Database
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import Rating as RatingRow
from chatcore.db.tables import User, utcnow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id

MAX_COMMENT: Final = 2_000
MAX_LISTED: Final = 200


@dataclass(frozen=True)
class Rating:
    """One's own rating of a reply. `text_sent`: admins can read the question and the reply."""

    message_id: str
    stars: int
    comment: str
    text_sent: bool
    updated_at: datetime


@dataclass(frozen=True)
class ModelRating:
    """A model's ratings. `histogram`: how many gave one star, two, … five."""

    model: str
    mean: float
    count: int
    histogram: tuple[int, int, int, int, int]


@dataclass(frozen=True)
class RatingComment:
    """What somebody wrote about a reply. `question` and `reply` are None where the person did not send them."""

    id: str
    model: str
    stars: int
    comment: str
    question: str | None
    reply: str | None
    updated_at: datetime
    agent_id: str | None = None


@dataclass(frozen=True)
class Wanted:
    """Which ratings: of these models, agents and numbers of stars; empty for any."""

    models: tuple[str, ...] = ()
    agent_ids: tuple[str, ...] = ()
    stars: tuple[int, ...] = ()


class Ratings:
    """What people think of replies. A person sees their own ratings, an admin those of the tenant without names."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def rate(
        self, principal: Principal, message_id: str, stars: int, comment: str = "", send_text: bool = False
    ) -> None:
        """Rate a reply, or change one's rating of it. `send_text`: admins may read the question and the reply.

        `stars`: 1 to 5. `comment`: at most 2,000 characters. Raises `InvalidInput`, `NotFound`, and `Conflict` for a
        reply that is being written or stands in a temporary chat. Only whose conversation it is can send its text.
        """
        comment = clean(comment).strip()
        if stars not in range(1, 6):
            raise InvalidInput("A rating has one to five stars.")
        if len(comment) > MAX_COMMENT:
            raise InvalidInput(f"A comment has at most {MAX_COMMENT:,} characters.")

        def work(session: Session) -> None:
            require_active(session, principal)
            conversation_id, message = _rateable(session, principal, message_id)
            question, reply = None, None
            if send_text:
                if store.get(session, principal, conversation_id, "reply").user_id != principal.user_id:
                    raise InvalidInput("Only whose conversation it is can send its text.")
                question, reply = _texts(session, conversation_id, message)
            values = {"stars": stars, "comment": comment, "question": question, "reply": reply, "updated_at": utcnow()}
            _upsert(session, principal, conversation_id, message, values)

        self._db.write(work)

    def mine(self, principal: Principal, message_ids: Sequence[str]) -> dict[str, Rating]:
        """One's own ratings of these messages, by message id; those without one are left out."""
        columns = (RatingRow.message_id, RatingRow.stars, RatingRow.comment, RatingRow.reply, RatingRow.updated_at)
        statement = select(*columns).where(*_own(principal), RatingRow.message_id.in_(message_ids))

        def work(session: Session) -> dict[str, Rating]:
            rows = session.execute(statement)
            return {
                row.message_id: Rating(row.message_id, row.stars, row.comment, row.reply is not None, row.updated_at)
                for row in rows
            }

        return self._db.read(work) if message_ids else {}

    def remove(self, principal: Principal, message_id: str) -> None:
        """Take one's rating back, with all that was sent with it. Raises `NotFound` where there is none."""

        def work(session: Session) -> None:
            statement = delete(RatingRow).where(*_own(principal), RatingRow.message_id == message_id)
            gone = session.scalars(statement.returning(RatingRow.id).execution_options(synchronize_session=False))
            if not gone.all():
                raise NotFound("You have not rated this reply.")

        self._db.write(work)

    def by_model(
        self, principal: Principal, since: datetime | None = None, wanted: Wanted = Wanted()
    ) -> list[ModelRating]:
        """The tenant's ratings since then, the most rated model first. Raises `Forbidden` for who is no admin."""
        count = func.count()
        stars = [count.filter(RatingRow.stars == number) for number in range(1, 6)]
        statement = (
            select(RatingRow.model, func.sum(RatingRow.stars), count, *stars)
            .where(*_tenants(principal, since), *_wanted(wanted))
            .group_by(RatingRow.model)
            .order_by(count.desc(), RatingRow.model)
        )
        rows = self._db.read(lambda session: session.execute(statement).all())
        return [ModelRating(model, int(total) / number, number, tuple(each)) for model, total, number, *each in rows]

    def comments(
        self,
        principal: Principal,
        since: datetime | None = None,
        wanted: Wanted = Wanted(),
        *,
        limit: int = 20,
        offset: int = 0,
    ) -> list[RatingComment]:
        """The tenant's ratings that say more than stars, newest first, at most 200 at a time. Raises `Forbidden`."""
        names = [one.name for one in fields(RatingComment)]
        statement = (
            select(*(getattr(RatingRow, name) for name in names))
            .where(*_tenants(principal, since), *_wanted(wanted))
            .where(or_(RatingRow.comment != "", RatingRow.reply.is_not(None)))
            .order_by(RatingRow.updated_at.desc(), RatingRow.id.desc())
            .limit(min(limit, MAX_LISTED))
            .offset(offset)
        )
        return self._db.read(lambda session: [RatingComment(*row) for row in session.execute(statement)])

    def choices(self, principal: Principal) -> tuple[list[str], list[str]]:
        """The models and the agents' ids that were rated in the tenant. Raises `Forbidden`."""
        where = _tenants(principal, None)

        def work(session: Session) -> tuple[list[str], list[str]]:
            found = (
                session.scalars(select(column).where(*where, column.is_not(None)).distinct().order_by(column))
                for column in (RatingRow.model, RatingRow.agent_id)
            )
            models, agents = ([str(one) for one in each] for each in found)
            return models, agents

        return self._db.read(work)


def _own(principal: Principal) -> tuple[Any, ...]:
    return RatingRow.tenant_id == principal.tenant_id, RatingRow.user_id == principal.user_id


def _tenants(principal: Principal, since: datetime | None) -> tuple[Any, ...]:
    """Those of the admin's tenant. Raises `Forbidden` for anybody else."""
    if not principal.is_admin:
        raise Forbidden("Only admins can see what the team thinks of the models.")
    mine = RatingRow.tenant_id == principal.tenant_id
    return (mine,) if since is None else (mine, RatingRow.updated_at >= since)


def _wanted(wanted: Wanted) -> list[ColumnElement[bool]]:
    pairs: tuple[tuple[Any, tuple[Any, ...]], ...] = (
        (RatingRow.model, wanted.models), (RatingRow.agent_id, wanted.agent_ids), (RatingRow.stars, wanted.stars),
    )  # fmt: skip
    return [column.in_(values) for column, values in pairs if values]


def _rateable(session: Session, principal: Principal, message_id: str) -> tuple[str, Message]:
    conversation_id, message = store.message(session, principal, message_id, "reply")
    if message.role != "assistant":
        raise InvalidInput("Only replies can be rated.")
    if message.status == "streaming":
        raise Conflict("This reply is being written. Rate it when it has ended.")
    if store.get(session, principal, conversation_id, "reply").expires_at is not None:
        raise Conflict("A temporary chat leaves nothing behind, so its replies cannot be rated.")
    return conversation_id, message


def _texts(session: Session, conversation_id: str, message: Message) -> tuple[str, str]:
    asked = select(MessageRow.content).where(
        MessageRow.id == message.parent_id, MessageRow.conversation_id == conversation_id
    )
    return session.scalar(asked) or "", message.content


def _upsert(
    session: Session, principal: Principal, conversation_id: str, message: Message, values: dict[str, Any]
) -> None:
    # The lock keeps two clicks of one person apart where writes run side by side.
    session.execute(select(User.id).where(User.id == principal.user_id).with_for_update())
    changed = session.scalars(
        update(RatingRow)
        .where(*_own(principal), RatingRow.message_id == message.id)
        .values(**values)
        .returning(RatingRow.id)
        .execution_options(synchronize_session=False)
    ).all()
    if changed:
        return
    of = {"conversation_id": conversation_id, "message_id": message.id, "agent_id": message.agent_id}
    whose = {"tenant_id": principal.tenant_id, "user_id": principal.user_id}
    model = message.model or "unknown"
    session.execute(insert(RatingRow).values(id=new_id("rating"), model=model, **of, **whose, **values))
