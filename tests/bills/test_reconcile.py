"""A bill beside the ledger: what agrees, what does not, and why. On both databases."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from chatcore.accounts.principal import Principal, Role
from chatcore.bills.formats import Reading
from chatcore.bills.reconcile import Bills, Options, csv_lines
from chatcore.bills.values import Comparison, Figures, Line, dollars
from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric
from chatcore.errors import Forbidden, InvalidInput
from chatcore.ids import new_id

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = NOON.date()
HEAD = "date,model,prompt_tokens,cached_tokens,completion_tokens,requests,cost\n"
TENANTS = ("tenant_a", "tenant_b")


def who(role: Role = "admin", tenant: str = "tenant_a") -> Principal:
    return Principal(f"user_{role}", tenant, role, role.title(), role)


def call(**values: Any) -> dict[str, Any]:
    """A priced, settled call with the configured key, except for what `values` says."""
    return {
        "id": new_id("use"), "created_at": NOON, "tenant_id": "tenant_a", "user_id": "user_ann", "purpose": "chat",
        "provider": "openai", "model": "large", "provider_model": "openai/gpt-5", "outcome": "ok", "prompt_tokens": 10,
        "cached_tokens": 0, "completion_tokens": 5, "reasoning_tokens": 0, "usage_source": "provider",
        "cost_nano_usd": 1_000, "key_source": "shared", "cache_hit": False, "is_demo": False, "trace_id": "t",
    } | values  # fmt: skip


def put(db: Database, *rows: dict[str, Any]) -> None:
    db.write(lambda session: session.execute(insert(UsageMetric), list(rows)))


@pytest.fixture
def db(any_database: Database) -> Database:
    tenants = [{"id": one, "name": one} for one in TENANTS]
    any_database.write(lambda session: session.execute(insert(Tenant), tenants))
    return any_database


def compare(db: Database, text: str, options: Options | None = None, principal: Principal | None = None) -> Comparison:
    return Bills(db).compare(principal or who(), io.BytesIO(text.encode()), "bill.csv", options)


def reasons(line: Line) -> list[str]:
    return [reason.kind for reason in line.reasons]


def only(found: Comparison) -> Line:
    (line,) = found.models
    return line


def test_a_bill_that_is_the_ledger_agrees(db: Database) -> None:
    put(db, call(), call(cached_tokens=4), call(created_at=NOON + timedelta(days=1), cost_nano_usd=500))
    found = compare(db, HEAD + "2026-03-02,gpt-5-2025-08-07,20,4,10,2,0.000002\n2026-03-03,GPT-5,10,0,5,1,0.0000005\n")
    assert found.agrees
    assert found.headline == "The ledger and the bill agree: $0.0000025."
    assert found.bill == found.ledger == Figures(3, 30, 4, 15, 2_500)
    assert (only(found).model, only(found).called, only(found).reasons) == ("GPT-5, gpt-5-2025-08-07", "large", ())
    assert [line.day for line in found.days] == [DAY, DAY + timedelta(days=1)]
    assert found.providers == ("openai",)


def forget_before(db: Database, moment: datetime) -> None:
    db.write(lambda session: session.execute(update(Tenant).values(ledger_since=moment)))


def test_days_that_retention_has_taken_from_the_ledger_are_no_difference(db: Database) -> None:
    put(db, call(created_at=NOON + timedelta(days=1)))
    forget_before(db, NOON + timedelta(hours=6))
    found = compare(
        db, HEAD + "2026-03-01,gpt-5,10,0,5,1,7\n2026-03-02,gpt-5,10,0,5,1,7\n2026-03-03,gpt-5,10,0,5,1,0.000001\n"
    )
    assert found.agrees
    assert [line.day for line in found.days] == [DAY + timedelta(days=1)]
    assert found.notes[0] == (
        "Calls from before 3 Mar 2026 are no longer kept here, so the bill's days before are left out."
    )


def test_a_bill_of_days_that_the_ledger_has_whole_says_nothing_of_retention(db: Database) -> None:
    put(db, call())
    forget_before(db, NOON.replace(hour=0))
    found = compare(db, HEAD + "2026-03-02,gpt-5,10,0,5,1,0.000001\n")
    assert found.agrees
    assert not any("no longer kept" in note for note in found.notes)


def test_the_headline_says_how_far_they_are_apart(db: Database) -> None:
    put(db, call(cost_nano_usd=99_700_000_000))
    found = compare(db, HEAD + "2026-03-02,gpt-5,10,0,5,1,100\n")
    assert found.headline == "The ledger says $99.70, the bill $100.00: $0.30 apart (0.3%)."
    assert reasons(only(found)) == ["price"]
    assert found.difference.nano_usd == 300_000_000


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"usage_source": "estimated"}, "estimated", "1 call has tokens that we counted"),
        ({"cost_nano_usd": None}, "unpriced", "1 call has no known price"),
        ({"outcome": "interrupted"}, "unsettled", "1 call broke off or still run"),
        ({"outcome": "running", "cost_nano_usd": None, "prompt_tokens": 0, "completion_tokens": 0}, "unsettled", ""),
        ({"key_source": "person"}, "keys", "1 call went over other keys"),
        ({"key_source": "tenant"}, "keys", "which are on another bill (15 tokens, $0.0000010)"),
    ],
)
def test_a_difference_is_explained_by_the_calls_behind_it(
    db: Database, values: dict[str, Any], kind: str, words: str
) -> None:
    put(db, call(), call(**values))
    found = compare(db, HEAD + "2026-03-02,gpt-5,90,0,50,2,0.9\n")
    assert not found.agrees
    (reason,) = only(found).reasons
    assert reason.kind == kind
    assert reason.calls == 1
    assert words in reason.words


def test_reasons_come_in_the_order_in_which_one_looks(db: Database) -> None:
    failed = {"outcome": "error", "prompt_tokens": 0, "completion_tokens": 0, "cost_nano_usd": None}
    put(
        db, call(is_demo=True), call(outcome="cached", cache_hit=True), call(key_source="person"), call(**failed),
        call(outcome="interrupted"), call(cost_nano_usd=None), call(usage_source="estimated"), call(),
    )  # fmt: skip
    found = compare(db, HEAD + "2026-03-02,gpt-5,90,0,50,9,0.9\n")
    kinds = ["estimated", "unpriced", "unsettled", "failed", "keys", "cached", "demo"]
    assert reasons(only(found)) == kinds
    assert [reason.kind for reason in found.left_out] == ["keys", "cached", "demo"]
    assert only(found).ledger == Figures(4, 40, 0, 20, 3_000), "without what is left out, failed calls no requests"


def test_a_difference_that_nothing_explains_is_said_to_be_one(db: Database) -> None:
    put(db, call(), call(is_demo=True))
    line = only(compare(db, HEAD + "2026-03-02,gpt-5,90,0,50,2,0.9\n"))
    assert reasons(line) == ["demo", "unexplained"]
    assert "another program" in line.reasons[-1].words
    line = only(compare(db, HEAD + "2026-03-02,gpt-5,1,0,1,1,0.0000001\n"))
    assert "not complete" in line.reasons[-1].words


def test_models_of_one_side_are_listed_by_themselves(db: Database) -> None:
    put(db, call(), call(model="small", provider_model="openai/gpt-5-mini"))
    found = compare(db, HEAD + "2026-03-02,gpt-5,10,0,5,1,0.000001\n2026-03-02,o9,1,0,1,1,5\n")
    assert found.unmatched == ("o9",)
    assert found.only_ledger == ("small",)
    by_name = {line.model: reasons(line) for line in found.models}
    assert by_name == {"gpt-5": [], "small": ["only_ledger"], "o9": ["only_bill"]}
    assert found.models[0].model == "o9", "the largest difference first"
    assert found.models[0].difference == Figures(1, 1, 0, 1, 5_000_000_000)


def test_a_model_paid_with_other_keys_only_is_missing_with_that_reason(db: Database) -> None:
    put(db, call(key_source="person"))
    line = only(compare(db, HEAD + "2026-03-02,gpt-5,10,0,5,1,0.000001\n", Options(providers=("openai",))))
    assert line.ledger is None
    assert reasons(line) == ["keys", "only_bill"]
    told = Options(keys=("person",))
    assert compare(db, HEAD + "2026-03-02,gpt-5,10,0,5,1,0.000001\n", told).agrees


def test_sums_that_agree_over_other_days_are_said_to_be_that(db: Database) -> None:
    put(db, call(created_at=datetime(2026, 3, 2, 23, 30, tzinfo=UTC)), call())
    text = HEAD + "2026-03-02,gpt-5,10,0,5,1,0.000001\n2026-03-03,gpt-5,10,0,5,1,0.000001\n"
    found = compare(db, text)
    assert reasons(only(found)) == ["days"]
    assert [line.agrees for line in found.days] == [False, False]
    assert found.difference == Figures(0, 0, 0, 0, 0)
    assert compare(db, text, Options(Reading(zone="Europe/Berlin"))).agrees


def test_days_of_a_zone_are_right_when_its_clock_changes(db: Database) -> None:
    begin = datetime(2026, 3, 28, 23, tzinfo=UTC)  # midnight in Berlin; the 29th has 23 hours there
    put(db, *(call(created_at=begin + timedelta(hours=hour)) for hour in range(24)))
    text = HEAD + "2026-03-29,gpt-5,230,0,115,23,0.000023\n2026-03-30,gpt-5,10,0,5,1,0.000001\n"
    assert compare(db, text, Options(Reading(zone="Europe/Berlin"))).agrees


def test_a_bill_rounded_to_cents_may_be_off_by_that(db: Database) -> None:
    put(db, call(provider="anthropic", provider_model="anthropic/claude-haiku-4-5-20251001", cost_nano_usd=163_000_000),
        call(provider="anthropic", provider_model="anthropic/claude-opus-4-5", cost_nano_usd=300_000_000,
             created_at=NOON + timedelta(days=1)))  # fmt: skip
    with (Path(__file__).parent / "samples" / "anthropic_cost.csv").open("rb") as stream:
        found = Bills(db).compare(who(), stream, "anthropic_cost.csv")
    haiku, opus = found.models
    assert (haiku.model, reasons(haiku)) == ("Claude Haiku 4.5", ["rounding"])
    assert haiku.reasons[0].words == "The bill rounds each amount to $0.01: its 2 rows can be off by $0.01."
    assert (opus.model, opus.agrees) == ("Claude Opus 4.5", True)


def test_a_bill_of_one_provider_is_not_compared_with_another_s_calls(db: Database) -> None:
    put(db, call(), call(provider="openrouter", provider_model="openrouter/openai/gpt-5"))
    text = "start_time,model,input_tokens,output_tokens,num_model_requests\n1772409600,gpt-5,10,5,1\n"
    found = compare(db, text)
    assert found.agrees
    assert found.headline == "The ledger and the bill agree: 15 tokens."
    assert any("no column of money" in note for note in found.notes)
    assert not compare(db, text, Options(providers=("openai", "openrouter"))).agrees


def test_a_bill_without_models_is_compared_by_day(db: Database) -> None:
    put(db, call(), call(provider_model="openai/gpt-5-mini"), call(provider="anthropic"))
    text = "start_time,amount_value,amount_currency\n1772409600,0.000002,usd\n"
    found = compare(db, text)
    assert found.agrees
    assert only(found).model == "All models"
    assert found.notes[0].startswith("The bill names no models")


def test_a_bill_of_days_without_any_call(db: Database) -> None:
    found = compare(db, HEAD + "2006-01-01,gpt-5,1,0,1,1,1\n2026-01-01,gpt-5,1,0,1,1,1\n")
    assert found.notes[0] == "The ledger has no calls to these models in these days."
    assert found.ledger == Figures(0, 0, 0, 0, 0)
    assert found.headline == "The ledger says $0.00, the bill $2.00: $2.00 apart (100.0%)."


def test_twenty_years_ask_only_for_days_that_have_calls(db: Database) -> None:
    put(db, call())
    found = compare(db, HEAD + "2006-01-01,x,1,0,1,1,1\n2026-03-02,gpt-5,10,0,5,1,0.000001\n")
    assert found.unmatched == ("x",)
    assert len(found.days) == 2


def test_credits_are_added_and_named(db: Database) -> None:
    put(db, call(cost_nano_usd=2_000_000_000))
    line = only(compare(db, HEAD + "2026-03-02,gpt-5,10,0,5,1,2\n2026-03-02,gpt-5,0,0,0,0,-0.5\n"))
    assert reasons(line) == ["credits"]
    assert line.reasons[0].words == "The bill has 1 credit, -$0.50 in all."


def test_calls_without_any_known_price_are_unknown_and_not_free(db: Database) -> None:
    put(db, call(cost_nano_usd=None))
    found = compare(db, HEAD + "2026-03-02,gpt-5,10,0,5,1,2\n")
    assert found.ledger.nano_usd is None
    assert found.headline == "The bill says $2.00; the ledger knows no price of these calls."
    assert reasons(only(found)) == ["unpriced"]


def test_an_admin_compares_their_own_tenant_only(db: Database) -> None:
    put(db, call(), call(tenant_id="tenant_b"))
    one, both = (HEAD + f"2026-03-02,gpt-5,{n}0,0,{n * 5},{n},0.00000{n}\n" for n in (1, 2))
    assert compare(db, one).agrees
    assert compare(db, one, principal=who("admin", "tenant_b")).agrees
    assert compare(db, both, Options(all_tenants=True), who("operator")).agrees
    with pytest.raises(Forbidden):
        compare(db, both, Options(all_tenants=True))
    with pytest.raises(Forbidden):
        compare(db, one, principal=who("member"))


def test_a_range_that_is_told_counts_and_its_missing_days_too(db: Database) -> None:
    put(db, call(), call(created_at=NOON + timedelta(days=1)))
    text = HEAD + "2026-03-02,gpt-5,10,0,5,1,0.000001\n"
    assert compare(db, text).agrees
    found = compare(db, text, Options(Reading(since=DAY, until=DAY + timedelta(days=1))))
    assert [reasons(line) for line in found.days] == [[], ["only_ledger"]]
    with pytest.raises(InvalidInput, match="No row is of the days"):
        compare(db, text, Options(Reading(since=DAY, until=DAY - timedelta(days=1))))


def test_the_csv_has_a_line_for_each_day_and_model_and_no_formula(db: Database) -> None:
    put(db, call(model="=1+1", provider_model="openai/=1+1", usage_source="estimated"))
    found = compare(db, HEAD + "2026-03-02,=1+1,90,0,5,1,0.0000001\n2026-03-03,@evil,1,0,1,1,1\n")
    lines = list(csv.DictReader(io.StringIO("".join(csv_lines(found)), newline="")))
    assert [line["model"] for line in lines] == ["'=1+1", "'@evil"]
    assert lines[0]["model_in_ledger"] == "'=1+1"
    assert (lines[0]["bill_nano_usd"], lines[0]["ledger_nano_usd"]) == ("100", "1000")
    assert (lines[0]["difference_nano_usd"], lines[0]["agrees"]) == ("-900", "0")
    assert lines[0]["reasons"].startswith("1 call has tokens that we counted")
    assert (lines[1]["ledger_nano_usd"], lines[1]["model_in_ledger"]) == ("", "")


def test_a_bill_may_end_today(db: Database) -> None:
    today = datetime.now(UTC)
    put(db, call(created_at=today))
    found = compare(db, HEAD + f"{today:%Y-%m-%d},gpt-5,10,0,5,1,0.000001\n")
    assert "The last day is not over yet, so that the bill may lack some of it." in found.notes


@pytest.mark.parametrize(
    ("nano", "text"),
    [(None, "unknown"), (0, "$0.00"), (1_234_500_000_000, "$1,234.50"), (4_200_000, "$0.0042"), (1, "$0.0000000010"),
     (-3_000_000_000, "-$3.00")],
)  # fmt: skip
def test_money_is_written_for_people(nano: int | None, text: str) -> None:
    assert dollars(nano) == text


NAMES = {"gpt-5": "openai/gpt-5", "mini": "openai/gpt-5-mini-2025-08-07", "local": "local"}
ledger_calls = st.builds(
    call,
    created_at=st.integers(-2 * 86_400, 3 * 86_400).map(lambda seconds: NOON + timedelta(seconds=seconds)),
    model=st.sampled_from(sorted(NAMES)),
    prompt_tokens=st.integers(0, 2_000_000_000),
    completion_tokens=st.integers(1, 2_000_000_000),
    cost_nano_usd=st.integers(0, 10**15),
    usage_source=st.sampled_from(["provider", "estimated"]),
    outcome=st.sampled_from(["ok", "stopped", "truncated", "cached"]),
    key_source=st.sampled_from(["shared", "shared", "person"]),
    is_demo=st.booleans(),
)


def billed(calls: Sequence[dict[str, Any]]) -> str:
    """The bill that a provider would write for these calls."""
    sums: dict[tuple[date, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for one in calls:
        if not one["is_demo"] and one["outcome"] != "cached" and one["key_source"] == "shared":
            numbers = one["prompt_tokens"], one["completion_tokens"], 1, one["cost_nano_usd"]
            cell = sums[one["created_at"].date(), one["provider_model"]]
            cell[:] = [a + b for a, b in zip(cell, numbers, strict=True)]
    rows = [
        f"{day},{model},{prompt},0,{completion},{requests},{Decimal(nano).scaleb(-9):f}\n"
        for (day, model), (prompt, completion, requests, nano) in sums.items()
    ]
    return HEAD + "".join(rows)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(ledger_calls, min_size=1, max_size=12))
def test_a_bill_made_from_the_ledger_has_no_difference(db: Database, calls: list[dict[str, Any]]) -> None:
    calls = [one | {"id": new_id("use"), "provider_model": NAMES[one["model"]]} for one in calls]
    db.write(lambda session: session.execute(delete(UsageMetric)))
    put(db, *calls, call(tenant_id="tenant_b", prompt_tokens=999))
    text = billed(calls)
    if text == HEAD:
        return
    found = compare(db, text)
    assert found.agrees
    assert found.difference == Figures(0, 0, 0, 0, 0)
    assert (found.unmatched, found.only_ledger) == ((), ())


def test_sums_carry_their_doubts_also_where_they_agree(db: Database) -> None:
    put(db, call(usage_source="estimated"), call(model="free", provider_model="openai/free", cost_nano_usd=None))
    found = compare(db, HEAD + "2026-03-02,gpt-5,10,0,5,1,0.000001\n2026-03-02,free,10,0,5,1,0.7\n")
    assert [(one.kind, one.calls) for one in found.doubts] == [("estimated", 1), ("unpriced", 1)]
    assert [line.model for line in found.models] == ["free", "gpt-5"], "an unknown cost is as far apart as the bill"
    assert found.models[0].difference.nano_usd is None


def test_tokens_that_are_cached_on_one_side_only_explain_the_money(db: Database) -> None:
    put(db, call(cached_tokens=2))
    line = only(compare(db, HEAD + "2026-03-02,gpt-5,10,8,5,1,0.0000001\n"))
    assert reasons(line) == ["split"]
    assert "6 are cached ones on one side only" in line.reasons[0].words
