"""Turns on PostgreSQL: several writers at once, row locks instead of one queue."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import URL

from chatcore.bootstrap import Core
from chatcore.db.tables import Turn, UsageMetric
from tests.chat import Chat, running_core, until
from tests.hostile import HostileProvider

pytestmark = pytest.mark.postgres


@pytest.fixture
def postgres_core(tmp_path: Path, provider: HostileProvider, postgres_url: URL) -> Iterator[Core]:
    with running_core(
        tmp_path, provider, ["ok;n=20", "ok;n=10;rate=20", "hang", "cut;n=40;at=12"], postgres_url
    ) as core:
        yield core


def test_turns_on_postgres(postgres_core: Core, provider: HostileProvider) -> None:
    chat = Chat(postgres_core, provider, "ada")
    assert re.findall(r"\[(\d+)\]", chat.answer("ok;n=20").content) == [str(k) for k in range(20)]

    cut = chat.ask("cut;n=40;at=12")
    chat.words(cut)
    chat.words(postgres_core.turns.resume(chat.who, str(cut.message_id), model="ok;n=20"))
    assert [message.status for message in chat.messages(cut.conversation_id)] == ["complete", "failed", "complete"]

    hanging = chat.ask("hang")
    chat.core.turns.stop(chat.who, str(hanging.turn_id))
    chat.words(hanging)
    assert chat.ledger(hanging.turn_id).outcome == "stopped"

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: chat.answer("ok;n=20"), range(20)))
    assert {reply.status for reply in replies} == {"complete"}


def test_questions_at_once_are_answered_one_after_the_other(postgres_core: Core, provider: HostileProvider) -> None:
    chat = Chat(postgres_core, provider, "ada")
    conversation_id = chat.ask("ok;n=10;rate=20", "first").conversation_id
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda k: chat.ask("ok;n=10;rate=20", f"more {k}", conversation_id), range(6)))

    def answered() -> bool:
        return len(chat.messages(conversation_id)) == 14 and not chat.core.turns.active(chat.who, conversation_id)

    until(answered, timeout=30)
    messages = chat.messages(conversation_id)
    assert [message.role for message in messages] == ["user", "assistant"] * 7
    assert {message.status for message in messages} == {"complete"}
    assert chat.core.turns.queued(chat.who, conversation_id) == []
    left = select(func.count()).select_from(Turn).where(Turn.status == "running")
    open_rows = select(func.count()).select_from(UsageMetric).where(UsageMetric.outcome == "running")
    assert postgres_core.db.read(lambda s: (s.scalar(left), s.scalar(open_rows))) == (0, 0)
