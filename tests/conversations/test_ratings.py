"""Ratings: whose replies one may rate, and what an admin sees of them."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.conversations import store
from chatcore.conversations.ratings import Ratings
from chatcore.conversations.sharing import Shares
from chatcore.db import Database
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Rating as RatingRow
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id
from tests.conftest import add_person


class House:
    """Ann, her colleague Bob, their admin Dora, and Cleo, who runs another tenant; Ann's questions and replies."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db = db
        self.ratings = Ratings(db)
        self.shares = Shares(db, settings)
        mark = secrets.token_hex(4)
        self.ann = add_person(db, f"ann-{mark}", tenant=f"A-{mark}")
        self.bob = add_person(db, f"bob-{mark}", tenant=f"A-{mark}")
        self.dora = add_person(db, f"dora-{mark}", tenant=f"A-{mark}", role="admin")
        self.cleo = add_person(db, f"cleo-{mark}", tenant=f"C-{mark}", role="operator")

    def exchange(self, model: str | None = "m", who: Principal | None = None, **values: Any) -> tuple[str, str, str]:
        """A conversation, its question, its reply."""
        who = who or self.ann

        def work(session: Session) -> tuple[str, str, str]:
            made = store.create(session, who, "hello", model=model, agent_id=None, settings={})
            said = {"parts": [], "status": "complete"}
            asked = store.add_message(
                session, who, made.id, parent_id=None, role="user", content="the question", **said
            )
            said |= {"role": "assistant", "content": "the reply", "model": model} | values
            reply = store.add_message(session, who, made.id, parent_id=asked, **said)
            store.advance(session, made.id, reply, 2)
            return made.id, asked, reply

        return self.db.write(work)

    def reply(self, model: str | None = "m", who: Principal | None = None, **values: Any) -> str:
        return self.exchange(model, who, **values)[2]


@pytest.fixture
def house(module_database: Database, settings: Settings) -> House:
    return House(module_database, settings)


def test_a_rating_is_kept_changed_and_taken_back(house: House) -> None:
    reply = house.reply()
    house.ratings.rate(house.ann, reply, 4)
    found = house.ratings.mine(house.ann, [reply, "msg_none"])
    assert list(found) == [reply]
    assert (found[reply].stars, found[reply].comment, found[reply].text_sent) == (4, "", False)
    house.ratings.rate(house.ann, reply, 2, " too\x00 long \n", send_text=True)
    changed = house.ratings.mine(house.ann, [reply])[reply]
    assert (changed.stars, changed.comment, changed.text_sent) == (2, "too long", True)
    count = select(func.count()).where(RatingRow.message_id == reply)
    assert house.db.read(lambda session: session.scalar(count)) == 1
    house.ratings.remove(house.ann, reply)
    assert house.ratings.mine(house.ann, [reply]) == {}
    with pytest.raises(NotFound):
        house.ratings.remove(house.ann, reply)
    assert house.ratings.mine(house.ann, []) == {}


@pytest.mark.parametrize("who", ["bob", "dora", "cleo"])
def test_nobody_rates_or_sees_what_is_not_theirs(house: House, who: str) -> None:
    reply, other = house.reply(), getattr(house, who)
    house.ratings.rate(house.ann, reply, 5, "mine")
    sentences = set()
    for wanted in (reply, "msg_none"):
        with pytest.raises(NotFound) as found:
            house.ratings.rate(other, wanted, 1)
        sentences.add(str(found.value))
        with pytest.raises(NotFound):
            house.ratings.remove(other, wanted)
    assert len(sentences) == 1
    assert house.ratings.mine(other, [reply]) == {}
    assert house.ratings.mine(house.ann, [reply])[reply].stars == 5


def test_a_colleague_who_may_reply_may_rate(house: House) -> None:
    conversation_id, _, reply = house.exchange()
    share = house.shares.create(house.ann, conversation_id, kind="team", can_reply=True)
    house.ratings.rate(house.bob, reply, 3)
    house.ratings.rate(house.ann, reply, 5)
    assert house.ratings.mine(house.bob, [reply])[reply].stars == 3
    with pytest.raises(NotFound):
        house.ratings.rate(house.cleo, reply, 3)
    house.shares.revoke(house.ann, share.id)
    house.shares.create(house.ann, conversation_id, kind="team")
    with pytest.raises(NotFound):
        house.ratings.rate(house.bob, reply, 1)


@pytest.mark.parametrize("stars", [0, 6, -1, 10**9])
def test_stars_are_one_to_five(house: House, stars: int) -> None:
    with pytest.raises(InvalidInput, match="one to five"):
        house.ratings.rate(house.ann, house.reply(), stars)


def test_a_comment_has_a_limit(house: House) -> None:
    reply = house.reply()
    house.ratings.rate(house.ann, reply, 1, "ñ" * 2000)
    with pytest.raises(InvalidInput, match="2,000"):
        house.ratings.rate(house.ann, reply, 5, "ñ" * 2001)
    assert house.ratings.mine(house.ann, [reply])[reply].stars == 1


def test_only_a_reply_that_has_ended_is_rated(house: House) -> None:
    _, asked, _ = house.exchange()
    with pytest.raises(InvalidInput, match="Only replies"):
        house.ratings.rate(house.ann, asked, 5)
    with pytest.raises(Conflict, match="being written"):
        house.ratings.rate(house.ann, house.reply(status="streaming"), 5)


def test_a_temporary_chat_leaves_no_rating(house: House) -> None:
    conversation_id, _, reply = house.exchange()
    row = update(ConversationRow).where(ConversationRow.id == conversation_id)
    house.db.write(lambda session: session.execute(row.values(expires_at=utcnow() + timedelta(hours=1))))
    with pytest.raises(Conflict, match="temporary chat"):
        house.ratings.rate(house.ann, reply, 5, "text", send_text=True)


def test_an_admin_sees_means_by_model(house: House) -> None:
    for model, stars in (("a", 5), ("a", 4), ("a", 1), ("b", 2), (None, 3)):
        house.ratings.rate(house.ann, house.reply(model), stars)
    house.ratings.rate(house.bob, house.reply("b", house.bob), 3)
    found = house.ratings.by_model(house.dora)
    assert [(one.model, round(one.mean, 3), one.count, one.histogram) for one in found] == [
        ("a", 3.333, 3, (1, 0, 0, 1, 1)),
        ("b", 2.5, 2, (0, 1, 1, 0, 0)),
        ("unknown", 3.0, 1, (0, 0, 1, 0, 0)),
    ]


def test_an_admin_reads_comments_and_the_text_only_where_it_was_sent(house: House) -> None:
    house.ratings.rate(house.ann, house.reply("a"), 5)
    house.ratings.rate(house.ann, house.reply("b"), 4, "good")
    house.ratings.rate(house.ann, house.reply("c"), 1, send_text=True)
    found = house.ratings.comments(house.dora)
    assert [(one.model, one.stars, one.comment, one.question, one.reply) for one in found] == [
        ("c", 1, "", "the question", "the reply"),
        ("b", 4, "good", None, None),
    ]
    assert house.ann.user_id not in str(found)
    assert [one.model for one in house.ratings.comments(house.dora, limit=1, offset=1)] == ["b"]


def test_a_text_that_is_taken_back_is_gone(house: House) -> None:
    reply = house.reply()
    house.ratings.rate(house.ann, reply, 1, "bad", send_text=True)
    house.ratings.rate(house.ann, reply, 1, "bad", send_text=False)
    (one,) = house.ratings.comments(house.dora)
    assert (one.question, one.reply) == (None, None)


def test_older_ratings_are_left_out(house: House) -> None:
    reply = house.reply()
    house.ratings.rate(house.ann, reply, 1, "old")
    old = update(RatingRow).where(RatingRow.message_id == reply).values(updated_at=utcnow() - timedelta(days=40))
    house.db.write(lambda session: session.execute(old))
    since = utcnow() - timedelta(days=30)
    assert (house.ratings.by_model(house.dora, since), house.ratings.comments(house.dora, since)) == ([], [])
    assert len(house.ratings.by_model(house.dora)) == 1


def test_only_admins_of_the_tenant_see_what_was_rated(house: House) -> None:
    house.ratings.rate(house.ann, house.reply(), 5, "good", send_text=True)
    for member in (house.ann, house.bob):
        with pytest.raises(Forbidden):
            house.ratings.by_model(member)
        with pytest.raises(Forbidden):
            house.ratings.comments(member)
    assert house.ratings.by_model(house.cleo) == house.ratings.comments(house.cleo) == []


def test_two_clicks_at_once_make_one_rating(house: House) -> None:
    reply = house.reply()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda stars: house.ratings.rate(house.ann, reply, stars), (1, 2, 3, 4, 5) * 4))
    count = select(func.count()).where(RatingRow.message_id == reply)
    assert house.db.read(lambda session: session.scalar(count)) == 1


def test_a_rating_outlives_its_message(house: House) -> None:
    gone = new_id("msg")
    reply = house.reply(id=gone)
    assert reply == gone
    house.ratings.rate(house.ann, reply, 5)
    house.db.write(
        lambda session: session.execute(delete(ConversationRow).where(ConversationRow.user_id == house.ann.user_id))
    )
    assert house.ratings.by_model(house.dora)[0].count == 1
    house.ratings.remove(house.ann, reply)
    assert house.ratings.by_model(house.dora) == []
