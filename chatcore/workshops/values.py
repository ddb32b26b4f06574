"""What the workshops package hands out: frozen values, no rows."""

from dataclasses import dataclass
from datetime import datetime

from chatcore.conversations import Message


@dataclass(frozen=True)
class Step:
    """A step of a playbook. `id`: a word that programs name it by. `guidance`: Markdown, for people.

    `system_prompt`: for the model, beside the one of all steps. `agent_id`: who answers where nobody else was chosen.
    `brings`: the ids of earlier steps whose notes the model reads.
    """

    id: str
    title: str
    guidance: str = ""
    system_prompt: str = ""
    agent_id: str | None = None
    brings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """What a person may write of a playbook. `system_prompt`: of all steps."""

    name: str
    description: str = ""
    system_prompt: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Playbook:
    """A playbook. `owner`: the name of who made it; None for one that ships, and where they were erased.

    `version`: of what was read, for `save`; 0 for one that ships.
    """

    id: str
    content: Content
    version: int
    owner: str | None
    ships: bool
    can_edit: bool
    archived_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Listed:
    """A line in the list of sessions. `steps`, `done`: how many there are, and how many of them are done.

    `takes_part`: False for one that is open to the team, until it is opened.
    """

    id: str
    title: str
    playbook: str
    owner: str
    is_owner: bool
    takes_part: bool
    open_to_team: bool
    people: int
    steps: int
    done: int
    updated_at: datetime
    ended_at: datetime | None
    archived_at: datetime | None


@dataclass(frozen=True)
class Notes:
    """Notes of a step as they were saved the `number`th time. `author`: None where they were erased.

    `model`: the name of the model that wrote them, asked by the author.
    """

    number: int
    text: str
    author: str | None
    model: str | None
    created_at: datetime


@dataclass(frozen=True)
class Person:
    """Somebody of the tenant; in a session, who takes part."""

    user_id: str
    name: str
    is_owner: bool = False


@dataclass(frozen=True)
class OpenStep:
    """A step of a session. `notes`: the number of those that stand, 0 for none."""

    step: Step
    conversation_id: str | None
    notes: int
    done_at: datetime | None


@dataclass(frozen=True)
class Workshop:
    """A session as those who take part see it. `content`: the playbook as it was at its start."""

    id: str
    title: str
    content: Content
    steps: tuple[OpenStep, ...]
    people: tuple[Person, ...]
    is_owner: bool
    open_to_team: bool
    revision: int
    ended_at: datetime | None
    archived_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether it can only be read any more."""
        return self.ended_at is not None or self.archived_at is not None

    def step(self, step_id: str | None) -> OpenStep:
        """The step of this id; the first that is not done for None and for an id that is none, else the last."""
        named = next((one for one in self.steps if one.step.id == step_id), None)
        return named or next((one for one in self.steps if one.done_at is None), self.steps[-1])


@dataclass(frozen=True)
class Pulse:
    """What changes whenever a step is no longer as it was drawn. `running`: a reply is being written in it."""

    revision: int
    conversation_id: str | None
    head_message_id: str | None
    last_message_at: datetime | None
    running: bool


@dataclass(frozen=True)
class ToSummarise:
    """What a step's summary is made from. `notes`: those that stand; `messages`: of its visible branch."""

    conversation_id: str
    messages: tuple[Message, ...]
    notes: str
    number: int


@dataclass(frozen=True)
class Said:
    """What a workshop adds to a turn in one of its steps: a system prompt, and who answers where nobody was chosen."""

    prompt: str
    agent_id: str | None
