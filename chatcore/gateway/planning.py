"""From a name that somebody chose to the model that answers, and to the route of the request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from chatcore.config import Settings
from chatcore.config_file import Access
from chatcore.errors import ModelUnavailable
from chatcore.flags import Flags, FlagStore
from chatcore.gateway.aliases import AUTO, PURPOSES
from chatcore.gateway.breaker import Breakers
from chatcore.gateway.catalog import Catalog, Model
from chatcore.gateway.choice import Task, pick
from chatcore.gateway.keyring import OwnKey
from chatcore.gateway.prices import prices_from
from chatcore.gateway.routing import Instead, Line, Role, Route, Step

_NOT_YOURS: Final = "You may not use this model. Choose another one, or ask an administrator."


@dataclass(frozen=True)
class Caller:
    """For whom a model is called. `tenant`: its name. `keys`: their own and their tenant's, by `Model.key_slot`.

    `slots`: those for which there is such a key, where it was not opened: enough to choose by, not to call with.
    """

    tenant_id: str
    user_id: str
    role: str = "member"
    tier: str = "free"
    tenant: str = ""
    keys: Mapping[str, OwnKey] = field(default_factory=dict, repr=False)
    slots: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Picked:
    """The model that is to answer. `asked`: the name that was chosen, which may be an alias; `why`: of `auto`."""

    model: Model
    asked: str
    why: str = ""


@dataclass(frozen=True)
class Behind:
    """The models that follow one, in order: when it fails, when a conversation is too long for it, and when its
    provider's content policy refuses."""

    failed: tuple[str, ...]
    too_long: tuple[str, ...]
    refused: tuple[str, ...]


class Planner:
    """Knows what a caller may use now, and in which order it is tried."""

    def __init__(self, settings: Settings, catalog: Catalog, breakers: Breakers, flags: FlagStore) -> None:
        self._own = settings.own
        self._router = settings.file.router_settings
        self._catalog = catalog
        self._called: dict[str, list[str]] = {}  # aliases by the one model that each stands for
        for alias in catalog.aliases():
            if len(set(alias.alias_of)) == 1 and alias.name != AUTO:
                self._called.setdefault(alias.alias_of[0], []).append(alias.name)
        self._breakers = breakers
        self._flags = flags

    def choices(self, caller: Caller) -> list[Model]:
        """Aliases and models that this caller may use, as they are for them: a key of their own makes one available."""
        flags, catalog = self._flags.now, self._catalog
        found = [self._seen(model.name, caller, flags) for model in catalog.models()]
        models = [model for model in found if model is not None and not model.embeds]
        known = {model.name: model for model in models}
        shown = [
            replace(alias, missing=())
            for alias in catalog.aliases()
            if any(name in known and known[name].available for name in alias.alias_of)
        ]
        return [*shown, *models]

    def default(self, caller: Caller) -> Model | None:
        """The model of a new chat: the flag `primary`, else `chatcore.default_model`, else the first that works."""
        choices = {model.name: model for model in self.choices(caller)}
        for wanted in (self._flags.now.primary, self._own.default_model):
            if wanted in choices and choices[wanted].available:
                return choices[wanted]
        usable = [model for model in choices.values() if model.available]
        return next((model for model in usable if not model.alias_of), None) or next(iter(usable), None)

    def pick(self, caller: Caller, name: str, task: Task) -> Picked:
        """The model that answers to `name`. Raises `ModelUnavailable` with a sentence that says what is missing."""
        model = self._catalog.find(name)
        if not name:
            raise ModelUnavailable("No model can be used now. Ask an administrator which providers are switched off.")
        if model is None:
            raise ModelUnavailable("This model is no longer in the configuration. Choose another one.")
        if model.embeds != task.embeds and not model.alias_of:
            does = "makes vectors of texts, it does not chat" if model.embeds else "chats, it makes no vectors of texts"
            raise ModelUnavailable(f"{model.display_name} {does}. Choose another model.")
        if not model.alias_of:
            return Picked(self._usable(model, caller), name)
        if name != AUTO:
            return Picked(self._usable(self._model(model.alias_of[0]), caller), name)
        behind = {alias.name: alias.alias_of[0] for alias in self._catalog.aliases() if alias.name in PURPOSES}
        chosen = pick(task, lambda purpose: purpose in behind and self._works(behind[purpose], caller, task))
        if chosen is None:  # every breaker is open, or every provider aside: the route knows fallbacks, or says when
            chosen = pick(task, lambda purpose: purpose in behind and bool(self._calls(behind[purpose], caller, task)))
        if chosen is None:
            raise ModelUnavailable("None of the models behind Auto can be used now. Choose another one.")
        return Picked(self._usable(self._model(behind[chosen.purpose]), caller), name, chosen.why)

    def route(self, caller: Caller, name: str, task: Task | None = None) -> Route:
        """The way of a request to the model `name`. `task`: fallbacks that cannot take its attachments are left out."""
        flags, task = self._flags.now, task or Task()
        primary = self._line(name, caller, flags, "primary")
        if not flags.gateway:
            return Route([Line(tuple(sorted(primary.steps, key=lambda step: step.model.order)[:1]), 1)], None)
        limit = self._own.retry_after_limit
        if not flags.failover or task.embeds:  # another model's vectors lie in another space
            return Route(_degraded_last([primary], flags), self._breakers, retry_after_limit=limit)
        router = self._router
        too_long, refused = (
            _degraded_last(self._lines(self._behind(entries, name), name, caller, flags, task), flags)
            for entries in (router.context_window_fallbacks, router.content_policy_fallbacks)
        )
        instead = Instead(tuple(too_long) or None, tuple(refused) or None)
        fallbacks = self._lines(self._fallbacks(name, flags), name, caller, flags, task)
        lines = _degraded_last([primary, *fallbacks], flags)
        return Route(lines, self._breakers, instead=instead, retry_after_limit=limit)

    def behind(self, name: str) -> Behind:
        """What follows a model, whoever asks: not everybody may use every one of them."""
        router = self._router
        found = (
            self._fallbacks(name, self._flags.now),
            self._behind(router.context_window_fallbacks, name),
            self._behind(router.content_policy_fallbacks, name),
        )
        return Behind(*(tuple(one for one in dict.fromkeys(names) if one != name) for names in found))

    def patience(self, model: Model) -> float | None:
        """Seconds of silence after which another model is asked beside this one; None for one that thinks first."""
        flags = self._flags.now
        return self._own.slow_after if flags.gateway and flags.failover and not model.reasoning else None

    def _fallbacks(self, name: str, flags: Flags) -> list[str]:
        own = [flags.fallback] if flags.fallback else []
        return [*self._behind(self._router.fallbacks, name), *self._router.default_fallbacks, *own]

    def _behind(self, entries: Sequence[Mapping[str, Sequence[str]]], name: str) -> list[str]:
        """The fallbacks that a list of the proxy's form has for a model or its aliases, those for every model last."""
        keys = (name, *self._called.get(name, ()), "*")
        return [one for key in keys for entry in entries for one in entry.get(key, ())]

    def _lines(self, names: Sequence[str], asked: str, caller: Caller, flags: Flags, task: Task) -> tuple[Line, ...]:
        found: dict[str, Line] = {}
        for name in names:
            model = self._catalog.find(name)
            real = model.alias_of[0] if model and model.alias_of else name
            if real != asked and real not in found:
                line = self._line(real, caller, flags, "fallback")
                steps = tuple(step for step in line.steps if _takes(step.model, task))
                if steps:
                    found[real] = replace(line, steps=steps)
        return tuple(found.values())

    def _line(self, name: str, caller: Caller, flags: Flags, part: Role) -> Line:
        """The deployments of a model that this caller may use, as they are called in this part of a request."""
        policies, steps, tries = self._own.attempts, [], 0
        prices = flags.prices.get(caller.tenant_id, {}).get(name)
        for found in self._catalog.deployments(name):
            if not self._allowed(found, caller, flags):
                continue
            role: Role = "reasoning" if found.reasoning and part == "primary" else part
            policy = getattr(policies, role)
            timeout = found.first_word_timeout or (policies.reasoning if found.reasoning else policy).timeout
            model = replace(found, first_word_timeout=timeout)
            if prices and (priced := prices_from(prices, "tenant")):
                model = replace(model, prices=priced)
            step = self._with_key(model, caller, role)
            if step is not None:
                steps.append(step)
                retries = self._router.num_retries
                tries = max(tries, found.tries or (policy.tries if retries is None else retries + 1))
        return Line(tuple(steps), tries)

    @staticmethod
    def _with_key(model: Model, caller: Caller, role: Role) -> Step | None:
        own = caller.keys.get(model.key_slot)
        if own is not None and (model.available or model.needs_key):
            keyed = replace(model, missing=(), arguments={**model.arguments, "api_key": own.secret})
            return Step(keyed, f"{model.deployment}@{own.id}", role, own.source)
        return Step(model, f"{model.deployment}@shared", role) if model.available else None

    def _as_seen(self, model: Model, caller: Caller) -> Model:
        has_key = model.key_slot in caller.keys or model.key_slot in caller.slots
        return replace(model, missing=()) if model.needs_key and has_key else model

    def _seen(self, name: str, caller: Caller, flags: Flags) -> Model | None:
        """A model by the first of its deployments that this caller can call, else by the first they may; else None."""
        found = self._catalog.deployments(name)
        seen = [self._as_seen(model, caller) for model in found if self._allowed(model, caller, flags)]
        return next((model for model in seen if model.available), seen[0] if seen else None)

    def _usable(self, model: Model, caller: Caller) -> Model:
        flags = self._flags.now
        seen = self._seen(model.name, caller, flags)
        if seen is None:
            if any(self._permitted(one, caller, flags) for one in self._catalog.deployments(model.name)):
                raise ModelUnavailable(f"{model.display_name} is switched off for now. Choose another model.")
            raise ModelUnavailable(_NOT_YOURS)
        if not seen.available:
            raise ModelUnavailable(seen.why_not)
        return seen

    def _works(self, name: str, caller: Caller, task: Task) -> bool:
        """Whether a model can be called now, takes what is attached, and is not of a provider that is aside."""
        aside = self._flags.now.degraded_providers
        calls = [step for step in self._calls(name, caller, task) if step.model.provider not in aside]
        return any(self._breakers.admits(step.breaker) for step in calls)

    def _calls(self, name: str, caller: Caller, task: Task) -> list[Step]:
        """The calls to a model that this caller may make, those that take what is attached."""
        return [one for one in self._line(name, caller, self._flags.now, "primary").steps if _takes(one.model, task)]

    def _model(self, name: str) -> Model:
        return self._catalog.find(name) or self._catalog.get(name)

    def _allowed(self, model: Model, caller: Caller, flags: Flags) -> bool:
        return self._permitted(model, caller, flags) and model.provider not in flags.disabled_providers

    @staticmethod
    def _permitted(model: Model, caller: Caller, flags: Flags) -> bool:
        """Whether the caller's role, tier and tenant may use a model."""
        access: Access = flags.access.get(model.name, model.access)
        return (
            (not access.roles or caller.role in access.roles)
            and (not access.tiers or caller.tier in access.tiers)
            and (not access.tenants or caller.tenant_id in access.tenants or caller.tenant in access.tenants)
        )


def _takes(model: Model, task: Task) -> bool:
    return (model.vision or not task.images) and (model.audio or not task.sounds)


def _degraded_last(lines: Sequence[Line], flags: Flags) -> list[Line]:
    """The lines, with calls to providers that are aside after all others: for when nobody else can answer."""
    aside = flags.degraded_providers
    if not aside:
        return list(lines)
    parted: dict[bool, list[Line]] = {False: [], True: []}
    for line in lines:
        for degraded, found in parted.items():
            if steps := tuple(step for step in line.steps if (step.model.provider in aside) is degraded):
                found.append(replace(line, steps=steps))
    return [*parted[False], *parted[True]] or list(lines)
