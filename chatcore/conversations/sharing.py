"""Sharing: with the team, or by a link that expires and can be revoked. It never leaves the tenant (ADR 009).

A share is opened by its handle: a team share by its id, as everybody of the tenant may; a link by its token, which is
the id with a signature and is stored nowhere.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Select, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import audit
from chatcore.accounts.active import require_active
from chatcore.accounts.principal import Principal
from chatcore.config import Settings
from chatcore.conversations import copying, shown, store
from chatcore.conversations.copying import Branch
from chatcore.conversations.shown import Shared
from chatcore.db import Database
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Share as ShareRow
from chatcore.db.tables import User, utcnow
from chatcore.errors import Conflict, InvalidInput, NotFound
from chatcore.ids import new_id

Kind = Literal["team", "link"]
MAX_SHARES: Final = 50  # of one conversation
MAX_DAYS: Final = 365
WINDOW: Final = 30  # messages that are opened at a time
_LISTED: Final = 100
_GONE: Final = "This link does not work: it was revoked, has expired, or is not for you."
_ID: Final = re.compile(r"share_[0-9a-z]{26}")
_SIGNATURE_BYTES: Final = 18  # 144 bits, and 24 characters without a rest

_OPEN: Final = and_(
    ShareRow.tenant_id == bindparam("tenant"),
    ShareRow.revoked_at.is_(None),
    or_(ShareRow.expires_at.is_(None), ShareRow.expires_at > bindparam("now")),
)


@dataclass(frozen=True)
class Share:
    """A share as its owner sees it. `handle`: what opens it; for a link it is the secret in its address.

    `up_to_message_id`: the last message that is shown, None for the visible branch as it grows.
    """

    id: str
    kind: Kind
    can_reply: bool
    up_to_message_id: str | None
    expires_at: datetime | None
    created_at: datetime
    handle: str


@dataclass(frozen=True)
class TeamShare:
    """A line in the list of what colleagues share with the team."""

    handle: str
    conversation_id: str
    title: str
    author: str
    can_reply: bool
    created_at: datetime


def _opened() -> Select[Any]:
    """Shares that work now, with what is read of conversation and author."""
    columns: tuple[Any, ...] = (
        *(ShareRow.id, ShareRow.conversation_id, ShareRow.can_reply, ShareRow.up_to_message_id),
        *(ShareRow.expires_at, ShareRow.created_at, ConversationRow.title, ConversationRow.model),
        *(ConversationRow.head_message_id, User.name.label("author")),
    )
    return (
        select(*columns)
        .join(ConversationRow, ConversationRow.id == ShareRow.conversation_id)
        .join(User, User.id == ShareRow.user_id)
        .where(_OPEN, User.disabled_at.is_(None), ConversationRow.expires_at.is_(None))
        .where(ConversationRow.tenant_id == bindparam("tenant"))
    )


_ONE: Final = _opened().where(ShareRow.id == bindparam("id"), ShareRow.kind == bindparam("kind"))
_TEAMS: Final = (
    _opened()
    .where(ShareRow.kind == "team", ShareRow.user_id != bindparam("user"))
    .order_by(ShareRow.created_at.desc(), ShareRow.id.desc())
    .limit(bindparam("limit"))
)
_OF: Final = (
    select(*ShareRow.__table__.columns)
    .where(_OPEN, ShareRow.user_id == bindparam("user"), ShareRow.conversation_id == bindparam("conversation"))
    .order_by(ShareRow.created_at.desc(), ShareRow.id.desc())
)


class Shares:
    """What of one's conversations others may read."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings

    def create(
        self,
        principal: Principal,
        conversation_id: str,
        *,
        kind: Kind,
        can_reply: bool = False,
        up_to_message_id: str | None = None,
        days: int | None = None,
    ) -> Share:
        """Share one's own conversation: with the team, or with whoever of the team has the link.

        `up_to_message_id`: the branch that ends there, and nothing else; else the visible branch as it grows.
        `days`: until it ends, 1 to 365; None for never. Raises `NotFound`, `InvalidInput`, and `Conflict` for a
        temporary chat, a message that is being written, or 50 shares that are open.
        """
        if can_reply and (kind != "team" or up_to_message_id is not None):
            raise InvalidInput("Only a conversation that the team sees as it grows can be replied in.")
        if kind not in ("team", "link") or (days is not None and not 1 <= days <= MAX_DAYS):
            raise InvalidInput(f"A share ends after 1 to {MAX_DAYS} days, or never.")
        now = utcnow()
        values: dict[str, Any] = {
            "id": new_id("share"),
            "kind": kind,
            "can_reply": can_reply,
            "up_to_message_id": up_to_message_id,
            "expires_at": None if days is None else now + timedelta(days=days),
            "created_at": now,
        }
        whose = {"tenant_id": principal.tenant_id, "user_id": principal.user_id, "conversation_id": conversation_id}

        def work(session: Session) -> None:
            require_active(session, principal)
            _require_shareable(session, principal, conversation_id, up_to_message_id)
            session.execute(insert(ShareRow).values(**whose, **values))
            what = {"kind": kind, "can_reply": can_reply, "conversation": conversation_id}
            audit.record(session, principal, "share.create", values["id"], **what)

        self._db.write(work)
        return Share(**values, handle=self._handle(values["id"], kind))

    def of(self, principal: Principal, conversation_id: str) -> list[Share]:
        """The shares of one's own conversation that work now, the newest first. Raises `NotFound`."""

        def work(session: Session) -> list[Share]:
            store.get(session, principal, conversation_id)
            rows = session.execute(_OF, _reader(principal) | {"conversation": conversation_id})
            return [self._value(row) for row in rows]

        return self._db.read(work)

    def revoke(self, principal: Principal, share_id: str) -> None:
        """End a share of one's own, at once. Raises `NotFound`."""

        def work(session: Session) -> None:
            ended = session.execute(
                update(ShareRow)
                .where(ShareRow.id == share_id, ShareRow.tenant_id == principal.tenant_id)
                .where(ShareRow.user_id == principal.user_id, ShareRow.revoked_at.is_(None))
                .values(revoked_at=utcnow())
                .returning(ShareRow.conversation_id)
                .execution_options(synchronize_session=False)
            ).one_or_none()
            if ended is None:
                raise NotFound("There is no such share, or it was revoked already.")
            audit.record(session, principal, "share.revoke", share_id, conversation=ended.conversation_id)

        self._db.write(work)

    def with_team(self, principal: Principal) -> list[TeamShare]:
        """What colleagues share with the team now: at most 100, the newest first."""
        return self._db.read(lambda session: with_team(session, principal))

    def open(self, principal: Principal, handle: str, limit: int = WINDOW) -> Shared:
        """What the share shows: the newest `limit` messages of its branch. Raises `NotFound`, always the same one."""
        return self._db.read(lambda session: shown.window(session, self._find(session, principal, handle), limit))

    def version(self, principal: Principal, handle: str) -> str:
        """What `Shared.version` would be now: it changes with what is shown. Raises `NotFound`."""
        return self._db.read(lambda session: shown.version(session, self._find(session, principal, handle)))

    def copy(self, principal: Principal, handle: str) -> str:
        """A conversation of the reader's own with a copy of what the share shows; returns its id.

        Without what a reader does not see either: the agent, the settings, tokens, costs. Raises `NotFound`.
        """

        def work(session: Session) -> tuple[Any, Branch]:
            require_active(session, principal)
            share = self._find(session, principal, handle)
            return share, shown.branch(session, share)

        share, branch = self._db.read(work)
        return copying.copy(self._db, principal, branch, share.title, model=share.model)

    def _find(self, session: Session, principal: Principal, handle: str) -> Any:
        return _find(session, self._settings, principal, handle)

    def _handle(self, share_id: str, kind: Kind) -> str:
        return token(self._settings, share_id) if kind == "link" else share_id

    def _value(self, row: Any) -> Share:
        handle = self._handle(row.id, row.kind)
        can_reply = bool(row.can_reply)
        return Share(row.id, row.kind, can_reply, row.up_to_message_id, row.expires_at, row.created_at, handle)


def with_team(session: Session, principal: Principal, limit: int = _LISTED) -> list[TeamShare]:
    """What colleagues share with the team now, the newest first."""
    rows = session.execute(_TEAMS, _reader(principal) | {"limit": limit})
    return [
        TeamShare(row.id, row.conversation_id, row.title, row.author, bool(row.can_reply), row.created_at)
        for row in rows
    ]


def token(settings: Settings, share_id: str) -> str:
    """The secret of a link: the share's id, and a signature that only this instance can make."""
    key = hmac.digest(settings.secret_key.encode(), b"chatcore: links to shared conversations", hashlib.sha256)
    signature = hmac.digest(key, share_id.encode(), hashlib.sha256)[:_SIGNATURE_BYTES]
    return f"{share_id}.{base64.urlsafe_b64encode(signature).decode()}"


def reads_attachment(
    session: Session, settings: Settings, principal: Principal, handle: str, attachment_id: str
) -> bool:
    """Whether the share shows a message that carries this attachment."""
    try:
        share = _find(session, settings, principal, handle)
    except NotFound:
        return False
    return shown.carries(session, share, attachment_id)


def _find(session: Session, settings: Settings, principal: Principal, handle: str) -> Any:
    """The row of an open share that this handle opens for this person. Raises `NotFound`."""
    share_id, by_token, _ = handle.partition(".")
    allowed = bool(_ID.fullmatch(share_id))
    if allowed and by_token:
        expected = token(settings, share_id)
        allowed = hmac.compare_digest(expected.encode(), handle.encode(errors="replace"))
    row = None
    if allowed:
        which = {"id": share_id, "kind": "link" if by_token else "team"}
        row = session.execute(_ONE, _reader(principal) | which).one_or_none()
    if row is None:
        raise NotFound(_GONE)
    return row


def _reader(principal: Principal) -> dict[str, Any]:
    return {"tenant": principal.tenant_id, "user": principal.user_id, "now": utcnow()}


def _require_shareable(
    session: Session, principal: Principal, conversation_id: str, up_to_message_id: str | None
) -> None:
    conversation = store.get(session, principal, conversation_id, lock=True)
    if conversation.expires_at is not None:
        raise Conflict("A temporary chat leaves nothing behind, so it cannot be shared.")
    if up_to_message_id is not None:
        found_in, message = store.message(session, principal, up_to_message_id)
        if found_in != conversation_id:
            raise NotFound("This message is not part of this conversation.")
        if message.status == "streaming":
            raise Conflict("This reply is being written. Wait for its end, or stop it.")
    open_ones = select(func.count()).select_from(ShareRow).where(_OPEN, ShareRow.conversation_id == conversation_id)
    if (session.scalar(open_ones, _reader(principal)) or 0) >= MAX_SHARES:
        raise Conflict(f"This conversation has {MAX_SHARES} shares already. Revoke one that is no longer needed.")
