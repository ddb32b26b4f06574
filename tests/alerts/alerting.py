"""Two watching processes on one database, a clock that tests move, and calls in the ledger."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert

from chatcore.accounts import Principal
from chatcore.alerts.notices import Sender
from chatcore.alerts.service import Alerts
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import AlertRule, UsageMetric
from chatcore.flags import FlagStore
from chatcore.ids import new_id
from chatcore.watch import Watch
from tests.conftest import add_person

START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
USD = 10**9


@dataclass
class Clock:
    """What two processes take for the time. `jump` changes the wall clock alone."""

    wall: datetime = START
    passed: float = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    def forward(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.passed += seconds

    def jump(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)


@dataclass
class House:
    """An operator `root`, an `admin` and a member of their tenant, and an admin of another."""

    db: Database
    settings: Settings
    clock: Clock = field(default_factory=Clock)
    seconds: float = 5.0

    def __post_init__(self) -> None:
        self.root = add_person(self.db, "root", role="operator")
        self.admin = add_person(self.db, "ada", role="admin")
        self.member = add_person(self.db, "bob")
        self.stranger = add_person(self.db, "eve", tenant="Other", role="admin")
        self.databases = [self.db, Database(self.db.url)]
        self.flags = [FlagStore(one, self.settings) for one in self.databases]
        self.sides = [
            Alerts(db, flags, self.settings, Sender(self.seconds))
            for db, flags in zip(self.databases, self.flags, strict=True)
        ]
        self.alerts = self.sides[0]
        self.watches = [
            Watch(db, alerts, 60, now=self.clock.now, monotonic=self.clock.monotonic, patience=5)
            for db, alerts in zip(self.databases, self.sides, strict=True)
        ]

    def close(self) -> None:
        self.databases[1].close()

    def without_defaults(self) -> None:
        """No rules at all."""
        self.alerts.ensure_defaults()
        self.db.write(lambda session: session.execute(delete(AlertRule)))

    def rounds(self, count: int = 1, each: float = 60) -> None:
        """Both processes go round, then time goes by."""
        for _ in range(count):
            for one in self.watches:
                one.round()
            self.clock.forward(each)

    def calls(self, count: int, outcome: str = "ok", who: Principal | None = None, **more: Any) -> None:
        """Calls that end now and began a second ago."""
        who = who or self.member
        common = {
            "created_at": self.clock.now() - timedelta(seconds=1), "settled_at": self.clock.now(), "outcome": outcome,
            "tenant_id": who.tenant_id, "user_id": who.user_id, "purpose": "chat", "provider": "acme", "model": "m",
            "trace_id": "t", "latency_ms": 900, "ttft_ms": 100, "cost_nano_usd": 1000,
        }  # fmt: skip
        rows = [{"id": new_id("use"), **common, **more} for _ in range(count)]
        self.db.write(lambda session: session.execute(insert(UsageMetric), rows))

    def hook(self, url: str, who: Principal | None = None, *, instance: bool = True) -> str:
        """A webhook's id."""
        return self.alerts.add_channel(who or self.root, "webhook", "Hook", {"url": url}, instance=instance)
