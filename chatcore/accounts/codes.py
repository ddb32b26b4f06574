"""Links that work once: `setup`, `invite` and `reset`, and the `ticket` that becomes a session cookie.

Only the sha256 of a code is stored. A code is used up by one conditional UPDATE, so of two who come at the same
moment one is refused.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.orm import Session

from chatcore.db.tables import OneTimeCode, User, utcnow
from chatcore.errors import Unauthorized
from chatcore.ids import new_id

CodeKind = Literal["setup", "invite", "reset", "ticket"]
LinkKind = Literal["setup", "invite", "reset"]

LIFETIMES: Final[dict[CodeKind, timedelta]] = {
    "setup": timedelta(days=7),
    "invite": timedelta(days=7),
    "reset": timedelta(hours=24),
    "ticket": timedelta(seconds=30),
}
_KEEP_DEAD_TICKETS: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Link:
    """A link to hand to a person, once. `query` goes behind the app's address."""

    kind: LinkKind
    code: str
    expires_at: datetime

    @property
    def query(self) -> str:
        """`?invite=…`, to be put behind `https://host/base/`."""
        return f"?{self.kind}={self.code}"

    def __repr__(self) -> str:
        return f"Link(kind={self.kind!r}, expires_at={self.expires_at!r})"


@dataclass(frozen=True)
class OpenCode:
    """Whom a link is for. `user_id`, `username` and `name` are None for the first account of an instance."""

    kind: LinkKind
    expires_at: datetime
    user_id: str | None
    username: str | None
    name: str | None


def sha256(secret: str) -> str:
    """How tokens, codes and keys are stored. They are random, so no salt is needed."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def issue(session: Session, kind: CodeKind, user_id: str | None = None, **data: Any) -> tuple[str, datetime]:
    """A fresh code and when it ends. Older unused ones of the same kind for the same person stop working."""
    now = utcnow()
    if kind != "ticket":
        void(session, kind, user_id)
    code = secrets.token_urlsafe(24)
    expires_at = now + LIFETIMES[kind]
    session.execute(
        insert(OneTimeCode).values(
            id=new_id("code"),
            kind=kind,
            code_sha256=sha256(code),
            user_id=user_id,
            data=data,
            created_at=now,
            expires_at=expires_at,
        )
    )
    return code, expires_at


def void(session: Session, kind: CodeKind, user_id: str | None) -> None:
    """Unused codes of this kind for this person stop working."""
    same = OneTimeCode.user_id.is_(None) if user_id is None else OneTimeCode.user_id == user_id
    session.execute(
        update(OneTimeCode)
        .where(OneTimeCode.kind == kind, same, OneTimeCode.used_at.is_(None))
        .values(used_at=utcnow())
    )


def peek(session: Session, kind: LinkKind, code: str) -> OpenCode:
    """Whom the code is for. Raises `Unauthorized` when it was used, has ended, or its person is disabled."""
    row = session.execute(_open(kind, code)).one_or_none()
    if row is None or row.disabled_at is not None:
        raise refusal()
    return OpenCode(kind, row.expires_at, row.user_id, row.username, row.name)


def consume(session: Session, kind: CodeKind, code: str) -> str | None:
    """Use the code up and return its user id (None for setup). Raises `Unauthorized` as `peek` does."""
    now = utcnow()
    row = session.execute(
        update(OneTimeCode)
        .where(
            OneTimeCode.kind == kind,
            OneTimeCode.code_sha256 == sha256(code),
            OneTimeCode.used_at.is_(None),
            OneTimeCode.expires_at > now,
        )
        .values(used_at=now)
        .returning(OneTimeCode.user_id)
    ).one_or_none()
    if row is None:
        raise refusal()
    user_id: str | None = row.user_id
    if user_id is not None and session.scalar(select(User.disabled_at).where(User.id == user_id)) is not None:
        raise refusal()
    return user_id


def purge_tickets(session: Session) -> None:
    """Drop tickets that ended long ago: one is made at each sign-in."""
    session.execute(
        delete(OneTimeCode).where(OneTimeCode.kind == "ticket", OneTimeCode.expires_at < utcnow() - _KEEP_DEAD_TICKETS)
    )


def refusal() -> Unauthorized:
    """One sentence for wrong, used and ended codes alike."""
    return Unauthorized("This link has been used or has expired. Ask for a new one.")


def _open(kind: CodeKind, code: str) -> Select[*tuple[Any, ...]]:
    return (
        select(OneTimeCode.expires_at, OneTimeCode.user_id, User.username, User.name, User.disabled_at)
        .outerjoin(User, User.id == OneTimeCode.user_id)
        .where(
            OneTimeCode.kind == kind,
            OneTimeCode.code_sha256 == sha256(code),
            OneTimeCode.used_at.is_(None),
            OneTimeCode.expires_at > utcnow(),
        )
    )
