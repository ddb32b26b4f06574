"""A person for whom the company's identity provider has signed in: found, linked, or made at the first sign-in.

What these functions decide they decide inside one transaction, one sign-in at a time, as roles are at stake.
"""

import logging
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chatcore.accounts import audit, claims, codes, keys, people, sessions, setup
from chatcore.accounts.claims import Identity
from chatcore.accounts.locks import serialize
from chatcore.config_oidc import Oidc
from chatcore.db.tables import OneTimeCode, ProviderKey, User, utcnow
from chatcore.errors import Conflict, InvalidInput, NotFound
from chatcore.ids import new_id

log = logging.getLogger(__name__)

_USED: Final = "company"  # the kind under which a used answer of the provider is remembered
_REMEMBERED: Final = timedelta(hours=1)  # much longer than an answer may be old


def person(session: Session, who: Identity, oidc: Oidc, address: str) -> str:
    """The id of the person who signs in, up to date with what the claims say. Raises `SignInRefused`."""
    serialize(session, "roles")
    _use_once(session, who, oidc)
    tenant_id = _tenant(session, oidc)
    user = session.scalar(select(User).where(User.identity == who.key))
    if user is None:
        user = _linked(session, who, oidc, tenant_id, address) or _provisioned(session, who, oidc, tenant_id, address)
    if user.disabled_at is not None or user.erased_at is not None or user.is_demo:
        raise claims.refused("disabled", oidc)
    session.expunge(user)  # it keeps saying what was, while the row changes
    if user.tenant_id == tenant_id:
        _follow(session, user, who, address)
    audit.note(session, user.tenant_id, user.id, "sign_in.company", user.id, address)
    return user.id


def _use_once(session: Session, who: Identity, oidc: Oidc) -> None:
    """An answer of the provider signs in once, also where the provider takes a code twice."""
    now = utcnow()
    session.execute(delete(OneTimeCode).where(OneTimeCode.kind == _USED, OneTimeCode.expires_at < now))
    used = {"id": new_id("code"), "kind": _USED, "code_sha256": codes.sha256(f"{_USED} {who.key} {who.nonce}")}
    try:
        with session.begin_nested():
            session.execute(insert(OneTimeCode).values(**used, data={}, used_at=now, expires_at=now + _REMEMBERED))
    except IntegrityError as error:
        raise claims.refused("stale", oidc) from error


def _tenant(session: Session, oidc: Oidc) -> str:
    try:
        return setup.tenant_named(session, oidc.tenant)
    except NotFound as error:
        log.error("chatcore.oidc.tenant names no tenant; `tenants list` shows them", extra={"tenant": oidc.tenant})
        raise claims.refused("tenant", oidc) from error


def _linked(session: Session, who: Identity, oidc: Oidc, tenant_id: str, address: str) -> User | None:
    """The account that has the address as username, from now on theirs; None where there is none."""
    user = session.scalar(select(User).where(User.username == who.email))
    if user is None:
        return None
    if user.identity is not None or not oidc.link_by_email or user.tenant_id != tenant_id or user.is_demo:
        raise claims.refused("taken", oidc)
    if user.disabled_at is None and user.erased_at is None:
        ended = _shut(session, user)
        session.execute(update(User).where(User.id == user.id).values(identity=who.key))
        audit.note(session, tenant_id, user.id, "user.link", user.id, address, **ended)
        session.refresh(user)
    return user


def _shut(session: Session, user: User) -> dict[str, Any]:
    """End every other way into the account: whoever made it need not be whose address it is. What ended, to be noted.

    The person's own provider keys go too: through somebody else's, that one could read along at the provider.
    """
    # The links before the password: one that is being used at this moment is waited for.
    codes.void(session, "invite", user.id)
    codes.void(session, "reset", user.id)
    had_password = user.password_hash is not None
    session.execute(update(User).where(User.id == user.id).values(password_hash=None))
    theirs = delete(ProviderKey).where(ProviderKey.owner_id == user.id).returning(ProviderKey.id)
    return {
        "password": had_password,
        "sessions": sessions.revoke_all(session, user.id),
        "api_keys": keys.revoke_all(session, user.id),
        "provider_keys": len(session.execute(theirs).all()),
    }


def _provisioned(session: Session, who: Identity, oidc: Oidc, tenant_id: str, address: str) -> User:
    if not oidc.provision:
        raise claims.refused("unknown", oidc)
    role = who.role or "member"
    try:
        user_id = people.create(session, tenant_id, who.email, who.name, role, "free", None)
    except InvalidInput as error:
        raise claims.refused("username", oidc) from error
    session.execute(update(User).where(User.id == user_id).values(identity=who.key, team=who.team))
    audit.note(session, tenant_id, user_id, "user.provision", user_id, address, role=role)
    return session.scalars(select(User).where(User.id == user_id)).one()


def _follow(session: Session, user: User, who: Identity, address: str) -> None:
    """Role and team become what the claims say, but for what would leave nobody in charge."""
    if who.team is not None and who.team != user.team:
        session.execute(update(User).where(User.id == user.id).values(team=who.team))
        audit.note(
            session, user.tenant_id, user.id, "user.team", user.id, address,
            before=user.team, after=who.team, by="sign_in.company",
        )  # fmt: skip
    if who.role is None or who.role == user.role:
        return
    try:
        with session.begin_nested():
            session.execute(update(User).where(User.id == user.id).values(role=who.role))
            people.refuse_headless(session, user)
    except Conflict:
        log.warning("a role stays as it is: nobody else would be in charge", extra={"user": user.id})
        return
    audit.note(
        session, user.tenant_id, user.id, "user.role", user.id, address,
        before=user.role, after=who.role, by="sign_in.company",
    )  # fmt: skip
