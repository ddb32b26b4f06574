"""What the routes need of the Core. They import no package above or beside this one."""

from collections.abc import Sequence
from typing import Protocol

from chatcore.accounts import Accounts
from chatcore.accounts.audit_log import AuditLog
from chatcore.config import Settings
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database
from chatcore.gateway import Health
from chatcore.usage import Usage
from chatcore.usage.live import Live


class Engine(Protocol):
    """The turns, as far as `/api/ready` and `/metrics` look at them."""

    @property
    def is_running(self) -> bool: ...
    @property
    def running(self) -> int: ...


class Models(Protocol):
    """The gateway, as far as `/metrics` looks at it."""

    @property
    def warm(self) -> bool: ...
    def health(self) -> Sequence[Health]: ...


class Parts(Protocol):
    """The Core, as far as the routes and the middleware use it."""

    @property
    def settings(self) -> Settings: ...
    @property
    def db(self) -> Database: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def audit(self) -> AuditLog: ...
    @property
    def attachments(self) -> Attachments: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def live(self) -> Live: ...
    @property
    def gateway(self) -> Models: ...
    @property
    def turns(self) -> Engine: ...
