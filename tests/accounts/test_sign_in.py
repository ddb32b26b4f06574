"""Passwords, attempts, tickets and browser sessions."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from chatcore.accounts import Principal, attempts, codes, passwords, sessions
from chatcore.accounts.validation import clean_password
from chatcore.db.tables import BrowserSession, LoginAttempt, OneTimeCode, utcnow
from chatcore.errors import InvalidInput, NotFound, TooManyAttempts, Unauthorized

from .conftest import PASSWORD, House

SignIn = Callable[[str], Principal]


def shift_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Let `by` pass for this package."""

    def later() -> datetime:
        return utcnow() + by

    for module in (attempts, codes, sessions):
        monkeypatch.setattr(module, "utcnow", later)


def test_the_right_password_matches_and_a_wrong_one_does_not(house: House) -> None:
    house.person("ada")
    name, stored = house.accounts.credentials("  ADA ")
    assert name == "Ada"
    assert passwords.matches(f" {PASSWORD} ", stored)
    assert not passwords.matches("wrong horse", stored)


def test_an_unknown_name_costs_a_bcrypt_of_the_same_rounds(house: House) -> None:
    house.person("ada")
    house.console.add_user("gone", PASSWORD, name="Gone", role="member", tenant=None, tier="free")
    house.console.set_disabled("gone", True)
    _, known = house.accounts.credentials("ada")
    for username in ("nobody", "gone", "demo\x00", "x" * 5000):
        _, decoy = house.accounts.credentials(username)
        assert decoy[:7] == known[:7] == "$2b$04$"
        assert len(decoy) == len(known)
        assert not bcrypt.checkpw(PASSWORD.encode(), decoy.encode())


@pytest.mark.parametrize("username", ["ada", "nobody"])
def test_five_failures_lock_a_name_whether_it_exists_or_not(any_house: House, username: str) -> None:
    any_house.person("ada")
    for _ in range(5):
        any_house.accounts.credentials(username, "10.0.0.1")
    with pytest.raises(TooManyAttempts) as refused:
        any_house.accounts.credentials(username, "10.0.0.2")
    assert 890 <= refused.value.retry_after <= 900
    assert str(refused.value) == f"Too many attempts. Try again in {refused.value.retry_after} seconds."


def test_the_wait_that_is_told_is_true_and_asking_does_not_prolong_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        house.accounts.credentials("ada")
    with pytest.raises(TooManyAttempts) as refused:
        house.accounts.credentials("ada")
    wait = refused.value.retry_after
    shift_clock(monkeypatch, timedelta(seconds=wait - 10))
    with pytest.raises(TooManyAttempts):
        house.accounts.credentials("ada")
    shift_clock(monkeypatch, timedelta(seconds=wait))
    house.accounts.credentials("ada")
    assert house.db.read(lambda s: len(s.scalars(select(LoginAttempt)).all())) == 1, "old attempts are purged"


def test_many_guesses_at_the_same_moment_get_no_further_than_five(any_house: House) -> None:
    def guess(_: int) -> bool:
        try:
            any_house.accounts.credentials("ada", "10.0.0.1")
        except TooManyAttempts:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(guess, range(24))) == 5


def test_an_address_is_locked_after_fifty_names_and_others_are_not(house: House) -> None:
    for i in range(50):
        house.accounts.credentials(f"name{i}", "10.0.0.1")
    with pytest.raises(TooManyAttempts):
        house.accounts.credentials("name99", "10.0.0.1")
    house.accounts.credentials("name99", "10.0.0.2")


def test_success_starts_the_name_from_zero(house: House) -> None:
    house.person("ada")
    for _ in range(4):
        house.accounts.credentials("ada")
    house.accounts.ticket("ada")
    for _ in range(5):
        house.accounts.credentials("ada")
    with pytest.raises(TooManyAttempts):
        house.accounts.credentials("ada")


def test_a_ticket_works_once_also_for_many_at_once(any_house: House) -> None:
    any_house.person("ada")
    ticket = any_house.accounts.ticket("ada")

    def use(_: int) -> bool:
        try:
            asyncio.run(any_house.accounts.exchange_ticket(ticket, "agent", ""))
        except Unauthorized:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(use, range(6))) == 1


def test_a_ticket_ends_after_thirty_seconds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.person("ada")
    ticket = house.accounts.ticket("ada")
    shift_clock(monkeypatch, timedelta(seconds=31))
    with pytest.raises(Unauthorized):
        asyncio.run(house.accounts.exchange_ticket(ticket, "agent", ""))


def test_an_invite_code_is_no_ticket(house: House) -> None:
    link = house.accounts.invite(house.person("root", "operator"), "bob", "Bob")
    with pytest.raises(Unauthorized):
        asyncio.run(house.accounts.exchange_ticket(link.code, "agent", ""))


def test_nobody_gets_a_ticket_who_may_not_sign_in(house: House) -> None:
    root = house.person("root", "operator")
    house.accounts.invite(root, "bob", "Bob")
    house.person("gone")
    house.console.set_disabled("gone", True)
    for username in ("nobody", "bob", "gone"):
        with pytest.raises(Unauthorized):
            house.accounts.ticket(username)


def test_no_token_stands_in_the_database(house: House) -> None:
    house.person("ada")
    token = house.accounts.new_session_token("ada")
    stored = house.db.read(lambda s: s.scalars(select(BrowserSession.token_sha256)).all())
    assert list(stored) == [codes.sha256(token)]


def test_a_session_ends_when_it_is_signed_out_expired_or_its_person_disabled(
    house: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.person("ada")
    first, second, third = signed_in("ada"), signed_in("ada"), signed_in("ada")
    assert first.session_id
    assert second.session_id
    assert third.session_id
    house.accounts.sign_out(first.session_id)
    assert house.accounts.principal(first.session_id) is None
    house.db.write(
        lambda s: s.execute(
            update(BrowserSession).where(BrowserSession.id == second.session_id).values(expires_at=utcnow())
        )
    )
    assert house.accounts.principal(second.session_id) is None
    assert house.accounts.principal(third.session_id) == third
    house.console.set_disabled("ada", True)
    assert house.accounts.principal(third.session_id) is None
    house.console.set_disabled("ada", False)
    assert house.accounts.principal(third.session_id) is None, "enabling brings no session back"


def test_last_seen_is_written_at_most_once_a_minute(
    house: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.person("ada")
    who = signed_in("ada")
    assert who.session_id

    def last_seen() -> datetime:
        house.db.write(lambda _: None)  # what was asked for before stands before this
        return house.db.read(lambda s: s.scalars(select(BrowserSession.last_seen_at)).one())

    before = last_seen()
    house.accounts.principal(who.session_id)
    assert last_seen() == before
    earlier = before - timedelta(seconds=61)
    house.db.write(lambda s: s.execute(update(BrowserSession).values(last_seen_at=earlier)))
    house.accounts.principal(who.session_id)
    assert last_seen() >= before


def test_a_role_changed_elsewhere_shows_at_the_next_look(house: House, signed_in: SignIn) -> None:
    root = house.person("root", "operator")
    ada = house.person("ada")
    session_id = signed_in("ada").session_id
    assert session_id
    house.accounts.set_role(root, ada.user_id, "admin")
    now = house.accounts.principal(session_id)
    assert now is not None
    assert now.role == "admin"


def test_changing_the_password_keeps_this_browser_and_ends_the_others(house: House, signed_in: SignIn) -> None:
    house.person("ada")
    here, elsewhere = signed_in("ada"), signed_in("ada")
    assert here.session_id
    assert elsewhere.session_id
    waiting = house.accounts.ticket("ada")
    house.accounts.change_password(here, PASSWORD, "a new password")
    assert house.accounts.principal(here.session_id) is not None
    assert house.accounts.principal(elsewhere.session_id) is None
    with pytest.raises(Unauthorized):
        asyncio.run(house.accounts.exchange_ticket(waiting, "agent", ""))
    assert passwords.matches("a new password", house.accounts.credentials("ada")[1])


def test_guessing_the_current_password_counts_as_signing_in_does(house: House, signed_in: SignIn) -> None:
    house.person("ada")
    here = signed_in("ada")
    for _ in range(5):
        with pytest.raises(Unauthorized, match="not right"):
            house.accounts.change_password(here, "a wrong one", "a new password")
    with pytest.raises(TooManyAttempts):
        house.accounts.change_password(here, PASSWORD, "a new password")


def test_sign_out_everywhere(house: House, signed_in: SignIn) -> None:
    house.person("ada")
    house.person("bob")
    here, there, bob = signed_in("ada"), signed_in("ada"), signed_in("bob")
    assert house.accounts.sign_out_everywhere(here, keep_current=True) == 1
    assert [s.is_current for s in house.accounts.sessions(here)] == [True]
    assert house.accounts.sign_out_everywhere(here, keep_current=False) == 1
    for who in (here, there):
        assert who.session_id
        assert house.accounts.principal(who.session_id) is None
    assert bob.session_id
    assert house.accounts.principal(bob.session_id) is not None


def test_nobody_sees_or_ends_another_persons_session(house: House, signed_in: SignIn) -> None:
    house.person("root", "operator")
    house.person("ada")
    root, ada = signed_in("root"), signed_in("ada")
    assert ada.session_id
    assert [s.id for s in house.accounts.sessions(root)] == [root.session_id]
    for session_id in (ada.session_id, "bs_absent"):
        with pytest.raises(NotFound, match="not signed in any more"):
            house.accounts.revoke_session(root, session_id)
    assert house.accounts.principal(ada.session_id) is not None


def test_a_password_that_bcrypt_would_cut_is_refused(house: House) -> None:
    assert clean_password("ä" * 36) == "ä" * 36
    for bad in ("ä" * 36 + "x", "x" * 73, "1234567", "  1234567  ", "tab\tinside it", "nul\x00 in it", "\ud800" * 9):
        with pytest.raises(InvalidInput):
            clean_password(bad)
    assert not passwords.matches("x" * 100, passwords.hash_password("x" * 72))


@given(st.text())
def test_whatever_is_typed_as_a_password_is_stored_whole_or_refused(typed: str) -> None:
    try:
        password = clean_password(typed)
    except InvalidInput:
        return
    assert password == typed.strip()
    assert len(password) >= 8
    assert len(password.encode()) <= 72


def test_dead_tickets_are_cleared_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.person("ada")
    house.accounts.ticket("ada")
    shift_clock(monkeypatch, timedelta(hours=2))
    fresh = house.accounts.ticket("ada")
    asyncio.run(house.accounts.exchange_ticket(fresh, "agent", ""))
    tickets = house.db.read(lambda s: s.scalars(select(OneTimeCode).where(OneTimeCode.kind == "ticket")).all())
    assert len(tickets) == 1


def test_sessions_that_ended_long_ago_are_cleared_away_when_their_person_signs_in(
    house: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for username in ("ada", "bob"):
        house.person(username)
    gone, bobs = signed_in("ada").session_id, signed_in("bob").session_id
    house.accounts.sign_out(gone or "")
    shift_clock(monkeypatch, sessions.KEEP_ENDED - timedelta(hours=1))
    kept = signed_in("ada").session_id

    def left() -> set[str]:
        return set(house.db.read(lambda s: s.scalars(select(BrowserSession.id)).all()))

    assert left() == {gone, bobs, kept}
    shift_clock(monkeypatch, sessions.KEEP_ENDED + timedelta(hours=1))
    fresh = signed_in("ada").session_id
    assert left() == {bobs, kept, fresh}, "of another person nothing, of one's own what ended lately"
    people = {one.username: one.last_seen_at for one in house.console.everyone()}
    assert people["bob"] is not None
