"""Pricing ledger rows anew: exact, with history, once, and the budgets with it."""

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from chatcore import pricing
from chatcore.__main__ import main
from chatcore.accounts.principal import Principal
from chatcore.config import Settings, load_settings
from chatcore.config_file import parse_config
from chatcore.db import Database
from chatcore.db.tables import BudgetPeriod, CostCorrection, UsageMetric
from chatcore.flags import Flags, FlagStore
from chatcore.gateway import Catalog
from chatcore.ids import new_id
from chatcore.pricing import price_now
from chatcore.usage import Usage, ledger, repricing
from chatcore.usage.budgets import Budgets
from chatcore.usage.repricing import PastCall, Price, Repriced, Repricing
from tests.conftest import add_person

DAY = datetime(2026, 3, 31, 12, tzinfo=UTC)
UNIT = {"prompt": "0.000003", "cached": "0.0000003", "cache_write": "0.00000375", "completion": "0.000015"}
CONFIG = b"""
model_list:
  - model_name: pricey
    litellm_params: {model: acme/pricey-1, api_key: k, input_cost_per_token: 0.000003, output_cost_per_token: 0.000015}
    model_info: {cache_read_input_token_cost: 3.0e-7, cache_creation_input_token_cost: 0.00000375,
                 output_cost_per_reasoning_token: 0.00006}
  - model_name: pricey
    litellm_params: {model: other/pricey-1, api_key: k, input_cost_per_token: 0.001, output_cost_per_token: 0.002}
  - model_name: half
    litellm_params: {model: acme/half-1, api_key: k, input_cost_per_token: 0.000001}
  - model_name: unknown
    litellm_params: {model: acme/unknown-1, api_key: k}
"""


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("catalog")
    return replace(load_settings({"CHATCORE_DATA_DIR": str(folder)}, root=folder), file=parse_config(CONFIG))


@pytest.fixture(scope="module")
def catalog(configured: Settings) -> Catalog:
    return Catalog(configured)


class Ledger:
    """The rows of a tenant of its own in a database that others use too."""

    def __init__(self, db: Database, catalog: Catalog) -> None:
        self.db, self.catalog, name = db, catalog, new_id("t")
        self.admin = add_person(db, f"admin.{name}", tenant=name, role="admin")
        self.ann = add_person(db, f"ann.{name}", tenant=name)

    def add(self, *rows: dict[str, Any]) -> list[str]:
        """Settled calls of Ann's without a known price, but for what each row says; their ids."""
        plain = {
            "created_at": DAY, "tenant_id": self.ann.tenant_id, "user_id": self.ann.user_id, "purpose": "chat",
            "provider": "acme", "model": "pricey", "provider_model": "acme/pricey-1", "outcome": "ok", "trace_id": "t",
            "prompt_tokens": 1000, "cached_tokens": 0, "cache_write_tokens": 0, "completion_tokens": 100,
            "reasoning_tokens": 0, "usage_source": "provider", "price_source": "none", "unit_prices": {},
            "cost_nano_usd": None, "key_source": "shared", "is_demo": False, "turn_id": None,
        }  # fmt: skip
        made = [plain | {"id": new_id("use")} | row for row in rows]
        self.db.write(lambda session: session.execute(insert(UsageMetric), made))
        return [str(row["id"]) for row in made]

    def recompute(self, price_of: repricing.PriceOf | None = None, **chosen: Any) -> Repriced:
        """Only this tenant's rows: for the others no price is known."""
        known = price_of or price_now(self.catalog, Flags())

        def only_ours(call: PastCall) -> Price | None:
            return known(call) if call.tenant_id == self.ann.tenant_id else None

        done = Repricing(self.db, only_ours).recompute(**chosen)
        return replace(done, seen=0, unknown=0)

    def cost(self, row_id: str) -> int | None:
        return self.db.read(
            lambda session: session.scalar(select(UsageMetric.cost_nano_usd).where(UsageMetric.id == row_id))
        )

    def total(self) -> int:
        statement = select(func.sum(UsageMetric.cost_nano_usd)).where(
            UsageMetric.tenant_id == self.ann.tenant_id, UsageMetric.key_source != "person",
            UsageMetric.is_demo.is_(False),
        )  # fmt: skip
        return int(self.db.read(lambda session: session.scalar(statement)) or 0)

    def history(self) -> list[CostCorrection]:
        statement = select(CostCorrection).where(CostCorrection.tenant_id == self.ann.tenant_id)
        return list(self.db.read(lambda session: session.scalars(statement.order_by(CostCorrection.id)).all()))

    def spent(self) -> dict[tuple[str, date], int]:
        """What the tenant's budgets have counted, by budget and period."""
        statement = select(BudgetPeriod).where(BudgetPeriod.tenant_id == self.ann.tenant_id)
        rows = self.db.read(lambda session: session.scalars(statement).all())
        return {(row.budget_id, row.starts_at.date()): row.spent_nano_usd for row in rows}


@pytest.fixture
def books(module_database: Database, catalog: Catalog) -> Ledger:
    return Ledger(module_database, catalog)


# ---- exactness

amounts = st.decimals(0, "0.01", places=12, allow_nan=False).map(lambda amount: format(amount, "f"))
counts = st.integers(0, 3_000_000)


@st.composite
def used(draw: st.DrawFn) -> dict[str, int]:
    prompt, completion = draw(counts), draw(counts)
    cached = draw(st.integers(0, prompt))
    return {
        "prompt_tokens": prompt, "cached_tokens": cached, "cache_write_tokens": draw(st.integers(0, prompt - cached)),
        "completion_tokens": completion, "reasoning_tokens": draw(st.integers(0, completion)),
    }  # fmt: skip


def expected(tokens: dict[str, int], unit: dict[str, str]) -> int:
    """The sum over the kinds of token, each one counted once, by decimals of its own."""
    price = {kind: Decimal(value) for kind, value in unit.items()}
    prompt, completion = price["prompt"], price["completion"]
    rest = tokens["prompt_tokens"] - tokens["cached_tokens"] - tokens["cache_write_tokens"]
    usd = rest * prompt + (tokens["completion_tokens"] - tokens["reasoning_tokens"]) * completion
    usd += tokens["cached_tokens"] * price.get("cached", prompt)
    usd += tokens["cache_write_tokens"] * price.get("cache_write", prompt)
    usd += tokens["reasoning_tokens"] * price.get("reasoning", completion)
    return int((usd * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN))


FIELD = {
    "prompt": "input_cost_per_token", "completion": "output_cost_per_token", "cached": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost", "reasoning": "output_cost_per_reasoning_token",
}  # fmt: skip


@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(used(), min_size=1, max_size=8),
    unit=st.fixed_dictionaries(
        {"prompt": amounts, "completion": amounts},
        optional=dict.fromkeys(("cached", "cache_write", "reasoning"), amounts),
    ),
)
def test_each_row_costs_the_exact_sum_of_its_tokens(
    books: Ledger, rows: list[dict[str, int]], unit: dict[str, str]
) -> None:
    flags = Flags(prices={books.ann.tenant_id: {"pricey": {FIELD[kind]: value for kind, value in unit.items()}}})
    ids = books.add(*rows)
    books.recompute(price_now(books.catalog, flags))
    costs = [expected(tokens, unit) for tokens in rows]
    assert [books.cost(row_id) for row_id in ids] == costs


def test_cached_written_and_reasoning_tokens_have_prices_of_their_own(books: Ledger) -> None:
    (row_id,) = books.add(
        {"prompt_tokens": 1000, "cached_tokens": 700, "cache_write_tokens": 200, "completion_tokens": 100,
         "reasoning_tokens": 40}
    )  # fmt: skip
    done = books.recompute()
    assert books.cost(row_id) == 100 * 3000 + 700 * 300 + 200 * 3750 + 60 * 15_000 + 40 * 60_000
    assert done.difference_nano_usd == books.cost(row_id)


def test_the_price_is_that_of_the_deployment_that_was_called(books: Ledger) -> None:
    ids = books.add({}, {"provider_model": "other/pricey-1"}, {"provider_model": "gone/pricey-0"})
    books.recompute()
    assert [books.cost(row_id) for row_id in ids] == [4_500_000, 1_200_000_000, 4_500_000]


def test_a_tenants_own_price_goes_first_and_is_nobody_elses(books: Ledger) -> None:
    own = {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000001"}
    (row_id,) = books.add({})
    books.recompute(price_now(books.catalog, Flags(prices={"tenant_other": {"pricey": own}})))
    assert books.cost(row_id) == 4_500_000
    books.recompute(price_now(books.catalog, Flags(prices={books.ann.tenant_id: {"pricey": own}})), everything=True)
    assert books.cost(row_id) == 1_100_000


# ---- which rows


@pytest.mark.parametrize(
    ("row", "priced"),
    [({}, True), ({"outcome": "error"}, True), ({"outcome": "stopped"}, True), ({"usage_source": "estimated"}, True),
     ({"outcome": "interrupted", "usage_source": "estimated"}, True), ({"key_source": "person"}, True),
     ({"model": "half", "provider_model": "acme/half-1", "completion_tokens": 0}, True),
     ({"outcome": "running"}, False), ({"outcome": "cached"}, False), ({"is_demo": True}, False),
     ({"outcome": "interrupted", "usage_source": "none"}, False), ({"model": "gone"}, False),
     ({"model": "unknown", "provider_model": "acme/unknown-1"}, False),
     ({"model": "half", "provider_model": "acme/half-1"}, False)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("everything", [False, True])
def test_which_rows_get_a_price(books: Ledger, row: dict[str, Any], priced: bool, everything: bool) -> None:
    (row_id,) = books.add(row)
    assert books.recompute(everything=everything).changed == priced
    assert (books.cost(row_id) is not None) == priced


def test_what_was_known_stays_unless_every_row_is_asked_for(books: Ledger) -> None:
    known = {"cost_nano_usd": 7, "price_source": "litellm", "unit_prices": {"prompt": "1"}}
    row_id, _ = books.add(known, {})
    assert books.recompute().changed == 1
    assert books.cost(row_id) == 7
    assert books.recompute(everything=True) == Repriced(changed=1, difference_nano_usd=4_500_000 - 7)
    assert books.cost(row_id) == 4_500_000


def test_a_price_that_is_gone_takes_nothing_away(books: Ledger) -> None:
    (row_id,) = books.add({"model": "unknown", "cost_nano_usd": 7})
    books.recompute(everything=True)
    assert books.cost(row_id) == 7
    assert books.history() == []


def test_one_model_and_one_time_can_be_chosen(books: Ledger) -> None:
    both = price_now(books.catalog, Flags(prices={books.ann.tenant_id: {"b": {FIELD["prompt"]: "1"}}}))
    early, late, other = books.add(
        {"created_at": DAY - timedelta(microseconds=1)}, {}, {"model": "b", "completion_tokens": 0}
    )
    books.recompute(both, model="pricey", since=DAY)
    assert [books.cost(one) is not None for one in (early, late, other)] == [False, True, False]
    books.recompute(both, model="b")
    assert [books.cost(one) is not None for one in (early, late, other)] == [False, True, True]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(books: Ledger) -> None:
    ids = books.add({}, {"cost_nano_usd": 7})
    would = books.recompute(everything=True, dry_run=True)
    assert [books.cost(one) for one in ids] == [None, 7]
    assert books.history() == []
    assert would == books.recompute(everything=True) == Repriced(changed=2, difference_nano_usd=9_000_000 - 7)


def test_what_it_saw_is_counted(any_database: Database, catalog: Catalog) -> None:
    books = Ledger(any_database, catalog)
    books.add({}, {"model": "unknown"}, {"cost_nano_usd": 7}, {"outcome": "running"})
    price_of = price_now(catalog, Flags())
    assert Repricing(any_database, price_of).recompute() == Repriced(2, 1, 1, 4_500_000)
    assert Repricing(any_database, price_of).recompute(everything=True) == Repriced(3, 1, 1, 4_500_000 - 7)


# ---- history, once


def test_what_stood_there_is_kept(books: Ledger) -> None:
    known = {"cost_nano_usd": 7, "price_source": "litellm", "unit_prices": {"prompt": "0.1"}}
    first, second = books.add({}, known)
    books.recompute(everything=True)
    before = {one.usage_id: one for one in books.history()}
    assert [(before[one].before_nano_usd, before[one].after_nano_usd) for one in (first, second)] == [
        (None, 4_500_000),
        (7, 4_500_000),
    ]
    assert (before[second].before_source, before[second].before_prices) == ("litellm", {"prompt": "0.1"})
    assert (before[first].before_source, before[first].before_prices) == ("none", {})
    row = books.db.read(lambda session: session.get_one(UsageMetric, second))
    assert (row.price_source, row.unit_prices) == ("config", UNIT | {"reasoning": "0.00006"})


@pytest.mark.parametrize("everything", [False, True])
def test_a_second_run_does_nothing(books: Ledger, everything: bool) -> None:
    books.add({}, {"cost_nano_usd": 7}, {"model": "unknown"}, {"prompt_tokens": 0, "completion_tokens": 0})
    books.recompute(everything=everything)
    history = len(books.history())
    assert books.recompute(everything=everything) == Repriced()
    assert len(books.history()) == history


def test_a_cost_of_nothing_is_known_from_then_on(books: Ledger) -> None:
    (row_id,) = books.add({"prompt_tokens": 0, "completion_tokens": 0})
    assert books.recompute() == Repriced(changed=1)
    assert books.cost(row_id) == 0


def test_a_run_that_broke_off_is_gone_on_with(books: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricing, "BATCH", 10)
    ids = books.add(*[{} for _ in range(25)])
    known, asked = price_now(books.catalog, Flags()), 0

    def breaks(call: PastCall) -> Price | None:
        nonlocal asked
        if call.id in ids:
            asked += 1
        if asked > 15:
            raise KeyboardInterrupt
        return known(call)

    with pytest.raises(KeyboardInterrupt):
        books.recompute(breaks)
    done = sum(books.cost(one) is not None for one in ids)
    assert 0 < done < 25
    assert len(books.history()) == done
    assert books.recompute().changed == 25 - done
    assert len(books.history()) == 25
    assert {books.cost(one) for one in ids} == {4_500_000}


def test_a_row_that_was_settled_meanwhile_keeps_its_true_cost(books: Ledger) -> None:
    """Another process wrote the true end of a call that was taken for dead, between our look at it and our write."""
    (row_id,) = books.add({"outcome": "interrupted", "usage_source": "estimated"})
    known, true_end = price_now(books.catalog, Flags()), ledger.Settlement("ok", cost_nano_usd=42)
    looks: list[str] = []

    def price_of(call: PastCall) -> Price | None:
        looks.append(call.id)
        if call.id == row_id and looks.count(row_id) == 1:
            books.db.write(partial(ledger.settle_call, row_id=row_id, settlement=true_end))
        return known(call)

    assert books.recompute(price_of) == Repriced()
    assert books.cost(row_id) == 42
    assert books.history() == []


# ---- budgets


def set_budgets(books: Ledger) -> None:
    budgets = Budgets(books.db)
    for period in ("day", "month"):
        budgets.set(books.admin, "tenant", "", period, 10**12)
        budgets.set(books.admin, "user", books.ann.user_id, period, 10**12)


def sums(books: Ledger) -> dict[tuple[str, date], int]:
    """What the budgets' periods should have counted: the ledger's sum of each."""
    found = {}
    for state in Budgets(books.db).list(books.admin):
        for budget_id, start in books.spent():
            if budget_id == state.id:
                begin = datetime(start.year, start.month, start.day, tzinfo=UTC)
                end = begin + timedelta(days=1 if state.period == "day" else 31)
                end = end if state.period == "day" else end.replace(day=1)
                rows = [UsageMetric.tenant_id == books.ann.tenant_id, UsageMetric.created_at >= begin]
                rows += [UsageMetric.created_at < end, UsageMetric.key_source != "person"]
                rows += [UsageMetric.user_id == state.scope_id] if state.scope == "user" else []
                total = select(func.coalesce(func.sum(UsageMetric.cost_nano_usd), 0)).where(*rows)
                found[budget_id, start] = int(books.db.read(partial(Session.scalar, statement=total)) or 0)
    return found


def test_the_difference_counts_in_the_day_and_month_of_the_call(books: Ledger) -> None:
    set_budgets(books)
    tomorrow, other = DAY + timedelta(days=1), {"user_id": books.admin.user_id}
    books.add({}, {}, {"created_at": tomorrow}, other, {"cost_nano_usd": 9_000_000}, {"key_source": "person"})
    books.recompute(everything=True)
    spent = books.spent()
    assert spent == sums(books)
    by_period = {(state.scope, state.period): state.id for state in Budgets(books.db).list(books.admin)}
    assert spent[by_period["tenant", "day"], date(2026, 3, 31)] == 4 * 4_500_000
    assert spent[by_period["tenant", "month"], date(2026, 4, 1)] == 4_500_000
    assert spent[by_period["user", "month"], date(2026, 3, 1)] == 3 * 4_500_000


def test_counters_that_were_there_get_the_difference_alone(books: Ledger) -> None:
    set_budgets(books)
    opened = ledger.NewCall(books.ann.tenant_id, books.ann.user_id, "acme", "pricey", "acme/pricey-1", "t")
    row_id = books.db.write(lambda session: ledger.open_call(session, opened))
    books.db.write(
        lambda session: ledger.settle_call(
            session, row_id, ledger.Settlement("ok", prompt_tokens=1000, completion_tokens=100, cost_nano_usd=5)
        )
    )
    assert set(books.spent().values()) == {5}
    books.add({"created_at": datetime.now(UTC)})
    books.recompute(everything=True)
    assert books.spent() == sums(books)
    assert set(books.spent().values()) == {9_000_000}


def test_what_a_person_pays_with_an_own_key_is_in_no_budget(books: Ledger) -> None:
    set_budgets(books)
    (row_id,) = books.add({"key_source": "person"})
    books.recompute()
    assert books.cost(row_id) == 4_500_000
    assert set(books.spent().values()) <= {0}


def test_the_app_goes_on_meanwhile_and_every_call_counts_once(books: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repricing, "BATCH", 7)
    set_budgets(books)
    people = [books.ann, books.admin]
    now = datetime.now(UTC)
    books.add(*[{"created_at": now - timedelta(hours=n), "user_id": people[n % 2].user_id} for n in range(60)])
    failures: list[BaseException] = []

    def guarded(work: Callable[[int], None], seed: int) -> None:
        try:
            work(seed)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    def asks(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(20):
            person = draw.choice(people)
            opened = ledger.NewCall(person.tenant_id, person.user_id, "acme", "pricey", "acme/pricey-1", "t")
            row_id = books.db.write(partial(ledger.open_call, call=opened))
            settled = ledger.Settlement(
                "ok", prompt_tokens=1000, completion_tokens=100, cost_nano_usd=draw.choice([None, 11])
            )
            books.db.write(partial(ledger.settle_call, row_id=row_id, settlement=settled))

    def prices(_: int) -> None:
        for _round in range(3):
            books.recompute(everything=True)

    works = [(asks, 1), (asks, 2), (prices, 0), (prices, 0)]
    threads = [threading.Thread(target=guarded, args=one) for one in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    books.recompute(everything=True)
    assert books.total() == 100 * 4_500_000
    assert books.spent() == sums(books)


# ---- who sees which


def test_unpriced_models_are_listed_for_whom_they_are(books: Ledger) -> None:
    other = Ledger(books.db, books.catalog)
    other.add({"model": "theirs"})
    books.add(
        {"model": "a", "created_at": DAY + timedelta(hours=1)}, {"model": "a", "user_id": books.admin.user_id},
        {"model": "b", "prompt_tokens": 5000}, {"model": "c", "cost_nano_usd": 0}, {"model": "d", "is_demo": True},
        {"model": "e", "outcome": "running"}, {"model": "f", "outcome": "interrupted", "usage_source": "none"},
        {"model": "g", "outcome": "cached"},
    )  # fmt: skip
    usage = Usage(books.db)

    def listed(who: Principal, since: datetime | None = None) -> list[tuple[str, int, int, datetime]]:
        return [(one.model, one.calls, one.tokens, one.since) for one in usage.unpriced(who, since)]

    later = DAY + timedelta(hours=1)
    assert listed(books.admin) == [("b", 1, 5100, DAY), ("a", 2, 2200, DAY)]
    assert listed(books.ann) == [("b", 1, 5100, DAY), ("a", 1, 1100, later)]
    assert listed(books.admin, later) == [("a", 1, 1100, later)]
    assert listed(other.admin) == [("theirs", 1, 1100, DAY)]


def test_a_tenants_rows_are_written_down_as_theirs(books: Ledger) -> None:
    other = Ledger(books.db, books.catalog)
    books.add({})
    (theirs,) = other.add({})
    Repricing(books.db, price_now(books.catalog, Flags())).recompute()
    assert [one.usage_id for one in other.history()] == [theirs]
    assert len(books.history()) == 1


# ---- the command


@pytest.fixture
def command(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str], str]]:
    """Runs `python -m chatcore prices …` over the database of `settings` and the configuration above."""
    (tmp_path / "config.yaml").write_bytes(CONFIG)
    for name in ("CHATCORE_DATABASE_URL", "CHATCORE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHATCORE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("CHATCORE_CONFIG", str(tmp_path / "config.yaml"))

    def run(*arguments: str) -> tuple[int, list[str], str]:
        code = main(["prices", *arguments])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def test_the_command_lists_and_prices(
    database: Database, catalog: Catalog, command: Callable[..., tuple[int, list[str], str]]
) -> None:
    books = Ledger(database, catalog)
    early, late, _ = books.add({"created_at": DAY - timedelta(days=1)}, {}, {"model": "unknown"})
    code, listed, _ = command("unpriced")
    assert (code, [line.split() for line in listed]) == (0, [
        ["MODEL", "PROVIDER", "CALLS", "TOKENS", "SINCE"],
        ["pricey", "acme", "2", "2,200", "2026-03-30", "12:00"],
        ["unknown", "acme", "1", "1,100", "2026-03-31", "12:00"],
    ])  # fmt: skip
    assert command("recompute", "--dry-run")[1][0] == "3 calls, 2 would be priced anew: +0.009 USD."
    assert command("recompute", "--since", "2026-03-31", "--model", "pricey")[1][0] == (
        "1 calls, 1 priced anew: +0.0045 USD."
    )
    assert [books.cost(one) for one in (early, late)] == [None, 4_500_000]
    database.write(lambda session: session.execute(update(UsageMetric).values(cost_nano_usd=10**9)))
    assert command("recompute", "--all", "--model", "pricey")[1] == [
        "2 calls, 2 priced anew: -1.991 USD.",
        "0 have no known price still; `prices unpriced` names their models.",
    ]
    assert command("recompute")[1][0] == "0 calls, 0 priced anew: nothing changed."
    assert command("unpriced")[1] == ["MODEL  PROVIDER  CALLS  TOKENS  SINCE"]


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "31.3.2026"])
def test_a_day_that_is_none_is_refused(day: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["prices", "recompute", "--since", day])
    assert ended.value.code == 2
    assert "must be a day such as 2026-01-31" in capsys.readouterr().err


def test_what_an_admin_has_set_is_what_the_command_prices_with(
    any_database: Database, catalog: Catalog, configured: Settings
) -> None:
    books = Ledger(any_database, catalog)
    (row_id,) = books.add({})
    own = {FIELD["prompt"]: "0.000002", FIELD["completion"]: "0"}
    FlagStore(any_database, configured).set_prices(books.admin, "pricey", own)
    assert pricing.recompute(any_database, configured, None, None, False, False).changed == 1
    assert books.cost(row_id) == 2_000_000
    row = any_database.read(lambda session: session.get_one(UsageMetric, row_id))
    assert row.price_source == "tenant"
