"""What the routes need of the Core. They import no package above or beside this one."""

from typing import Protocol

from chatcore.accounts import Accounts
from chatcore.config import Settings
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database


class Engine(Protocol):
    """The turn engine, as far as `/api/ready` looks at it."""

    @property
    def is_running(self) -> bool: ...


class Parts(Protocol):
    """The Core, as far as the routes and the middleware use it."""

    @property
    def settings(self) -> Settings: ...
    @property
    def db(self) -> Database: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def attachments(self) -> Attachments: ...
    @property
    def turns(self) -> Engine: ...
