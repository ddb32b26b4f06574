"""Where a request goes: the deployments of the model that was asked for, then its fallbacks.

A `Route` is made for each request and decides, after each failure, what is tried next and after what pause:

- What may pass (no connection, 5xx, silence, a rate limit, an answer that makes no sense) is tried again, on another
  deployment of the model where there is one, else on the same after a short pause that grows, at most `tries` times
  in all. A rate limit's Retry-After is obeyed, whoever was asked meanwhile, where all pauses of the request stay within
  `retry_after_limit`; deployments that need none come first.
- A refused key, and a model that the provider does not know, end that deployment for this request at once.
- A conversation that is too long goes on with `context_window_fallbacks`, else with fallbacks of a larger window; a
  refusal by the content policy with `content_policy_fallbacks` alone.
- Then come the fallbacks, each with tries of its own.
- Once words were said, the same deployment is not asked again.

Deployments whose breaker is open are passed over. One that is due for its trial is claimed by whom it is given to.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
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
_OWN_PAUSES: Final = 1.0  # seconds that our own pauses may take together, however little a Retry-After is waited for


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
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lines`: the model that was asked for, then its fallbacks. `breakers`: None for one call, come what may."""
        self.lines = tuple(lines)
        self._ahead = list(lines)
        self._breakers = breakers
        self._instead = instead or Instead()
        self._more = (*(self._instead.too_long or ()), *(self._instead.refused or ()))
        self._limit = retry_after_limit
        self._waited = 0.0
        self._tried: Counter[str] = Counter()  # calls made, by the names of models
        self._failed: Counter[str] = Counter()
        self._out: set[str] = set()
        self._not_before: dict[str, float] = {}  # by `now`: what a Retry-After asked for
        self._chance = chance or random.Random()
        self._now = now
        self._first: Step | None = None

    @property
    def steps(self) -> list[Step]:
        """Everything this request may call: for the dearest of them money is reserved."""
        return [step for line in [*self.lines, *self._more] for step in line.steps]

    def first(self) -> Step | None:
        """The first call, None where every breaker is open: `refusal` then says so. Asked again, it is the same."""
        if self._first is None:
            self._first = self._next()
        return self._first

    def after(self, step: Step, error: ProviderError, *, said: bool) -> Step | None:
        """The call that follows one that failed; None when there is nothing left to try. `said`: words came."""
        self.failed(step, error, said=said)
        found = self._next(step)
        if found is not None:
            self._waited += found.pause
        return found

    def failed(self, step: Step, error: ProviderError, *, said: bool = False) -> None:
        """A call failed: what may still be tried follows from it, also where another runs and nothing is tried yet."""
        self._failed[step.breaker] += 1
        if said or error.code in _NO_USE:
            self._out.add(step.breaker)
        if retry_after := getattr(error, "retry_after", None):
            self._not_before[step.breaker] = self._now() + retry_after
        if error.code == _TOO_LONG:
            self._turn_to(self._instead.too_long or self._larger(step))
        elif error.code == _REFUSED:
            self._turn_to(self._instead.refused or ())
        elif not error.retryable and error.code not in _NO_USE:
            self._turn_to(())
        elif error.code == ProviderError.code:  # it did not accept the request: another model may
            self._ahead = self._others(step)

    def beside(self, running: Collection[str]) -> Step | None:
        """A call to make beside one that is silent, on another deployment; None when there is none."""
        for line in self._ahead:
            while self._tried[line.name] < line.tries and (found := self._best(line, passed_over=running)):
                if self._wait(found) > 0:
                    break
                if self._takes(found):
                    self._tried[line.name] += 1
                    return found
        return None

    def refusal(self) -> BreakerOpen:
        """Why nothing is called at all."""
        ids = [step.breaker for line in self.lines for step in line.steps]
        waits = [self._breakers.wait(one) for one in ids] if self._breakers else []
        wait = min(waits, default=_DEFAULT_WAIT)
        name = self.lines[0].steps[0].model.display_name if self.lines and self.lines[0].steps else "This model"
        if self._breakers and ids and all(self._breakers.health(one).word == "open" for one in ids):
            return BreakerOpen(f"{name} is switched off by an operator for now. Choose another model.", wait)
        return BreakerOpen(
            f"{name} has failed several times in a row and is not asked for now. "
            f"Try again in {max(1, round(wait))} seconds, or choose another model.",
            wait,
        )

    def _turn_to(self, lines: Sequence[Line]) -> None:
        self._ahead = list(lines)
        self._instead = Instead()  # once: what fails in there too has nowhere to go

    def _others(self, step: Step) -> list[Line]:
        return [line for line in self._ahead if line.name != step.model.name]

    def _larger(self, step: Step) -> Sequence[Line]:
        return [line for line in self._others(step) if line.window > (step.model.context_window or 0)]

    def _next(self, failed: Step | None = None) -> Step | None:
        while self._ahead:
            line = self._ahead[0]
            found = self._best(line) if self._tried[line.name] < line.tries else None
            paused = self._paused(found, failed) if found else None
            if paused is None:
                self._ahead.pop(0)
            elif self._takes(paused):
                self._tried[line.name] += 1
                return paused
        return None

    def _takes(self, step: Step) -> bool:
        """Whether the call may be made still: of many that see a breaker due, one is let through."""
        return self._breakers is None or self._breakers.claim(step.breaker, step.pause)

    def _usable(self, line: Line) -> list[Step]:
        return [
            step
            for step in line.steps
            if step.breaker not in self._out and (self._breakers is None or self._breakers.admits(step.breaker))
        ]

    def _best(self, line: Line, passed_over: Collection[str] = ()) -> Step | None:
        """The deployment that need not be waited for and failed least, then by order, then by chance and weight."""
        usable = [step for step in self._usable(line) if step.breaker not in passed_over]
        if not usable:
            return None
        ranks = [(self._wait(step), self._failed[step.breaker], step.model.order) for step in usable]
        least = min(ranks)
        best = [step for step, rank in zip(usable, ranks, strict=True) if rank == least]
        return self._chance.choices(best, [step.model.weight for step in best])[0]

    def _wait(self, step: Step) -> float:
        """Seconds that are left of what it asked to be left alone."""
        asked = self._not_before.get(step.breaker)
        return 0.0 if asked is None else max(asked - self._now(), 0.0)

    def _paused(self, found: Step, failed: Step | None) -> Step | None:
        """The step with its pause; None where the pause that it needs is longer than anybody should wait."""
        pause = self._wait(found)
        if failed is not None and found.breaker == failed.breaker:
            backoff = _BACKOFF * 2 ** (self._failed[found.breaker] - 1) * self._chance.uniform(0.5, 1.0)
            pause = max(pause, backoff)
        # With somewhere else to go nobody waits long for this one.
        elsewhere = any(self._usable(line) for line in self._ahead[1:] if self._tried[line.name] < line.tries)
        limit = min(max(self._limit, _OWN_PAUSES), 1.0) if elsewhere else max(self._limit, _OWN_PAUSES)
        return replace(found, pause=pause) if self._waited + pause <= limit else None
