"""Erasing a person: nothing of their words or their name is left in any table, and no sum changes."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import String, Table, cast, delete, func, select, text, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal, erasure
from chatcore.care import people
from chatcore.care.people import PersonEraser
from chatcore.db import Database
from chatcore.db.tables import (
    Agent,
    Alert,
    ApiKey,
    Attachment,
    AuditEntry,
    Base,
    BrowserSession,
    Budget,
    CachedReply,
    LimitHit,
    LoginAttempt,
    MessageAttachment,
    OneTimeCode,
    Prompt,
    ProviderKey,
    QueuedMessage,
    Rating,
    Share,
    Turn,
    UsageDaily,
    UsageHourly,
    UsageMetric,
    User,
    utcnow,
)
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id
from chatcore.usage import rollups
from chatcore.usage.measures import MEASURES
from tests.care.conftest import Place
from tests.conftest import add_person

WORD = "xylophone"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_PATIENCE", 0.0)
    monkeypatch.setattr(people, "_REST", 0.0)


def everywhere(db: Database, needle: str) -> list[str]:
    """The tables and columns, as text, in which it stands."""

    def work(session: Session) -> Iterator[str]:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                like = func.lower(cast(column, String)).contains(needle.lower(), autoescape=True)
                if session.scalar(select(func.count()).select_from(table).where(like)):
                    yield f"{table.name}.{column.name}"
        index = "SELECT count(*) FROM message_search"
        if db.is_sqlite:
            index += f" WHERE message_search MATCH 'words:{needle.lower()}'"
        else:
            index += f" WHERE words @@ CAST('''{needle.lower()}''' AS tsquery)"
        if needle.isalpha() and session.scalar(text(index)):
            yield "message_search"

    return db.read(lambda session: list(work(session)))


def sums(db: Database) -> dict[str, Any]:
    """Everything that is counted: of the ledger and of each rollup, by day, tier and team, once all calls are in it."""
    db.write(lambda session: rollups.fold(session, session.scalars(select(UsageMetric.id)).all()))

    def work(session: Session) -> dict[str, Any]:
        call, day = UsageMetric, UsageDaily
        team = select(User.team, func.count(), func.sum(call.cost_nano_usd)).join(User, User.id == call.user_id)
        found: dict[str, Any] = {
            "ledger": session.execute(select(func.count(), func.sum(call.cost_nano_usd))).one(),
            "teams": sorted(map(str, session.execute(team.group_by(User.team)))),
        }
        for table in (day, UsageHourly):
            assert isinstance(table.__table__, Table)
            keys = [column for column in table.__table__.primary_key if column.name != "user_id"]
            counted = select(*keys, *(func.sum(getattr(table, name)) for name in MEASURES)).group_by(*keys)
            rows = session.execute(counted.having(func.sum(table.calls) > 0))
            found[table.__tablename__] = sorted(map(str, rows))
        return found

    return db.read(work)


def fill(place: Place) -> str:
    """Bob writes and does all there is to write and do; returns Ada's conversation in which he wrote too."""
    bob, whose = place.bob, {"tenant_id": place.bob.tenant_id, "user_id": place.bob.user_id}
    own, ids = place.chat(bob, 3, 3, 1, 1, words=WORD)
    shared, adas = place.chat(place.ada, 3, 3, words="harmless")
    said = place.say(bob, shared, f"My name is Bob and I like {WORD}", 1)
    for age in (0.2, 1, 40):
        place.call(bob, age, 1_234, tier="pro")
    place.call(place.ada, 1, 77)
    place.call(bob, 0.1, None, rolled=False)

    soon, tenant = utcnow() + timedelta(hours=1), {"tenant_id": bob.tenant_id}
    rated = {"conversation_id": own, "model": "gpt", "comment": WORD, **whose}
    process = {"owner_host": "", "owner_pid": 1, "owner_started": ""}
    rows: list[Base] = [
        Attachment(id="att", sha256="0", size=1, kind="text", media_type="t", name=f"{WORD}.txt", **whose),
        BrowserSession(id="bs", token_sha256="t", user_agent="u", address="10.9.8.7", expires_at=soon, **whose),
        ApiKey(id="key", name=WORD, prefix="ck", key_sha256="k", **whose),
        OneTimeCode(id="code", kind="reset", code_sha256="c", user_id=bob.user_id, data={}, expires_at=soon),
        LoginAttempt(id="try", username="bob"),
        ProviderKey(id="pk", owner_id=bob.user_id, provider="o", secret="s", last4="4", **tenant),
        Prompt(id="p", title=WORD, text=WORD, is_team=True, **whose),
        Rating(id="r", message_id=ids[1], stars=4, question=WORD, reply=WORD, **rated),
        Rating(id="r2", message_id=adas[1], stars=5, **{**rated, "conversation_id": shared}),
        Share(id="share", conversation_id=own, kind="team", **whose),
        QueuedMessage(id="q", conversation_id=shared, content=WORD, model="gpt", **whose),
        Turn(id="t", conversation_id=shared, message_id=said, status="complete", **process, **whose),
        Budget(id="b", scope="user", scope_id=bob.user_id, period="day", amount_nano_usd=1, **tenant),
        LimitHit(minute=utcnow(), tier="free", kind="requests", model="gpt", hits=3, **whose),
        CachedReply(key="k", model="gpt", reply={"text": WORD}, size=1, expires_at=soon, **whose),
        Alert(
            id="al",
            rule_id="r",
            subject="b",
            state="firing",
            value=1,
            peak=1,
            threshold=1,
            details={"label": "Bob (each day)"},
            message="Bob has spent it",
            **tenant,
        ),
        AuditEntry(id="a1", action="sign_in", target=bob.user_id, address="10.9.8.7", **whose),
        AuditEntry(id="a2", action="user.provision", target=bob.user_id, details={"mail": "bob@x"}, **tenant),
    ]
    link = MessageAttachment(message_id=ids[0], attachment_id="att", conversation_id=own, **tenant)

    def work(session: Session) -> None:
        session.execute(update(User).where(User.id == bob.user_id).values(team="Red", settings={"instructions": WORD}))
        session.add_all(rows)
        session.flush()
        session.add(link)

    place.db.write(work)
    return shared


def test_nothing_of_their_words_or_name_is_left_and_no_sum_changes(any_place: Place) -> None:
    place = any_place
    shared = fill(place)
    before = sums(place.db)
    assert len(everywhere(place.db, WORD)) > 10
    assert PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    assert everywhere(place.db, WORD) == []
    assert everywhere(place.db, "bob") == []
    assert everywhere(place.db, "10.9.8.7") == []
    assert [one for one in everywhere(place.db, place.bob.user_id) if not one.startswith("audit_log.")] == []
    assert sums(place.db) == before
    kept = place.conversation(shared)
    assert kept.preview == people.SAID
    assert place.message(kept.head_message_id or "").content == people.SAID
    assert place.count(Rating) == 2, "the stars are the models'"
    for table in (BrowserSession, ApiKey, OneTimeCode, LoginAttempt, ProviderKey, Prompt, Share, QueuedMessage):
        assert place.count(table) == 0


def test_the_one_that_stands_for_them_has_no_name_and_cannot_sign_in(place: Place) -> None:
    place.call(place.bob, 1)
    PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    row = place.db.read(lambda session: session.scalars(select(User).where(User.erased_at.is_not(None))).one())
    assert row.name == "Erased person"
    assert row.password_hash is row.identity is None
    assert row.disabled_at is not None
    assert row.settings == {}
    assert place.bob.user_id not in (row.id, row.username)
    assert place.db.read(lambda session: session.scalar(select(UsageMetric.user_id))) == row.id
    assert place.db.read(erasure.unfinished) == []


def test_the_username_is_free_for_somebody_else(place: Place) -> None:
    PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    again = add_person(place.db, "bob")
    assert again.user_id != place.bob.user_id


def test_it_stands_in_the_audit_log_without_saying_who_it_was(place: Place) -> None:
    PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    entry = place.db.read(lambda session: session.scalars(select(AuditEntry)).one())
    assert (entry.action, entry.user_id, entry.target) == ("user.erase", place.admin.user_id, place.bob.user_id)
    assert entry.details == {}


def alert(alert_id: str, label: str, **more: Any) -> Alert:
    facts: dict[str, Any] = {"tenant_id": "", "rule_id": "r", "state": "recovered", "value": 1, "peak": 1}
    details = {"label": label, **more}
    return Alert(id=alert_id, threshold=1, details=details, message=f"{label}: spent", **facts)


def test_alerts_about_them_go_under_whatever_name_and_a_namesakes_stay(any_place: Place) -> None:
    place = any_place
    budgets = [
        Budget(id=f"of-{who.username}", scope="user", scope_id=who.user_id, period="day", amount_nano_usd=1,
               tenant_id=who.tenant_id)
        for who in (place.ada, place.bob)
    ]  # fmt: skip
    rows = [alert("by-budget", "Bobby (each day)"), alert("of-a-namesake", "Bob (each day)")]
    rows[0].subject, rows[1].subject = "of-bob", "of-ada"
    rows += [
        alert("of-a-budget-that-is-gone", "Robert (each day)", person=place.bob.user_id),
        alert("of-the-team", "team Bob (each day)"),
        alert("of-ada", "Bob (each day)", person=place.ada.user_id),
    ]
    place.db.write(lambda session: session.add_all([*budgets, *rows]))
    PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    left = place.db.read(lambda session: session.scalars(select(Alert.id).order_by(Alert.id)).all())
    assert left == ["of-a-namesake", "of-ada", "of-the-team"]


def test_what_the_audit_log_says_of_them_is_emptied(any_place: Place) -> None:
    place = any_place
    name = "Ünal O'Bob"
    place.change(update(User).where(User.id == place.bob.user_id).values(name=name))
    bob, whose = place.bob.user_id, {"tenant_id": place.bob.tenant_id, "action": "x"}
    rows = [
        AuditEntry(id="a-about", user_id=place.admin.user_id, details={"scope": "user", "scope_id": bob}, **whose),
        AuditEntry(id="b-own-name", user_id=bob, details={"name": f"Mail of {name}"}, **whose),
        AuditEntry(id="c-own-username", user_id=bob, details={"name": "BOB's channel"}, **whose),
        AuditEntry(id="d-own", user_id=bob, details={"days": 90}, **whose),
        AuditEntry(id="e-other", user_id=place.admin.user_id, details={"name": "bobbin"}, **whose),
    ]
    place.db.write(lambda session: session.add_all(rows))
    PersonEraser(place.db).erase(place.admin, bob, "bob")
    kept = select(AuditEntry.id, AuditEntry.details).where(AuditEntry.action == "x").order_by(AuditEntry.id)
    details = place.db.read(lambda session: [row.details for row in session.execute(kept)])
    assert details == [{}, {}, {}, {"days": 90}, {"name": "bobbin"}]


def test_failed_sign_ins_from_where_they_were_tell_no_address(any_place: Place) -> None:
    place = any_place
    fill(place)
    tries = [("quarkold", "10.9.8.7"), ("ada", "10.1.1.1"), ("ada", "")]
    rows = [LoginAttempt(id=f"{n}", username=name, address=address) for n, (name, address) in enumerate(tries)]
    place.db.write(lambda session: session.add_all(rows))
    PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    found = select(LoginAttempt.username, LoginAttempt.address).order_by(LoginAttempt.id)
    left = place.db.read(lambda session: [tuple(row) for row in session.execute(found)])
    assert left == [("quarkold", ""), ("ada", "10.1.1.1"), ("ada", "")]


def test_agents_are_the_teams_and_stay_without_an_owner(place: Place) -> None:
    mine = Agent(id="ag", tenant_id=place.bob.tenant_id, owner_id=place.bob.user_id, slug="s", name="Helper")
    place.db.write(lambda session: session.add(mine))
    PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    owner = place.db.read(lambda session: session.execute(select(Agent.owner_id).where(Agent.id == "ag")).scalar_one())
    assert owner is None


@pytest.mark.parametrize(
    ("who", "whom", "typed", "refusal"),
    [
        ("admin", "bob", "bobby", InvalidInput),
        ("admin", "bob", "", InvalidInput),
        ("bob", "ada", "ada", Forbidden),
        ("admin", "admin", "admin", Conflict),
        ("admin", "stranger", "stranger", NotFound),
        ("admin", "root", "root", Forbidden),
        ("other_root", "root", "root", Conflict),
    ],
)
def test_who_may_not_erases_nobody(place: Place, who: str, whom: str, typed: str, refusal: type[Exception]) -> None:
    known: dict[str, Principal] = {"admin": place.admin, "ada": place.ada, "bob": place.bob}
    known["stranger"] = add_person(place.db, "stranger", tenant="Other")
    known["root"] = add_person(place.db, "root", role="operator")
    place.change(update(User).where(User.username == "root").values(password_hash="x"))
    known["other_root"] = add_person(place.db, "other_root", role="operator")  # was only invited yet
    with pytest.raises(refusal):
        PersonEraser(place.db).erase(known[who], known[whom].user_id, typed)
    assert place.db.read(lambda s: s.scalar(select(func.count()).where(User.erased_at.is_not(None)))) == 0
    assert place.count(AuditEntry) == 0


def test_who_is_erased_already_is_not_there(place: Place) -> None:
    PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    stand_in = place.db.read(lambda session: session.scalar(select(User.id).where(User.erased_at.is_not(None))))
    for user_id in (place.bob.user_id, stand_in or ""):
        with pytest.raises(NotFound):
            PersonEraser(place.db).erase(place.admin, user_id, "bob")


def test_a_running_reply_is_asked_to_stop_and_waited_for(any_place: Place) -> None:
    place = any_place
    chat, ids = place.chat(place.bob, 1, 1)
    whose = {"tenant_id": place.bob.tenant_id, "user_id": place.bob.user_id}
    place.db.write(lambda session: session.add(
        Turn(id="t", conversation_id=chat, message_id=ids[1], status="running", owner_host="", owner_pid=1,
             owner_started="", **whose)
    ))  # fmt: skip
    place.call(place.bob, 0, outcome="running", rolled=False)
    eraser = PersonEraser(place.db)
    assert not eraser.erase(place.admin, place.bob.user_id, "bob"), "the rest follows"
    turn = place.db.read(lambda session: session.get_one(Turn, "t"))
    assert turn.stop_requested_at is not None
    assert not eraser.resume()
    place.change(update(Turn).values(status="stopped"))
    assert eraser.resume()
    assert place.count(Turn) == 0
    assert place.db.read(lambda session: session.get(User, place.bob.user_id)) is None


@pytest.mark.parametrize("after", [1, 2, 3, 5, 8])
def test_killed_after_any_step_it_is_ended_by_the_next_round(
    place: Place, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    fill(place)
    before = sums(place.db)
    write, steps = place.db.write, iter(range(after))

    def killed(work: Callable[[Session], Any]) -> Any:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return write(work)

    with monkeypatch.context() as patch:
        patch.setattr(place.db, "write", killed)
        eraser = PersonEraser(place.db)
        with pytest.raises(KeyboardInterrupt):
            eraser.erase(place.admin, place.bob.user_id, "bob")
    assert sums(place.db)["ledger"] == before["ledger"]
    assert PersonEraser(place.db).resume()
    assert everywhere(place.db, WORD) == []
    assert sums(place.db) == before


calls = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bob"]),
        st.integers(0, 400),
        st.none() | st.integers(0, 10**12),
        st.booleans(),
        st.sampled_from(["free", "pro"]),
        st.sampled_from(["ok", "error", "cached", "running"]),
    ),
    max_size=12,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls)
def test_whatever_was_called_the_sums_stay_to_the_nano_dollar(place: Place, made: list[tuple[Any, ...]]) -> None:
    name = new_id("bob")
    bob = add_person(place.db, name)
    for who, age, cost, rolled, tier, outcome in made:
        person = bob if who == "bob" else place.ada
        rolled = rolled and outcome != "running"
        place.call(person, age, cost, rolled=rolled, tier=tier, outcome=outcome)
    before = sums(place.db)
    assert PersonEraser(place.db).erase(place.admin, bob.user_id, name)
    assert sums(place.db) == before
    assert "usage_metrics.user_id" not in everywhere(place.db, bob.user_id)


def test_days_whose_calls_are_gone_keep_their_sums(any_place: Place) -> None:
    place = any_place
    gone = [place.call(place.bob, age) for age in (300, 299)]
    place.call(place.bob, 1)
    before = sums(place.db)["usage_daily"]
    place.change(delete(UsageMetric).where(UsageMetric.id.in_(gone)))
    PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    assert sums(place.db)["usage_daily"] == before


def test_another_persons_things_stay(place: Place) -> None:
    chat, ids = place.chat(place.ada, 2, 2)
    place.call(place.ada, 1)
    words = place.message(ids[0]).content
    PersonEraser(place.db).erase(place.admin, place.bob.user_id, "bob")
    assert place.message(ids[0]).content == words
    assert place.conversation(chat).user_id == place.ada.user_id
    assert place.ada.user_id == place.db.read(lambda session: session.scalar(select(UsageMetric.user_id)))
