"""A running app and the rollups: what a turn used is counted when it is told to be over, and backlogs are folded."""

from sqlalchemy import func, insert, select

from chatcore.bootstrap import Core
from chatcore.db.tables import UsageDaily, UsageHourly, UsageMetric
from chatcore.ids import new_id
from chatcore.usage.rollup_jobs import RollupJobs
from tests.chat import Chat, until


def counted(core: Core, user_id: str) -> int:
    where = UsageDaily.user_id == user_id, UsageDaily.kind == "user", UsageDaily.level == "day"
    return int(core.db.read(lambda session: session.scalar(select(func.sum(UsageDaily.calls)).where(*where))) or 0)


def test_a_turn_is_counted_when_it_is_over(core: Core, chat: Chat) -> None:
    chat.answer("ok;n=20")
    chat.answer("500")
    rows = select(func.count()).where(UsageMetric.user_id == chat.who.user_id)
    calls = core.db.read(lambda session: session.scalar(rows)) or 0
    assert calls >= 2
    assert counted(core, chat.who.user_id) == calls
    assert RollupJobs(core.db).check(chat.who.tenant_id) == []


def test_rows_that_somebody_wrote_are_folded_within_seconds(core: Core, chat: Chat) -> None:
    tenant_id = new_id("tenant")
    row = {
        "id": new_id("use"), "tenant_id": tenant_id, "user_id": "u", "purpose": "chat", "provider": "p", "model": "m",
        "outcome": "ok", "trace_id": "t",
    }  # fmt: skip
    core.db.write(lambda session: session.execute(insert(UsageMetric), [row]))
    held = select(func.sum(UsageHourly.calls)).where(UsageHourly.tenant_id == tenant_id)
    until(lambda: core.db.read(lambda session: session.scalar(held)) == 1, 30)
