"""Calls to models that tools make in a turn: each with its ledger row, within budgets, ended with the turn."""

import asyncio
import base64
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from chatcore.config import Settings
from chatcore.db import Database
from chatcore.errors import ModelUnavailable
from chatcore.gateway import CompletionRequest, Delta, Gateway, Model, Task
from chatcore.turns import admission
from chatcore.turns.calls import Calls, Opening
from chatcore.turns.values import Begun, Spent
from chatcore.usage import ledger

Needs = Literal["text", "vision", "audio"]

_LACKING: Final = {
    "text": "There is no model that could answer this.",
    "vision": "There is no model here that can see. Ask an admin for one.",
    "audio": "There is no model here that can hear. Ask an admin for one.",
}


class ToolModels:
    """`tools.ModelAccess` for one turn. Belongs to the engine's loop."""

    def __init__(
        self,
        db: Database,
        gateway: Gateway,
        settings: Settings,
        begun: Begun,
        stop: asyncio.Event,
        next_number: Callable[[], int],
        add: Callable[[Spent], None],
    ) -> None:
        """`next_number`: the place of a call in the order of the turn's. `add`: is told what each used."""
        self._db = db
        self._gateway = gateway
        self._reply_tokens = settings.own.budget_reply_tokens
        self._begun = begun
        self._stop = stop
        self._next_number = next_number
        self._add = add
        self._calls = Calls(db, gateway)

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        needs: Needs = "text",
        max_tokens: int | None = None,
    ) -> str:
        """See `tools.ModelAccess`."""
        sent = [dict(one) for one in messages]
        task = Task(images=int(needs == "vision"), sounds=int(needs == "audio"))
        opening = self._opening(self._able(model, needs), task, "tool")
        request = CompletionRequest(opening.step.model, sent, opening.call.trace_id, keep_last=len(sent))
        deltas = await self._made(opening, request, admission.bound(sent), max_tokens)
        return "".join(delta.text for delta in deltas if delta.kind == "text")

    async def embed(self, texts: Sequence[str], model: str) -> list[list[float]]:
        """See `tools.ModelAccess`."""
        opening = self._opening(self._gateway.catalog.get(model), Task(embeds=True), "embedding")
        sent: list[dict[str, Any]] = [{"role": "user", "content": text} for text in texts]
        request = CompletionRequest(
            opening.step.model, sent, opening.call.trace_id, keep_last=len(sent), stream=False, embed=True
        )
        deltas = await self._made(opening, request, admission.bound(sent), None)
        return [vector(delta.text) for delta in deltas if delta.kind == "vector"]

    def _able(self, name: str | None, needs: Needs) -> Model:
        """The model to be asked. Raises `ModelUnavailable`."""

        def can(model: Model) -> bool:
            return {"text": not model.embeds, "vision": model.vision, "audio": model.audio}[needs]

        if name is not None:
            return self._gateway.catalog.get(name)
        own = self._begun.request.model
        assert self._begun.caller is not None
        choices = [own, *self._gateway.planner.choices(self._begun.caller)]
        found = next((one for one in choices if one.available and not one.alias_of and can(one)), None)
        if found is None:
            raise ModelUnavailable(_LACKING[needs])
        return found

    def _opening(self, model: Model, task: Task, purpose: ledger.Purpose) -> Opening:
        begun = self._begun
        assert begun.caller is not None
        assert begun.who is not None
        route = self._gateway.planner.route(begun.caller, model.name, task)
        opening = Opening.of(begun.who, route, purpose, begun.request.trace_id, begun.conversation_id)
        # Without the message's id: what it uses is added to the turn's, and it says none of the reply's words.
        call = replace(opening.call, turn_id=begun.turn_id, agent_id=begun.call.agent_id, attempt=self._next_number())
        return replace(opening, call=call)

    async def _made(
        self, opening: Opening, request: CompletionRequest, bound: int, max_tokens: int | None
    ) -> list[Delta]:
        try:
            limit = await self._db.awrite(lambda session: opening.write(session, bound, max_tokens, self._reply_tokens))
        except asyncio.CancelledError:
            await self._calls.interrupted(opening)
            raise
        if not request.embed:
            request = replace(request, max_tokens=limit)

        async def sent(_: Model) -> list[dict[str, Any]]:
            return request.messages

        said: list[Delta] = []
        mid_reply = "fail" if request.embed else "continue"
        attempts = self._calls.attempts(opening, request, sent, said.extend, self._stop, mid_reply=mid_reply)
        answered = await self._calls.make(opening, attempts)
        self._add(answered.spent)
        if answered.result.error is not None:
            raise answered.result.error
        if answered.stopped:
            raise asyncio.CancelledError
        return said


def vector(text: str) -> list[float]:
    """The numbers of a `vector` delta."""
    return array("f", base64.b64decode(text)).tolist()
