"""Sessions: who takes part, what they see, what stays as it was at the start."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import update

from chatcore.db.tables import User, utcnow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthorized
from chatcore.workshops import people, sessions
from tests.conftest import add_person
from tests.workshops.conftest import House
from tests.workshops.test_playbooks import RETRO


def test_a_session_keeps_what_its_playbook_said_at_the_start(house: House) -> None:
    playbook = house.workshops.create_playbook(house.ann, RETRO)
    made = house.workshops.create(house.ann, playbook, "Friday")
    house.workshops.save_playbook(house.ann, playbook, replace(RETRO, name="Other", steps=RETRO.steps[:1]), 1)
    house.workshops.archive_playbook(house.ann, playbook)
    found = house.workshops.get(house.ann, made)
    assert found.content == RETRO
    assert [one.step.id for one in found.steps] == ["well", "better"]


def test_who_is_not_invited_finds_nothing(house: House) -> None:
    for who in (house.bob, house.admin, house.stranger):
        assert house.workshops.list(who) == []
        for read in (house.workshops.open, house.workshops.get):
            with pytest.raises(NotFound, match="does not exist, or it is not yours"):
                read(who, house.id)


def test_the_invited_take_part(house: House) -> None:
    assert {one.name for one in house.workshops.invitable(house.ann, house.id)} == {"Bob", "Admin"}
    house.workshops.invite(house.ann, house.id, [house.bob.user_id, house.bob.user_id])
    found = house.workshops.get(house.bob, house.id)
    assert [(one.name, one.is_owner) for one in found.people] == [("Ann", True), ("Bob", False)]
    assert (found.title, found.is_owner) == ("Better *mornings*", False)
    listed = house.workshops.list(house.bob)[0]
    assert (listed.people, listed.steps, listed.done, listed.takes_part) == (2, 5, 0, True)
    assert (listed.owner, listed.playbook) == ("Ann", "Design thinking")


def test_the_link_lets_the_team_in_while_it_is_open(house: House) -> None:
    house.workshops.open_to_team(house.ann, house.id, is_open=True)
    assert [(one.id, one.takes_part) for one in house.workshops.list(house.bob)] == [(house.id, False)]
    with pytest.raises(NotFound):
        house.workshops.get(house.bob, house.id)
    assert len(house.workshops.open(house.bob, house.id).people) == 2
    assert len(house.workshops.open(house.bob, house.id).people) == 2
    house.workshops.open_to_team(house.ann, house.id, is_open=False)
    house.workshops.get(house.bob, house.id)
    for who in (house.admin, house.stranger):
        with pytest.raises(NotFound):
            house.workshops.open(who, house.id)


def test_no_link_lets_another_tenant_in(house: House) -> None:
    house.workshops.open_to_team(house.ann, house.id, is_open=True)
    assert house.workshops.list(house.stranger) == []
    with pytest.raises(NotFound):
        house.workshops.open(house.stranger, house.id)
    with pytest.raises(NotFound):
        house.workshops.invite(house.ann, house.id, [house.stranger.user_id])


def test_who_was_removed_comes_in_by_an_invitation_only(house: House) -> None:
    house.workshops.open_to_team(house.ann, house.id, is_open=True)
    house.workshops.open(house.bob, house.id)
    house.workshops.remove(house.ann, house.id, house.bob.user_id)
    assert house.workshops.list(house.bob) == []
    with pytest.raises(NotFound):
        house.workshops.open(house.bob, house.id)
    house.workshops.invite(house.ann, house.id, [house.bob.user_id])
    assert len(house.workshops.get(house.bob, house.id).people) == 2


def test_who_left_comes_back_as_they_came(house: House) -> None:
    house.workshops.open_to_team(house.ann, house.id, is_open=True)
    house.workshops.open(house.bob, house.id)
    house.workshops.leave(house.bob, house.id)
    with pytest.raises(NotFound):
        house.workshops.get(house.bob, house.id)
    house.workshops.open(house.bob, house.id)
    with pytest.raises(InvalidInput, match="You lead"):
        house.workshops.leave(house.ann, house.id)
    with pytest.raises(InvalidInput, match="You lead"):
        house.workshops.remove(house.ann, house.id, house.ann.user_id)


def test_only_the_leader_leads(house: House) -> None:
    house.workshops.invite(house.ann, house.id, [house.bob.user_id])
    of, made, bob = house.workshops, house.id, house.bob.user_id
    acts: list[Callable[[object], object]] = [
        lambda who: of.rename(who, made, "Mine"),  # type: ignore[arg-type]
        lambda who: of.open_to_team(who, made, is_open=True),  # type: ignore[arg-type]
        lambda who: of.end(who, made),  # type: ignore[arg-type]
        lambda who: of.archive(who, made),  # type: ignore[arg-type]
        lambda who: of.invitable(who, made),  # type: ignore[arg-type]
        lambda who: of.invite(who, made, [bob]),  # type: ignore[arg-type]
        lambda who: of.remove(who, made, bob),  # type: ignore[arg-type]
    ]
    for act in acts:
        with pytest.raises(Forbidden, match="Only who leads"):
            act(house.bob)
        for who in (house.admin, house.stranger):
            with pytest.raises(NotFound):
                act(who)
    assert of.get(house.ann, made).title == "Better *mornings*"


def test_an_ended_session_is_read_and_goes_on_when_its_leader_says_so(house: House) -> None:
    house.workshops.end(house.ann, house.id)
    assert house.workshops.get(house.ann, house.id).is_over
    with pytest.raises(Conflict, match="has ended"):
        house.workshops.set_done(house.ann, house.id, "empathize", done=True)
    with pytest.raises(Conflict, match="has ended"):
        house.workshops.save_notes(house.ann, house.id, "empathize", "late", 0)
    house.workshops.end(house.ann, house.id, ended=False)
    house.workshops.set_done(house.ann, house.id, "empathize", done=True)


def test_an_archived_session_is_in_the_archive_of_who_takes_part(house: House) -> None:
    house.workshops.invite(house.ann, house.id, [house.bob.user_id])
    house.workshops.open_to_team(house.ann, house.id, is_open=True)
    house.workshops.archive(house.ann, house.id)
    assert house.workshops.list(house.bob) == house.workshops.list(house.admin) == []
    assert [one.id for one in house.workshops.list(house.bob, archived=True)] == [house.id]
    assert house.workshops.list(house.admin, archived=True) == []
    with pytest.raises(NotFound):
        house.workshops.open(house.admin, house.id)
    house.workshops.archive(house.ann, house.id, archived=False)
    assert [one.id for one in house.workshops.list(house.bob)] == [house.id]


def test_steps_are_done_and_the_first_that_is_not_comes_next(house: House) -> None:
    assert house.workshops.get(house.ann, house.id).step(None).step.id == "empathize"
    house.workshops.set_done(house.ann, house.id, "empathize", done=True)
    found = house.workshops.get(house.ann, house.id)
    assert found.step(None).step.id == found.step("no such step").step.id == "define"
    assert found.step("test").step.title == "Test"
    assert house.workshops.list(house.ann)[0].done == 1
    for one in found.steps:
        house.workshops.set_done(house.ann, house.id, one.step.id, done=True)
    assert house.workshops.get(house.ann, house.id).step(None).step.id == "test"
    house.workshops.set_done(house.ann, house.id, "define", done=False)
    assert house.workshops.get(house.ann, house.id).steps[1].done_at is None
    with pytest.raises(InvalidInput, match="no step"):
        house.workshops.set_done(house.ann, house.id, "no such step", done=True)


def test_the_pulse_beats_with_every_change(house: House) -> None:
    seen = house.workshops.pulse(house.ann, house.id, "empathize")
    acts: list[Callable[[], object]] = [
        lambda: house.workshops.rename(house.ann, house.id, "Other"),
        lambda: house.workshops.invite(house.ann, house.id, [house.bob.user_id]),
        lambda: house.workshops.save_notes(house.bob, house.id, "empathize", "noted", 0),
        lambda: house.workshops.set_done(house.bob, house.id, "define", done=True),
        lambda: house.workshops.leave(house.bob, house.id),
    ]
    for act in acts:
        act()
        now = house.workshops.pulse(house.ann, house.id, "empathize")
        assert now != seen
        seen = now
    assert house.workshops.pulse(house.ann, house.id, "empathize") == seen
    with pytest.raises(NotFound):
        house.workshops.pulse(house.bob, house.id, "empathize")


def test_limits_are_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST", 1)
    with pytest.raises(Conflict, match="Archive one"):
        house.workshops.create(house.ann, "design-thinking", "One more")
    monkeypatch.setattr(people, "MOST", 2)
    house.workshops.invite(house.ann, house.id, [house.bob.user_id])
    with pytest.raises(Conflict, match="At most 2 people"):
        house.workshops.invite(house.ann, house.id, [house.admin.user_id])
    house.workshops.remove(house.ann, house.id, house.bob.user_id)
    house.workshops.invite(house.ann, house.id, [house.admin.user_id])
    for title in ("", " \n", "t" * 81):
        with pytest.raises(InvalidInput, match="1 to 80"):
            house.workshops.rename(house.ann, house.id, title)


def test_who_was_disabled_changes_nothing_more(house: House) -> None:
    house.workshops.invite(house.ann, house.id, [house.bob.user_id])
    gone = update(User).where(User.id == house.bob.user_id).values(disabled_at=utcnow())
    house.db.write(lambda session: session.execute(gone))
    for act in (
        lambda: house.workshops.save_notes(house.bob, house.id, "define", "x", 0),
        lambda: house.workshops.set_done(house.bob, house.id, "define", done=True),
        lambda: house.workshops.create(house.bob, "design-thinking", "x"),
        lambda: house.workshops.create_playbook(house.bob, RETRO),
    ):
        with pytest.raises(Unauthorized):
            act()
    assert house.bob.name not in {one.name for one in house.workshops.invitable(house.ann, house.id)}
    with pytest.raises(NotFound):
        house.workshops.invite(house.ann, house.id, [house.bob.user_id])


def test_people_are_listed_by_name(house: House) -> None:
    add_person(house.db, "aaron")
    assert [one.name for one in house.workshops.invitable(house.ann, house.id)] == ["Aaron", "Admin", "Bob"]
