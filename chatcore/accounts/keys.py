"""API keys: `ck_` and a random token, shown once. SQL holds the sha256 and the first characters."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import audit, codes, people
from chatcore.accounts.active import KEY_LIVES, require_active
from chatcore.accounts.principal import Principal
from chatcore.accounts.sessions import as_principal
from chatcore.accounts.validation import clean_name
from chatcore.db.tables import ApiKey, User, utcnow
from chatcore.errors import InvalidInput, NotFound, Unauthorized
from chatcore.ids import new_id

Scope = Literal["chat", "read", "usage", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""What a key is for: to ask and change one's own, to read, to count; with `admin`, as the admin that its person is."""

PREFIX: Final = "ck_"
_VISIBLE: Final = len(PREFIX) + 6
_NO_KEY: Final = "There is no such key, or it was revoked already."
_MOST_DAYS: Final = 3_660
_SHOWN: Final = (
    ApiKey.id, ApiKey.name, ApiKey.prefix, ApiKey.created_at, ApiKey.last_used_at, ApiKey.revoked_at,
    ApiKey.expires_at, ApiKey.scopes,
)  # fmt: skip


@dataclass(frozen=True)
class KeyInfo:
    """A key as its owner sees it: never the key itself."""

    id: str
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    expires_at: datetime | None = None
    scopes: tuple[Scope, ...] = SCOPES

    @property
    def lives(self) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > utcnow())


@dataclass(frozen=True)
class TenantKey:
    """A key as the admins of its tenant see it. `owner`: by name; `is_service`: a program that is nobody's."""

    owner: str
    is_service: bool
    info: KeyInfo


def create(
    session: Session, who: Principal, name: str, scopes: Sequence[Scope] = SCOPES, days: int | None = None
) -> tuple[KeyInfo, str]:
    """A new key of this person: what may be shown again, and the key, which may not.

    `days`: until it expires, None for never. Raises `InvalidInput`; `Unauthorized` where their session has ended since.
    """
    require_active(session, who)
    info, key = _made(session, who, name, scopes, days)
    audit.record(session, who, "key.create", info.id, prefix=info.prefix, scopes=" ".join(info.scopes))
    return info, key


def create_for_service(
    session: Session, who: Principal, name: str, scopes: Sequence[Scope], days: int | None = None
) -> tuple[KeyInfo, str]:
    """A key for a program that is nobody's: it has an account of its own, by whose name its usage is counted.

    Raises `Forbidden` for who is no admin, `InvalidInput`.
    """
    people.require_acting_admin(session, who)
    if "admin" in scopes:
        raise InvalidInput("A service's key cannot act as an admin.")
    name = clean_name(name, "A service's name")
    username = f"service-{secrets.token_hex(6)}"
    user_id = people.create(session, who.tenant_id, username, name, "member", "free", None)
    session.execute(update(User).where(User.id == user_id).values(is_service=True))
    service = Principal(user_id, who.tenant_id, username, name, "member")
    info, key = _made(session, service, name, scopes, days)
    audit.record(session, who, "key.create", info.id, prefix=info.prefix, scopes=" ".join(info.scopes), service=name)
    return info, key


def _made(
    session: Session, who: Principal, name: str, scopes: Sequence[Scope], days: int | None
) -> tuple[KeyInfo, str]:
    wanted = tuple(one for one in SCOPES if one in scopes)
    if not wanted or {*scopes} - {*SCOPES}:
        raise InvalidInput(f"Choose what the key may be used for: {', '.join(SCOPES)}.")
    if days is not None and not 1 <= days <= _MOST_DAYS:
        raise InvalidInput(f"A key lives from 1 to {_MOST_DAYS:,} days, or until it is revoked.")
    key, now = PREFIX + secrets.token_urlsafe(32), utcnow()
    info = KeyInfo(
        new_id("key"), clean_name(name, "A key's name"), key[:_VISIBLE], now, None, None,
        None if days is None else now + timedelta(days=days), wanted,
    )  # fmt: skip
    session.execute(
        insert(ApiKey).values(
            id=info.id,
            tenant_id=who.tenant_id,
            user_id=who.user_id,
            name=info.name,
            prefix=info.prefix,
            key_sha256=codes.sha256(key),
            scopes=list(info.scopes),
            created_at=info.created_at,
            expires_at=info.expires_at,
        )
    )
    return info, key


def listed(session: Session, who: Principal) -> list[KeyInfo]:
    """This person's keys, the newest first, revoked ones too."""
    rows = session.execute(
        select(*_SHOWN)
        .where(ApiKey.tenant_id == who.tenant_id, ApiKey.user_id == who.user_id)
        .order_by(ApiKey.id.desc())
    )
    return [_info(row) for row in rows]


def of_tenant(session: Session, who: Principal) -> list[TenantKey]:
    """The keys of the tenant that live, services first, by their owners' names. Raises `Forbidden` for a member."""
    people.require_admin(who)
    rows = session.execute(
        select(User.name, User.is_service, *_SHOWN)
        .join(User, User.id == ApiKey.user_id)
        .where(ApiKey.tenant_id == who.tenant_id, User.disabled_at.is_(None), KEY_LIVES)
        .order_by(User.is_service.desc(), User.name, ApiKey.id.desc()),
        {"now": utcnow()},
    )
    return [TenantKey(row[0], row[1], _info(row[2:])) for row in rows]


def revoke_of_tenant(session: Session, who: Principal, key_id: str) -> None:
    """End a key of somebody in the tenant; an operator's only as an operator. Raises `NotFound`, `Forbidden`."""
    people.require_acting_admin(session, who)
    owners = select(User.id).where(User.tenant_id == who.tenant_id)
    if not who.is_operator:
        owners = owners.where(User.role != "operator")
    if not _end(session, ApiKey.id == key_id, ApiKey.user_id.in_(owners)):
        raise NotFound(_NO_KEY)
    audit.record(session, who, "key.revoke", key_id)


def owned(session: Session, user_id: str | None = None) -> list[tuple[str, KeyInfo]]:
    """Keys with their owners' usernames: all of the instance, or one person's. The disabled and revoked ones too."""
    statement = (
        select(User.username, *_SHOWN).join(User, User.id == ApiKey.user_id).order_by(User.username, ApiKey.id.desc())
    )
    if user_id is not None:
        statement = statement.where(ApiKey.user_id == user_id)
    return [(row[0], _info(row[1:])) for row in session.execute(statement)]


def _info(row: Sequence[Any]) -> KeyInfo:
    return replace(KeyInfo(*row[:-1]), scopes=_scopes(row[-1]))


def _scopes(stored: Sequence[Scope] | None) -> tuple[Scope, ...]:
    """A key from before there were scopes has none written down, and may do what its person may."""
    return tuple(stored or SCOPES)


def revoke_any(session: Session, key_id: str) -> tuple[str, str] | None:
    """End a key, whosesoever it is: its tenant and its owner's user id. None where it is absent or has ended."""
    ended = _end(session, ApiKey.id == key_id)
    return (ended[0].tenant_id, ended[0].user_id) if ended else None


def revoke_all(session: Session, user_id: str) -> int:
    """End every key of this person. Returns how many ended."""
    return len(_end(session, ApiKey.user_id == user_id))


def revoke(session: Session, who: Principal, key_id: str) -> None:
    """End a key of this person. Raises `NotFound` when it is not theirs or has ended."""
    if not _end(session, ApiKey.id == key_id, ApiKey.tenant_id == who.tenant_id, ApiKey.user_id == who.user_id):
        raise NotFound(_NO_KEY)
    audit.record(session, who, "key.revoke", key_id)


def _end(session: Session, *which: ColumnElement[bool]) -> Sequence[Any]:
    """End the keys that are meant and not revoked yet; returns whose they were."""
    ended = update(ApiKey).where(ApiKey.revoked_at.is_(None), *which).values(revoked_at=utcnow())
    rows = session.execute(
        ended.returning(ApiKey.tenant_id, ApiKey.user_id).execution_options(synchronize_session=False)
    )
    return rows.all()


def principal(session: Session, key: str) -> tuple[Principal, frozenset[Scope], str, datetime | None]:
    """Whose key it is, its scopes, the key's id, and when it was last used.

    Raises `Unauthorized` when it is wrong, revoked, expired, or its person is disabled.
    """
    row = session.execute(
        select(User, ApiKey.id.label("key_id"), ApiKey.scopes, ApiKey.last_used_at)
        .join(ApiKey, ApiKey.user_id == User.id)
        .where(
            ApiKey.key_sha256 == codes.sha256(key),
            KEY_LIVES,
            User.disabled_at.is_(None),
        ),
        {"now": utcnow()},
    ).one_or_none()
    if row is None:
        raise Unauthorized("This API key is wrong, expired or revoked.")
    who = replace(as_principal(row.User), key_id=row.key_id)
    return who, frozenset(_scopes(row.scopes)), row.key_id, row.last_used_at


def used(session: Session, key_id: str) -> None:
    """Note that the key is used now."""
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=utcnow()))
