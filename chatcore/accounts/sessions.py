"""Browser sessions. The cookie carries a random token; SQL holds its sha256, so a copied database signs nobody in."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, Select, bindparam, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import audit, codes
from chatcore.accounts.principal import Principal
from chatcore.accounts.validation import clean_role
from chatcore.db.tables import BrowserSession, User, utcnow
from chatcore.errors import NotFound
from chatcore.ids import new_id

SEEN_EVERY: Final = timedelta(seconds=60)
KEEP_ENDED: Final = timedelta(days=90)
_MAX_AGENT_CHARS: Final = 300


@dataclass(frozen=True)
class SessionInfo:
    """One signed-in browser as its owner sees it."""

    id: str
    user_agent: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    is_current: bool


def _live(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(BrowserSession)
        .join(User, User.id == BrowserSession.user_id)
        .where(BrowserSession.revoked_at.is_(None), BrowserSession.expires_at > bindparam("now"))
        .where(User.disabled_at.is_(None))
    )


# Built once: every page run asks who is there, and building a statement costs more than running it.
_BY_TOKEN: Final = _live(BrowserSession.id).where(BrowserSession.token_sha256 == bindparam("token"))
_WHO: Final = _live(
    User.id, User.tenant_id, User.username, User.name, User.role, User.tier, BrowserSession.last_seen_at
).where(BrowserSession.id == bindparam("id"))
_LISTED: Final = (
    _live(
        BrowserSession.id,
        BrowserSession.user_agent,
        BrowserSession.address,
        BrowserSession.created_at,
        BrowserSession.last_seen_at,
        BrowserSession.expires_at,
    )
    .where(BrowserSession.user_id == bindparam("user"))
    .order_by(BrowserSession.last_seen_at.desc(), BrowserSession.id)
)


def exchange(session: Session, ticket: str, lifetime: timedelta, user_agent: str, address: str) -> tuple[str, datetime]:
    """Turn a ticket into a browser session: its token and its end. Raises `Unauthorized` for a bad ticket."""
    codes.purge_tickets(session)
    user_id = codes.consume(session, "ticket", ticket)
    if user_id is None:
        raise codes.refusal()
    return start(session, user_id, lifetime, user_agent, address)


def start(session: Session, user_id: str, lifetime: timedelta, user_agent: str, address: str) -> tuple[str, datetime]:
    """A new browser session of this person: its token and its end."""
    tenant_id = session.execute(select(User.tenant_id).where(User.id == user_id)).scalar_one()
    _purge(session, user_id)
    now = utcnow()
    token, session_id = secrets.token_urlsafe(32), new_id("bs")
    session.execute(
        insert(BrowserSession).values(
            id=session_id,
            tenant_id=tenant_id,
            user_id=user_id,
            token_sha256=codes.sha256(token),
            user_agent=user_agent[:_MAX_AGENT_CHARS],
            address=address,
            created_at=now,
            last_seen_at=now,
            expires_at=now + lifetime,
        )
    )
    audit.note(session, tenant_id, user_id, "session.start", session_id, address)
    return token, now + lifetime


def _purge(session: Session, user_id: str) -> None:
    """Drop this person's sessions that ended long ago. One of theirs begins now, so when they were last seen stays."""
    long_ago = utcnow() - KEEP_ENDED
    ended = or_(BrowserSession.expires_at < long_ago, BrowserSession.revoked_at < long_ago)
    session.execute(delete(BrowserSession).where(BrowserSession.user_id == user_id, ended))


def live_id(session: Session, token: str) -> str | None:
    """The id of the live session behind a cookie's token."""
    found: str | None = session.scalar(_BY_TOKEN, {"token": codes.sha256(token), "now": utcnow()})
    return found


def principal(session: Session, session_id: str) -> tuple[Principal, datetime] | None:
    """Who is behind a live session, and when they were last seen. One indexed read."""
    row = session.execute(_WHO, {"id": session_id, "now": utcnow()}).one_or_none()
    if row is None:
        return None
    return as_principal(row, session_id), row.last_seen_at


def as_principal(row: Row[Any] | User, session_id: str | None = None) -> Principal:
    """A principal from a row that has the columns of `users`."""
    return Principal(row.id, row.tenant_id, row.username, row.name, clean_role(row.role), row.tier, session_id)


def seen(session: Session, session_id: str) -> None:
    """Note that the person is there now."""
    now = utcnow()
    session.execute(
        update(BrowserSession)
        .where(BrowserSession.id == session_id, BrowserSession.last_seen_at < now - SEEN_EVERY)
        .values(last_seen_at=now)
    )


def listed(session: Session, who: Principal) -> list[SessionInfo]:
    """Where this person is signed in, the current browser first, then the last seen."""
    rows = session.execute(_LISTED, {"user": who.user_id, "now": utcnow()})
    found = [SessionInfo(**row, is_current=row["id"] == who.session_id) for row in rows.mappings()]
    return sorted(found, key=lambda one: not one.is_current)


def revoke(session: Session, who: Principal, session_id: str) -> None:
    """End one of this person's sessions. Raises `NotFound` when it is not theirs or has ended."""
    ended = session.execute(
        update(BrowserSession)
        .where(
            BrowserSession.id == session_id,
            BrowserSession.user_id == who.user_id,
            BrowserSession.revoked_at.is_(None),
        )
        .values(revoked_at=utcnow())
        .returning(BrowserSession.id)
    ).one_or_none()
    if ended is None:
        raise NotFound("This browser is not signed in any more.")
    audit.record(session, who, "session.revoke", session_id)


def end(session: Session, session_id: str) -> None:
    """Sign out. Nothing happens when the session has ended already."""
    row = session.execute(
        update(BrowserSession)
        .where(BrowserSession.id == session_id, BrowserSession.revoked_at.is_(None))
        .values(revoked_at=utcnow())
        .returning(BrowserSession.tenant_id, BrowserSession.user_id, BrowserSession.address)
    ).one_or_none()
    if row is not None:
        audit.note(session, row.tenant_id, row.user_id, "session.end", session_id, row.address)


def revoke_all(session: Session, user_id: str, *, but: str | None = None) -> int:
    """End every session of this person but `but`, and every ticket that could start one. Returns how many ended."""
    codes.void(session, "ticket", user_id)
    ended = session.execute(
        update(BrowserSession)
        .where(BrowserSession.user_id == user_id, BrowserSession.revoked_at.is_(None), BrowserSession.id != (but or ""))
        .values(revoked_at=utcnow())
        .returning(BrowserSession.id)
    )
    return len(ended.all())
