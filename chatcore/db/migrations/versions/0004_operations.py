"""Rollups of the ledger, alerts, time zones and retention of tenants, a company's sign-in."""

import sqlalchemy as sa
from alembic import op

revision = "0004_operations"
down_revision = "0003_gateway"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_MEASURES = (
    "calls", "prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens", "reasoning_tokens",
    "cost_nano_usd", "saved_nano_usd", "priced", "estimated", "demo", "ok", "stopped", "interrupted", "error", "timeout",
    "rate_limited", "truncated", "cached", "again", "generated_tokens", "generating_ms",
)  # fmt: skip
_PLACES = 32
_LONGEST_MS = 24 * 3600 * 1000


def upgrade() -> None:
    _columns()
    for name, key in (
        ("usage_hourly", ("tenant_id", "slot", "model", "provider", "tier")),
        (
            "usage_daily",
            ("tenant_id", "level", "kind", "start", "model", "provider", "tier", "agent_id", "purpose", "user_id",
             "error_type"),
        ),
    ):  # fmt: skip
        op.create_table(
            name,
            *(_key(one) for one in key),
            *(sa.Column(one, sa.BigInteger(), nullable=False) for one in _MEASURES),
            sa.PrimaryKeyConstraint(*key),
            sqlite_with_rowid=False,
        )
    key = ("tenant_id", "level", "kind", "start", "metric", "model", "provider", "block")
    op.create_table(
        "usage_latency",
        *(_key(one) for one in key),
        *(sa.Column(f"n{place}", sa.Integer(), nullable=False, server_default="0") for place in range(_PLACES)),
        sa.PrimaryKeyConstraint(*key),
        sqlite_with_rowid=False,
    )
    _latency_buckets()
    op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    _alerts()
    _append_only()


def _columns() -> None:
    with op.batch_alter_table("tenants", schema=None) as batch_op:
        batch_op.add_column(sa.Column("timezone", sa.String(), nullable=False, server_default="UTC"))
        batch_op.add_column(sa.Column("days_zone", sa.String(), nullable=False, server_default="UTC"))
        batch_op.add_column(sa.Column("message_days", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("ledger_days", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("ledger_since", _TIME, nullable=True))
    op.add_column("users", sa.Column("erased_at", _TIME, nullable=True))
    op.add_column("users", sa.Column("identity", sa.String(), nullable=True))
    op.create_index("ix_users_identity", "users", ["identity"], unique=True)
    op.create_index("ix_conversations_created", "conversations", ["tenant_id", "created_at"])
    op.create_index("ix_messages_created", "messages", ["tenant_id", "created_at"])
    op.create_index("ix_limit_hits_tenant", "limit_hits", ["tenant_id", "minute"])
    op.add_column("usage_metrics", sa.Column("rolled_up", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_usage_metrics_not_rolled_up",
        "usage_metrics",
        ["tenant_id", "created_at"],
        sqlite_where=sa.text("NOT rolled_up"),
        postgresql_where=sa.text("NOT rolled_up"),
    )


def _key(name: str) -> sa.Column:
    if name in ("slot", "start"):
        return sa.Column(name, _TIME, nullable=False)
    kind = sa.Integer() if name == "block" else sa.String()
    return sa.Column(name, kind, nullable=False, autoincrement=False)


def _latency_buckets() -> None:
    """Each bucket begins 4 % above the one before it, or a millisecond where that is more."""
    table = op.create_table(
        "latency_buckets",
        sa.Column("low_ms", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("low_ms"),
    )
    lows = [0]
    while lows[-1] < _LONGEST_MS:
        lows.append(max(lows[-1] + 1, lows[-1] * 104 // 100))
    op.bulk_insert(table, [{"low_ms": low, "bucket": bucket} for bucket, low in enumerate(lows)])


def _alerts() -> None:
    op.create_table(
        "alert_channels",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("shown", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alert_channels_tenant_id", "alert_channels", ["tenant_id"])
    op.create_table(
        "alert_rules",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("window_seconds", sa.Integer(), nullable=False),
        sa.Column("for_seconds", sa.Integer(), nullable=False),
        sa.Column("cooldown_seconds", sa.Integer(), nullable=False),
        sa.Column("min_calls", sa.Integer(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alert_rules_tenant_id", "alert_rules", ["tenant_id"])
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("rule_name", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("peak", sa.Double(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("began_at", _TIME, nullable=False),
        sa.Column("fired_at", _TIME, nullable=True),
        sa.Column("recovered_at", _TIME, nullable=True),
        sa.Column("notified_at", _TIME, nullable=True),
        sa.Column("due_at", _TIME, nullable=True),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alerts_tenant", "alerts", ["tenant_id", "began_at"])
    op.create_index("ix_alerts_rule", "alerts", ["rule_id", "subject", "state"])
    op.create_index("ix_alerts_due", "alerts", ["due_at"])
    op.create_index("ix_alerts_state", "alerts", ["state"])
    op.create_index("ix_alerts_notified", "alerts", ["notified_at"])


def _append_only() -> None:
    """The audit log is only ever added to. What an erased person left in it, `details` and `address`, may be emptied."""
    kept = " AND ".join(
        f"NEW.{name} {{same}} OLD.{name}" for name in ("id", "tenant_id", "user_id", "action", "target", "created_at")
    )
    kept += " AND NEW.address IN ('', OLD.address)"
    words = "the audit log is only ever added to"
    if op.get_bind().dialect.name == "sqlite":
        only = f"NEW.rowid IS OLD.rowid AND {kept.format(same='IS')} AND NEW.details IN ('{{}}', OLD.details)"
        refuse = f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
        # REPLACE takes the row away that is there, by its id or its rowid, without asking the other triggers.
        there = "EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id OR rowid = NEW.rowid)"
        op.execute(f"CREATE TRIGGER audit_log_added BEFORE INSERT ON audit_log WHEN {there} {refuse}")
        op.execute(f"CREATE TRIGGER audit_log_kept BEFORE DELETE ON audit_log {refuse}")
        op.execute(f"CREATE TRIGGER audit_log_unchanged BEFORE UPDATE ON audit_log WHEN NOT ({only}) {refuse}")
        return
    only = f"{kept.format(same='IS NOT DISTINCT FROM')} AND NEW.details::text IN ('{{}}', OLD.details::text)"
    op.execute(f"""
        CREATE FUNCTION audit_log_unchanged() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                IF {only} THEN RETURN NEW; END IF;
            END IF;
            RAISE EXCEPTION '{words}';
        END $$
    """)
    each = "FOR EACH ROW EXECUTE FUNCTION audit_log_unchanged()"
    op.execute(f"CREATE TRIGGER audit_log_unchanged BEFORE UPDATE OR DELETE ON audit_log {each}")
    each = each.replace("ROW", "STATEMENT")
    op.execute(f"CREATE TRIGGER audit_log_kept BEFORE TRUNCATE ON audit_log {each}")


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_log_unchanged" + _on_audit_log())
    op.execute("DROP TRIGGER audit_log_kept" + _on_audit_log())
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_log_added")
    else:
        op.execute("DROP FUNCTION audit_log_unchanged()")
    for table in ("alerts", "alert_rules", "alert_channels", "leases"):
        op.drop_table(table)
    for table in ("latency_buckets", "usage_latency", "usage_daily", "usage_hourly"):
        op.drop_table(table)
    op.drop_index("ix_usage_metrics_not_rolled_up", "usage_metrics")
    op.drop_column("usage_metrics", "rolled_up")
    op.drop_index("ix_limit_hits_tenant", "limit_hits")
    op.drop_index("ix_messages_created", "messages")
    op.drop_index("ix_conversations_created", "conversations")
    op.drop_index("ix_users_identity", "users")
    for name in ("identity", "erased_at"):
        op.drop_column("users", name)
    for name in ("ledger_since", "ledger_days", "message_days", "days_zone", "timezone"):
        op.drop_column("tenants", name)


def _on_audit_log() -> str:
    return "" if op.get_bind().dialect.name == "sqlite" else " ON audit_log"
