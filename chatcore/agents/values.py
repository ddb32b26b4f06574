"""What the agents package takes and hands out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

Visibility = Literal["own", "people", "team"]
VISIBILITIES: tuple[Visibility, ...] = get_args(Visibility)


@dataclass(frozen=True)
class AgentTool:
    """A tool of an agent. `name`: as `tools.ToolChoice` has it. `asks_first`: None where the tool's own word holds."""

    name: str
    asks_first: bool | None = None


@dataclass(frozen=True)
class Agent:
    """An agent as a turn uses it. `slug` stands in links (`/?agent=coder`); `parameters` may hold temperature and
    max_tokens. `knowledge`: ids of knowledge bases. `system_prompt`: with its variables, see `prompting`."""

    id: str
    slug: str
    name: str
    description: str
    system_prompt: str
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    suggestions: tuple[str, ...] = ()
    tools: tuple[AgentTool, ...] = ()
    knowledge: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListedAgent:
    """An agent as lists show it, without what is long. `suggestions`: a heading, a line break, and the question.

    `icon`: an emoji or ''. `owner_id`: None for the team's own. `can_edit`: this person may change it.
    """

    id: str
    slug: str
    name: str
    description: str
    icon: str
    model: str | None
    suggestions: tuple[str, ...]
    tools: tuple[AgentTool, ...]
    visibility: Visibility
    owner_id: str | None
    built_in: bool
    has_picture: bool
    updated_at: datetime
    is_own: bool
    can_edit: bool

    @property
    def label(self) -> str:
        """The name, behind the emoji where it has one."""
        return f"{self.icon} {self.name}" if self.icon else self.name


@dataclass(frozen=True)
class Content:
    """What a person writes of an agent. `picture`: a small square PNG. `shared_with`: ids of people, who count where
    the visibility is `people`. Suggestions are as in `ListedAgent`."""

    name: str
    description: str = ""
    icon: str = ""
    picture: bytes | None = field(default=None, repr=False)
    system_prompt: str = ""
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    suggestions: tuple[str, ...] = ()
    tools: tuple[AgentTool, ...] = ()
    knowledge: tuple[str, ...] = ()
    visibility: Visibility = "own"
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpenedAgent:
    """An agent with all of its content. `version`: to be handed back when it is saved."""

    id: str
    slug: str
    content: Content
    version: int
    owner_id: str | None
    built_in: bool
    is_own: bool
    can_edit: bool
    archived_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True)
class Version:
    """One save. `person`: the name of who saved it; '' where it came with Chatcore, or the person was erased."""

    number: int
    person: str
    note: str
    created_at: datetime


@dataclass(frozen=True)
class Draft:
    """What somebody wrote and did not save yet. `agent_id`: of a hidden agent that answers as the draft says, for its
    writer only. `version`: of the agent that it was made from; 0 for a new one."""

    agent_id: str
    content: Content
    version: int
    updated_at: datetime


@dataclass(frozen=True)
class Unsaved:
    """That there is a draft. `of`: the id of the agent that is changed, None for a new one. `name`: as it is typed."""

    of: str | None
    name: str
    updated_at: datetime


@dataclass(frozen=True)
class Colleague:
    """A person of the tenant. `active`: they can sign in."""

    id: str
    name: str
    active: bool


@dataclass(frozen=True)
class Figures:
    """An agent's last 30 days. Tokens are those in and out; the cost is None where no call has a known one, and lacks
    `unpriced` calls. `people`: who called it; None where there are too many calls to look through. `good`: the share
    of ratings with four or five stars, 0 to 1."""

    calls: int = 0
    tokens: int = 0
    cost_nano_usd: int | None = None
    unpriced: int = 0
    people: int | None = 0
    ratings: int = 0
    mean_stars: float | None = None
    good: float | None = None
