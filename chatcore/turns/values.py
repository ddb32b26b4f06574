"""What the turns package takes and hands out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from chatcore.gateway import AttemptResult, CompletionRequest

TEMPORARY_FOR: Final = timedelta(hours=1)  # how long a temporary chat is kept after its last question
TurnStatus = Literal["complete", "stopped", "interrupted", "failed"]


@dataclass(frozen=True)
class TurnSettings:
    """What a person may set for a turn. None: the agent's value, else the model's own."""

    temperature: float | None = None
    max_tokens: int | None = None

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
            max_tokens=max_tokens if isinstance(max_tokens, int) and max_tokens > 0 else None,
        )


@dataclass(frozen=True)
class Asked:
    """What became of a question: a running turn, or a place in the queue behind the one that runs."""

    conversation_id: str
    turn_id: str | None = None
    message_id: str | None = None
    queued_id: str | None = None


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
class Begun:
    """A turn that was written and is to be run. `request.messages` is filled in by the engine."""

    turn_id: str
    conversation_id: str
    message_id: str
    ledger_id: str
    request: CompletionRequest
    system_prompt: str
    context_head: str
    continuing: bool


@dataclass(frozen=True)
class TurnEnd:
    """All that the end of a turn writes, in one transaction."""

    begun: Begun
    status: TurnStatus
    content: str
    parts: list[dict[str, Any]]
    result: AttemptResult
    meta: dict[str, Any]
