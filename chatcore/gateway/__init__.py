"""The gateway: what may be called, in which order, and calls that end, whatever happens, with an `AttemptResult`."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from chatcore.accounts import audit, require_acting_admin
from chatcore.accounts.principal import Principal
from chatcore.config import Settings, worker_environment
from chatcore.db import Database
from chatcore.db.tables import Tenant
from chatcore.errors import Forbidden, ModelUnavailable, NotFound
from chatcore.flags import FlagStore
from chatcore.gateway import ollama
from chatcore.gateway.aliases import AUTO
from chatcore.gateway.attempt import Attempt, AttemptResult, CompletionRequest
from chatcore.gateway.breaker import Breakers, Health
from chatcore.gateway.breaker_state import Word
from chatcore.gateway.cache import ReplyCache, StoredReply
from chatcore.gateway.catalog import Catalog, Model
from chatcore.gateway.choice import Task
from chatcore.gateway.failures import secrets_in
from chatcore.gateway.keyring import KeyInfo, Keyring
from chatcore.gateway.planning import Behind, Caller, Picked, Planner
from chatcore.gateway.prices import Prices
from chatcore.gateway.process import Delta, WorkerProcess
from chatcore.gateway.protocol import Usage
from chatcore.gateway.routing import Route, Step
from chatcore.shared import Shared

__all__ = [
    "AUTO",
    "Attempt",
    "AttemptResult",
    "Behind",
    "Caller",
    "Catalog",
    "CompletionRequest",
    "Delta",
    "Gateway",
    "Health",
    "KeyInfo",
    "Keyring",
    "Model",
    "Picked",
    "Prices",
    "Route",
    "Step",
    "StoredReply",
    "Task",
    "Usage",
]

_TENANT: Final = select(Tenant.name).where(Tenant.id == bindparam("id"))
_A_SECRET: Final = 8  # characters; what is shorter is a placeholder such as "none"


class Gateway:
    """The catalog, the planner and the worker. `start` and `attempt` belong to the engine's loop; `spawn` is for an
    early start."""

    def __init__(self, settings: Settings, db: Database, flags: FlagStore, shared: Shared) -> None:
        own, router = settings.own, settings.file.router_settings
        self.catalog = Catalog(settings)
        self.keyring = Keyring(db, settings)
        self.cache = ReplyCache(db, shared, settings)
        failures = own.breaker_failures if router.allowed_fails is None else router.allowed_fails + 1
        self.breakers = Breakers(shared, failures, router.cooldown_time or own.breaker_seconds)
        self.planner = Planner(settings, self.catalog, self.breakers, flags)
        self.flags = flags
        self._settings = settings
        self._db = db
        self._worker = WorkerProcess(worker_environment(settings))
        self._stopped = threading.Event()

    @property
    def warm(self) -> bool:
        """Whether the worker has imported litellm and takes calls at once."""
        return self._worker.ready

    @property
    def is_kept(self) -> bool:
        """Whether the worker is looked after: it may be starting, but it is coming."""
        return self._worker.is_kept

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id, for measurements."""
        return self._worker.pid

    def spawn(self) -> None:
        """Start the worker's process, and the search for a local Ollama; returns at once. Twice is once."""
        if self._worker.pid is not None:
            return
        self._worker.spawn()
        self.breakers.start()
        if self._settings.own.ollama:
            ollama.watch(self.catalog, self._settings.environment, self._stopped)

    async def start(self) -> None:
        """Listen to the worker."""
        await self._worker.start()

    async def close(self) -> None:
        """End the worker."""
        self._stopped.set()
        await self._worker.close()
        self.breakers.close()

    def attempt(self, request: CompletionRequest) -> Attempt:
        """Begin a call. Never raises: a failure is in the attempt's result."""
        return Attempt(request, self._worker)

    def secrets(self) -> list[str]:
        """Every key that the configuration and the environment hold, for whoever has to keep them out of logs."""
        found = secrets_in(self._settings.environment)
        for model in self.catalog.models():
            for deployment in self.catalog.deployments(model.name):
                found += secrets_in(deployment.arguments)
        return [one for one in found if len(one) >= _A_SECRET]

    def caller(self, session: Session, principal: Principal) -> Caller:
        """For whom a model is to be called, with the keys that are theirs. Inside the caller's transaction."""
        keys = self.keyring.of(session, principal.tenant_id, principal.user_id)
        return replace(_caller(session, principal), keys=keys)

    def choices(self, principal: Principal) -> list[Model]:
        """The aliases and models that a person may choose from, as they are for them. Raises `DatabaseError`."""
        return self.planner.choices(self._db.read(lambda session: self._chooser(session, principal)))

    def default(self, principal: Principal) -> Model | None:
        """The model of a person's new chat."""
        return self.planner.default(self._db.read(lambda session: self._chooser(session, principal)))

    def _chooser(self, session: Session, principal: Principal) -> Caller:
        """A caller to choose for, not to call for: pages ask often, and opening keys takes a while."""
        slots = self.keyring.slots(session, principal.tenant_id, principal.user_id)
        return replace(_caller(session, principal), slots=slots)

    def say(self, principal: Principal, deployment: str, key: str, word: Word | None) -> None:
        """Open or close a breaker by an operator's word, or with None leave it to its own judgement again. Audited.

        `deployment`, `key`: as in `Health`. Raises `Forbidden`, `NotFound`.
        """
        if not principal.is_operator:
            raise Forbidden("Only an operator can say what is called and what is not.")
        if (deployment, key) not in {(one.deployment, one.key) for one in self.health()}:
            raise NotFound("This deployment is no longer in the configuration. Reload the page.")
        breaker = f"{deployment}@{key}"

        def work(session: Session) -> None:
            require_acting_admin(session, principal)
            audit.record(session, principal, "breaker.say", breaker, word=word or "automatic")

        self._db.write(work)
        self.breakers.say(breaker, word)

    def real_names(self, principal: Principal, models: Sequence[str], text: str) -> list[str]:
        """What aliases stand for, for the limits of models; the names as they are where there are no such limits."""
        flags = self.flags.now
        if not flags.rate_limits or not any(rule.scope == "model" for rule in flags.limits):
            return list(models)
        caller = self._db.read(lambda session: self.caller(session, principal))
        return [self._real_name(caller, name, text) for name in models]

    def _real_name(self, caller: Caller, name: str, text: str) -> str:
        try:
            return self.planner.pick(caller, name, Task(text)).model.name
        except ModelUnavailable:
            return name  # the question itself is refused with that sentence

    def health(self) -> list[Health]:
        """What is known of every deployment, in the order of the catalog, and of own keys that were used."""
        listed = [
            f"{found.deployment}@shared" for model in self.catalog.models()
            for found in self.catalog.deployments(model.name) if found.available
        ]  # fmt: skip
        return [self.breakers.health(one) for one in dict.fromkeys([*listed, *self.breakers.known()])]


def _caller(session: Session, principal: Principal) -> Caller:
    tenant = session.scalar(_TENANT, {"id": principal.tenant_id}) or ""
    return Caller(principal.tenant_id, principal.user_id, principal.role, principal.tier, tenant)
