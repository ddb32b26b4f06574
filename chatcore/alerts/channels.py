"""The channels that notices go through, in SQL: their addresses are encrypted with the instance's secret key.

What is encrypted says which channel of which tenant it is, so a row that was copied to somebody else does not open.
"""

import json
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from chatcore import logs, sealing
from chatcore.accounts import Principal, audit
from chatcore.alerts import channel_kinds
from chatcore.alerts.notices import Channel
from chatcore.alerts.rules import INSTANCE
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import AlertChannel, AlertRule
from chatcore.errors import InvalidInput, NotFound
from chatcore.ids import new_id

log = logging.getLogger(__name__)

_PURPOSE: Final = b"chatcore alert channels"
_MOST: Final = 50  # channels of a tenant


@dataclass(frozen=True)
class ChannelInfo:
    """A channel as it may be shown. `tenant_id`: '' for the whole instance's."""

    id: str
    tenant_id: str
    name: str
    kind: str
    shown: str
    updated_at: datetime


@dataclass(frozen=True)
class Sealed:
    """A channel whose address is not opened yet: what may wait in memory."""

    id: str
    tenant_id: str
    name: str
    kind: str
    address: str = field(repr=False)


class Seals:
    """Seals the fields of channels and opens them."""

    def __init__(self, secret_key: str, *, private_addresses: bool) -> None:
        """`private_addresses`: teams' channels may go to addresses of our own network too."""
        self._fernet = sealing.fernet(secret_key, _PURPOSE)
        self._private = private_addresses

    def seal(self, channel_id: str, tenant_id: str, fields: Mapping[str, str]) -> str:
        """The fields as the database keeps them."""
        return _sealed(self._fernet, channel_id, tenant_id, fields)

    def open(self, sealed: Sealed) -> Channel | None:
        """The channel to send through; None where its address does not open with the present secret key."""
        fields = _opened(self._fernet, sealed.id, sealed.tenant_id, sealed.address)
        if fields is None:
            log.warning("the address of an alert channel does not open", extra={"channel_id": sealed.id})
            return None
        return Channel(sealed.id, sealed.name, sealed.kind, fields, self.is_public_only(sealed.tenant_id))

    def is_public_only(self, tenant_id: str) -> bool:
        """Whether channels of the tenant may only go to public addresses."""
        return tenant_id != INSTANCE and not self._private

    def renewed(self, sealed: Sealed, old: Fernet) -> str | None:
        """The address sealed anew; None where it opens already, or with neither key."""
        whose = sealed.id, sealed.tenant_id
        if _opened(self._fernet, *whose, sealed.address) is not None:
            return None
        fields = _opened(old, *whose, sealed.address)
        return None if fields is None else _sealed(self._fernet, *whose, fields)


def listed(session: Session, tenant_ids: Collection[str]) -> list[ChannelInfo]:
    """The channels of these tenants, by name."""
    columns = (AlertChannel.id, AlertChannel.tenant_id, AlertChannel.name, AlertChannel.kind, AlertChannel.shown)
    statement = select(*columns, AlertChannel.updated_at).where(AlertChannel.tenant_id.in_(tenant_ids))
    return [ChannelInfo(*row) for row in session.execute(statement.order_by(AlertChannel.name, AlertChannel.id))]


def sealed(session: Session, *, ids: Iterable[str] | None = None, tenant_id: str | None = None) -> list[Sealed]:
    """Channels with their addresses: those with these ids, those of a tenant, or all."""
    row = AlertChannel
    statement = select(row.id, row.tenant_id, row.name, row.kind, row.address)
    if ids is not None:
        statement = statement.where(row.id.in_(list(ids)))
    if tenant_id is not None:
        statement = statement.where(row.tenant_id == tenant_id)
    return [Sealed(*one) for one in session.execute(statement)]


def save(
    session: Session, principal: Principal, seals: Seals, tenant_id: str, name: str, kind: str, fields: dict[str, str]
) -> str:
    """Add a channel with checked fields; its id. A rule of the same tenant that waits for this kind takes it up."""
    if len(listed(session, [tenant_id])) >= _MOST:
        raise InvalidInput(f"There are {_MOST} channels already; delete one that is no longer needed.")
    channel_id, shown = new_id("chan"), channel_kinds.shown(kind, fields)
    values = {"id": channel_id, "tenant_id": tenant_id, "name": name, "kind": kind, "shown": shown}
    session.execute(insert(AlertChannel).values(**values, address=seals.seal(channel_id, tenant_id, fields)))
    for rule in session.scalars(select(AlertRule).where(AlertRule.tenant_id == tenant_id)):
        if kind in rule.options.get("kinds", ()):
            rule.channels = [*rule.channels, channel_id]
    audit.record(session, principal, "alert_channel.add", channel_id, kind=kind, name=name, instance=not tenant_id)
    return channel_id


def remove(session: Session, principal: Principal, tenant_ids: Collection[str], channel_id: str) -> None:
    """Take a channel away, also from the rules that use it. Raises `NotFound`."""
    where = (AlertChannel.id == channel_id, AlertChannel.tenant_id.in_(tenant_ids))
    gone = session.execute(select(AlertChannel.tenant_id, AlertChannel.name, AlertChannel.kind).where(*where)).first()
    if gone is None:
        raise NotFound("There is no such channel.")
    session.execute(delete(AlertChannel).where(*where))
    for rule in session.scalars(select(AlertRule).where(AlertRule.tenant_id == gone.tenant_id)):
        if channel_id in rule.channels:
            rule.channels = [one for one in rule.channels if one != channel_id]
    audit.record(session, principal, "alert_channel.remove", channel_id, kind=gone.kind, name=gone.name)


def rotate(session: Session, seals: Seals, old_secret: str) -> int:
    """Seal anew what opens with the old secret key; how many channels that were."""
    old, done = sealing.fernet(old_secret, _PURPOSE), 0
    for one in sealed(session):
        if fresh := seals.renewed(one, old):
            session.execute(update(AlertChannel).where(AlertChannel.id == one.id).values(address=fresh))
            audit.note(session, one.tenant_id, None, "alert_channel.rotate", one.id)
            done += 1
    return done


def rotate_all(db: Database, settings: Settings, old_secret: str) -> int:
    """`rotate` for the command line."""
    seals = Seals(settings.secret_key, private_addresses=False)
    return db.write(lambda session: rotate(session, seals, old_secret))


def clean_name(name: str, kind: str) -> str:
    """The name as stored, the kind's where none was typed. Raises `InvalidInput`."""
    name = " ".join(name.split()) or channel_kinds.KINDS[kind][0]
    if len(name) > 100:
        raise InvalidInput("A channel's name has at most 100 characters.")
    return name


def _sealed(fernet: Fernet, channel_id: str, tenant_id: str, fields: Mapping[str, str]) -> str:
    words = {"id": channel_id, "tenant": tenant_id, "fields": dict(fields)}
    return fernet.encrypt(json.dumps(words).encode()).decode()


def _opened(fernet: Fernet, channel_id: str, tenant_id: str, address: str) -> dict[str, str] | None:
    try:
        words: dict[str, Any] = json.loads(fernet.decrypt(address))
    except (InvalidToken, ValueError):
        return None
    fields: dict[str, str] = words.pop("fields")
    return fields if words == {"id": channel_id, "tenant": tenant_id} else None


def know(kind: str, fields: Mapping[str, str]) -> None:
    """From now on what is secret of a channel stands in no log."""
    logs.know_secrets(channel_kinds.secrets(kind, fields))
