"""What a reply means to later requests: it is kept for identical ones, and its tokens count against the limits."""

import asyncio
import logging

from chatcore import metrics
from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import utcnow
from chatcore.gateway import CompletionRequest, Gateway, Step, StoredReply
from chatcore.gateway.cache import may_be_kept
from chatcore.turns.live import LiveTurn
from chatcore.turns.values import Answered
from chatcore.usage import ledger
from chatcore.usage.limits import Limits

log = logging.getLogger(__name__)


def payer(call: ledger.NewCall) -> Principal:
    """Whose limits a call counts against."""
    return Principal(call.user_id, call.tenant_id, "", "", "member", call.tier)


class Keeping:
    """For one request, `request`, whose first call is `call` at `step`. Belongs to the engine's loop."""

    def __init__(
        self,
        db: Database,
        gateway: Gateway,
        limits: Limits,
        settings: Settings,
        request: CompletionRequest,
        step: Step,
        call: ledger.NewCall,
    ) -> None:
        """`request`: with the messages and the limit of the reply by which identical ones are told."""
        self._db = db
        self._gateway = gateway
        self._limits = limits
        self._own = settings.own
        self._request = request
        self._step = step
        self._call = call
        self._key: str | None = None

    async def earlier(self) -> StoredReply | None:
        """The reply that an identical request got, where there is one; what is given now is kept under its key."""
        # Megabytes are not hashed on the loop.
        has_files = any(isinstance(message.get("content"), list) for message in self._request.messages)
        self._key = await asyncio.to_thread(self._made) if has_files else self._made()
        if self._key is None:
            return None
        found = await self._gateway.cache.find(self._key, self._call.tenant_id)
        metrics.cache_looked_up(hit=found is not None)
        return found

    def _made(self) -> str | None:
        request, step, call = self._request, self._step, self._call
        alone = self._own.cache_scope == "person" or step.key_source == "person"
        # Not of the deployment that happens to be called: any of the model's may have given the reply.
        model = self._gateway.catalog.find(step.model.name) or step.model
        return self._gateway.cache.key(
            model, request.messages, request.temperature, request.max_tokens, tenant_id=call.tenant_id,
            user_id=call.user_id if alone else None, keep_last=request.keep_last, parameters=request.parameters,
        )  # fmt: skip

    async def note(self, answered: Answered, live: LiveTurn, *, asked: str, out_of_money: bool) -> None:
        """For the cache, the limits and the count of refusals. What fails is logged: the reply stands.

        `asked`: the name of the model that the request is for.
        """
        call = self._call
        try:
            if out_of_money:
                await self._db.awrite(lambda session: self._limits.count(session, payer(call), "budget", call.model))
            await self._keep(answered, live, asked)
            await self._charge(answered)
        except Exception:
            log.exception("a reply could not be cached, or its tokens not be counted against limits")

    async def _keep(self, answered: Answered, live: LiveTurn, asked: str) -> None:
        if self._key is None or answered.before:
            return
        call, result, model = self._call, answered.result, answered.step.model
        reply = StoredReply(
            live.text(), live.text("reasoning"), model.name, model.provider, result.finish_reason or "",
            result.usage.prompt, result.usage.completion, result.cost_nano_usd, utcnow(),
        )  # fmt: skip
        called = any(delta.kind == "tool_call" for delta in live.deltas)
        if may_be_kept(reply, asked=asked, outcome=result.outcome, called_tools=called):
            await self._gateway.cache.keep(self._key, tenant_id=call.tenant_id, user_id=call.user_id, reply=reply)

    async def _charge(self, answered: Answered) -> None:
        """Count the tokens against the limits, which may ask Redis: not on the loop."""
        call, spent = self._call, answered.spent
        if not any(rule.of == "tokens" for rule in self._gateway.flags.now.limits):
            return
        await asyncio.to_thread(
            self._limits.charge, tenant_id=call.tenant_id, user_id=call.user_id, tier=call.tier, model=call.model,
            tokens=spent.prompt_tokens + spent.completion_tokens,
        )  # fmt: skip
