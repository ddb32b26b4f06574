"""The tables. Rows stay inside a session; the packages hand out frozen values.

Times are UTC. Money is integer nano-USD, so that sums are exact. Ids come from `ids.new_id`. Every table but
`tenants` and what belongs to nobody yet (attempts to sign in, codes, instance settings) carries `tenant_id`.
"""

from chatcore.db.tables.alerts import Alert, AlertChannel, AlertRule
from chatcore.db.tables.base import Base, UtcDateTime, utcnow
from chatcore.db.tables.chats import (
    Agent,
    Attachment,
    CachedReply,
    Conversation,
    Message,
    MessageAttachment,
    Prompt,
    QueuedMessage,
    Rating,
    SearchEntry,
    Share,
    Turn,
    TurnChunk,
)
from chatcore.db.tables.ledger import (
    NOT_ROLLED_UP,
    STILL_RUNNING,
    Budget,
    BudgetPeriod,
    CostCorrection,
    LimitHit,
    Reservation,
    UsageMetric,
)
from chatcore.db.tables.people import (
    ApiKey,
    AuditEntry,
    BrowserSession,
    Lease,
    LoginAttempt,
    OneTimeCode,
    ProviderKey,
    Setting,
    Tenant,
    User,
)
from chatcore.db.tables.rollups import LATENCY_PLACES, USAGE_LATENCY, LatencyBucket, Measures, UsageDaily, UsageHourly

__all__ = [
    "LATENCY_PLACES",
    "NOT_ROLLED_UP",
    "STILL_RUNNING",
    "USAGE_LATENCY",
    "Agent",
    "Alert",
    "AlertChannel",
    "AlertRule",
    "ApiKey",
    "Attachment",
    "AuditEntry",
    "Base",
    "BrowserSession",
    "Budget",
    "BudgetPeriod",
    "CachedReply",
    "Conversation",
    "CostCorrection",
    "LatencyBucket",
    "Lease",
    "LimitHit",
    "LoginAttempt",
    "Measures",
    "Message",
    "MessageAttachment",
    "OneTimeCode",
    "Prompt",
    "ProviderKey",
    "QueuedMessage",
    "Rating",
    "Reservation",
    "SearchEntry",
    "Setting",
    "Share",
    "Tenant",
    "Turn",
    "TurnChunk",
    "UsageDaily",
    "UsageHourly",
    "UsageMetric",
    "User",
    "UtcDateTime",
    "utcnow",
]
