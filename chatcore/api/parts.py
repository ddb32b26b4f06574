"""What the routes need of the Core. They import no package above this one."""

from typing import Protocol

from chatcore.accounts import Accounts
from chatcore.accounts.audit_log import AuditLog
from chatcore.agents import Agents
from chatcore.config import Settings
from chatcore.conversations import Conversations
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.export import Exports
from chatcore.conversations.history import History
from chatcore.conversations.ratings import Ratings
from chatcore.conversations.sharing import Shares
from chatcore.db import Database
from chatcore.gateway import Gateway
from chatcore.tools import Toolbox
from chatcore.turns import Turns
from chatcore.usage import Usage
from chatcore.usage.live import Live


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
    def agents(self) -> Agents: ...
    @property
    def conversations(self) -> Conversations: ...
    @property
    def history(self) -> History: ...
    @property
    def exports(self) -> Exports: ...
    @property
    def shares(self) -> Shares: ...
    @property
    def ratings(self) -> Ratings: ...
    @property
    def gateway(self) -> Gateway: ...
    @property
    def toolbox(self) -> Toolbox: ...
    @property
    def turns(self) -> Turns: ...
