"""The people of a tenant, and what an admin may do with them.

An admin acts in their own tenant and never on operators; nobody changes their own role or disables themself; a tenant
keeps one working admin and the instance one working operator. The acting person's role is read again inside the
transaction, and such acts run one at a time, so two admins cannot remove each other at the same moment.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Select, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chatcore.accounts import audit, codes, sessions
from chatcore.accounts.locks import serialize
from chatcore.accounts.principal import Principal, Role
from chatcore.accounts.validation import clean_name, clean_role, clean_team, clean_tier, clean_username
from chatcore.db.tables import BrowserSession, Tenant, User, utcnow
from chatcore.errors import Conflict, Forbidden, NotFound
from chatcore.ids import new_id

Status = Literal["active", "invited", "disabled"]
COMMAND_LINE: Final = "command line"


@dataclass(frozen=True)
class Person:
    """One person as an admin sees them. `last_seen_at` is None for someone who never signed in.

    `has_password`, `has_company`: how they can sign in; someone invited can in neither way yet.
    """

    id: str
    tenant: str
    username: str
    name: str
    role: Role
    tier: str
    team: str | None
    status: Status
    created_at: datetime
    last_seen_at: datetime | None
    has_password: bool
    has_company: bool


def listed(session: Session, who: Principal) -> list[Person]:
    """The people of the principal's own tenant, by username. Raises `Forbidden` for a member."""
    require_admin(who)
    return [_person(row) for row in session.execute(_people().where(User.tenant_id == who.tenant_id))]


def everyone(session: Session, who: Principal) -> list[Person]:
    """The people of all tenants, by tenant and username. Raises `Forbidden` for anyone but an operator."""
    if not who.is_operator:
        raise Forbidden("Only an operator sees the people of all tenants.")
    return [_person(row) for row in session.execute(_people())]


def add(
    session: Session, who: Principal, username: str, name: str, role: str, tier: str, password_hash: str | None
) -> str:
    """A new person in the principal's tenant: their id. Raises `InvalidInput`, `Conflict` for a taken name."""
    wanted = clean_role(role)
    require_acting_admin(session, who)
    _may_handle(who, wanted)
    user_id = create(session, who.tenant_id, username, name, wanted, tier, password_hash)
    audit.record(session, who, "user.create" if password_hash else "user.invite", user_id, role=wanted)
    return user_id


def create(
    session: Session, tenant_id: str, username: str, name: str, role: Role, tier: str, password_hash: str | None
) -> str:
    """Insert the row, checked. Raises `InvalidInput`, `Conflict` for a taken name."""
    user_id, username = new_id("usr"), clean_username(username)
    values = {"id": user_id, "tenant_id": tenant_id, "username": username, "name": clean_name(name), "role": role}
    try:
        with session.begin_nested():
            session.execute(insert(User).values(**values, tier=clean_tier(tier), password_hash=password_hash))
    except IntegrityError as error:
        raise Conflict(f"The username {username} is taken; choose another.") from error
    return user_id


def set_role(session: Session, who: Principal, user_id: str, role: str) -> None:
    """Give a person another role. Raises `NotFound`, `Forbidden`, `Conflict`, `InvalidInput`."""
    wanted = clean_role(role)
    person = handled(session, who, user_id, "You cannot change your own role; ask another admin.")
    _may_handle(who, wanted)
    if person.role == wanted:
        return
    session.execute(update(User).where(User.id == user_id).values(role=wanted))
    refuse_headless(session, person)
    audit.record(session, who, "user.role", user_id, before=person.role, after=wanted)


def set_team(session: Session, who: Principal, user_id: str, team: str | None) -> None:
    """Put a person into a team, or with None into none. Raises `NotFound`, `Forbidden`, `InvalidInput`.

    A team is a label: it is there as soon as somebody is in it.
    """
    wanted = clean_team(team)
    person = handled(session, who, user_id, None)
    if person.team == wanted:
        return
    session.execute(update(User).where(User.id == user_id).values(team=wanted))
    audit.record(session, who, "user.team", user_id, before=person.team, after=wanted)


def set_tier(session: Session, who: Principal, user_id: str, tier: str) -> None:
    """Put a person into another tier of limits. Raises `NotFound`, `Forbidden`, `InvalidInput`."""
    wanted = clean_tier(tier)
    person = handled(session, who, user_id, None)
    if person.tier == wanted:
        return
    session.execute(update(User).where(User.id == user_id).values(tier=wanted))
    audit.record(session, who, "user.tier", user_id, before=person.tier, after=wanted)


def set_disabled(session: Session, who: Principal, user_id: str, disabled: bool) -> None:
    """Shut a person out, everywhere and at once, or let them in again. Raises `NotFound`, `Forbidden`, `Conflict`."""
    person = handled(session, who, user_id, "You cannot disable your own account; ask another admin.")
    if (person.disabled_at is not None) == disabled:
        return
    session.execute(update(User).where(User.id == user_id).values(disabled_at=utcnow() if disabled else None))
    if disabled:
        refuse_headless(session, person)
        sessions.revoke_all(session, user_id)
        codes.void(session, "invite", user_id)
        codes.void(session, "reset", user_id)
    audit.record(session, who, "user.disable" if disabled else "user.enable", user_id)


def link(session: Session, who: Principal, user_id: str) -> codes.Link:
    """A one-time link to choose a new password, or to join for someone who has not yet. The older one ends.

    Raises `NotFound`, `Forbidden`, and `Conflict` for a disabled person and for one whose company keeps the password.
    """
    person = handled(session, who, user_id, None)
    if person.disabled_at is not None:
        raise Conflict("This account is disabled; enable it first.")
    if person.identity is not None and person.password_hash is None:
        raise Conflict("They sign in with their company's account and have no password here.")
    kind: codes.LinkKind = "reset" if person.password_hash else "invite"
    code, expires_at = codes.issue(session, kind, user_id)
    audit.record(session, who, f"user.{kind}_link", user_id)
    return codes.Link(kind, code, expires_at)


def sign_out_everywhere(session: Session, who: Principal, user_id: str) -> int:
    """End every browser session of a person. Returns how many ended. Raises `NotFound`, `Forbidden`."""
    person = handled(session, who, user_id, None)
    ended = sessions.revoke_all(session, person.id, but=who.session_id)
    audit.record(session, who, "session.revoke_all", person.id, ended=ended)
    return ended


def set_password(session: Session, who: Principal, user_id: str, password_hash: str) -> None:
    """Set a person's password for them and sign them out everywhere. Raises `NotFound`, `Forbidden`."""
    if not who.is_operator:
        raise Forbidden("Only an operator sets another person's password.")
    handled(session, who, user_id, None)
    store_password(session, user_id, password_hash)
    audit.record(session, who, "password.set", user_id)


def store_password(session: Session, user_id: str, password_hash: str, *, keep: str | None = None) -> None:
    """A new password ends every session but `keep`, and every link that could set another."""
    session.execute(update(User).where(User.id == user_id).values(password_hash=password_hash))
    sessions.revoke_all(session, user_id, but=keep)
    codes.void(session, "reset", user_id)
    codes.void(session, "invite", user_id)


def require_admin(who: Principal) -> None:
    """Raises `Forbidden` for a member."""
    if not who.is_admin:
        raise Forbidden("Only an admin can do this.")


def require_acting_admin(session: Session, who: Principal) -> None:
    """Raises `Forbidden` for who is no admin any more: the principal was read when the run began, and what counts is
    their role now. The acts of admins then run one at a time.
    """
    require_admin(who)
    serialize(session, "roles")
    if not who.user_id and who.username == COMMAND_LINE:
        return
    now = session.execute(select(User.role, User.disabled_at).where(User.id == who.user_id)).one_or_none()
    if now is None or now.disabled_at is not None or now.role != who.role:
        raise Forbidden("Your role has changed. Reload the page.")


def command_line(tenant_id: str) -> Principal:
    """Whoever has a shell on the server: an operator who is no row of `users`."""
    return Principal("", tenant_id, COMMAND_LINE, "Command line", "operator")


def handled(session: Session, who: Principal, user_id: str, own_refusal: str | None) -> User:
    """A person that the principal may act on, detached from the session: it keeps saying what was.

    `own_refusal`: said to who would act on themself. Raises `NotFound`, `Forbidden`, `Conflict`.
    """
    require_acting_admin(session, who)
    person = session.scalar(
        select(User).where(
            User.id == user_id,
            User.tenant_id == who.tenant_id,
            User.is_demo.is_(False),
            User.is_service.is_(False),
            User.erased_at.is_(None),
        )
    )
    if person is None:
        raise NotFound("There is no such person.")
    if own_refusal and person.id == who.user_id:
        raise Conflict(own_refusal)
    _may_handle(who, clean_role(person.role))
    session.expunge(person)
    return person


def _may_handle(who: Principal, role: Role) -> None:
    if role == "operator" and not who.is_operator:
        raise Forbidden("Only an operator can make or change operators.")


def refuse_headless(session: Session, was: User) -> None:
    """Raises `Conflict` where a tenant is left without a working admin, or the instance without an operator.

    `was`: the person as they were before the change, detached from the session.
    """
    can_sign_in = or_(User.password_hash.is_not(None), User.identity.is_not(None))
    working = (User.disabled_at.is_(None), can_sign_in, User.is_demo.is_(False))
    if was.disabled_at is not None or (was.password_hash is None and was.identity is None):
        return
    operators = select(func.count()).select_from(User).where(*working, User.role == "operator")
    if was.role == "operator" and not session.scalar(operators):
        raise Conflict("This is the last operator of the instance; make another one first.")
    admins = (
        select(func.count())
        .select_from(User)
        .where(*working, User.role.in_(("admin", "operator")), User.tenant_id == was.tenant_id)
    )
    if was.role != "member" and not session.scalar(admins):
        raise Conflict("This is the last admin; make another one first.")


def _people() -> Select[*tuple[Any, ...]]:
    # For each listed person by the index on user_id, so that one tenant's list does not read all sessions there are.
    seen = select(func.max(BrowserSession.last_seen_at)).where(BrowserSession.user_id == User.id).scalar_subquery()
    return (
        select(User, Tenant.name.label("tenant"), seen.label("last_seen_at"))
        .join(Tenant, Tenant.id == User.tenant_id)
        .where(User.is_demo.is_(False), User.is_service.is_(False), User.erased_at.is_(None))
        .order_by(Tenant.name, User.username)
    )


def _person(row: Any) -> Person:
    user: User = row.User
    has_password, has_company = user.password_hash is not None, user.identity is not None
    status: Status = "disabled" if user.disabled_at else "active" if has_password or has_company else "invited"
    return Person(
        id=user.id,
        tenant=row.tenant,
        username=user.username,
        name=user.name,
        role=clean_role(user.role),
        tier=user.tier,
        team=user.team,
        status=status,
        created_at=user.created_at,
        last_seen_at=row.last_seen_at,
        has_password=has_password,
        has_company=has_company,
    )
