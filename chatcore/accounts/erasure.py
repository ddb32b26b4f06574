"""The account's part of erasing a person: at once nobody can be them, find them or name them.

What they cost stays under a name that stands for nobody: a row of `users` without a word of theirs, in their tenant,
tier and team, so that sums stay as they were. `chatcore.care.people` goes on from there.
"""

from typing import Any, Final

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import audit, audit_log, people, sessions
from chatcore.accounts.principal import Principal
from chatcore.accounts.validation import normal_username
from chatcore.db.tables import (
    Alert,
    ApiKey,
    BrowserSession,
    Budget,
    LoginAttempt,
    OneTimeCode,
    ProviderKey,
    User,
    utcnow,
)
from chatcore.errors import InvalidInput
from chatcore.ids import new_id

NAME: Final = "Erased person"
_AS: Final = "erased_as"


def begin(session: Session, who: Principal, user_id: str, typed: str) -> None:
    """Shut a person out for good and take away all that their account is. `typed`: their username, to be sure.

    Raises `InvalidInput` where that is another, `NotFound`, `Forbidden`, `Conflict` for oneself, the last admin and
    the last operator.
    """
    person = people.handled(session, who, user_id, "You cannot erase your own account; ask another admin.")
    if normal_username(typed) != person.username:
        raise InvalidInput("That is not their username, so nobody was erased.")
    audit.record(session, who, "user.erase", user_id)
    stand_in = new_id("usr")
    values: dict[str, Any] = {"name": NAME, "password_hash": None, "identity": None, "erased_at": utcnow()}
    values["disabled_at"] = person.disabled_at or utcnow()
    blank = values | {"username": f"erased-{user_id}", "settings": {_AS: stand_in}}
    session.execute(update(User).where(User.id == user_id).values(**blank))
    people.refuse_headless(session, person)
    stays = {"tenant_id": person.tenant_id, "tier": person.tier, "team": person.team, "created_at": person.created_at}
    session.execute(
        insert(User).values(id=stand_in, username=f"erased-{stand_in}", role="member", settings={}, **stays, **values)
    )
    sessions.revoke_all(session, user_id)
    session.execute(delete(LoginAttempt).where(LoginAttempt.username == person.username))
    _drop_what_is_theirs(session, user_id)
    audit_log.empty(session, user_id, person.username, person.name)


def unfinished(session: Session) -> list[tuple[str, str]]:
    """People who are being erased: their ids, each with that of the row that stands for them."""
    marked = User.settings[_AS].as_string()
    rows = session.execute(select(User.id, marked).where(User.erased_at.is_not(None), marked.is_not(None)))
    return [(row[0], row[1]) for row in rows]


def finish(session: Session, user_id: str) -> None:
    """Take the emptied row away: nothing names it any more."""
    _drop_what_is_theirs(session, user_id)  # once more: a sign-in may have been on its way
    audit_log.empty(session, user_id)
    session.execute(delete(User).where(User.id == user_id))


def _drop_what_is_theirs(session: Session, user_id: str) -> None:
    where_from = select(BrowserSession.address).where(BrowserSession.user_id == user_id, BrowserSession.address != "")
    budgets = select(Budget.id).where(Budget.scope == "user", Budget.scope_id == user_id)
    about = or_(Alert.details["person"].as_string() == user_id, Alert.subject.in_(budgets))
    statements = (
        delete(Alert).where(about),  # of a budget of theirs: it says their name
        update(LoginAttempt).where(LoginAttempt.address.in_(where_from)).values(address=""),
        *(delete(table).where(table.user_id == user_id) for table in (BrowserSession, ApiKey, OneTimeCode)),
        delete(ProviderKey).where(ProviderKey.owner_id == user_id),
    )
    for statement in statements:
        session.execute(statement.execution_options(synchronize_session=False))
