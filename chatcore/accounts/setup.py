"""The first start: a tenant, and the first account or a link with which to make it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import exists, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chatcore.accounts import audit, codes, people
from chatcore.accounts.locks import serialize
from chatcore.accounts.validation import clean_name
from chatcore.db.tables import Tenant, User
from chatcore.errors import Conflict, NotFound
from chatcore.ids import new_id

DEFAULT_TENANT: Final = "Default"
NewTenantHook = Callable[[Session, str], None]


@dataclass(frozen=True)
class TenantInfo:
    """A tenant and how many people it has."""

    id: str
    name: str
    people: int


def has_people(session: Session) -> bool:
    """Whether anybody has an account. Demo people do not count: nobody can sign in as one."""
    return bool(session.scalar(select(exists().where(User.is_demo.is_(False)))))


def prepare(session: Session, hook: NewTenantHook | None, first: tuple[str, str] | None) -> str | None:
    """Make what is missing. `first`: username and password hash of the first account. Returns a setup code, or None."""
    tenant_id = ensure_tenant(session, hook)
    if has_people(session):
        return None
    if first is None:
        code, _ = codes.issue(session, "setup")
        return code
    _first_account(session, tenant_id, first[0], first[0], first[1])
    return None


def ensure_tenant(session: Session, hook: NewTenantHook | None) -> str:
    """The id of the default tenant, which is made where there is none. Other starts wait meanwhile."""
    serialize(session, "setup")
    return default_tenant(session) or add_tenant(session, DEFAULT_TENANT, hook)


def first_account(session: Session, code: str, username: str, name: str, password_hash: str) -> str:
    """The first account, operator and admin of the default tenant: its id. Raises `Unauthorized`, `InvalidInput`."""
    serialize(session, "setup")
    if has_people(session):
        raise codes.refusal()
    codes.consume(session, "setup", code)
    tenant_id = default_tenant(session)
    assert tenant_id is not None, "ensure_ready makes one before any code"
    return _first_account(session, tenant_id, username, name, password_hash)


def default_tenant(session: Session) -> str | None:
    """The id of the oldest tenant."""
    found: str | None = session.scalar(select(Tenant.id).order_by(Tenant.id).limit(1))
    return found


def tenant_named(session: Session, name: str | None) -> str:
    """The id of the tenant of this name, the default one for None. Raises `NotFound`."""
    found = default_tenant(session) if name is None else session.scalar(select(Tenant.id).where(Tenant.name == name))
    if found is None:
        raise NotFound("There is no such tenant; `tenants list` shows them.")
    return found


def tenants(session: Session) -> list[TenantInfo]:
    """All tenants, the oldest first."""
    counted = (
        select(Tenant.id, Tenant.name, func.count(User.id))
        .outerjoin(User, (User.tenant_id == Tenant.id) & User.is_demo.is_(False) & User.erased_at.is_(None))
        .group_by(Tenant.id, Tenant.name)
        .order_by(Tenant.id)
    )
    return [TenantInfo(*row) for row in session.execute(counted)]


def add_tenant(session: Session, name: str, hook: NewTenantHook | None) -> str:
    """A new tenant with what `hook` puts into it: its id. Raises `InvalidInput`, `Conflict` for a taken name."""
    tenant_id, name = new_id("ten"), clean_name(name, "A tenant's name")
    try:
        with session.begin_nested():
            session.execute(insert(Tenant).values(id=tenant_id, name=name))
    except IntegrityError as error:
        raise Conflict(f"There is a tenant called {name} already.") from error
    if hook is not None:
        hook(session, tenant_id)
    audit.note(session, tenant_id, None, "tenant.create", tenant_id)
    return tenant_id


def _first_account(session: Session, tenant_id: str, username: str, name: str, password_hash: str) -> str:
    user_id = people.create(session, tenant_id, username, name, "operator", "free", password_hash)
    codes.void(session, "setup", None)
    audit.note(session, tenant_id, user_id, "user.first", user_id)
    return user_id
