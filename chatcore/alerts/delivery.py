"""Notices on their way: kept with their alert from the moment that it changed until they were sent, or given up.

A notice is written in the transaction of what it tells and marked after it was sent. A process that dies in between
leaves it to the next one, which may then send it twice: rather that than not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from chatcore.alerts import channels
from chatcore.alerts.channels import Sealed
from chatcore.alerts.notices import Notice, Outcome
from chatcore.alerts.rules import METRICS
from chatcore.alerts.state import Word
from chatcore.db.tables import Alert
from chatcore.ids import new_id

_AGAIN: Final = (30, 120, 600, 1800)  # seconds before each further try
_KEPT: Final = 40  # notices of one alert that are remembered
_GONE: Final = "The channel was deleted."


@dataclass(frozen=True)
class Due:
    """A notice to send now. `channel`: None where it was deleted meanwhile."""

    alert_id: str
    notice_id: str
    channel: Sealed | None
    notice: Notice


def queue(details: dict[str, Any], channels: Sequence[str], word: Word, body: str, value: float, now: datetime) -> None:
    """Put a notice for each channel into an alert's `details`."""
    fresh = [
        {
            "id": new_id("ntc"), "word": word, "channel": channel, "body": body, "value": value, "state": "queued",
            "tries": 0, "at": now.isoformat(), "next": now.isoformat(), "words": "",
        }
        for channel in channels
    ]  # fmt: skip
    details["notices"] = [*details.get("notices", ()), *fresh][-_KEPT:]


def due(session: Session, now: datetime, link: str = "") -> list[Due]:
    """What is to be sent now, oldest first. `link`: where a person reads more, '' for nowhere."""
    late = now + timedelta(seconds=2 * _AGAIN[-1])  # no try is put off for so long: the clock has gone back
    statement = select(Alert).where(or_(Alert.due_at <= now, Alert.due_at > late)).order_by(Alert.due_at, Alert.id)
    waiting = [(alert, one) for alert in session.scalars(statement) for one in _waiting(alert.details, now, late)]
    known = {one.id: one for one in channels.sealed(session, ids={one["channel"] for _, one in waiting})}
    return [Due(alert.id, one["id"], known.get(one["channel"]), _notice(alert, one, link)) for alert, one in waiting]


def record(session: Session, done: Iterable[tuple[Due, Outcome | None]], now: datetime) -> None:
    """Keep what came of notices. `None`: there was nowhere to send it to."""
    by_alert: dict[str, dict[str, Outcome | None]] = {}
    for one, outcome in done:
        by_alert.setdefault(one.alert_id, {})[one.notice_id] = outcome
    for alert in session.scalars(select(Alert).where(Alert.id.in_(by_alert)).with_for_update()):
        outcomes = by_alert[alert.id]
        notices = [
            _after(one, outcomes[one["id"]], now) if one["id"] in outcomes else one
            for one in alert.details.get("notices", ())
        ]
        alert.details = {**alert.details, "notices": notices}
        alert.due_at = min((_time(one["next"]) for one in notices if one["state"] == "queued"), default=None)


def _waiting(details: Mapping[str, Any], now: datetime, late: datetime) -> list[dict[str, Any]]:
    queued = [one for one in details.get("notices", ()) if one["state"] == "queued"]
    return [one for one in queued if not now < _time(one["next"]) <= late]


def _after(one: dict[str, Any], outcome: Outcome | None, now: datetime) -> dict[str, Any]:
    if outcome is None:
        return {**one, "state": "failed", "words": _GONE}
    tries = one["tries"] + 1
    tried = {**one, "tries": tries, "words": outcome.words, "at": now.isoformat()}
    if outcome.sent:
        return {**tried, "state": "sent"}
    if tries > len(_AGAIN):
        return {**tried, "state": "failed"}
    return {**tried, "next": (now + timedelta(seconds=_AGAIN[tries - 1])).isoformat()}


def _notice(alert: Alert, one: Mapping[str, Any], link: str) -> Notice:
    word = one["word"]
    metric = str(alert.details.get("metric", ""))
    facts = {
        "alert": alert.id, "rule": alert.rule_name, "subject": alert.details.get("label") or alert.subject,
        "metric": metric, "unit": METRICS[metric].unit if metric in METRICS else "", "value": one["value"],
        "threshold": alert.threshold, "peak": alert.peak, "began_at": alert.began_at.isoformat(),
    }  # fmt: skip
    title = f"[{alert.severity if word == 'firing' else 'recovered'}] {alert.rule_name}"
    body = f"{one['body']}\n{link}" if link else str(one["body"])
    return Notice(word, title, body, alert.severity, alert.id, facts)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
