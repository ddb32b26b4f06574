"""One look at all rules: what they watch is read, what follows from it is written in one transaction.

Only reading happens before that transaction. Where another process wrote an alert meanwhile, the look is dropped: of
two that look at the same moment, one counts.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from chatcore import metrics
from chatcore.accounts.locks import serialize
from chatcore.alerts import delivery, words
from chatcore.alerts.readings import Reading, read
from chatcore.alerts.rules import LONGEST_COOLDOWN, Rule, from_row
from chatcore.alerts.state import QUIET, Standing, Word, loaded, step
from chatcore.db import Database
from chatcore.db.tables import Alert, AlertRule
from chatcore.errors import DatabaseError
from chatcore.ids import new_id

log = logging.getLogger(__name__)

_OPEN: Final = ("pending", "firing")
_KEPT: Final = timedelta(days=365)
_ENDED: Final = "The rule was switched off or deleted."
_Key = tuple[str, str]  # rule id, subject


@dataclass(frozen=True)
class Looked:
    """What came of a look. `written`: whether it stands in the database. `failed`: names of rules that told nothing."""

    written: bool
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Open:
    """An alert that is not over."""

    id: str
    standing: Standing
    updated_at: datetime
    fired_at: datetime | None
    began_at: datetime
    value: float
    peak: float
    details: dict[str, Any]


@dataclass(frozen=True)
class _Known:
    """What the database held before the look. `told_at`: when a notice of a rule and subject went out last."""

    rules: list[Rule]
    open: dict[_Key, _Open]
    told_at: dict[_Key, datetime]


@dataclass(frozen=True)
class _Change:
    """What is to be written of one rule and subject. `rule`: None where it was deleted or switched off."""

    key: _Key
    rule: Rule | None
    was: _Open | None
    now: Standing
    word: Word | None = None
    reading: Reading = field(default_factory=lambda: Reading("", None))


def look(db: Database, now: datetime, *, every: float, steady: float, failover: bool) -> Looked:
    """Evaluate every rule that is switched on.

    `every`: seconds between two looks: at most twice as much is taken to have gone by. `steady`: seconds since which
    the clock goes steadily: a rule whose window is longer waits. `failover`: whether providers may be put aside.
    Raises `DatabaseError`.
    """
    known = db.read(lambda session: _known(session, now))
    changes = [_gone(key, was) for key, was in known.open.items() if key[0] not in {rule.id for rule in known.rules}]
    failed = []
    for rule in known.rules:
        if rule.window_seconds <= steady:
            found = _of_rule(db, rule, known, now, every, failover)
            changes += found or ()
            failed += [rule.name] if found is None else []
    written = not changes or db.write(lambda session: _write(session, known, changes, now))
    return Looked(written, tuple(failed))


def _known(session: Session, now: datetime) -> _Known:
    rows = session.scalars(select(AlertRule).where(AlertRule.enabled).order_by(AlertRule.id))
    rules = [rule for rule in map(from_row, rows) if rule is not None]
    statement = select(Alert.rule_id, Alert.subject, func.max(Alert.notified_at))
    lately = Alert.notified_at >= now - timedelta(seconds=LONGEST_COOLDOWN)
    told = statement.where(lately).group_by(Alert.rule_id, Alert.subject)
    told_at = {(rule_id, subject): at for rule_id, subject, at in session.execute(told) if at is not None}
    return _Known(rules, _open(session), told_at)


def _open(session: Session) -> dict[_Key, _Open]:
    found = {}
    for row in session.scalars(select(Alert).where(Alert.state.in_(_OPEN))):
        as_seen = Standing("firing" if row.state == "firing" else "pending", told=row.notified_at is not None)
        standing = loaded(row.details.get("standing"), as_seen)
        times = row.updated_at, row.fired_at, row.began_at
        found[row.rule_id, row.subject] = _Open(row.id, standing, *times, row.value, row.peak, dict(row.details))
    return found


def _of_rule(
    db: Database, rule: Rule, known: _Known, now: datetime, every: float, failover: bool
) -> list[_Change] | None:
    """What a look at one rule makes of all its subjects. None for one that cannot be read, which stops no other."""
    was = {key[1]: one for key, one in known.open.items() if key[0] == rule.id}
    try:
        readings = db.read(lambda session: _readings(session, rule, was, now))
        found = []
        for subject in sorted({*readings, *was}):
            reading = readings.get(subject) or _without(rule, subject, was[subject])
            found.append(_stepped(rule, subject, reading, was.get(subject), known, now, every, failover))
    except DatabaseError:
        raise
    except Exception:
        log.exception("an alert rule could not be evaluated", extra={"rule_id": rule.id, "metric": rule.metric})
        metrics.alert_rule_failed()
        return None
    return [one for one in found if one.was is not None or one.now.state != "quiet"]


def _readings(session: Session, rule: Rule, was: Mapping[str, _Open], now: datetime) -> dict[str, Reading]:
    """By subject. Of a provider on probation only the calls since then count."""
    found = {one.subject: one for one in read(session, rule, now)}
    for subject, one in was.items():
        if one.standing.aside == "probation":
            since = datetime.fromisoformat(one.details["probation_since"])
            fresh = {reading.subject: reading for reading in read(session, rule, now, since)}
            found[subject] = fresh.get(subject) or Reading(subject, None, 0, subject)
    return found


def _without(rule: Rule, subject: str, was: _Open) -> Reading:
    """What stands for a subject of which nothing was found: a budget that is gone is not overspent."""
    label = str(was.details.get("label", ""))
    return Reading(subject, 0.0 if rule.metric == "budget_share" else None, 0, label)


def _stepped(
    rule: Rule, subject: str, reading: Reading, was: _Open | None, known: _Known, now: datetime, every: float,
    failover: bool,
) -> _Change:  # fmt: skip
    terms = rule.terms if failover else rule.terms.without_failover
    elapsed = 0.0 if was is None else min(max((now - was.updated_at).total_seconds(), 0.0), 2 * every)
    told_at = known.told_at.get((rule.id, subject))
    cooled = told_at is None or (now - told_at).total_seconds() >= rule.cooldown_seconds
    before = QUIET if was is None else was.standing
    after, word = step(before, terms, rule.broken(reading.value), elapsed, cooled and bool(rule.channels))
    return _Change((rule.id, subject), rule, was, after, word, reading)


def _gone(key: _Key, was: _Open) -> _Change:
    return _Change(key, None, was, QUIET)


def _write(session: Session, known: _Known, changes: Sequence[_Change], now: datetime) -> bool:
    serialize(session, "alerts")
    if _version(_open(session)) != _version(known.open):
        return False
    # A clock that went back must not stretch a cool-down beyond its length.
    session.execute(update(Alert).where(Alert.notified_at > now).values(notified_at=now))
    for change in changes:
        if change.was is None and change.rule is not None:
            session.execute(insert(Alert).values(**_first(change, change.rule, now)))
        elif change.was is not None and change.was.fired_at is None and change.now.state == "quiet":
            session.execute(delete(Alert).where(Alert.id == change.was.id))  # it was nothing
        elif change.was is not None:
            session.execute(update(Alert).where(Alert.id == change.was.id).values(**_next(change, change.was, now)))
    return True


def _version(found: Mapping[_Key, _Open]) -> dict[_Key, object]:
    """What is another when somebody wrote meanwhile: a look, or what came of notices."""
    return {key: (one.updated_at, one.details.get("notices")) for key, one in found.items()}


def _first(change: _Change, rule: Rule, now: datetime) -> dict[str, Any]:
    value = change.reading.value or 0.0
    alert = {
        "id": new_id("alert"), "tenant_id": rule.tenant_id, "rule_id": rule.id, "rule_name": rule.name,
        "severity": rule.severity, "subject": change.key[1], "threshold": rule.threshold, "began_at": now,
        "value": value, "peak": value,
    }  # fmt: skip
    details = {"metric": rule.metric, "label": change.reading.label}
    if change.reading.person:
        details["person"] = change.reading.person  # so that it goes with them when they are erased
    return alert | _states(change, now, details, None, None) | _told(change, now, details, rule, value, now)


def _next(change: _Change, was: _Open, now: datetime) -> dict[str, Any]:
    value = was.value if change.reading.value is None else change.reading.value
    peak = max(was.peak, value) if change.now.state != "quiet" else was.peak
    details = {**was.details, "calls": change.reading.calls}
    began = was.fired_at or was.began_at
    values = {"value": value, "peak": peak}
    if change.rule is None:
        details["ended"] = _ENDED
        delivery.ended(details)
        return values | _states(change, now, details, was.fired_at, was) | {"due_at": None}
    values |= {"threshold": change.rule.threshold}
    return (
        values
        | _states(change, now, details, was.fired_at, was)
        | _told(change, now, details, change.rule, peak, began)
    )


def _states(
    change: _Change, now: datetime, details: dict[str, Any], fired_at: datetime | None, was: _Open | None
) -> dict[str, Any]:
    """State, times and message; `details` gets the standing."""
    details["standing"] = asdict(change.now)
    if change.now.aside == "probation" and (was is None or was.standing.aside != "probation"):
        details["probation_since"] = now.isoformat()
    values: dict[str, Any] = {"updated_at": now, "details": details, "state": change.now.state}
    if change.now.state == "quiet":
        return values | {"state": "recovered", "recovered_at": now}
    if change.now.state == "firing" and fired_at is None:
        values["fired_at"] = now
    if change.rule is not None and change.reading.value is not None and change.rule.broken(change.reading.value):
        values["message"] = words.broken(change.rule, change.reading, change.reading.value)
    return values


def _told(
    change: _Change, now: datetime, details: dict[str, Any], rule: Rule, peak: float, began: datetime
) -> dict[str, Any]:
    """The notices that are due, in `details`, and what follows for the alert's times."""
    if change.word is None:
        return {}
    value, label = change.reading.value, change.reading.label or str(details.get("label", ""))
    if change.word == "recovered":
        body = words.recovered(rule, label, value, peak, now - began)
    else:
        body = words.broken(rule, change.reading, peak if value is None else value)
        if change.now.aside == "aside":
            body = f"{body} {words.aside(rule, label)}"
    shown = value if value is not None else peak
    delivery.queue(details, rule.channels, change.word, body, shown, now)
    return {"due_at": delivery.next_due(details), "details": details} | (
        {"notified_at": now} if change.word == "firing" else {}
    )


def put_aside(session: Session) -> set[str]:
    """The providers that an alert has put aside now."""
    return {subject for (_, subject), one in _open(session).items() if one.standing.aside == "aside"}


def prune(session: Session, now: datetime) -> None:
    """Forget what has been over for a year."""
    old = (Alert.state == "recovered", Alert.recovered_at < now - _KEPT)
    session.execute(delete(Alert).where(*old))


def close_all(session: Session, rule_id: str, now: datetime, why: str) -> None:
    """End a rule's alerts, without a notice: the rule is deleted, or watches something else from now on."""
    serialize(session, "alerts")
    session.execute(delete(Alert).where(Alert.rule_id == rule_id, Alert.fired_at.is_(None)))
    for row in session.scalars(select(Alert).where(Alert.rule_id == rule_id, Alert.state == "firing")):
        details = {**row.details, "ended": why, "standing": asdict(QUIET)}
        delivery.ended(details)
        row.details, row.state, row.recovered_at, row.updated_at, row.due_at = details, "recovered", now, now, None
