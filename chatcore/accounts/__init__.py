"""Who people are: tenants, users, passwords, browser sessions, one-time links, API keys, and the audit log."""

from chatcore.accounts.active import require_active
from chatcore.accounts.codes import Link, OpenCode
from chatcore.accounts.console import Console
from chatcore.accounts.keys import KeyInfo
from chatcore.accounts.people import Person, require_acting_admin
from chatcore.accounts.principal import ROLES, Principal, Role
from chatcore.accounts.service import Accounts
from chatcore.accounts.sessions import SessionInfo
from chatcore.accounts.setup import NewTenantHook, TenantInfo

__all__ = [
    "ROLES",
    "Accounts",
    "Console",
    "KeyInfo",
    "Link",
    "NewTenantHook",
    "OpenCode",
    "Person",
    "Principal",
    "Role",
    "SessionInfo",
    "TenantInfo",
    "require_acting_admin",
    "require_active",
]
