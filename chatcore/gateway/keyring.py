"""Provider keys that a person or a tenant brought: encrypted in the database, opened only for a call.

The encryption is Fernet's, with a key derived from the instance's secret key. What is encrypted says whose key it is
and for which provider, so a row that was copied to somebody else does not open there.

`provider` is a `Model.key_slot` throughout: `openai`, or `openai@host:port` for a server that is not their own.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from chatcore import logs, sealing
from chatcore.accounts import audit, people, require_active
from chatcore.accounts.locks import serialize
from chatcore.accounts.principal import Principal
from chatcore.config import Settings
from chatcore.db import Database, changed_rows
from chatcore.db.tables import ProviderKey, Tenant, User, utcnow
from chatcore.errors import Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id

Source = Literal["person", "tenant"]
log = logging.getLogger(__name__)

_PURPOSE: Final = b"chatcore provider keys"
_SECRET: Final = re.compile(r"[!-~]{8,500}")
_PROVIDER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}(@[A-Za-z0-9._:\[\]-]{1,255})?")
_HINTED: Final = 12  # characters from which on four of them give nothing away
_TENANTS: Final = ""  # the owner of a tenant's key
_PAGE: Final = 200

_HELD: Final = (ProviderKey.id, ProviderKey.tenant_id, ProviderKey.owner_id, ProviderKey.provider, ProviderKey.secret)
_THEIRS: Final = (ProviderKey.tenant_id == bindparam("tenant"), ProviderKey.owner_id.in_((bindparam("user"), _TENANTS)))
# The person's own come before the tenant's.
_OF: Final = select(*_HELD).where(*_THEIRS).order_by(ProviderKey.owner_id.desc())
_SLOTS: Final = select(ProviderKey.provider).where(*_THEIRS)
_AFTER: Final = select(*_HELD).where(ProviderKey.id > bindparam("after")).order_by(ProviderKey.id).limit(_PAGE)


@dataclass(frozen=True)
class OwnKey:
    """A key as a call needs it. `id` changes when the key is replaced."""

    id: str
    provider: str
    secret: str = field(repr=False)
    source: Source


@dataclass(frozen=True)
class KeyInfo:
    """A key as it may be shown. `last4` is empty for a short key; a member sees neither it nor the provider of the
    tenant's keys."""

    id: str
    provider: str
    last4: str
    source: Source
    updated_at: datetime


@dataclass(frozen=True)
class HeldKey:
    """A key as the command line lists it. `username` is None for the tenant's own; `opens`: with the present secret."""

    tenant: str
    username: str | None
    info: KeyInfo
    opens: bool


class Keyring:
    """The provider keys of persons and tenants."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._fernet = sealing.fernet(settings.secret_key, _PURPOSE)

    def of(self, session: Session, tenant_id: str, user_id: str) -> Mapping[str, OwnKey]:
        """The keys that a person's calls use, by provider: their own, else the tenant's.

        A key that does not open is logged by its id and left out, as if it were not there.
        """
        found: dict[str, OwnKey] = {}
        for row in session.execute(_OF, {"tenant": tenant_id, "user": user_id}):
            if row.provider in found:
                continue
            secret = _opened(self._fernet, row)
            if secret is None:
                log.warning("a provider key does not open", extra={"provider_key_id": row.id})
                continue
            found[row.provider] = OwnKey(row.id, row.provider, secret, _source(row.owner_id))
        if found:
            logs.know_secrets(key.secret for key in found.values())
        return found

    def slots(self, session: Session, tenant_id: str, user_id: str) -> frozenset[str]:
        """The providers for which the person or their tenant has a key. Nothing is opened: one that does not open, and
        that `of` leaves out, is among them."""
        return frozenset(session.scalars(_SLOTS, {"tenant": tenant_id, "user": user_id}))

    def save(self, principal: Principal, provider: str, secret: str, *, for_tenant: bool = False) -> KeyInfo:
        """Keep a key in the place of the one that is there; the new one has an id of its own.

        Raises `InvalidInput`, `Forbidden` where a member saves the tenant's, `Unauthorized` after signing out.
        """
        check(provider, secret)
        last4 = secret[-4:] if len(secret) >= _HINTED else ""
        owner, now = _TENANTS if for_tenant else principal.user_id, utcnow()
        info = KeyInfo(new_id("pkey"), provider, last4, _source(owner), now)
        values = {"id": info.id, "tenant_id": principal.tenant_id, "owner_id": owner, "provider": provider}
        values["secret"] = _sealed(self._fernet, principal.tenant_id, owner, provider, secret)

        def work(session: Session) -> None:
            _require_allowed(session, principal, for_tenant)
            serialize(session, "provider keys")
            session.execute(_removal(principal.tenant_id, owner, provider))
            session.execute(insert(ProviderKey).values(**values, last4=last4, created_at=now, updated_at=now))
            audit.record(session, principal, "provider_key.save", info.id, **_told(info))

        self._db.write(work)
        return info

    def remove(self, principal: Principal, provider: str, *, for_tenant: bool = False) -> None:
        """Remove one's own key, or the tenant's. Calls that run go on with it.

        Raises `NotFound`, `Forbidden` where a member removes the tenant's, `Unauthorized` after signing out.
        """
        owner = _TENANTS if for_tenant else principal.user_id

        def work(session: Session) -> None:
            _require_allowed(session, principal, for_tenant)
            removal = _removal(principal.tenant_id, owner, provider)
            columns = (ProviderKey.id, ProviderKey.provider, ProviderKey.last4, ProviderKey.updated_at)
            gone = session.execute(removal.returning(*columns)).one_or_none()
            if gone is None:
                raise NotFound("There is no such key, or it was removed already.")
            info = KeyInfo(gone.id, gone.provider, gone.last4, _source(owner), gone.updated_at)
            audit.record(session, principal, "provider_key.remove", info.id, **_told(info))

        self._db.write(work)

    def rotate(self, old_secret: str) -> int:
        """Encrypt with the present secret key what opens with the old one; returns how many keys that were.

        Safe beside a running app, and again after it was cut short. Raises `InvalidInput` for an empty secret.
        """
        if not old_secret:
            raise InvalidInput("The old secret key is empty; give it on the first line of standard input.")
        old, after, done = sealing.fernet(old_secret, _PURPOSE), "", 0
        while True:
            rows = self._page(after)
            if not rows:
                return done
            done += self._exchange([(row, fresh) for row in rows if (fresh := self._renewed(row, old))])
            after = rows[-1].id

    def everybodys(self) -> Sequence[HeldKey]:
        """All keys of the instance, by tenant and username; the tenants' own first. For the command line."""
        statement = (
            select(*_HELD, ProviderKey.last4, ProviderKey.updated_at, Tenant.name, User.username)
            .join(Tenant, Tenant.id == ProviderKey.tenant_id)
            .outerjoin(User, User.id == ProviderKey.owner_id)
        )
        rows = self._db.read(lambda session: session.execute(statement).all())
        held = [
            HeldKey(
                row.name,
                (row.username or row.owner_id) if row.owner_id else None,
                KeyInfo(row.id, row.provider, row.last4, _source(row.owner_id), row.updated_at),
                _opened(self._fernet, row) is not None,
            )
            for row in rows
        ]
        return sorted(held, key=lambda one: (one.tenant, one.username or "", one.info.provider))

    def list(self, principal: Principal) -> list[KeyInfo]:
        """One's own keys, then the tenant's, by provider. A member only sees that the tenant has some."""
        statement = select(
            ProviderKey.id, ProviderKey.owner_id, ProviderKey.provider, ProviderKey.last4, ProviderKey.updated_at
        ).where(ProviderKey.tenant_id == principal.tenant_id, ProviderKey.owner_id.in_((principal.user_id, _TENANTS)))
        statement = statement.order_by(ProviderKey.owner_id.desc(), ProviderKey.provider)
        rows = self._db.read(lambda session: session.execute(statement).all())
        return [
            KeyInfo(row.id, row.provider, row.last4, _source(row.owner_id), row.updated_at)
            if row.owner_id or principal.is_admin
            else KeyInfo(row.id, "", "", "tenant", row.updated_at)
            for row in rows
        ]

    def _page(self, after: str) -> Sequence[Any]:
        return self._db.read(lambda session: session.execute(_AFTER, {"after": after}).all())

    def _renewed(self, row: Any, old: Fernet) -> str | None:
        """The row's secret encrypted anew; None where it needs no change or opens with neither secret."""
        if _opened(self._fernet, row) is not None:
            return None
        secret = _opened(old, row)
        if secret is None:
            log.warning("a provider key opens with neither secret", extra={"provider_key_id": row.id})
            return None
        return _sealed(self._fernet, row.tenant_id, row.owner_id, row.provider, secret)

    def _exchange(self, renewed: Sequence[tuple[Any, str]]) -> int:
        """Write what was encrypted anew, but not over a key that was replaced or renewed meanwhile."""

        def work(session: Session) -> int:
            done = 0
            for row, fresh in renewed:
                unchanged = (ProviderKey.id == row.id, ProviderKey.secret == row.secret)
                change = update(ProviderKey).where(*unchanged).values(secret=fresh)
                if changed_rows(session.execute(change.execution_options(synchronize_session=False))):
                    audit.note(session, row.tenant_id, None, "provider_key.rotate", row.id, provider=row.provider)
                    done += 1
            return done

        return self._db.write(work) if renewed else 0


def is_provider(name: str) -> bool:
    """Whether a key can be kept under this name. One that holds more of an address (a password) is none."""
    return _PROVIDER.fullmatch(name) is not None


def check(provider: str, secret: str) -> None:
    """Raises `InvalidInput` where a key or its provider has not the form of one; nothing is asked or written."""
    if not is_provider(provider):
        raise InvalidInput("There is no such provider; choose one of the list.")
    if not _SECRET.fullmatch(secret):
        raise InvalidInput("A provider's key has 8 to 500 letters, digits and signs, and no spaces; copy it again.")


def _sealed(fernet: Fernet, tenant_id: str, owner_id: str, provider: str, secret: str) -> str:
    words = {"tenant": tenant_id, "owner": owner_id, "provider": provider, "secret": secret}
    return fernet.encrypt(json.dumps(words).encode()).decode()


def _opened(fernet: Fernet, row: Any) -> str | None:
    """The key in a row; None where it was encrypted with another secret, changed, or is another row's."""
    try:
        words: dict[str, str] = json.loads(fernet.decrypt(row.secret))
    except (InvalidToken, ValueError):
        return None
    secret = words.pop("secret")
    whose = {"tenant": row.tenant_id, "owner": row.owner_id, "provider": row.provider}
    return secret if words == whose else None


def _source(owner_id: str) -> Source:
    return "person" if owner_id else "tenant"


def _told(info: KeyInfo) -> dict[str, str]:
    """What the audit log holds of a key."""
    return {"provider": info.provider, "last4": info.last4, "source": info.source}


def _removal(tenant_id: str, owner_id: str, provider: str) -> Any:
    whose = (ProviderKey.tenant_id == tenant_id, ProviderKey.owner_id == owner_id, ProviderKey.provider == provider)
    return delete(ProviderKey).where(*whose).execution_options(synchronize_session=False)


def _require_allowed(session: Session, principal: Principal, for_tenant: bool) -> None:
    """What counts is who the person is now, not when the page was drawn."""
    if for_tenant:
        people.require_admin(principal)
    if not principal.user_id:
        if not for_tenant:
            raise Forbidden("Only a person has keys of their own.")
        return
    require_active(session, principal)
    role = session.scalar(select(User.role).where(User.id == principal.user_id))
    if for_tenant and role not in ("admin", "operator"):
        raise Forbidden("Your role has changed. Reload the page.")
