"""Who may use what an admin has named in the config file: by role, tier and tenant."""

from typing import Any

from sqlalchemy import select

from chatcore.accounts import Principal
from chatcore.config_file import Access
from chatcore.db import Database
from chatcore.db.tables import Tenant


def may_use(db: Database, who: Principal, access: Access) -> bool:
    """Whether `access` lets a person in; an empty list lets everybody."""
    if (access.roles and who.role not in access.roles) or (access.tiers and who.tier not in access.tiers):
        return False
    if not access.tenants or who.tenant_id in access.tenants:
        return True
    name: Any = db.read(lambda session: session.scalar(select(Tenant.name).where(Tenant.id == who.tenant_id)))
    return name in access.tenants
