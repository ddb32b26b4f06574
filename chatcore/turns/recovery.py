"""Settling what a dead process left: the words that were written stay, as an interrupted reply."""

import logging
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.sessions import as_principal
from chatcore.conversations import store as conversation_store
from chatcore.db import changed_rows
from chatcore.db.tables import STILL_RUNNING, Agent, UsageMetric, UtcDateTime, utcnow
from chatcore.db.tables import Turn as TurnRow
from chatcore.db.tables import TurnChunk as ChunkRow
from chatcore.db.tables import User as UserRow
from chatcore.gateway import Delta
from chatcore.gateway.prices import Prices, Tokens, cost_nano_usd
from chatcore.turns import attached, tool_calls
from chatcore.turns.owner import Owner
from chatcore.usage import budget_locks, budgets, ledger, rollups

log = logging.getLogger(__name__)

STALE_AFTER: Final = timedelta(seconds=30)
_STALE_NEARBY: Final = timedelta(seconds=10)  # a container of the same name that was started again
_LOST_AFTER: Final = timedelta(seconds=10)  # a turn of this process that nothing runs: its beginning was in doubt
_CHORE_LOST: Final = timedelta(minutes=15)  # longer than any call to a model takes
_CHORES: Final = select(UsageMetric.id, UsageMetric.tenant_id, UsageMetric.user_id).where(
    UsageMetric.turn_id.is_(None), STILL_RUNNING, UsageMetric.created_at < bindparam("before", type_=UtcDateTime())
)
_CHARACTERS_A_TOKEN: Final = 4  # the usual rule of thumb for English; these rows are marked `estimated`


def recover(session: Session, this: Owner, running_here: Collection[str] = ()) -> int:
    """Interrupt the turns of dead processes, of hosts whose heartbeat is stale, and our own that nothing runs.

    `running_here`: the turns this process runs. Returns how many were interrupted.
    """
    running = session.scalars(select(TurnRow).where(TurnRow.status == "running")).all()
    lost = [row for row in running if _is_lost(row, this, running_here)]
    chores = session.execute(_CHORES, {"before": utcnow() - _CHORE_LOST}).all()
    payers = {(row.tenant_id, row.user_id) for row in lost} | {(row.tenant_id, row.user_id) for row in chores}
    budget_locks.lock_for_ends(session, payers, [*(row.id for row in lost), *(row.id for row in chores)])
    recovered = sum(_interrupt(session, row) for row in lost)
    if recovered:
        log.warning("interrupted turns recovered", extra={"turns": recovered})
    _settle_chores(session, [row.id for row in chores])
    return recovered


def _is_lost(row: TurnRow, this: Owner, running_here: Collection[str]) -> bool:
    owner = Owner(row.owner_host, row.owner_pid, row.owner_started)
    age = utcnow() - row.heartbeat_at
    if owner == this:
        return row.id not in running_here and age > _LOST_AFTER
    if owner.is_near:
        return owner.is_dead()
    return age > (_STALE_NEARBY if owner.host == this.host else STALE_AFTER)


def _settle_chores(session: Session, row_ids: Collection[str]) -> None:
    """Calls without a turn (titles, summaries) that a dead process left: what they used is unknown."""
    if not row_ids:
        return
    left = update(UsageMetric).where(UsageMetric.id.in_(row_ids), STILL_RUNNING)
    settled = left.values(outcome="interrupted", cost_nano_usd=None, settled_at=utcnow()).returning(UsageMetric.id)
    for row_id in session.scalars(settled.execution_options(synchronize_session=False)).all():
        rollups.note(session, row_id)
        budgets.release(session, row_id)


def _interrupt(session: Session, turn: TurnRow) -> int:
    changed = session.execute(
        update(TurnRow)
        .where(TurnRow.id == turn.id, TurnRow.status == "running")
        .values(status="interrupted", finished_at=utcnow())
        .execution_options(synchronize_session=False)
    )
    if changed_rows(changed) == 0:
        return 0
    said = _words(session, turn.id)
    text, reasoning = (_joined(said, kind) for kind in ("text", "reasoning"))
    parts = [{"type": "reasoning", "text": reasoning, "duration_ms": None}] if reasoning else []
    parts += tool_calls.parts(said)
    if all(part["type"] == "text" for part in parts):
        parts = []
    _settle_rows(session, turn, text, reasoning)
    budgets.release(session, turn.id)
    conversation_store.finish_message(
        session, turn.conversation_id, turn.message_id, text,
        parts=parts, status="interrupted", **_facts(session, turn.id),
    )  # fmt: skip
    asker = session.get(UserRow, turn.user_id)
    attached.link_made(session, as_principal(asker) if asker else None, turn.conversation_id, turn.message_id, parts)
    return 1


def _settle_rows(session: Session, turn: TurnRow, text: str, reasoning: str) -> None:
    """Settle every call that was open. Where two ran side by side, the words are taken to be the later one's; what an
    earlier call said is billed already."""
    rows = select(UsageMetric).where(UsageMetric.turn_id == turn.id).order_by(UsageMetric.attempt.desc())
    found = session.scalars(rows).all()
    billed = sum(row.completion_tokens for row in found if row.outcome != "running")
    text = text[billed * _CHARACTERS_A_TOKEN :]
    for row in (row for row in found if row.outcome == "running"):
        if row.message_id is None:  # a tool's own call: what it used is not known
            ledger.settle_call(session, row.id, ledger.Settlement(outcome="interrupted"))
            continue
        _settle(session, turn, row, text, reasoning)
        text = reasoning = ""


def _facts(session: Session, turn_id: str) -> dict[str, Any]:
    """What a turn's calls used together, and which model was called last."""
    columns = (
        UsageMetric.model, UsageMetric.provider, UsageMetric.prompt_tokens, UsageMetric.completion_tokens,
        UsageMetric.cost_nano_usd, UsageMetric.message_id,
    )  # fmt: skip
    rows = session.execute(select(*columns).where(UsageMetric.turn_id == turn_id).order_by(UsageMetric.attempt)).all()
    if not rows:
        return {}
    prompt, completion = sum(row.prompt_tokens for row in rows), sum(row.completion_tokens for row in rows)
    costs = [row.cost_nano_usd for row in rows]
    last = next((row for row in reversed(rows) if row.message_id is not None), rows[-1])
    return {
        "model": last.model, "provider": last.provider, "prompt_tokens": prompt,
        "completion_tokens": completion, "total_tokens": prompt + completion,
        "cost_nano_usd": None if None in costs else sum(costs),
    }  # fmt: skip


def _words(session: Session, turn_id: str) -> list[Delta]:
    statement = select(ChunkRow.kind, ChunkRow.text).where(ChunkRow.turn_id == turn_id)
    return [Delta(row.kind, row.text) for row in session.execute(statement.order_by(ChunkRow.seq))]


def _joined(said: list[Delta], kind: str) -> str:
    return "".join(delta.text for delta in said if delta.kind == kind)


def _settle(session: Session, turn: TurnRow, row: UsageMetric, text: str, reasoning: str) -> ledger.Settlement:
    window = conversation_store.branch(session, turn.conversation_id, turn.message_id, 2000)
    sent = sum(len(message.content) for message in window.messages if message.id != turn.message_id)
    prompt = select(Agent.system_prompt).where(Agent.id == row.agent_id, Agent.tenant_id == turn.tenant_id)
    sent += len(session.scalar(prompt) or "")
    tokens = Tokens(
        prompt=sent // _CHARACTERS_A_TOKEN,
        completion=(len(text) + len(reasoning)) // _CHARACTERS_A_TOKEN,
        reasoning=len(reasoning) // _CHARACTERS_A_TOKEN,
    )
    prices = Prices(row.price_source, row.unit_prices)  # type: ignore[arg-type]
    settlement = ledger.Settlement(
        outcome="interrupted",
        prompt_tokens=tokens.prompt,
        completion_tokens=tokens.completion,
        reasoning_tokens=tokens.reasoning,
        usage_source="estimated",
        price_source=row.price_source,
        unit_prices=row.unit_prices,
        cost_nano_usd=cost_nano_usd(tokens, prices),
    )
    ledger.settle_call(session, row.id, settlement)
    return settlement
