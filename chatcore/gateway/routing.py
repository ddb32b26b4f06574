"""Where a request goes: the deployments of the model that was asked for, then its fallbacks.

A `Route` is made for each request and decides, after each failure, what is tried next and after what pause:

- What may pass (no connection, 5xx, silence, a rate limit, an answer that makes no sense) is tried again, on another
  deployment of the model where there is one, else on the same after a short pause that grows, at most `tries` times
  in all. A rate limit's Retry-After is obeyed where all pauses of the request stay within `retry_after_limit`.
- A refused key, and a model that the provider does not know, end that deployment for this request at once.
- A conversation that is too long goes on with `context_window_fallbacks`, else with fallbacks of a larger window; a
  refusal by the content policy with `content_policy_fallbacks` alone.
- Then come the fallbacks, each with tries of its own.
- Once words were said, the same deployment is not asked again.

Deployments whose breaker is open are passed over.
"""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from chatcore.errors import BreakerOpen, ProviderError
from chatcore.gateway.breaker import Breakers
from chatcore.gateway.catalog import Model

Role = Literal["primary", "fallback", "reasoning"]
KeySource = Literal["shared", "tenant", "person"]

_BACKOFF: Final = 0.25  # seconds before the second try of the same deployment; twice as long before each further one
_NO_USE: Final = frozenset({"bad_key", "model_unavailable"})
_TOO_LONG: Final = "context_too_long"
_REFUSED: Final = "refused_content"
_DEFAULT_WAIT: Final = 30.0


@dataclass(frozen=True)
class Step:
    """One call to make: the deployment, with key, prices and time limits as they hold for it, after `pause` seconds."""

    model: Model
    breaker: str
    role: Role = "primary"
    key_source: KeySource = "shared"
    pause: float = 0.0


@dataclass(frozen=True)
class Line:
    """A model's deployments and how often they are tried, all together."""

    steps: tuple[Step, ...]
    tries: int

    @property
    def name(self) -> str:
        """The model's name, '' for a line of nothing."""
        return self.steps[0].model.name if self.steps else ""

    @property
    def window(self) -> int:
        """The largest window among them, in tokens; 0 where none is known."""
        return max((step.model.context_window or 0 for step in self.steps), default=0)


@dataclass(frozen=True)
class Instead:
    """Lines that take the place of all others after one kind of failure; None where nothing is configured for it."""

    too_long: tuple[Line, ...] | None = None
    refused: tuple[Line, ...] | None = None


class Route:
    """The way of one request. Belongs to one thread at a time."""

    def __init__(
        self,
        lines: Sequence[Line],
        breakers: Breakers | None,
        *,
        instead: Instead | None = None,
        retry_after_limit: float = 5.0,
        chance: random.Random | None = None,
    ) -> None:
        """`lines`: the model that was asked for, then its fallbacks. `breakers`: None for one call, come what may."""
        self.lines = tuple(lines)
        self._ahead = list(lines)
        self._breakers = breakers
        self._instead = instead or Instead()
        self._limit = retry_after_limit
        self._waited = 0.0
        self._tried: Counter[str] = Counter()  # calls made, by the names of models
        self._failed: Counter[str] = Counter()
        self._out: set[str] = set()
        self._chance = chance or random.Random()

    @property
    def steps(self) -> list[Step]:
        """Everything this request may call: for the dearest of them money is reserved."""
        more = [*(self._instead.too_long or ()), *(self._instead.refused or ())]
        return [step for line in [*self.lines, *more] for step in line.steps]

    def first(self) -> Step | None:
        """The first call, None where every breaker is open: `refusal` then says so."""
        return self._next()

    def after(self, step: Step, error: ProviderError, *, said: bool) -> Step | None:
        """The call that follows one that failed; None when there is nothing left to try. `said`: words came."""
        self._failed[step.breaker] += 1
        if said or error.code in _NO_USE:
            self._out.add(step.breaker)
        if error.code == _TOO_LONG:
            self._turn_to(self._instead.too_long or self._larger(step))
        elif error.code == _REFUSED:
            self._turn_to(self._instead.refused or ())
        elif not error.retryable and error.code not in _NO_USE:
            self._turn_to(())
        elif error.code == ProviderError.code:  # it did not accept the request: another model may
            self._turn_to(self._ahead[1:])
        found = self._next(step, getattr(error, "retry_after", None))
        if found is not None:
            self._waited += found.pause
        return found

    def beside(self, running: Collection[str]) -> Step | None:
        """A call to make beside one that is silent, on another deployment; None when there is none."""
        for line in self._ahead:
            if self._tried[line.name] < line.tries and (found := self._best(line, passed_over=running)):
                self._tried[line.name] += 1
                return found
        return None

    def refusal(self) -> BreakerOpen:
        """Why nothing is called at all."""
        ids = [step.breaker for line in self.lines for step in line.steps]
        waits = [self._breakers.wait(one) for one in ids] if self._breakers else []
        wait = min(waits, default=_DEFAULT_WAIT)
        name = self.lines[0].steps[0].model.display_name if self.lines and self.lines[0].steps else "This model"
        return BreakerOpen(
            f"{name} has failed several times in a row and is not asked for now. "
            f"Try again in {max(1, round(wait))} seconds, or choose another model.",
            wait,
        )

    def _turn_to(self, lines: Sequence[Line]) -> None:
        self._ahead = list(lines)
        self._instead = Instead()  # once: what fails in there too has nowhere to go

    def _larger(self, step: Step) -> Sequence[Line]:
        return [line for line in self._ahead[1:] if line.window > (step.model.context_window or 0)]

    def _next(self, failed: Step | None = None, retry_after: float | None = None) -> Step | None:
        while self._ahead:
            line = self._ahead[0]
            if self._tried[line.name] < line.tries and (found := self._best(line)):
                paused = self._paused(found, failed, retry_after)
                if paused is not None:
                    self._tried[line.name] += 1
                    return paused
            self._ahead.pop(0)
        return None

    def _best(self, line: Line, passed_over: Collection[str] = ()) -> Step | None:
        """The deployment that failed least in this request, then by order, then by chance and weight."""
        usable = [
            step
            for step in line.steps
            if step.breaker not in self._out
            and step.breaker not in passed_over
            and (self._breakers is None or self._breakers.admits(step.breaker))
        ]
        if not usable:
            return None
        key = min((self._failed[step.breaker], step.model.order) for step in usable)
        best = [step for step in usable if (self._failed[step.breaker], step.model.order) == key]
        return self._chance.choices(best, [step.model.weight for step in best])[0]

    def _paused(self, found: Step, failed: Step | None, retry_after: float | None) -> Step | None:
        """The step with its pause; None where the pause that it needs is longer than anybody should wait."""
        if failed is None or found.breaker != failed.breaker:
            return found
        pause = _BACKOFF * 2 ** (self._failed[found.breaker] - 1) * self._chance.uniform(0.5, 1.0)
        if retry_after is not None:
            pause = max(pause, retry_after)
        # With somewhere else to go nobody waits long for this one.
        limit = min(self._limit, 1.0) if len(self._ahead) > 1 else self._limit
        return replace(found, pause=pause) if self._waited + pause <= limit else None
