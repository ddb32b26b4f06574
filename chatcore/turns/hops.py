"""The calls of one turn: a model, the tools that it asks for, and the model again, until it asks for none.

Each call to a model is a hop: attempts with ledger rows of their own. The rows of a hop that another follows are
settled when it ends; those of the last one by whoever stores the turn's end.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.config import Settings
from chatcore.db import Database
from chatcore.errors import BudgetExceeded, ChatcoreError, DatabaseError
from chatcore.gateway import CompletionRequest, Delta, Gateway, Model, Route, Step
from chatcore.tools import ToolFailed
from chatcore.turns import admission, tool_calls
from chatcore.turns.attempts import Attempts
from chatcore.turns.live import LiveTurn
from chatcore.turns.replies import Branch
from chatcore.turns.tool_calls import Called, Ran
from chatcore.turns.tool_runs import ToolRuns
from chatcore.turns.values import Answered, Begun, Spent, Tried, Work, settlement
from chatcore.usage import ledger

log = logging.getLogger(__name__)

SEARCH: Final = "search_knowledge"
_MOST_SEARCHED: Final = 2_000  # characters of the question
_FOUND: Final = "This was found for the question above, before you were asked:"
_NOT_RUN: Final = "Not run: the reply has had as many rounds of tools as it may have."


class TooManyRounds(ToolFailed):
    """The model goes on asking for tools where it may have none any more."""

    code = "too_many_rounds"


@dataclass
class _Hop:
    """One call to a model that is to be made."""

    route: Route
    step: Step
    ledger_id: str
    call: ledger.NewCall


class Hops:
    """Runs one turn's. Belongs to the engine's loop."""

    def __init__(
        self,
        db: Database,
        gateway: Gateway,
        settings: Settings,
        begun: Begun,
        branch: Branch,
        live: LiveTurn,
        tools: ToolRuns,
    ) -> None:
        self._db = db
        self._gateway = gateway
        self._own = settings.own
        self._begun = begun
        self._branch = branch
        self._live = live
        self._tools = tools
        self._round = 1
        self._extra: list[dict[str, Any]] = []  # what models are sent behind the question: rounds of tools
        self._ids: set[str] = set()
        self._said: list[Delta] = []  # by the hop that runs
        self._spent = Spent()
        self._before: tuple[Tried, ...] = ()
        self._unsettled: list[tuple[str, ledger.Settlement]] = []
        self._number = begun.call.attempt  # of the call that was begun last
        self.attempts: Attempts | None = None
        self.out_of_money = False

    def next_number(self) -> int:
        """The place of a further call in the order of the turn's."""
        self._number += 1
        return self._number

    def add(self, spent: Spent) -> None:
        """A tool called a model, which used this."""
        self._spent += spent

    async def run(self, take: Callable[[list[Delta]], None], stop: asyncio.Event) -> Answered:
        """Answer. `take`: is given the words that are to be kept. Nothing but defects of our own is raised."""
        begun = self._begun
        assert begun.step is not None
        assert begun.ledger_id is not None
        hop: _Hop | None = _Hop(begun.route, begun.step, begun.ledger_id, begun.call)
        if begun.search_first and self._tools.has(SEARCH):
            await self._search_first()
        while hop is not None:
            answered = await self._hop(hop, take, stop)
            calls = self._called()
            if answered.result.outcome != "ok" or not calls:
                return self._whole(answered)
            answered = await self._settled(answered)
            try:
                hop = await self._used(calls, answered, stop)
            except ChatcoreError as error:
                self.out_of_money |= isinstance(error, BudgetExceeded)
                return self._whole(replace(answered, refusal=error))
        return self._whole(replace(answered, stopped=True))

    # ---- the model

    def request(self) -> CompletionRequest:
        """What is sent next, but for the messages."""
        # To continue means nothing without the question and the reply that are to be gone on with.
        keep = (3 if self._begun.continuing else 1) + len(self._extra)
        request = replace(self._begun.request, keep_last=keep)
        if not (schemas := self._tools.schemas()):
            return request
        parameters: dict[str, Any] = {**request.parameters, "tools": schemas}
        if self._round > self._own.tool_rounds:
            parameters["tool_choice"] = "none"
        return replace(request, parameters=parameters)

    async def _hop(self, hop: _Hop, take: Callable[[list[Delta]], None], stop: asyncio.Event) -> Answered:
        """Ask the model once, with failover and all."""
        begun, self._said = self._begun, []
        work = Work(
            self.request(), self._messages, hop.route, hop.step, hop.ledger_id, hop.call,
            holder=None if begun.reserved is None else begun.turn_id,
            # A new reply beside this one would run the tools again.
            mid_reply="continue" if begun.compared or self._extra else self._own.mid_reply,
        )  # fmt: skip
        self.attempts = Attempts(self._db, self._gateway, work, lambda batch: take(self._heard(batch)), stop)
        answered = await self.attempts.run()
        self.out_of_money |= self.attempts.out_of_money
        self._number = max(self._number, self.attempts.number)
        self._spent += answered.spent
        self._before += answered.before
        return answered

    async def _messages(self, model: Model) -> list[dict[str, Any]]:
        before = await self._branch.messages(model)
        if model.tools or not self._extra:
            return [*before, *self._extra]
        # What was found before this model was asked, for one that knows nothing of tools.
        found = [str(one["content"]) for one in self._extra if one["role"] == "tool"]
        return [*before, {"role": "user", "content": "\n\n".join([_FOUND, *found])}]

    def _heard(self, batch: list[Delta]) -> list[Delta]:
        """Words of the model: its calls with ids of their own, and what a later hop says apart from what was said."""
        kept: list[Delta] = []
        for delta in batch:
            if delta.kind == "tool_call":
                at = sum(len(one.text) for one in [*self._live.deltas, *kept] if one.kind == "text")
                kept += [one.delta() for one in tool_calls.called([delta], self._round, at, self._ids)]
                continue
            if all(one.kind != delta.kind for one in self._said):
                kept += self._break(delta)
            self._said.append(delta)
            kept.append(delta)
        return kept

    def _break(self, first: Delta) -> list[Delta]:
        """A blank line before the first words of a hop, where there were words before."""
        before = next((one.text for one in reversed(self._live.deltas) if one.kind == first.kind), "")
        return [Delta(first.kind, "\n\n")] if before and not before.endswith("\n") else []

    def _called(self) -> list[Called]:
        """The calls of the hop that ended, as they were told; none where the turn has no tools."""
        if not self._tools.schemas():
            return []
        told = [json.loads(one.text) for one in self._live.deltas if one.kind == "tool_call"]
        return [Called(**one) for one in told if one["round"] == self._round]

    # ---- the tools

    async def _search_first(self) -> None:
        """What the knowledge bases say to the question, before the model is asked."""
        question = await self._branch.question()
        call = Called("search_first", SEARCH, json.dumps({"question": question[:_MOST_SEARCHED]}), 0, 0)
        self._ids.add(call.id)
        self._live.append([call.delta()])
        self._extra += tool_calls.request_messages("", await self._tools.run([call]))

    async def _used(self, calls: Sequence[Called], answered: Answered, stop: asyncio.Event) -> _Hop | None:
        """Run the tools, and open the next hop; None where the turn was stopped meanwhile.

        Raises `ChatcoreError` where there is none to be.
        """
        if self._round > self._own.tool_rounds:
            self._live.append([Ran(call, "error", _NOT_RUN).delta() for call in calls])
            raise TooManyRounds(
                f"The model went on asking for tools after {self._own.tool_rounds} rounds, so it was stopped. "
                "Try again, or ask for less at once."
            )
        ran = await self._tools.run(calls)
        if stop.is_set():
            return None
        if name := self._tools.confused:
            raise ToolFailed(
                f"The model called {name[:64]} twice in a way that cannot be, so it was stopped. Try again, or choose "
                "another model."
            )
        said = "".join(one.text for one in self._said if one.kind == "text")
        self._extra += tool_calls.request_messages(said, ran)
        self._round += 1
        return await self._opened(answered.step.model)

    # ---- the ledger

    async def _settled(self, answered: Answered) -> Answered:
        """The hop with its rows settled, before anything else is done."""
        rows = [*answered.unsettled, (answered.ledger_id, settlement(answered.result))]

        def work(session: Session) -> None:
            for row_id, settled in rows:
                ledger.settle_call(session, row_id, settled)

        try:
            await self._db.awrite(work)
        except DatabaseError:
            log.exception("a hop could not be settled yet; the turn's end does it")
            self._unsettled += rows
        return replace(answered, unsettled=(), settled=True)

    async def _opened(self, before: Model) -> _Hop:
        """The next hop, with its row. Raises `BudgetExceeded`, `BreakerOpen`, `DatabaseError`."""
        begun = self._begun
        assert begun.caller is not None
        route = self._gateway.planner.route(begun.caller, before.name, begun.task)
        step = route.first()
        if step is None:
            raise route.refusal()
        model = step.model
        call = replace(
            begun.call, purpose="tool", attempt=self.next_number(), provider=model.provider, model=model.name,
            provider_model=model.target, key_source=step.key_source, price_source=model.prices.source,
            unit_prices=model.prices.unit or {},
        )  # fmt: skip
        request = replace(self.request(), model=model, messages=await self._messages(model))
        holder = None if begun.reserved is None else begun.turn_id

        def work(session: Session) -> str:
            admission.hold(session, holder, call, request, 0)
            return ledger.open_call(session, call)

        return _Hop(route, step, await self._db.awrite(work), call)

    def _whole(self, answered: Answered) -> Answered:
        """The end of the last hop, with what all of them tried and used."""
        return replace(
            answered, before=self._before, spent=self._spent, rounds=self._round - 1,
            unsettled=(*answered.unsettled, *self._unsettled),
        )  # fmt: skip
