"""From a begun turn to the request that is sent, and from the words that came to the message that is kept."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.conversations import Message, removing, store
from chatcore.db import Database
from chatcore.errors import ChatcoreError, ProviderError
from chatcore.gateway import AttemptResult, Delta, Model, StoredReply, Usage
from chatcore.turns import attached, tool_calls
from chatcore.turns.attempts import CONTINUE_PROMPT
from chatcore.turns.live import LiveTurn
from chatcore.turns.values import Answered, Begun, Spent, TurnEnd, TurnStatus

_BROKE_OFF: Final = ("truncated", "timeout")
_MAX_CONTEXT_MESSAGES: Final = 10_000


class Branch:
    """The branch that a turn's request is made of, read once, and what is sent of it to each model."""

    def __init__(self, db: Database, begun: Begun, data_dir: Path) -> None:
        """`data_dir`: below it lie the attachments. They are read after the transaction, and not on the loop."""
        self._db = db
        self._begun = begun
        self._data_dir = data_dir
        self._made: dict[tuple[bool, bool, bool], list[dict[str, Any]]] = {}
        self.attachments: tuple[str, ...] = ()  # ids, once the branch was read

    async def messages(self, model: Model) -> list[dict[str, Any]]:
        """System prompt, then the branch up to the question, as this model takes it."""
        takes = (model.vision, model.audio, model.tools)
        found = self._made.get(takes)
        if found is None:
            found = self._made[takes] = await self._make(model)
        return found

    async def question(self) -> str:
        """The words of what is to be answered."""
        begun = self._begun
        if begun.sent is not None:
            return str(begun.sent[-1].get("content") or "") if begun.sent else ""
        head = begun.context_head
        found = await self._db.aread(lambda session: store.messages(session, begun.conversation_id, [head]))
        return found[head].content if head in found else ""

    async def _make(self, model: Model) -> list[dict[str, Any]]:
        begun = self._begun
        if begun.sent is not None:
            system = [{"role": "system", "content": begun.system_prompt}] if begun.system_prompt else []
            return [*system, *map(dict, begun.sent)]

        def work(session: Session) -> tuple[tuple[Message, ...], attached.Reader]:
            window = store.branch(session, begun.conversation_id, begun.context_head, _MAX_CONTEXT_MESSAGES)
            return window.messages, attached.reader(session, begun.conversation_id, window.messages, self._data_dir)

        branch, read = await self._db.aread(work)
        self.attachments = tuple(str(part["attachment_id"]) for message in branch for part in message.parts
                                 if "attachment_id" in part)  # fmt: skip
        make = partial(
            messages, begun.system_prompt, branch, model, read,
            continuing=begun.continuing, with_tools=bool(begun.wanted) and model.tools,
        )  # fmt: skip
        return await asyncio.to_thread(make) if read.has_files else make()


def messages(
    system_prompt: str,
    branch: Sequence[Message],
    model: Model | None = None,
    read: attached.Reader | None = None,
    *,
    continuing: bool = False,
    with_tools: bool = False,
) -> list[dict[str, Any]]:
    """The branch in OpenAI's form. A message with nothing in it is left out, one whose words were removed, and so are
    the system and tool messages that an import may have brought: they were for another product's request.

    `model`, `read`: without them attachments are only named. `with_tools`: with the calls of tools in earlier replies,
    which some providers take only where the request offers tools. Reads files: not for a loop.
    """
    sent: list[dict[str, Any]] = [{"role": "user", "content": CONTINUE_PROMPT}] if continuing else []
    # From the last to the first: where there are more attachments than fit into a request, the newest go with it.
    for number, message in enumerate(reversed(branch)):
        if message.role not in ("user", "assistant") or removing.MARK in message.meta:
            continue
        if with_tools and message.role == "assistant" and tool_calls.has_run(message):
            sent += reversed(tool_calls.stored_messages(message, whole=continuing and number == 0))
        # No provider takes files in a reply, where tools may have put some.
        elif found := message.content if message.role == "assistant" else attached.content(message, model, read):
            sent.append({"role": message.role, "content": found})
    if system_prompt:
        sent.append({"role": "system", "content": system_prompt})
    return sent[::-1]


class Reply:
    """A reply while it is said: feeds the live buffer and, at the end, makes the message's parts."""

    def __init__(self, begun: Begun, live: LiveTurn) -> None:
        self._begun = begun
        self._live = live
        self._started = time.monotonic()
        self._thinking_since: float | None = None
        self._thought_ms: int | None = None
        self._first_word: float | None = None
        self._notes: dict[str, Any] = {}

    def note(self, name: str, value: Any) -> None:
        """Something that the reply's metadata is to say."""
        self._notes[name] = value

    def take(self, batch: list[Delta]) -> None:
        """Words have come."""
        now = time.monotonic()
        self._first_word = self._first_word or now
        for delta in batch:
            if delta.kind == "reasoning" and self._thinking_since is None:
                self._thinking_since = now
            elif delta.kind != "reasoning" and self._thinking_since is not None and self._thought_ms is None:
                self._thought_ms = round((now - self._thinking_since) * 1000)
        self._live.append(batch)

    def end(self, answered: Answered, status: TurnStatus | None = None) -> TurnEnd:
        """The turn's end. `status` overrides what follows from the outcome."""
        begun, result = self._begun, answered.result
        if status is None and answered.refusal is not None:
            status = "failed"
        elif status is None and answered.settled:
            status = "stopped"
        elif status is None:
            status = "complete" if result.outcome == "ok" else "stopped" if answered.stopped else "failed"
        model = answered.step.model
        meta = self._meta(result.outcome, answered.spent, model.name)
        if answered.trimmed:
            meta["trimmed"] = answered.trimmed
        if answered.before:
            meta["attempts"] = [vars(one) for one in answered.before]
        others = len({one.model for one in answered.before if one.code} - {model.name})
        restart = answered.restart.model.name if answered.restart else None
        if restart in begun.tried or restart == model.name:
            restart = None  # each model begins once, or two that break off would take turns for ever
        parts = self._parts(result, model.provider, None if answered.stopped else others)
        if answered.refusal is not None:
            parts.append(error_part(answered.refusal, model.provider))
        if answered.rounds:
            meta["tool_rounds"] = answered.rounds
        return TurnEnd(
            begun, status, self._live.text(), parts, result, meta, None if answered.settled else answered.ledger_id,
            answered.spent, model.name, model.provider, *self._times(answered), restart, unsettled=answered.unsettled,
        )  # fmt: skip

    def end_cached(self, stored: StoredReply, seconds: float) -> TurnEnd:
        """The end of a turn that an earlier reply served: nothing was called, and what that one cost is saved."""
        result = replace(_nothing("cached", None, self._begun), finish_reason="stop", ttft_ms=0)
        result = replace(result, latency_ms=round(seconds * 1000))
        saved = stored.cost_nano_usd or 0
        end = self._end(result, "complete")
        return replace(end, meta=end.meta | {"cached": {"saved_nano_usd": saved}}, saved_nano_usd=saved)

    def end_refused(self, error: ChatcoreError) -> TurnEnd:
        """The end of a turn for which nothing may be called; its ledger row, if any, is gone."""
        result = _nothing("error", None, self._begun)
        end = self._end(result, "failed")
        parts = [error_part(error, self._begun.request.model.provider)]
        return replace(end, parts=parts, ledger_id=None)

    def end_unsent(self) -> TurnEnd:
        """Stopped before anything was sent: no tokens, and the cost is known to be nothing."""
        result = _nothing("stopped", None, self._begun)
        return self._end(result, "stopped")

    def end_broken(self, error: ProviderError, ledger_id: str | None) -> TurnEnd:
        """The end of a turn that our own code broke: its cost is unknown. `ledger_id`: of the call begun last."""
        result = replace(_nothing("error", error, self._begun), cost_nano_usd=None)
        end = self._end(result, "failed")
        return replace(end, ledger_id=ledger_id, defect=True)

    def _end(self, result: AttemptResult, status: TurnStatus) -> TurnEnd:
        begun = self._begun
        model, spent = begun.request.model, Spent(cost_nano_usd=result.cost_nano_usd)
        parts, meta = self._parts(result, model.provider), self._meta(result.outcome, spent, model.name)
        return TurnEnd(
            begun, status, self._live.text(), parts, result, meta, begun.ledger_id, spent, model.name, model.provider,
            result.ttft_ms, result.latency_ms,
        )  # fmt: skip

    def _times(self, answered: Answered) -> tuple[int | None, int]:
        """Milliseconds to the first word and to the end: of the one call, or of all from the first one's beginning."""
        if not answered.before and not answered.rounds:
            return answered.result.ttft_ms, answered.result.latency_ms
        first = None if self._first_word is None else round((self._first_word - self._started) * 1000)
        return first, round((time.monotonic() - self._started) * 1000)

    def _meta(self, outcome: str, spent: Spent, model: str) -> dict[str, Any]:
        begun = self._begun
        meta: dict[str, Any] = {"trace_id": begun.request.trace_id, "outcome": outcome, **begun.place, **self._notes}
        meta["usage_source"] = "estimated" if spent.estimated else "provider" if spent.known else "none"
        if begun.asked != model:
            meta["asked"] = begun.asked
        if begun.why:
            meta["why"] = begun.why
        return meta

    def _parts(self, result: AttemptResult, provider: str, others: int | None = 0) -> list[dict[str, Any]]:
        """Reasoning, tool calls, text with its charts and tables, error. Empty where all is text: `content` has it.

        `others`: how many other models failed before; None where the error is nobody's business.
        """
        parts: list[dict[str, Any]] = []
        if reasoning := self._live.text("reasoning"):
            if self._thought_ms is None and self._thinking_since is not None:
                self._thought_ms = round((time.monotonic() - self._thinking_since) * 1000)
            parts.append({"type": "reasoning", "text": reasoning, "duration_ms": self._thought_ms})
        parts.extend(tool_calls.parts(self._live.deltas))
        if result.error is not None and others is not None:
            parts.append(error_part(result.error, provider, others))
        return [] if all(part["type"] == "text" for part in parts) else parts


def words_of(reply: Message) -> list[Delta]:
    """The words of a stored reply, as they were said."""
    found = [Delta("reasoning", part["text"]) for part in reply.parts if part.get("type") == "reasoning"]
    for part in reply.parts:
        if part.get("type") == "tool_call":
            call = {name: part.get(name, "") for name in ("id", "name", "arguments", "round") if name in part}
            found.append(Delta("tool_call", json.dumps(call)))
            if part.get("state") in ("success", "error") and part.get("id"):
                said = {name: part.get(name) for name in ("id", "state", "result", "duration_ms")} | {"parts": []}
                found.append(Delta("tool_result", json.dumps(said)))
    return [*found, Delta("text", reply.content)] if reply.content else found


def not_paid(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of a failed reply for which another model was not asked, as no money is left for it."""
    more = " Another model was not asked: what is left of the budget does not pay for it."
    return [part | {"message": part["message"] + more} if part["type"] == "error" else part for part in parts]


def error_part(error: ChatcoreError, provider: str, others: int = 0) -> dict[str, Any]:
    """An error as a part of a message: what a person reads, and whether Retry makes sense. `others`: how many other
    models failed before."""
    retryable = error.retryable if isinstance(error, ProviderError) else True
    part = {"type": "error", "code": error.code, "message": str(error), "retryable": retryable, "provider": provider}
    if others:
        part["message"] = f"{error} {'Another model' if others == 1 else f'{others} other models'} failed before it."
    if (retry_after := getattr(error, "retry_after", None)) is not None:
        part["retry_after"] = retry_after
    return part


def _nothing(outcome: Any, error: ProviderError | None, begun: Begun) -> AttemptResult:
    """Where nobody was called nothing is owed, whatever a word would have cost."""
    prices = begun.request.model.prices
    return AttemptResult(outcome, error, None, Usage(), prices.source, 0, None, 0, prices.unit or {})


def can_continue(message: Message) -> bool:
    """Whether a reply ended before it was complete, in a way that can be gone on with."""
    return message.status in ("stopped", "interrupted") or (
        bool(message.content) and (message.finish_reason == "length" or message.meta.get("outcome") in _BROKE_OFF)
    )
