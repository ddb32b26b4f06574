"""The SQL of turns: beginning, chunks, stop requests, ends. Functions work inside the caller's transaction."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import bindparam, delete, exists, insert, select, update
from sqlalchemy.orm import Session

from chatcore import agents, errors
from chatcore.accounts.principal import Principal
from chatcore.conversations import Conversation, Message, store
from chatcore.conversations.access import ALLOWED, scope
from chatcore.db import changed_rows
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import ToolDecision as DecisionRow
from chatcore.db.tables import Turn as TurnRow
from chatcore.db.tables import TurnChunk as ChunkRow
from chatcore.db.tables import User as UserRow
from chatcore.db.tables import utcnow
from chatcore.gateway import CompletionRequest, Delta, Route
from chatcore.ids import new_id
from chatcore.turns import admission, attached
from chatcore.turns.owner import Owner
from chatcore.turns.values import ActiveTurn, Begun, Choice, TurnEnd, TurnSettings, settlement
from chatcore.usage import budgets, ledger

_CHUNKS_KEPT: Final = timedelta(seconds=60)
_CHUNKS_AT_ONCE: Final = 50  # that one read of a follower takes: ten seconds of a reply


def begin(
    session: Session,
    principal: Principal,
    owner: Owner,
    conversation: Conversation,
    parent_id: str,
    choice: Choice,
    route: Route,
    *,
    added: int,
    continuing: bool = False,
    stream: bool = True,
) -> Begun:
    """Write the empty reply under `parent_id`, the turn and the ledger row of its first call, where there is one to
    make. `added`: messages written with it."""
    agent = agents.find(session, principal, choice.agent_id)
    defaults, settings = TurnSettings.from_dict(agent.parameters if agent else {}), choice.settings
    turn_id, message_id, trace_id = new_id("turn"), new_id("msg"), new_id("trace")
    step = route.first()
    model, agent_id = step.model if step else choice.model, agent.id if agent else None
    store.add_message(
        session, principal, conversation.id,
        id=message_id, parent_id=parent_id, role="assistant", content="", parts=[], status="streaming", turn_id=turn_id,
        agent_id=agent_id, model=model.name, provider=model.provider,
        meta={"trace_id": trace_id, **place_of(conversation)},
    )  # fmt: skip
    values = {"id": turn_id, "tenant_id": principal.tenant_id, "user_id": principal.user_id, "status": "running"}
    values |= {"conversation_id": conversation.id, "message_id": message_id}
    session.execute(
        _INSERT_TURN, values | {"owner_host": owner.host, "owner_pid": owner.pid, "owner_started": owner.started}
    )
    call = ledger.NewCall(
        tenant_id=principal.tenant_id, user_id=principal.user_id, provider=model.provider, model=model.name,
        provider_model=model.target, trace_id=trace_id, tier=principal.tier, conversation_id=conversation.id,
        message_id=message_id, turn_id=turn_id, agent_id=agent_id, price_source=model.prices.source,
        unit_prices=model.prices.unit or {}, key_source=step.key_source if step else "shared",
    )  # fmt: skip
    ledger_id = ledger.open_call(session, call) if step else None
    chosen = {"model": choice.picked.asked, "agent_id": agent_id, "settings": choice.remembered}
    store.advance(session, conversation.id, message_id, added + 1, **chosen)
    request = CompletionRequest(
        model=model,
        messages=[],
        trace_id=trace_id,
        temperature=settings.temperature if settings.temperature is not None else defaults.temperature,
        max_tokens=settings.max_tokens or defaults.max_tokens,
        stream=stream,
    )
    system_prompt = agents.prompt_of(session, principal, agent) if agent else ""
    return Begun(
        turn_id, conversation.id, message_id, ledger_id, request, system_prompt, parent_id, continuing, call, route,
        step, asked=choice.picked.asked, why=choice.picked.why, place=place_of(conversation), who=principal,
        agent=agent, caller=choice.caller, task=choice.task, search_first=choice.search_first and not continuing,
    )  # fmt: skip


def place_of(conversation: Conversation) -> dict[str, str]:
    """What a message's metadata says of the workshop's step that its conversation belongs to."""
    place = {"session_id": conversation.workshop_session_id, "step_id": conversation.step_id}
    return {name: value for name, value in place.items() if value is not None}


def reckon(session: Session, conversation_id: str, head_id: str) -> int:
    """About how many prompt tokens the branch up to `head_id` has: what the provider counted up to the reply above it,
    and as many as the bytes that came since. The engine looks again when it has the whole request."""
    tokens, following = 0, head_id
    for _ in range(2):
        message = store.messages(session, conversation_id, [following]).get(following)
        if message is None:
            break
        following = message.parent_id or ""
        counted = (message.prompt_tokens or 0) + (message.completion_tokens or 0)
        media = sum(part["type"] == "media" for part in message.parts)
        tokens += counted or admission.bound([{"content": message.content}]) + media * admission.PICTURE
    return tokens


_INSERT_TURN: Final = insert(TurnRow.__table__)  # type: ignore[arg-type]
_RUNNING: Final = (
    select(TurnRow.id, TurnRow.conversation_id, TurnRow.message_id, TurnRow.stop_requested_at)
    .where(TurnRow.conversation_id == bindparam("conversation"), TurnRow.status == "running")
    .order_by(TurnRow.id)
)
_TURN: Final = (
    select(TurnRow.id)
    .join(ConversationRow, ConversationRow.id == TurnRow.conversation_id)
    .where(TurnRow.id == bindparam("id"), ALLOWED["reply"])
)
_FINISH: Final = update(TurnRow.__table__).where(  # type: ignore[arg-type]
    TurnRow.__table__.c.id == bindparam("of"), TurnRow.__table__.c.status.in_(("running", "interrupted"))
)


def running(session: Session, conversation_id: str) -> bool:
    """Whether a turn runs in a conversation."""
    return session.execute(_RUNNING, {"conversation": conversation_id}).first() is not None


def all_running(session: Session, conversation_id: str) -> list[ActiveTurn]:
    """The turns that run in a conversation, in the order of their beginning."""
    rows = session.execute(_RUNNING, {"conversation": conversation_id})
    return [ActiveTurn(row.id, row.conversation_id, row.message_id, row.stop_requested_at is not None) for row in rows]


def require_turn(session: Session, principal: Principal, turn_id: str) -> None:
    """Raises `NotFound` unless the turn is of a conversation that the principal may reply in."""
    if session.scalar(_TURN, scope(principal) | {"id": turn_id}) is None:
        raise errors.NotFound("This turn does not exist, or it is not yours.")


def add_chunks(session: Session, tenant_ids: Mapping[str, str], chunks: Sequence[tuple[str, int, Delta]]) -> None:
    """Write words of running turns: (turn, number, delta) each."""
    rows = [
        {"turn_id": turn_id, "seq": seq, "tenant_id": tenant_ids[turn_id], "kind": delta.kind, "text": delta.text}
        for turn_id, seq, delta in chunks
    ]
    if rows:
        session.execute(insert(ChunkRow), rows)


def missing(session: Session, turn_ids: Sequence[str]) -> set[str]:
    """Those of the turns that were erased."""
    return set(turn_ids) - set(session.scalars(select(TurnRow.id).where(TurnRow.id.in_(turn_ids))))


def forget_chunks(session: Session, turn_id: str, seq: int) -> None:
    """Remove the chunks from number `seq` on: a commit that seemed to fail may have written them after all."""
    late = delete(ChunkRow).where(ChunkRow.turn_id == turn_id, ChunkRow.seq >= seq)
    session.execute(late.execution_options(synchronize_session=False))


def chunks_after(session: Session, turn_id: str, seq: int) -> tuple[list[tuple[int, Delta]], bool]:
    """Some chunks numbered above `seq`, and whether more may follow. The status is read first: words written before the
    end are then among the chunks."""
    status = session.scalar(select(TurnRow.status).where(TurnRow.id == turn_id))
    rows = session.execute(
        select(ChunkRow.seq, ChunkRow.kind, ChunkRow.text)
        .where(ChunkRow.turn_id == turn_id, ChunkRow.seq > seq)
        .order_by(ChunkRow.seq)
        .limit(_CHUNKS_AT_ONCE)
    ).all()
    return [(row.seq, Delta(row.kind, row.text)) for row in rows], status == "running" or len(rows) == _CHUNKS_AT_ONCE


def reply(session: Session, turn_id: str) -> Message | None:
    """The reply that a turn wrote."""
    found = session.execute(select(TurnRow.conversation_id, TurnRow.message_id).where(TurnRow.id == turn_id)).first()
    return store.messages(session, found.conversation_id, [found.message_id]).get(found.message_id) if found else None


def heartbeat(session: Session, turn_ids: Sequence[str]) -> None:
    """Say that this process still runs them."""
    session.execute(
        update(TurnRow)
        .where(TurnRow.id.in_(turn_ids))
        .values(heartbeat_at=utcnow())
        .execution_options(synchronize_session=False)
    )


def stop_requested(session: Session, turn_ids: Sequence[str]) -> list[str]:
    """Those of the turns that somebody asked to stop."""
    statement = select(TurnRow.id).where(TurnRow.id.in_(turn_ids), TurnRow.stop_requested_at.is_not(None))
    return list(session.scalars(statement))


def decide(session: Session, principal: Principal, turn_id: str, call_id: str, *, approved: bool) -> None:
    """Keep the person's word to a call of a tool. Raises `NotFound`, `Forbidden` to others, `Conflict` where there was
    a word already."""
    require_turn(session, principal, turn_id)
    asker = session.scalar(select(TurnRow.user_id).where(TurnRow.id == turn_id))
    if asker != principal.user_id:
        raise errors.Forbidden("Only who asked the question can say whether its tools may run.")
    if session.get(DecisionRow, (turn_id, call_id)) is not None:
        raise errors.Conflict("This was decided already.")
    session.add(DecisionRow(
        turn_id=turn_id, call_id=call_id, tenant_id=principal.tenant_id, user_id=principal.user_id, approved=approved
    ))  # fmt: skip


def decisions(session: Session, turn_ids: Sequence[str]) -> list[tuple[str, str, bool]]:
    """What was said to calls of these turns: turn, call, whether it may run."""
    statement = select(DecisionRow.turn_id, DecisionRow.call_id, DecisionRow.approved)
    return [(row.turn_id, row.call_id, row.approved) for row in session.execute(statement.where(
        DecisionRow.turn_id.in_(turn_ids)
    ))]  # fmt: skip


def request_stop(session: Session, turn_id: str) -> None:
    """Leave word for the process that runs it."""
    session.execute(
        update(TurnRow)
        .where(TurnRow.id == turn_id, TurnRow.status == "running", TurnRow.stop_requested_at.is_(None))
        .values(stop_requested_at=utcnow())
        .execution_options(synchronize_session=False)
    )


def finish(session: Session, end: TurnEnd) -> bool:
    """Write a turn's end: the reply, its ledger row, the turn's status. False when it had an end before.

    Only the process that runs a turn calls this, and it knows best: where another one took it for dead meanwhile and
    marked it interrupted, the true end replaces that.
    """
    begun, result, spent = end.begun, end.result, end.spent
    changed = session.execute(_FINISH, {"of": begun.turn_id, "status": end.status, "finished_at": utcnow()})
    first = changed_rows(changed) > 0
    # Erased while it ran: what it cost stays in the ledger.
    if first or session.get(TurnRow, begun.turn_id) is None:
        interrupted: ledger.Outcome | None = "interrupted" if end.status == "interrupted" else None
        if end.ledger_id is not None:
            settled = settlement(result, interrupted, end.saved_nano_usd)
            ledger.settle_call(session, end.ledger_id, settled)
        for ledger_id, settled in end.unsettled:
            ledger.settle_call(session, ledger_id, settled)
        if end.defect:
            ledger.abandon(session, begun.turn_id)
        if begun.reserved is not None:
            budgets.release(session, begun.turn_id)
    if not first:
        return False
    store.finish_message(
        session, begun.conversation_id, begun.message_id, end.content,
        parts=end.parts, status=end.status, finish_reason=result.finish_reason, model=end.model, provider=end.provider,
        prompt_tokens=spent.prompt_tokens if spent.known else None,
        completion_tokens=spent.completion_tokens if spent.known else None,
        total_tokens=spent.prompt_tokens + spent.completion_tokens if spent.known else None,
        cost_nano_usd=spent.cost_nano_usd, ttft_ms=end.ttft_ms, latency_ms=end.latency_ms, meta=end.meta,
    )  # fmt: skip
    attached.link_made(session, begun.who, begun.conversation_id, begun.message_id, end.parts)
    return True


def purge_chunks(session: Session) -> None:
    """Remove the chunks of turns that ended more than a minute ago: their words are in the messages."""
    ended = exists().where(
        TurnRow.id == ChunkRow.turn_id, TurnRow.status != "running", TurnRow.finished_at < utcnow() - _CHUNKS_KEPT
    )
    session.execute(delete(ChunkRow).where(ended).execution_options(synchronize_session=False))


def of_disabled(session: Session, turn_ids: Sequence[str]) -> list[str]:
    """Those of the turns whose person was disabled since they asked."""
    statement = select(TurnRow.id).join(UserRow, UserRow.id == TurnRow.user_id)
    return list(session.scalars(statement.where(TurnRow.id.in_(turn_ids), UserRow.disabled_at.is_not(None))))
