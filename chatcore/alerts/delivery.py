"""Notices on their way: kept with their alert from the moment that it changed until they were sent, or given up.

A notice is written in the transaction of what it tells, claimed by who sends it, and marked after it was sent. A
process that dies in between leaves it to the next one, which may then send it twice: rather that than not at all.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from chatcore.accounts.locks import serialize
from chatcore.alerts import channels
from chatcore.alerts.channels import Sealed
from chatcore.alerts.notices import Notice, Outcome
from chatcore.alerts.rules import METRICS
from chatcore.alerts.state import Word
from chatcore.db.tables import Alert
from chatcore.ids import new_id

log = logging.getLogger(__name__)

_AGAIN: Final = (30, 120, 600, 1800)  # seconds before each further try
_CLAIM: Final = 120  # seconds for which who sends a notice has it alone
_KEPT: Final = 100  # notices of one alert that are remembered: two for each channel that a rule can have
_GONE: Final = "The channel was deleted."
_OVER: Final = "It was over before it could be sent."


@dataclass(frozen=True)
class Due:
    """A notice to send now. `channel`: None where it was deleted meanwhile."""

    alert_id: str
    notice_id: str
    channel: Sealed | None
    notice: Notice


def queue(details: dict[str, Any], channels: Sequence[str], word: Word, body: str, value: float, now: datetime) -> None:
    """Put notices into an alert's `details`: that it fires, for each channel; that it is over, for each that knows."""
    kept = list(details.get("notices", ()))
    if word == "recovered":
        channels = [one["channel"] for one in kept if one["word"] == "firing"]
    fresh = [
        {
            "id": new_id("ntc"), "word": word, "channel": channel, "body": body, "value": value, "state": "queued",
            "tries": 0, "at": now.isoformat(), "next": now.isoformat(), "words": "",
        }
        for channel in dict.fromkeys(channels)
    ]  # fmt: skip
    details["notices"] = _overtaken([*kept, *fresh])[-_KEPT:]


def ended(details: dict[str, Any]) -> None:
    """The alert ends without a word of it: what has not been sent yet is dropped."""
    details["notices"] = [
        {**one, "state": "dropped", "words": _OVER} if one["state"] == "queued" else one
        for one in details.get("notices", ())
    ]


def next_due(details: Mapping[str, Any]) -> datetime | None:
    """When the next notice is to be sent; None where there is none."""
    return min((_time(one["next"]) for one in _first_of_channels(details)), default=None)


def claim(session: Session, now: datetime, link: str = "") -> list[Due]:
    """What is to be sent now, oldest first, which nobody else is given until `_CLAIM` is over.

    `link`: where a person reads more, '' for nowhere.
    """
    serialize(session, "alerts")
    late = now + timedelta(seconds=2 * _AGAIN[-1])  # no try is put off for so long: the clock has gone back
    statement = select(Alert).where(or_(Alert.due_at <= now, Alert.due_at > late)).order_by(Alert.due_at, Alert.id)
    claimed = []
    for alert in list(session.scalars(statement.with_for_update())):
        try:
            ready = [one for one in _first_of_channels(alert.details) if not now < _time(one["next"]) <= late]
            claimed += [(alert, one, _notice(alert, one, link)) for one in ready]
            _put_off(alert, {one["id"] for one in ready}, now)
        except (KeyError, TypeError, ValueError):
            log.exception("the notices of an alert cannot be read", extra={"alert_id": alert.id})
    known = {one.id: one for one in channels.sealed(session, ids={one["channel"] for _, one, _ in claimed})}
    return [Due(alert.id, one["id"], known.get(one["channel"]), notice) for alert, one, notice in claimed]


def record(session: Session, done: Iterable[tuple[Due, Outcome | None]], now: datetime) -> None:
    """Keep what came of notices. `None`: there was nowhere to send it to."""
    serialize(session, "alerts")
    by_alert: dict[str, dict[str, Outcome | None]] = {}
    for one, outcome in done:
        by_alert.setdefault(one.alert_id, {})[one.notice_id] = outcome
    for alert in session.scalars(select(Alert).where(Alert.id.in_(by_alert)).with_for_update()):
        outcomes = by_alert[alert.id]
        notices = [
            _after(one, outcomes[one["id"]], now) if one["id"] in outcomes else one
            for one in alert.details.get("notices", ())
        ]
        alert.details = {**alert.details, "notices": _overtaken(notices)}
        alert.due_at = next_due(alert.details)


def _first_of_channels(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What waits to be sent: of each channel the first, as they arrive in their order."""
    found: dict[str, dict[str, Any]] = {}
    for one in details.get("notices", ()):
        if one["state"] == "queued":
            found.setdefault(one["channel"], one)
    return list(found.values())


def _put_off(alert: Alert, ids: Collection[str], now: datetime) -> None:
    claimed = {"claimed": True, "next": (now + timedelta(seconds=_CLAIM)).isoformat()}
    notices = [{**one, **claimed} if one["id"] in ids else one for one in alert.details.get("notices", ())]
    alert.details = {**alert.details, "notices": notices}
    alert.due_at = next_due(alert.details)


def _overtaken(notices: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The notices, where it recovered before a channel could be told that it fires: that channel is told nothing more.

    One that may have arrived is no more sent, and its channel is told that it is over.
    """
    over = {one["channel"] for one in notices if one["word"] == "recovered"}
    late = [
        one
        for one in notices
        if one["word"] == "firing" and one["channel"] in over and one["state"] != "sent" and not one.get("claimed")
    ]
    unaware = {one["channel"] for one in late if not one.get("doubt")}
    dropped = {one["id"] for one in late if one["state"] == "queued"}
    return [
        {**one, "state": "dropped", "words": _OVER} if one["id"] in dropped else one
        for one in notices
        if not (one["word"] == "recovered" and one["state"] == "queued" and one["channel"] in unaware)
    ]


def _after(one: dict[str, Any], outcome: Outcome | None, now: datetime) -> dict[str, Any]:
    one = {**one, "claimed": False}
    if outcome is None:
        return {**one, "state": "failed", "words": _GONE}
    tries = one["tries"] + 1
    tried = {**one, "tries": tries, "words": outcome.words, "at": now.isoformat()}
    if outcome.sent:
        return {**tried, "state": "sent"}
    tried["doubt"] = one.get("doubt", False) or outcome.late
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
