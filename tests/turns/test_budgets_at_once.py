"""Two hundred turns at once against a budget that pays for fifty: no more is spent, and nothing stays reserved."""

import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Integer, func, select
from sqlalchemy.engine import make_url

from chatcore.accounts import Principal
from chatcore.bootstrap import Core, open_core
from chatcore.config import PROJECT_ROOT, load_settings
from chatcore.db.tables import BudgetPeriod, Conversation, LimitHit, Message, Reservation, Turn, UsageMetric
from chatcore.errors import BudgetExceeded
from chatcore.turns import Asked, TurnSettings
from tests.chat import COMPLETION_PRICE, PROMPT_PRICE, Chat, running_core, until
from tests.conftest import add_person, fresh_postgres
from tests.hostile import HostileProvider

TURNS: Final = 200
AT_ONCE: Final = 40  # threads that ask; the turns themselves run on the engine's loop, all at the same time
WORDS: Final = 20
GOOD: Final = f"ok;n={WORDS}"
SLOW: Final = "ok;n=100;rate=20"
# With fallbacks behind them: dead before the first word, and broken in mid-reply.
BROKEN: Final = ("503", "429;after=0", "cut;n=40;at=12", "end;n=10", "garbage;n=20", "flaky;fails=30")
TWICE: Final = f"nofinish;n={WORDS}"
SILENT: Final = ("hang", "stall;n=20;at=10")
PER_PROMPT, PER_WORD = round(PROMPT_PRICE * 1e9), round(COMPLETION_PRICE * 1e9)  # nano-USD a token
ONE: Final = WORDS * PER_WORD + 6 * PER_PROMPT  # what a turn of GOOD costs, as the provider counts


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def core(
    request: pytest.FixtureRequest, provider: HostileProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Core]:
    """Two retries, and GOOD behind everything that is broken. A silent call gets another beside it after a second."""
    router = {"num_retries": 2, "fallbacks": [{model: [GOOD]} for model in (TWICE, *BROKEN, *SILENT)]}
    with ExitStack() as stack:
        url = stack.enter_context(fresh_postgres()) if request.param == "postgres" else None
        folder = tmp_path_factory.mktemp("budgets")
        models = [GOOD, SLOW, TWICE, *BROKEN, *SILENT]
        yield stack.enter_context(
            running_core(folder, provider, models, url, router=router, first_word=20, slow_after=1.0, cache=False)
        )


@dataclass
class Team:
    """A tenant of its own: an admin and eight people."""

    core: Core
    admin: Principal
    chats: list[Chat]

    def budget(self, amount: int, scope: str = "tenant", scope_id: str = "") -> None:
        # Of a month, as one test in a while runs at midnight.
        self.core.budgets.set(self.admin, scope, scope_id, "month", amount)

    def ask(self, wanted: Sequence[tuple[str, TurnSettings]]) -> tuple[list[Asked], list[BudgetExceeded]]:
        """Ask all of it, each person in turn, and wait for the end of what was begun."""

        def one(number: int) -> tuple[Chat, Asked | BudgetExceeded]:
            chat, (model, settings) = self.chats[number % len(self.chats)], wanted[number]
            try:
                return chat, chat.ask(model, f"please answer {number}", settings=settings)
            except BudgetExceeded as refused:
                return chat, refused

        with ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = list(pool.map(one, range(len(wanted))))
            asked = [(chat, found) for chat, found in outcomes if isinstance(found, Asked)]
            list(pool.map(lambda pair: pair[0].words(pair[1]), asked))
        return [found for _, found in asked], [found for _, found in outcomes if isinstance(found, BudgetExceeded)]

    def count(self, table: Any, *where: Any) -> int:
        statement = select(func.count()).select_from(table).where(table.tenant_id == self.admin.tenant_id, *where)
        return self.core.db.read(lambda session: int(session.scalar(statement) or 0))

    def spent(self, user_id: str | None = None) -> int:
        """The ledger's sum."""
        statement = select(func.sum(UsageMetric.cost_nano_usd, type_=Integer))
        statement = statement.where(UsageMetric.tenant_id == self.admin.tenant_id)
        if user_id:
            statement = statement.where(UsageMetric.user_id == user_id)
        return self.core.db.read(lambda session: int(session.scalar(statement) or 0))

    def refused(self) -> int:
        """Refusals by a budget, as they were counted."""
        where = (LimitHit.tenant_id == self.admin.tenant_id, LimitHit.kind == "budget")
        statement = select(func.sum(LimitHit.hits, type_=Integer)).where(*where)
        return self.core.db.read(lambda session: int(session.scalar(statement) or 0))

    def faults(self) -> list[str]:
        """What stays that should not, and counters that say something else than the ledger."""
        tenant = self.admin.tenant_id
        found = [f"{count} reservations stay" for count in [self.count(Reservation)] if count]
        periods = select(BudgetPeriod).where(BudgetPeriod.tenant_id == tenant)
        reserved = [one.reserved_nano_usd for one in self.core.db.read(lambda session: list(session.scalars(periods)))]
        found += [f"{nano} stay reserved" for nano in reserved if nano]
        states = self.core.budgets.list(self.admin)
        for state in states:
            ledger = self.spent(state.scope_id or None)
            if state.spent_nano_usd != ledger:
                found.append(f"{state.scope} says {state.spent_nano_usd}, the ledger {ledger}")
            if ledger > state.amount_nano_usd:
                found.append(f"{state.scope} has spent {ledger} of {state.amount_nano_usd}")
        running = self.count(UsageMetric, UsageMetric.outcome == "running") + self.count(Turn, Turn.status == "running")
        return [*found, *([f"{running} still run"] if running else []), *([] if states else ["no budget"])]


@pytest.fixture
def team(core: Core, provider: HostileProvider) -> Team:
    mark = secrets.token_hex(4)
    admin = add_person(core.db, f"admin-{mark}", tenant=mark, role="admin")
    return Team(core, admin, [Chat(core, provider, f"p{number}-{mark}", tenant=mark) for number in range(8)])


def test_a_tenants_budget_pays_for_fifty_of_two_hundred(team: Team) -> None:
    team.budget(50 * ONE)
    asked, refused = team.ask([(GOOD, TurnSettings(max_tokens=WORDS))] * TURNS)
    assert team.faults() == []
    assert 25 <= len(asked) <= 50, "what a turn may cost at most is below twice what it does cost"
    assert len(asked) + len(refused) == TURNS
    assert team.spent() == len(asked) * ONE
    assert {reply.status for reply in replies(team)} == {"complete"}


def test_who_is_refused_is_told_why_and_counted_and_nothing_is_stored(team: Team) -> None:
    team.budget(5 * ONE)
    asked, refused = team.ask([(GOOD, TurnSettings(max_tokens=WORDS))] * 40)
    assert refused
    for error in refused:
        assert re.fullmatch(
            r"The month's budget that everybody here shares has less left than this may cost, which is up "
            r"to \$0\.0002\d*\. Choose a cheaper model, ask an admin for more, or try again on 1 \w+ \(UTC\)\.",
            str(error),
        )
    assert team.refused() == len(refused)
    assert team.count(Conversation) == len(asked)
    assert team.count(Message, Message.role == "user") == len(asked)
    assert team.count(UsageMetric) == len(asked)
    assert team.faults() == []


def test_a_persons_own_budget_stops_that_person_alone(team: Team) -> None:
    poor = team.chats[0].who.user_id
    team.budget(5 * ONE, "user", poor)
    team.budget(500 * ONE)
    asked, refused = team.ask([(GOOD, TurnSettings(max_tokens=WORDS))] * 120)
    assert team.faults() == []
    assert all(str(error).startswith("Your budget of ") for error in refused)
    assert 1 <= 15 - len(refused) <= 5
    assert len(asked) == 120 - len(refused)
    assert team.spent(poor) == (15 - len(refused)) * ONE


def test_without_max_tokens_what_is_left_limits_the_reply(team: Team, provider: HostileProvider) -> None:
    team.budget(50 * ONE)
    before = len(provider.log)
    asked, refused = team.ask([(GOOD, TurnSettings())] * TURNS)
    assert team.faults() == []
    assert asked
    assert refused
    limits = {call.params.get("max_tokens") for call in provider.log[before:]}
    assert None not in limits
    assert all(256 <= limit <= 50 * ONE // PER_WORD for limit in limits if limit)


def test_with_retries_and_fallbacks_and_mid_reply(team: Team) -> None:
    team.budget(50 * ONE)
    models = [BROKEN[number % len(BROKEN)] for number in range(TURNS)]
    asked, refused = team.ask([(model, TurnSettings(max_tokens=100)) for model in models])
    assert team.faults() == []
    assert refused
    assert team.count(UsageMetric) > len(asked), "nothing was tried twice"
    assert {reply.status for reply in replies(team)} <= {"complete", "failed"}


def test_a_further_call_of_a_turn_is_held_for_as_well(team: Team) -> None:
    """Each pays for a whole reply without an end, then for another one that goes on below it."""
    settings = TurnSettings(max_tokens=WORDS)
    team.budget(50 * ONE)
    alone = team.chats[0].ask(TWICE, settings=settings)
    team.chats[0].words(alone)
    assert [row.model for row in team.chats[0].ledger_rows(alone.turn_id)] == [TWICE, GOOD]
    _, refused = team.ask([(TWICE, settings)] * 100)
    assert team.faults() == []
    assert refused


def test_with_stops_and_calls_side_by_side(team: Team) -> None:
    team.budget(50 * ONE)
    settings = TurnSettings(max_tokens=100)

    def stopped(number: int) -> bool:
        """Whether it was let through; then it was stopped, at a moment of its own."""
        chat, model = team.chats[number % 8], (SLOW, *SILENT, GOOD)[number % 4]
        try:
            asked = chat.ask(model, f"stop {number}", settings=settings)
        except BudgetExceeded:
            return False
        time.sleep(number % 7 / 5)
        team.core.turns.stop(chat.who, str(asked.turn_id))
        chat.words(asked)
        return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        through = sum(pool.map(stopped, range(TURNS)))
    assert 0 < through < TURNS
    # Of those that were let through some found no money for a second try, each at most once.
    assert TURNS - through <= team.refused() <= TURNS
    assert team.faults() == []


def test_compared_models_are_paid_for_all_or_none(team: Team) -> None:
    """One question, two models, money for one: nothing is stored, nothing is held."""
    team.budget(ONE * 3 // 2)
    chat = team.chats[0]
    with pytest.raises(BudgetExceeded):
        chat.core.turns.compare(chat.who, None, "both?", models=[GOOD, SLOW], settings=TurnSettings(max_tokens=WORDS))
    assert team.count(Message) == 0
    assert team.refused() == 1
    assert team.faults() == []


@pytest.mark.parametrize("amount", [2 * ONE, 50 * ONE])
def test_a_summary_is_paid_for_like_a_turn(team: Team, amount: int) -> None:
    """With little left it is refused, as its reply has room for no less than 256 tokens."""
    team.budget(amount)
    chat = team.chats[0]
    asked = chat.ask(GOOD, settings=TurnSettings(max_tokens=WORDS))
    chat.words(asked)
    is_enough = amount > 2 * ONE
    with ExitStack() as expecting:
        if not is_enough:
            expecting.enter_context(pytest.raises(BudgetExceeded))
        chat.core.turns.summarise(chat.who, asked.conversation_id, model=GOOD)
    assert team.refused() == (0 if is_enough else 1)
    assert team.count(UsageMetric) == (2 if is_enough else 1)
    assert team.faults() == []


def test_a_request_that_turns_out_larger_is_refused_late(team: Team) -> None:
    """The provider counted one word where the bytes allow for three thousand tokens; both are held to be possible."""
    team.budget(3_200 * PER_PROMPT)
    chat = team.chats[0]
    first = chat.ask(GOOD, "x" * 3_000, settings=TurnSettings(max_tokens=WORDS))
    chat.words(first)
    assert chat.reply(first).status == "complete"
    asked = chat.ask(GOOD, "and?", first.conversation_id, settings=TurnSettings(max_tokens=300))
    chat.words(asked)
    reply = chat.reply(asked)
    assert (reply.status, reply.content) == ("failed", "")
    (part,) = reply.parts
    assert part["code"] == "budget_exceeded"
    assert part["message"].startswith("The month's budget that everybody here shares")
    assert [message.content for message in chat.messages(asked.conversation_id)][2:] == ["and?", ""]
    assert chat.ledger_rows(asked.turn_id) == []
    assert team.refused() == 1
    assert team.faults() == []


def test_a_queued_question_that_cannot_be_paid_is_answered_with_why(team: Team) -> None:
    team.budget(250 * PER_WORD)
    chat, settings = team.chats[0], TurnSettings(max_tokens=130)
    first = chat.ask(SLOW, "first", settings=settings)
    queued = chat.ask(SLOW, "second", first.conversation_id, settings=settings)
    assert queued.queued_id
    chat.words(first)
    until(lambda: len(chat.messages(first.conversation_id)) == 4)
    question, reply = chat.messages(first.conversation_id)[2:]
    assert question.content == "second"
    assert [part["code"] for part in reply.parts] == ["budget_exceeded"]
    assert team.refused() == 1
    assert team.faults() == []


def test_what_a_killed_process_held_is_free_again(tmp_path: Path, provider: HostileProvider, core: Core) -> None:
    """Killed with twenty replies on their way; the next start bills what was said and releases the rest."""
    with ExitStack() as stack:
        is_postgres = not core.db.is_sqlite
        url = stack.enter_context(fresh_postgres()) if is_postgres else None
        given = "" if url is None else url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "tests.turns.test_budgets_at_once", str(tmp_path), provider.url, given]
        child = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            tenant, admin = child.stdout.readline().split()
            provider.wait_until(lambda calls: sum(tmp_path.name in str(call.messages) for call in calls) == 20, 30)
            time.sleep(0.6)  # words are stored five times a second
        finally:
            child.kill()
            child.communicate()
        variables = {"CHATCORE_DATA_DIR": str(tmp_path / "data"), "CHATCORE_CONFIG": str(tmp_path / "config.yaml")}
        fresh = open_core(load_settings(variables | ({"CHATCORE_DATABASE_URL": given} if given else {}), root=tmp_path))
        stack.callback(fresh.close)
        fresh.start()
        team = Team(fresh, Principal(admin, tenant, "", "", "admin"), [])
        assert team.faults() == []
        rows = fresh.db.read(lambda session: list(session.scalars(select(UsageMetric))))
        assert [row.outcome for row in rows] == ["interrupted"] * 20
        assert team.spent() > 0


def replies(team: Team) -> list[Message]:
    mine = select(Message).where(Message.tenant_id == team.admin.tenant_id, Message.role == "assistant")
    return team.core.db.read(lambda session: list(session.scalars(mine)))


def be_killed(folder: Path, url: str, database: str) -> None:
    """The process that dies: twenty replies that take five seconds, under a budget that pays for them."""
    provider = HostileProvider(int(url.split(":")[2].partition("/")[0]))  # of the test's own process
    with running_core(folder, provider, [SLOW], make_url(database) if database else None, first_word=20) as core:
        admin = add_person(core.db, "admin", tenant="killed", role="admin")
        chats = [Chat(core, provider, f"p{number}", tenant="killed") for number in range(20)]
        core.budgets.set(admin, "tenant", "", "month", 20 * 200 * PER_WORD)
        for chat in chats:
            chat.ask(SLOW, f"please {folder.name}", settings=TurnSettings(max_tokens=120))
        held = core.db.read(lambda session: session.scalar(select(func.count()).select_from(Reservation)))
        assert held == 20
        print(admin.tenant_id, admin.user_id, flush=True)
        time.sleep(60)


if __name__ == "__main__":
    be_killed(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
