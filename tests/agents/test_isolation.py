"""Whatever people of two tenants do with agents, nobody sees or changes what a plain model of the rules forbids."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatcore import agents
from chatcore.accounts import Principal
from chatcore.agents import VISIBILITIES, Agents, Content, Visibility
from chatcore.db import Database
from chatcore.errors import ChatcoreError, Forbidden, NotFound
from tests.conftest import add_person

PEOPLE = 5


@dataclass(frozen=True)
class Wish:
    """An agent that somebody is to make: people by their places in the house, visibility now and after a change."""

    owner: int
    shared_with: frozenset[int]
    before: Visibility
    after: Visibility
    archived: bool


@dataclass(frozen=True)
class Made:
    """One that was made: by whom, who it is shared with now, and how."""

    id: str
    owner: Principal
    shared: tuple[Principal, ...]
    visibility: Visibility
    archived: bool

    def seen_by(self, who: Principal) -> bool:
        """The rules, as they are written for people."""
        if self.archived or who.tenant_id != self.owner.tenant_id:
            return False
        mine = who.user_id == self.owner.user_id
        return mine or self.visibility == "team" or (self.visibility == "people" and who in self.shared)

    def changed_by(self, who: Principal) -> bool:
        if who.tenant_id != self.owner.tenant_id:
            return False
        return who.user_id == self.owner.user_id or (self.visibility == "team" and who.is_admin)


WISHES = st.lists(
    st.builds(
        Wish, st.integers(0, PEOPLE - 1), st.frozensets(st.integers(0, PEOPLE - 1)), st.sampled_from(VISIBILITIES),
        st.sampled_from(VISIBILITIES), st.booleans(),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def people(db: Database) -> list[Principal]:
    """Two members and an admin of one tenant, a member and an operator of another."""
    mark = secrets.token_hex(5)
    first = [add_person(db, f"{one}-{mark}", tenant=f"A-{mark}") for one in "ab"]
    admin = add_person(db, f"c-{mark}", tenant=f"A-{mark}", role="admin")
    return [
        *first, admin, add_person(db, f"d-{mark}", tenant=f"B-{mark}"),
        add_person(db, f"e-{mark}", tenant=f"B-{mark}", role="operator"),
    ]  # fmt: skip


def make(of: Agents, house: list[Principal], wish: Wish) -> Made:
    owner = house[wish.owner]
    shared = tuple(house[place] for place in sorted(wish.shared_with) if house[place].tenant_id == owner.tenant_id)
    content = Content("Theirs", visibility=wish.before, shared_with=tuple(one.user_id for one in shared))
    made = of.create(owner, content)
    of.save(owner, made, replace(content, visibility=wish.after), 1)
    of.keep_draft(owner, made, replace(content, name="Draft"), 2)
    if wish.archived:
        of.archive(owner, made)
    return Made(made, owner, shared, wish.after, wish.archived)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=WISHES)
def test_nobody_sees_or_changes_what_is_not_theirs(module_database: Database, wishes: list[Wish]) -> None:
    of, house = Agents(module_database), people(module_database)
    made = [make(of, house, wish) for wish in wishes]
    for who in house:
        seen = {one.id for one in of.list(who) if not one.built_in}
        assert seen == {one.id for one in made if one.seen_by(who)}
        assert set(of.pictures(who, [one.id for one in made])) == set()
        counted = {
            one.id for one in made if one.owner.tenant_id == who.tenant_id and (who.is_admin or one.owner == who)
        }
        assert set(of.figures(who, [one.id for one in made])) == counted
    stale = Content("Changed", visibility="team")
    for who, one in product(house, made):
        assert (used(module_database, who, one) is not None) == one.seen_by(who)
        assert (of.draft(who, one.id) is not None) == (who == one.owner)
        assert (outcome(of.get, who, one.id) is None) == (one.seen_by(who) or one.changed_by(who))
        assert (outcome(of.export, who, one.id, {}) is None) == (one.seen_by(who) or one.changed_by(who))
        assert (outcome(of.versions, who, one.id) is None) == one.changed_by(who)
        refused = outcome(of.save, who, one.id, stale, 0) in (Forbidden, NotFound)
        assert refused != one.changed_by(who), "a change goes as far as its version"


def used(db: Database, who: Principal, one: Made) -> agents.Agent | None:
    return db.read(lambda session: agents.find(session, who, one.id))


def outcome(call: Callable[..., object], *arguments: object) -> type[ChatcoreError] | None:
    """What it raised."""
    try:
        call(*arguments)
    except ChatcoreError as error:
        return type(error)
    return None
