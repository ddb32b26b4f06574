"""What the turns package takes and hands out."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.errors import ChatcoreError
from chatcore.gateway import AttemptResult, Caller, CompletionRequest, Model, Picked, Route, Step, Task
from chatcore.usage import ledger

TEMPORARY_FOR: Final = timedelta(hours=1)  # how long a temporary chat is kept after its last question
_MOST: Final = 100_000_000  # tokens, milliseconds: beyond is a slip of the pen
TurnStatus = Literal["complete", "stopped", "interrupted", "failed"]


@dataclass(frozen=True)
class TurnSettings:
    """What a person may set for a turn. None: the agent's value, else the model's own.

    `cache`: False where no earlier reply may serve. `wanted_ms`: the first word is wanted within; `auto` minds it.
    """

    temperature: float | None = None
    max_tokens: int | None = None
    cache: bool | None = None
    wanted_ms: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Only what is set, for storing."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Any) -> "TurnSettings":
        """The settings a conversation or an agent stores; what is not a number in range is left out."""
        found = dict(values or {})
        temperature, max_tokens = found.get("temperature"), found.get("max_tokens")
        return cls(
            temperature=float(temperature) if isinstance(temperature, int | float) and 0 <= temperature <= 2 else None,
            max_tokens=max_tokens if _positive(max_tokens) else None,
            cache=cache if isinstance(cache := found.get("cache"), bool) else None,
            wanted_ms=wanted if _positive(wanted := found.get("wanted_ms")) else None,
        )


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST


@dataclass(frozen=True)
class Choice:
    """Who is to answer, for whom, and how. `kept`: settings of the conversation that a program's do not replace.
    `tools`, `search_first`: as in `Submission`."""

    picked: Picked
    caller: Caller
    agent_id: str | None
    settings: TurnSettings
    task: Task = field(default_factory=Task)
    again: bool = False
    kept: Mapping[str, Any] | None = None
    tools: tuple[str, ...] | None = None
    search_first: bool = False

    @property
    def remembered(self) -> dict[str, Any]:
        """The settings that the conversation is to have from now on."""
        return self.settings.as_dict() if self.kept is None else dict(self.kept)

    @property
    def model(self) -> Model:
        """The model that is to answer."""
        return self.picked.model


@dataclass(frozen=True)
class Asked:
    """What became of a question: a running turn, or a place in the queue behind the one that runs.

    `repeated`: the question was known by its program's id, so this is the turn that it had; it may have ended.
    """

    conversation_id: str
    turn_id: str | None = None
    message_id: str | None = None
    queued_id: str | None = None
    repeated: bool = False


@dataclass(frozen=True)
class Brought:
    """What a program brings along with a question.

    `earlier`: (role, text) of what was said before elsewhere; a new conversation begins with it. `system`: goes behind
    the agent's prompt. `session_data`: kept with the question, and told to the model. `data_parts`: kept with it, and
    part of it for every model. `alone`: the model is sent `earlier` and the question, and nothing that is stored.
    """

    earlier: tuple[tuple[Literal["user", "assistant"], str], ...] = ()
    system: str = ""
    session_data: Mapping[str, Any] = field(default_factory=dict)
    data_parts: tuple[Mapping[str, Any], ...] = ()
    alone: bool = False


@dataclass(frozen=True)
class Submission:
    """A question as a program sends it. Ids are ours, or such as the program made.

    `conversation_id`: one that is not known becomes an alias of a new conversation. `message_id`: of the question; one
    that is known is answered with the turn it had, or is edited where the text is another. `parent_id`: of the reply
    that it follows; the head where it is None or not known. `regenerates`: of the reply or the question that is to be
    answered again, '' for the last one; then `text` does not matter. `workshop_session_id` and `step_id` together name
    the person's conversation of that step. `tools`: names of those that the model is offered; None for the agent's.
    `search_first`: knowledge is searched before the model is asked.
    """

    text: str
    model: str
    conversation_id: str | None = None
    message_id: str | None = None
    parent_id: str | None = None
    regenerates: str | None = None
    agent_id: str | None = None
    settings: TurnSettings | None = None
    attachments: tuple[str, ...] = ()
    workshop_session_id: str | None = None
    step_id: str | None = None
    brought: Brought = field(default_factory=Brought)
    tools: tuple[str, ...] | None = None
    search_first: bool = False

    @property
    def again(self) -> bool:
        """Whether something is to be answered again."""
        return self.regenerates is not None


@dataclass(frozen=True)
class Opened:
    """What is known of a reply once its first words are said. `model_used`: provider and model, with a slash."""

    trace_id: str
    model_used: str
    cached: bool


@dataclass(frozen=True)
class ActiveTurn:
    """A turn that is being answered."""

    turn_id: str
    conversation_id: str
    message_id: str
    stopping: bool


@dataclass(frozen=True)
class QueuedMessage:
    """A question that waits for the running turn. `attachments`: their ids."""

    id: str
    content: str
    model: str
    created_at: datetime
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tried:
    """A call that did not give the answer, or only its beginning (`said`).

    `code`: of its error, None where another was quicker or it was stopped.
    """

    model: str
    provider: str
    outcome: str
    code: str | None
    said: bool = False


@dataclass(frozen=True)
class Spent:
    """What the calls of a turn used together. `known`: somebody counted. The cost is None where one's is not known."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano_usd: int | None = 0
    known: bool = False
    estimated: bool = False

    @classmethod
    def of(cls, result: AttemptResult) -> "Spent":
        """What one call used."""
        usage = result.usage
        return cls(
            usage.prompt, usage.completion, result.cost_nano_usd, usage.source != "none", usage.source == "estimated"
        )

    def __add__(self, other: "Spent") -> "Spent":
        costs = (self.cost_nano_usd, other.cost_nano_usd)
        return Spent(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            None if None in costs else sum(cost or 0 for cost in costs),
            self.known or other.known,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True)
class Work:
    """A request whose first call has its ledger row. `call`: that row's values; `first` and `ledger_id`: that call.

    `messages`: what is sent to a model. `holder`: who holds what is reserved of budgets, None where nothing is.
    `mid_reply`: what becomes of a reply that breaks off; `fail` where no other model could go on with it.
    """

    request: CompletionRequest
    messages: Callable[[Model], Awaitable[list[dict[str, Any]]]]
    route: Route
    first: Step
    ledger_id: str
    call: ledger.NewCall
    holder: str | None = None
    mid_reply: Literal["continue", "restart", "fail"] = "continue"


@dataclass(frozen=True)
class Answered:
    """How it ended: the last call, whose row is still to be settled, and all calls before it.

    `restart`: another model is to begin a new reply, as words of this one stand already. `stopped`: somebody stopped
    it, be it between two calls. `unsettled`: rows of earlier calls that could not be settled when they ended.
    `rounds`: of tools. `settled`: the last call's row is settled already, as tools ran behind it; `refusal`: why it did
    not go on then, None where the turn was stopped.
    """

    result: AttemptResult
    step: Step
    ledger_id: str
    before: tuple[Tried, ...]
    spent: Spent
    trimmed: int
    stopped: bool = False
    restart: Step | None = None
    unsettled: tuple[tuple[str, ledger.Settlement], ...] = ()
    rounds: int = 0
    settled: bool = False
    refusal: ChatcoreError | None = None


@dataclass(frozen=True)
class Begun:
    """A turn that was written and is to be run. `request.messages` is filled in by the engine.

    `call`, `ledger_id`: the open ledger row of its first call and the row's values; `step`: that call. No row and no
    call where every breaker on the `route` is open. `reserved`: prompt tokens that money was reserved for, None where
    no budget applies. `asked`: the name that was chosen, `why`: of `auto`. `cached`: an earlier reply may serve.
    `place`: the workshop's step, as metadata. `sent`: messages that a model gets in place of the branch.
    `who`, `agent`, `caller`, `task`: for the tools. `wanted`: their names, as `Toolbox.offered` has them.
    `search_first`: knowledge is searched before the model is asked.
    """

    turn_id: str
    conversation_id: str
    message_id: str
    ledger_id: str | None
    request: CompletionRequest
    system_prompt: str
    context_head: str
    continuing: bool
    call: ledger.NewCall
    route: Route
    step: Step | None
    reserved: int | None = None
    asked: str = ""
    why: str = ""
    cached: bool = False
    tried: frozenset[str] = frozenset()
    compared: bool = False
    place: Mapping[str, str] = field(default_factory=dict)
    sent: tuple[Mapping[str, Any], ...] | None = None
    who: Principal | None = None
    agent: Agent | None = None
    caller: Caller | None = None
    task: Task = field(default_factory=Task)
    wanted: Mapping[str, bool | None] = field(default_factory=dict)
    search_first: bool = False


@dataclass(frozen=True)
class TurnEnd:
    """All that the end of a turn writes, in one transaction.

    `result`: of the last call, whose row is `ledger_id`, None where there is none. `spent`: of all its calls.
    `model`, `provider`: of the one that answered. `ttft_ms`, `latency_ms`: as the reader waited, all calls together.
    `restart`: the model that is to begin a new reply beside this one.
    `defect`: our own code failed, and calls may have been left open. `known_at`: when nothing more was to come, by the
    monotonic clock.
    """

    begun: Begun
    status: TurnStatus
    content: str
    parts: list[dict[str, Any]]
    result: AttemptResult
    meta: dict[str, Any]
    ledger_id: str | None
    spent: Spent
    model: str
    provider: str
    ttft_ms: int | None
    latency_ms: int
    restart: str | None = None
    defect: bool = False
    saved_nano_usd: int = 0
    unsettled: tuple[tuple[str, ledger.Settlement], ...] = ()
    known_at: float = field(default_factory=time.monotonic, compare=False)


def settlement(
    result: AttemptResult, outcome: ledger.Outcome | None = None, saved_nano_usd: int = 0
) -> ledger.Settlement:
    """The ledger's view of an attempt. `outcome`: where it is not the attempt's own."""
    usage = result.usage
    return ledger.Settlement(
        outcome=outcome or result.outcome,
        error_type=result.error.code if result.error else None,
        prompt_tokens=usage.prompt,
        cached_tokens=usage.cached,
        cache_write_tokens=usage.cache_write,
        completion_tokens=usage.completion,
        reasoning_tokens=usage.reasoning,
        usage_source=usage.source,
        price_source=result.price_source,
        unit_prices=result.unit_prices,
        cost_nano_usd=result.cost_nano_usd,
        saved_nano_usd=saved_nano_usd,
        cache_hit=result.outcome == "cached",
        ttft_ms=result.ttft_ms,
        latency_ms=result.latency_ms,
    )
