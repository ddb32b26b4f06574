"""Settling what a dead process left: the words that were written stay, as an interrupted reply."""

import logging
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from chatcore.conversations import store as conversation_store
from chatcore.db import changed_rows
from chatcore.db.tables import STILL_RUNNING, Agent, UsageMetric, UtcDateTime, utcnow
from chatcore.db.tables import Turn as TurnRow
from chatcore.db.tables import TurnChunk as ChunkRow
from chatcore.gateway.prices import Prices, Tokens, cost_nano_usd
from chatcore.turns.owner import Owner
from chatcore.usage import budget_locks, budgets, ledger

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
    text, reasoning = _words(session, turn.id)
    parts: list[dict[str, Any]] = []
    if reasoning:
        parts = [{"type": "reasoning", "text": reasoning, "duration_ms": None}]
        parts += [{"type": "text", "text": text}] if text else []
    open_rows = select(UsageMetric).where(UsageMetric.turn_id == turn.id, UsageMetric.outcome == "running")
    settled = None
    for number, row in enumerate(session.scalars(open_rows.order_by(UsageMetric.attempt.desc())).all()):
        # Where two calls ran side by side, the words are taken to be the later one's.
        said = (text, reasoning) if number == 0 else ("", "")
        one = _settle(session, turn, row, *said)
        settled = settled or one
    budgets.release(session, turn.id)
    conversation_store.finish_message(
        session, turn.conversation_id, turn.message_id, text,
        parts=parts, status="interrupted",
        prompt_tokens=settled.prompt_tokens if settled else None,
        completion_tokens=settled.completion_tokens if settled else None,
        total_tokens=settled.prompt_tokens + settled.completion_tokens if settled else None,
        cost_nano_usd=settled.cost_nano_usd if settled else None,
    )  # fmt: skip
    return 1


def _words(session: Session, turn_id: str) -> tuple[str, str]:
    statement = select(ChunkRow.kind, ChunkRow.text).where(ChunkRow.turn_id == turn_id)
    rows = session.execute(statement.order_by(ChunkRow.seq))
    said: dict[str, list[str]] = {"text": [], "reasoning": []}
    for row in rows:
        said.setdefault(row.kind, []).append(row.text)
    return "".join(said["text"]), "".join(said["reasoning"])


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
