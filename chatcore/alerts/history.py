"""What fired, as admins see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from chatcore.alerts.state import QUIET, loaded
from chatcore.db.tables import Alert


@dataclass(frozen=True)
class Told:
    """A notice of an alert. `state`: `queued`, `sent`, `failed`, `dropped`; `words`: what came of the last try."""

    word: str
    channel: str
    state: str
    tries: int
    at: datetime
    words: str


@dataclass(frozen=True)
class AlertInfo:
    """One time that a rule was broken. `value`, `peak`, `threshold`: in the metric's unit. `subject`: for people.

    `state`: `pending`, `firing`, `recovered`. `aside`: `aside` or `probation` for a provider that was put aside.
    `tenant_id`: '' for the whole instance's. `ended`: why, where it did not recover.
    """

    id: str
    tenant_id: str
    rule_name: str
    metric: str
    severity: str
    subject: str
    state: str
    value: float
    peak: float
    threshold: float
    message: str
    aside: str
    ended: str
    began_at: datetime
    fired_at: datetime | None
    recovered_at: datetime | None
    told: tuple[Told, ...]


def from_row(row: Alert, channels: Mapping[str, str]) -> AlertInfo:
    """`channels`: names by id."""
    details = row.details
    told = tuple(
        Told(
            one["word"], channels.get(one["channel"], "a deleted channel"), one["state"], one["tries"],
            datetime.fromisoformat(one["at"]), one["words"],
        )
        for one in details.get("notices", ())
    )  # fmt: skip
    return AlertInfo(
        id=row.id,
        tenant_id=row.tenant_id,
        rule_name=row.rule_name,
        metric=str(details.get("metric", "")),
        severity=row.severity,
        subject=str(details.get("label") or row.subject),
        state=row.state,
        value=row.value,
        peak=row.peak,
        threshold=row.threshold,
        message=row.message,
        aside=loaded(details.get("standing"), QUIET).aside,
        ended=str(details.get("ended", "")),
        began_at=row.began_at,
        fired_at=row.fired_at,
        recovered_at=row.recovered_at,
        told=told,
    )
