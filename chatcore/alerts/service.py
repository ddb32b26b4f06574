"""Alerts: the facade `core().alerts`. Rules and channels that admins keep, what fired, and the looks and notices that
`chatcore.watch` asks for.

A tenant's admins keep the rules and channels of their tenant, operators also those of the whole instance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal, audit, require_acting_admin
from chatcore.accounts.locks import serialize
from chatcore.alerts import channel_kinds, channels, delivery, looks, rules
from chatcore.alerts.channels import ChannelInfo, Sealed, Seals
from chatcore.alerts.delivery import Due
from chatcore.alerts.history import AlertInfo, from_row
from chatcore.alerts.looks import Looked
from chatcore.alerts.notices import Notice, Outcome, Sender
from chatcore.alerts.rules import INSTANCE, Rule
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import Alert, AlertRule, AuditEntry, Setting, utcnow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.flags import FlagStore
from chatcore.ids import new_id

_SEEDED: Final = "alert_rules"  # the row of `settings` that says so: a default rule that was deleted stays away
_MOST: Final = 100  # rules of a tenant
_TRY: Final = "alert_channel.try"
_TESTS: Final = 5  # notices that a person may send by hand in a minute
_TRIED: Final = "This is a test from Chatcore: notices of alerts reach this channel."


class Alerts:
    """What admins keep and see of alerts. Safe to use from any thread."""

    def __init__(self, db: Database, flags: FlagStore, settings: Settings, sender: Sender | None = None) -> None:
        self._db = db
        self._flags = flags
        self._seals = Seals(settings.secret_key, private_addresses=settings.own.alerts_private_addresses)
        self._every = settings.own.alert_seconds
        self._link = f"{settings.public_url}/admin?tab=Alerts" if settings.public_url else ""
        self._instance: Sequence[Sealed] = ()  # its channels, for when the database is away
        self.sender = sender or Sender()

    # ---- rules

    def rules(self, principal: Principal) -> list[Rule]:
        """The rules that the principal keeps, the instance's first. Raises `Forbidden` for a member."""
        statement = select(AlertRule).where(AlertRule.tenant_id.in_(_seen(principal))).order_by(AlertRule.id)
        rows = self._db.read(lambda session: list(session.scalars(statement)))
        found = [rule for rule in map(rules.from_row, rows) if rule is not None]
        return sorted(found, key=lambda rule: rule.tenant_id)

    def save_rule(self, principal: Principal, rule: Rule) -> str:
        """Add a rule, or change the one with its id; returns the id. `tenant_id`: the principal's, or '' for operators.

        Raises `Forbidden`, `InvalidInput`, and `NotFound` for a rule or channel that is not theirs.
        """
        rule = rules.checked(rule)
        _require(principal, rule.tenant_id)
        return self._db.write(lambda session: _save_rule(session, principal, rule))

    def delete_rule(self, principal: Principal, rule_id: str) -> None:
        """Delete a rule; what it fired stays in the history. Raises `Forbidden`, `NotFound`."""
        self._db.write(lambda session: _delete_rule(session, principal, rule_id))

    # ---- channels

    def channels(self, principal: Principal) -> list[ChannelInfo]:
        """The channels that the principal keeps, by name. Raises `Forbidden` for a member."""
        seen = _seen(principal)
        return self._db.read(lambda session: channels.listed(session, seen))

    def add_channel(
        self, principal: Principal, kind: str, name: str, fields: Mapping[str, str], *, instance: bool = False
    ) -> str:
        """Add a channel; returns its id. `fields`: as `channel_kinds.KINDS` names them. `instance`: for operators.

        Raises `Forbidden`, `InvalidInput` with a sentence that names what is wrong.
        """
        tenant_id = INSTANCE if instance else principal.tenant_id
        _require(principal, tenant_id)
        cleaned = channel_kinds.checked(kind, fields)
        channels.know(kind, cleaned)
        if self._seals.is_public_only(tenant_id):
            channel_kinds.require_public(kind, cleaned)
        name = channels.clean_name(name, kind)

        def work(session: Session) -> str:
            require_acting_admin(session, principal)
            return channels.save(session, principal, self._seals, tenant_id, name, kind, cleaned)

        channel_id = self._db.write(work)
        self.remember_channels()
        return channel_id

    def delete_channel(self, principal: Principal, channel_id: str) -> None:
        """Delete a channel; rules that used it go on without. Raises `Forbidden`, `NotFound`."""
        seen = _seen(principal)

        def work(session: Session) -> None:
            require_acting_admin(session, principal)
            channels.remove(session, principal, seen, channel_id)

        self._db.write(work)
        self.remember_channels()

    def try_channel(self, principal: Principal, channel_id: str) -> Outcome:
        """Send a test now, and say what came of it; takes some ten seconds at most.

        Raises `Forbidden`, `NotFound`, and `Conflict` after five tests by the same person within a minute.
        """
        seen = _seen(principal)

        def work(session: Session) -> Sealed:
            require_acting_admin(session, principal)
            found = channels.sealed(session, ids=[channel_id])
            if not found or found[0].tenant_id not in seen:
                raise NotFound("There is no such channel.")
            if _tests(session, principal) >= _TESTS:
                raise Conflict(f"You sent {_TESTS} tests within a minute. Wait a moment, then send another.")
            audit.record(session, principal, _TRY, channel_id)
            return found[0]

        channel = self._seals.open(self._db.write(work))
        if channel is None:
            raise Conflict("The address does not open with the present secret key: delete the channel and add it anew.")
        return self.sender.send([(channel, Notice("test", "[test] Chatcore", _TRIED, "info", f"test-{channel_id}"))])[0]

    # ---- what fired

    def firing(self, principal: Principal) -> list[AlertInfo]:
        """What fires now or is about to, the latest first. Raises `Forbidden` for a member."""
        return self._found(principal, Alert.state.in_(("firing", "pending")), 200)

    def history(self, principal: Principal, limit: int = 50) -> list[AlertInfo]:
        """What is over, the latest first. Raises `Forbidden` for a member."""
        return self._found(principal, Alert.state == "recovered", limit)

    # ---- for the watch

    def ensure_defaults(self) -> None:
        """Make the default rules of the instance, once."""
        self._db.write(_seed)

    def look(self, now: datetime, steady: float) -> Looked:
        """Evaluate the rules, and put providers aside or take them back; as `looks.look`."""
        auto = self._flags.now.auto_failover
        done = looks.look(self._db, now, every=self._every, steady=steady, failover=auto)
        aside = self._db.read(looks.put_aside) if auto else set()
        if aside != set(self._flags.now.degraded_providers):
            self._flags.put_aside(aside)
        return done

    def claim(self, now: datetime) -> list[Due]:
        """The notices to send now, which no other process is given for two minutes."""
        return self._db.write(lambda session: delivery.claim(session, now, self._link))

    def send(self, notices: Sequence[Due]) -> list[tuple[Due, Outcome | None]]:
        """Send them, outside any transaction; what came of each."""
        opened = [(one, self._seals.open(one.channel) if one.channel else None) for one in notices]
        jobs = [(channel, one.notice) for one, channel in opened if channel is not None]
        outcomes = iter(self.sender.send(jobs))
        closed = Outcome(False, "The address does not open with the present secret key.")
        return [
            (one, next(outcomes) if channel is not None else closed if one.channel else None) for one, channel in opened
        ]

    def record(self, done: Sequence[tuple[Due, Outcome | None]], now: datetime) -> None:
        """Keep what came of them."""
        if done:
            self._db.write(lambda session: delivery.record(session, done, now))

    def prune(self, now: datetime) -> None:
        """Forget what has been over for a year."""
        self._db.write(lambda session: looks.prune(session, now))

    def remember_channels(self) -> None:
        """Keep the instance's channels in memory, for when the database is away."""
        self._instance = self._db.read(lambda session: channels.sealed(session, tenant_id=INSTANCE))

    def tell(self, notice: Notice) -> list[Outcome]:
        """Send a notice that belongs to no rule to the instance's channels as last known; asks no database."""
        opened = [channel for one in self._instance if (channel := self._seals.open(one)) is not None]
        return self.sender.send([(channel, notice) for channel in opened])

    def _found(self, principal: Principal, which: Any, limit: int) -> list[AlertInfo]:
        statement = select(Alert).where(Alert.tenant_id.in_(_seen(principal)), which)
        statement = statement.order_by(Alert.began_at.desc(), Alert.id.desc()).limit(limit)

        def work(session: Session) -> list[AlertInfo]:
            names = {one.id: one.name for one in channels.listed(session, _seen(principal))}
            return [from_row(row, names) for row in session.scalars(statement)]

        return self._db.read(work)


def _seen(principal: Principal) -> list[str]:
    if not principal.is_admin:
        raise Forbidden("Only an admin sees alerts.")
    return [INSTANCE, principal.tenant_id] if principal.is_operator else [principal.tenant_id]


def _require(principal: Principal, tenant_id: str) -> None:
    if tenant_id not in _seen(principal):
        raise Forbidden("Only an operator keeps rules and channels of the whole instance.")


def _tests(session: Session, principal: Principal) -> int:
    """How many tests the principal has just sent."""
    lately = (AuditEntry.tenant_id == principal.tenant_id, AuditEntry.created_at > utcnow() - timedelta(minutes=1))
    theirs = (AuditEntry.user_id == principal.user_id, AuditEntry.action == _TRY)
    return session.scalar(select(func.count()).select_from(AuditEntry).where(*lately, *theirs)) or 0


def _save_rule(session: Session, principal: Principal, rule: Rule) -> str:
    require_acting_admin(session, principal)
    known = {one.id for one in channels.listed(session, [rule.tenant_id])}
    if not set(rule.channels) <= known:
        raise NotFound("A channel of this rule was deleted. Choose again.")
    if rule.id:
        row = session.get(AlertRule, rule.id)
        if row is None or row.tenant_id != rule.tenant_id:
            raise NotFound("There is no such rule; it may have been deleted.")
        if row.metric != rule.metric:
            looks.close_all(session, rule.id, utcnow(), "The rule was changed to watch something else.")
        options = {name: value for name, value in row.options.items() if name != "failover"}
        values = rules.to_row(rule, **options)
        session.execute(update(AlertRule).where(AlertRule.id == rule.id).values(**values, updated_at=utcnow()))
    else:
        if len(list(session.scalars(select(AlertRule.id).where(AlertRule.tenant_id == rule.tenant_id)))) >= _MOST:
            raise InvalidInput(f"There are {_MOST} rules already; delete one that is no longer needed.")
        rule = replace(rule, id=new_id("rule"))
        session.execute(insert(AlertRule).values(id=rule.id, **rules.to_row(rule)))
    told = {"name": rule.name, "metric": rule.metric, "threshold": rule.threshold, "enabled": rule.enabled}
    audit.record(session, principal, "alert_rule.save", rule.id, **told, instance=not rule.tenant_id)
    return rule.id


def _delete_rule(session: Session, principal: Principal, rule_id: str) -> None:
    require_acting_admin(session, principal)
    row = session.get(AlertRule, rule_id)
    if row is None or row.tenant_id not in _seen(principal):
        raise NotFound("There is no such rule.")
    looks.close_all(session, rule_id, utcnow(), "The rule was deleted.")
    session.execute(delete(AlertRule).where(AlertRule.id == rule_id))
    audit.record(session, principal, "alert_rule.delete", rule_id, name=row.name, metric=row.metric)


def _seed(session: Session) -> None:
    serialize(session, "alerts")
    if session.get(Setting, _SEEDED) is not None:
        return
    session.add(Setting(key=_SEEDED, value={"seeded": True}))
    for rule, kinds in rules.DEFAULTS:
        values = rules.to_row(rule, kinds=list(kinds))
        session.execute(insert(AlertRule).values(id=new_id("rule"), **values))
