"""The bulk maker makes what the app would: chains, heads and counters that agree, and all of it marked."""

from collections import Counter

from sqlalchemy import insert, select

from chatcore.db import Database
from chatcore.db.tables import Conversation, Message, Tenant, User
from chatcore.usage import demo_data
from tests.benchmarks.seed_conversations import seed_conversations


def test_chains_heads_and_counters_agree(any_database: Database) -> None:
    db = any_database
    users = [{"id": f"user_{n}", "tenant_id": "t", "username": f"u{n}", "name": "U", "role": "member"} for n in "ab"]
    db.write(lambda session: session.execute(insert(Tenant), [{"id": "t", "name": "T"}]))
    db.write(lambda session: session.execute(insert(User), users))
    for user in ("user_a", "user_b"):
        seed_conversations(db, "t", user, conversations=12, messages=90)

    made = db.read(lambda session: session.scalars(select(Conversation).where(Conversation.user_id == "user_a")).all())
    messages = db.read(lambda session: session.scalars(select(Message).where(Message.user_id == "user_a")).all())
    parent = {one.id: one.parent_id for one in messages}
    assert (len(made), len(messages)) == (12, 90)
    assert Counter(one.conversation_id for one in messages) == {one.id: one.message_count for one in made}
    for one in made:
        chain, place = [], one.head_message_id
        while place is not None:
            chain.append(place)
            place = parent[place]
        assert len(chain) == one.message_count
        assert chain == sorted(chain, reverse=True)

    demo_data.remove(db)
    assert db.read(lambda session: session.scalars(select(Message.id)).all()) == []
