"""Whatever happens to the people of workshops, nobody reads or writes what a plain model of the rules forbids."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.conversations import Conversations, aliases, store
from chatcore.db import Database
from chatcore.errors import ChatcoreError, Conflict, Forbidden, NotFound
from chatcore.workshops import Workshops, talking
from tests.conftest import add_person

STEP = "empathize"
LEADER, PEOPLE = 0, 5
ACTS = st.lists(
    st.tuples(
        st.sampled_from(("invite", "remove", "leave", "open", "join", "close", "archive", "restore", "end", "go on")),
        st.integers(0, PEOPLE - 1),
    ),
    max_size=12,
)


@dataclass
class Model:
    """The rules, as they are written for people."""

    inside: set[int] = field(default_factory=lambda: {LEADER})
    removed: set[int] = field(default_factory=set)
    is_open: bool = False
    archived: bool = False
    ended: bool = False

    def act(self, act: str, who: int, same_tenant: bool) -> None:
        if act == "invite" and same_tenant:
            self.inside.add(who)
            self.removed.discard(who)
        elif act == "remove" and who != LEADER and who in self.inside:
            self.inside.discard(who)
            self.removed.add(who)
        elif act == "leave" and who != LEADER:
            self.inside.discard(who)
        elif act == "join" and same_tenant and self.is_open and not self.archived and who not in self.removed:
            self.inside.add(who)
        elif act in ("open", "close"):
            self.is_open = act == "open"
        elif act in ("archive", "restore"):
            self.archived = act == "archive"
        elif act in ("end", "go on"):
            self.ended = act == "end"


def house_of(db: Database) -> list[Principal]:
    """A leader, two members and an admin of one tenant, and an operator of another."""
    mark = secrets.token_hex(5)
    first = [add_person(db, f"{one}-{mark}", tenant=f"A-{mark}") for one in "abc"]
    return [
        *first, add_person(db, f"d-{mark}", tenant=f"A-{mark}", role="admin"),
        add_person(db, f"e-{mark}", tenant=f"B-{mark}", role="operator"),
    ]  # fmt: skip


def do(of: Workshops, house: list[Principal], made: str, act: str, who: int) -> None:
    leader, one = house[LEADER], house[who]
    acts = {
        "invite": lambda: of.invite(leader, made, [one.user_id]),
        "remove": lambda: of.remove(leader, made, one.user_id),
        "leave": lambda: of.leave(one, made),
        "join": lambda: of.open(one, made),
        "open": lambda: of.open_to_team(leader, made, is_open=True),
        "close": lambda: of.open_to_team(leader, made, is_open=False),
        "archive": lambda: of.archive(leader, made),
        "restore": lambda: of.archive(leader, made, archived=False),
        "end": lambda: of.end(leader, made),
        "go on": lambda: of.end(leader, made, ended=False),
    }
    try:
        acts[act]()
    except ChatcoreError:
        pass  # what the model says is looked at below, whatever was refused


def asked(session: Session, who: Principal, made: str) -> str:
    found = talking.conversation(session, who, made, STEP, model=None, settings={})
    assert talking.said(session, found)
    message: dict[str, Any] = {
        "parent_id": None,
        "role": "user",
        "content": "secret",
        "status": "complete",
        "parts": [],
    }
    message_id = store.add_message(session, who, found.id, **message)
    store.advance(session, found.id, message_id, 1)
    return message_id


def allowed(work: Callable[[], object]) -> bool:
    """Whether it was: refused is what is not found, and nothing else."""
    try:
        work()
    except (NotFound, Forbidden):
        return False
    except Conflict:
        return True
    return True


def look(db: Database, who: Principal, made: str, conversation_id: str, message_id: str, *, inside: bool) -> None:
    """Every way in, by every id."""
    of, talk = Workshops(db), Conversations(db)
    ways = (
        lambda: of.get(who, made),
        lambda: of.pulse(who, made, STEP),
        lambda: of.notes(who, made, STEP),
        lambda: of.versions(who, made, STEP),
        lambda: of.save_notes(who, made, STEP, "x", 99),
        lambda: of.set_done(who, made, STEP, done=True),
        lambda: talk.get(who, conversation_id),
        lambda: talk.window(who, conversation_id),
        lambda: talk.people(who, conversation_id),
        lambda: talk.of_step(who, made, STEP),
        lambda: talk.switch(who, conversation_id, message_id),
        lambda: db.read(lambda session: store.message(session, who, message_id, "reply")),
        lambda: db.write(lambda session: talking.conversation(session, who, made, STEP, model=None, settings={})),
        lambda: db.read(lambda session: talking.to_summarise(session, who, made, STEP)),
    )
    assert [allowed(way) for way in ways] == [inside] * len(ways)
    assert (db.read(lambda session: aliases.find(session, who, conversation_id)) is not None) == inside
    assert (of.list(who) + of.list(who, archived=True) != []) or not inside  # type: ignore[operator]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
def test_nobody_gets_in_who_does_not_take_part(module_database: Database, acts: list[tuple[str, int]]) -> None:
    db, of, model = module_database, Workshops(module_database), Model()
    house = house_of(db)
    made = of.create(house[LEADER], "design-thinking", "Secret")
    message_id = db.write(lambda session: asked(session, house[LEADER], made))
    conversation_id = Conversations(db).of_step(house[LEADER], made, STEP)
    for act, who in acts:
        do(of, house, made, act, who)
        model.act(act, who, same_tenant=house[who].tenant_id == house[LEADER].tenant_id)
    for number, person in enumerate(house):
        inside = number in model.inside
        look(db, person, made, conversation_id, message_id, inside=inside)
        may_join = model.is_open and not model.archived and number not in model.removed and number < PEOPLE - 1
        listed = [one.takes_part for one in of.list(person)]
        assert listed == ([] if model.archived else [True] if inside else [False] if may_join else [])
