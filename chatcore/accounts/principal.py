"""Who is asking: the one value that every authorised function takes first."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Role = Literal["operator", "admin", "member"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Principal:
    """A signed-in person, as the database knew them when this run began.

    `role`: `operator` for the instance (and admin of their own tenant), `admin` for their tenant, `member`.
    `session_id`: the browser session, `key_id`: the API key; both None for the command line.
    """

    user_id: str
    tenant_id: str
    username: str
    name: str
    role: Role
    tier: str = "free"
    session_id: str | None = None
    key_id: str | None = field(default=None, compare=False)

    @property
    def is_admin(self) -> bool:
        """May see and change the people and the usage of their own tenant."""
        return self.role in ("admin", "operator")

    @property
    def is_operator(self) -> bool:
        """May do what touches the whole instance."""
        return self.role == "operator"
