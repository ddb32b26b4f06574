"""A full house for measuring lists: by default 100,000 conversations with 1,000,000 messages of one person.

    CHATCORE_DATA_DIR=/tmp/bench python tests/benchmarks/seed_conversations.py ada --conversations 100000

Everything is marked as demo, so `python -m chatcore demo-data --remove` takes it away. In the code:
`seed_conversations(db, tenant_id, user_id, …)`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np
from sqlalchemy import Table, insert, select

sys.path.insert(0, str(Path(__file__).parents[2]))

from chatcore.config import load_settings
from chatcore.db import Database, upgrade
from chatcore.db.tables import Conversation, Message, User, utcnow

_BATCH: Final = 2_000  # conversations in one transaction
_YEAR: Final = timedelta(days=365)
_WORDS: Final = (
    *("budget", "rollout", "invoice", "latency", "customer", "meeting", "plan", "draft", "release"),
    *("server", "report", "policy", "index", "query", "contract", "summary", "travel"),
)
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def seed_conversations(
    db: Database,
    tenant_id: str,
    user_id: str,
    conversations: int = 100_000,
    messages: int = 1_000_000,
    seed: int = 1,
    now: datetime | None = None,
    text: Callable[[bool], str] | None = None,
) -> None:
    """Write conversations of one person over the past year, with `messages` messages shared among them.

    Each has at least one message and most have few: the biggest get a thousand and more. Questions and answers
    alternate, each message the child of the one before, the last one the head. `text`: makes a message's words, asked
    with whether it is an answer; without it they are the conversation's title and some more.
    """
    if not 0 < conversations <= messages:
        raise ValueError("every conversation needs a message")
    rng = np.random.default_rng([seed, *user_id.encode()])
    share = rng.pareto(1.4, conversations) + 0.2
    counts = rng.multinomial(messages - conversations, share / share.sum()) + 1
    owner = {"tenant_id": tenant_id, "user_id": user_id}
    begin = (now or utcnow()) - _YEAR
    for first in range(0, conversations, _BATCH):
        part = range(first, min(first + _BATCH, conversations))
        made = list(_conversations(rng, part, conversations, counts, owner, begin, text))
        _write(db, [one for one, _ in made], [message for _, chain in made for message in chain])


def _conversations(
    rng: np.random.Generator,
    part: range,
    of: int,
    counts: Any,
    owner: dict[str, str],
    begin: datetime,
    text: Callable[[bool], str] | None,
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    for number in part:
        started = begin + (_YEAR - timedelta(hours=12)) * (number / of)
        words = [_WORDS[index] for index in rng.integers(0, len(_WORDS), 12)]
        row = owner | {
            "id": _id("conv", started, owner, number),
            "title": " ".join(words[:4]).capitalize(),
            "created_at": started,
            "is_demo": True,
            "settings": {},
        }
        said = text or _repeating(words)
        chain = list(_messages(row["id"], owner, started, int(counts[number]), said, number))
        last = chain[-1]
        row |= {"message_count": len(chain), "last_message_at": last["created_at"], "updated_at": last["created_at"]}
        yield row | {"head_message_id": last["id"], "preview": last["content"][:120]}, chain


def _repeating(words: list[str]) -> Callable[[bool], str]:
    return lambda answer: f"{' '.join(words)}. " * (8 if answer else 1)


def _messages(
    conversation_id: str,
    owner: dict[str, str],
    started: datetime,
    count: int,
    said: Callable[[bool], str],
    number: int,
) -> Iterator[dict[str, Any]]:
    parent = None
    for place in range(count):
        at = started + min(timedelta(seconds=20), timedelta(hours=11) / count) * place
        answer = place % 2 == 1
        message_id = _id("msg", at, owner, number * 100_003 + place)
        content = said(answer)
        yield owner | {
            "id": message_id,
            "conversation_id": conversation_id,
            "parent_id": parent,
            "role": "assistant" if answer else "user",
            "content": content,
            "parts": [{"type": "text", "text": content}],
            "status": "complete",
            "model": "demo/bench" if answer else None,
            "provider": "demo" if answer else None,
            "prompt_tokens": 40 if answer else None,
            "completion_tokens": 110 if answer else None,
            "total_tokens": 150 if answer else None,
            "metadata": {},
            "created_at": at,
            "updated_at": at,
        }
        parent = message_id


def _id(prefix: str, at: datetime, owner: dict[str, str], number: int) -> str:
    """The form of `ids.new_id`: ten digits of time, then the owner's checksum and a number unique in the run."""
    value, digits = int(at.timestamp() * 1000) << 80 | crc32(owner["user_id"].encode()) << 48 | number, []
    for _ in range(26):
        digits.append(_ALPHABET[value & 31])
        value >>= 5
    return f"{prefix}_{''.join(reversed(digits))}"


def _write(db: Database, conversations: list[dict[str, Any]], messages: list[dict[str, Any]]) -> None:
    tables = [table.__table__ for table in (Conversation, Message)]
    for table, rows in zip(tables, (conversations, messages), strict=True):
        assert isinstance(table, Table)
        for first in range(0, len(rows), 20_000):
            batch = rows[first : first + 20_000]
            db.write(lambda session, table=table, batch=batch: session.execute(insert(table), batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("username")
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    chosen = parser.parse_args()
    db = Database(load_settings().database_url)
    upgrade(db)
    query = select(User.tenant_id, User.id).where(User.username == chosen.username)
    found = db.read(lambda session: session.execute(query).one())
    begun = time.monotonic()
    seed_conversations(db, found.tenant_id, found.id, chosen.conversations, chosen.messages)
    print(f"{chosen.conversations:,} conversations, {chosen.messages:,} messages in {time.monotonic() - begun:.1f} s")
    db.close()


if __name__ == "__main__":
    main()
