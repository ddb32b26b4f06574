"""The tab Bill over a real ledger, without a browser: no file, a bill that agrees, one that does not, bad files."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert
from streamlit.testing.v1 import AppTest

from chatcore.accounts import Principal
from chatcore.accounts.principal import Role
from chatcore.bills.reconcile import Bills
from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric
from tests.bills.test_reconcile import HEAD, call

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD = HEAD + "2026-03-02,gpt-5,10,0,5,1,0.000001\n2026-03-03,gpt-5,10,0,5,1,0.000001\n"


def person(role: Role) -> Principal:
    return Principal(f"user_{role}", "tenant_a", role, role.title(), role)


@pytest.fixture
def asked(database: Database, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A ledger of two calls of one's own tenant and one of another, and who looks at the page."""
    tenants = [{"id": one, "name": one} for one in ("tenant_a", "tenant_b")]
    calls = [call(), call(created_at=NOON + timedelta(days=1)), call(tenant_id="tenant_b")]
    database.write(lambda session: session.execute(insert(Tenant), tenants))
    database.write(lambda session: session.execute(insert(UsageMetric), calls))
    asked = SimpleNamespace(bills=Bills(database), principal=person("admin"))
    monkeypatch.setattr("pages.ui.bill_parts.core", lambda: asked)
    return asked


def script() -> None:
    from pages.ui import bill_parts

    bill_parts.draw(bill_parts.core().principal)  # type: ignore[attr-defined]


def opened() -> AppTest:
    at = AppTest.from_function(script, default_timeout=30).run()
    assert not at.exception
    return at


def uploaded(text: str | bytes, name: str = "march.csv") -> AppTest:
    at = opened()
    data = text.encode() if isinstance(text, str) else text
    at.file_uploader(key="bill_file").upload(name, data, "text/csv").run()
    assert not at.exception
    return at


def texts(at: AppTest) -> str:
    kinds = (at.success, at.warning, at.error, at.caption, at.markdown)
    return "\n".join(one.value for kind in kinds for one in kind).replace("\\", "")


def labels(at: AppTest, kind: str) -> list[str]:
    return [one.proto.label for one in at.get(kind)]


def test_without_a_file_the_tab_says_where_one_gets_it(asked: Any) -> None:
    at = opened()
    assert "platform.openai.com" in texts(at)
    assert not at.dataframe
    assert not at.toggle, "an admin sees no other tenant"


def test_a_bill_that_agrees_is_said_to(asked: Any) -> None:
    at = uploaded(GOOD)
    assert at.success[0].value.replace("\\", "") == "The ledger and the bill agree: $0.0000020."
    assert "march.csv: generic form, 2 rows, 2 March 2026 to 3 March 2026 (UTC)" in texts(at)
    (table,) = at.dataframe
    assert table.value["model"].tolist() == ["gpt-5"]
    assert table.value["apart"].tolist() == [0]
    assert "What explains it" not in texts(at)
    assert labels(at, "download_button") == ["Download the comparison (CSV)"]


def test_a_bill_that_does_not_is_explained_in_words(asked: Any) -> None:
    at = uploaded(HEAD + "2026-03-02,gpt-5,20,0,10,2,1\n2026-03-02,*o9*,1,0,1,1,2\n")
    assert "The ledger says $0.0000010, the bill $3.00: $3.00 apart (100.0%)." in texts(at)
    assert "o9" in texts(at)
    assert "Only the bill has it" in texts(at)
    assert "Nothing in the ledger explains it" in texts(at)
    (table,) = at.dataframe
    assert table.value["why"].tolist() == [["only the bill"], ["nothing found"]]
    assert "\\*o9\\*" in "".join(one.value for one in at.markdown), "the name is text and no markup"


def test_calls_in_doubt_stand_beside_the_sums(asked: Any, database: Database) -> None:
    database.write(lambda session: session.execute(insert(UsageMetric), [call(cost_nano_usd=None)]))
    at = uploaded(GOOD)
    assert ":orange-badge[1 call without a known price]" in texts(at)


def test_a_bill_of_tokens_alone_is_drawn_without_money(asked: Any) -> None:
    at = uploaded("start_time,model,input_tokens,output_tokens\n1772409600,gpt-5,10,5\n")
    assert "The ledger and the bill agree: 15 tokens." in texts(at)
    assert "no column of money" in texts(at)
    assert "(tokens, UTC)" in texts(at)


def test_a_long_bill_is_drawn_by_the_month(asked: Any) -> None:
    at = uploaded(HEAD + "2025-01-02,gpt-5,1,0,1,1,1\n2026-03-02,gpt-5,10,0,5,1,0.000001\n")
    assert "Bill and ledger per month" in texts(at)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "The file is empty."),
        (b"PK\x03\x04", "This is a ZIP archive or an Excel workbook."),
        ("a,b\n1,2\n", "it lacks: date, model"),
        (HEAD + "2026-03-02,m,=1+1,0,0,1,1\n", "Line 2, column prompt_tokens: “=1+1” is not a number."),
        ("date,model,cost,currency\n2026-03-02,m,1,EUR\n", "Line 2 is in EUR, the ledger in USD."),
    ],
)
def test_a_file_that_cannot_be_used_is_answered_with_a_sentence(asked: Any, data: str | bytes, words: str) -> None:
    at = uploaded(data)
    assert words in at.error[0].value.replace("\\", "")
    assert not at.dataframe


def test_the_way_to_read_it_can_be_told(asked: Any) -> None:
    at = uploaded("date,model,cost,currency\n2026-03-02,gpt-5,1,EUR\n")
    at.text_input(key="bill_rates").set_value("EUR=1.08").run()
    assert "the bill $1.08" in texts(at)
    at.text_input(key="bill_zone").set_value("Mars/Base").run()
    assert "There is no such time zone" in at.error[0].value
    at.text_input(key="bill_zone").set_value("UTC").run()
    at.text_input(key="bill_rates").set_value("EUR").run()
    assert "A rate must be like EUR=1.08" in at.error[0].value.replace("\\", "")


def test_a_file_is_read_once_for_each_way_to_read_it(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read, compare = [], asked.bills.compare
    asked.bills = SimpleNamespace(compare=lambda *given: read.append(1) or compare(*given))
    at = uploaded(GOOD).run()
    assert len(read) == 1
    at.button(key="bill_again").click().run()
    assert len(read) == 2


def test_an_operator_can_compare_all_tenants(asked: Any) -> None:
    asked.principal = person("operator")
    at = uploaded(HEAD + "2026-03-02,gpt-5,20,0,10,2,0.000002\n")
    assert at.warning
    at.toggle(key="bill_everybody").set_value(True).run()
    assert at.success


def test_a_member_sees_nothing_of_it(asked: Any) -> None:
    asked.principal = person("member")
    at = opened()
    assert "Only an admin" in at.error[0].value
    assert not at.file_uploader


def test_a_mistake_deep_in_a_large_file_is_named_by_its_line(asked: Any) -> None:
    row = "2026-03-02,gpt-5,10,0,5,1,0.000001\n"
    at = uploaded(HEAD + row * 20_000 + "2026-03-02,gpt-5,ten,0,5,1,0.000001\n" + row)
    assert at.error[0].value.replace("\\", "") == "Line 20,002, column prompt_tokens: “ten” is not a number."
    at = uploaded(HEAD + row * 20_000 + '2026-03-02,"gpt-5,10,0,5,1,0.000001\n' + row)
    assert "The row that begins on line 20,002 cannot be read" in at.error[0].value.replace("\\", "")


def test_only_the_models_furthest_apart_are_in_the_table(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.ui.bill_parts._MOST_MODELS", 3)
    at = uploaded(HEAD + "".join(f"2026-03-02,m{number},1,0,1,1,{number}\n" for number in range(1, 6)))
    assert at.dataframe[0].value["model"].tolist() == ["m5", "m4", "m3"]
    assert "The 3 models that are furthest apart, of 5." in texts(at)
    assert "- **m5, m4, m3 and 2 more:** Only the bill has it" in texts(at), "one reason stands once"
    monkeypatch.setattr("pages.ui.bill_parts._MOST_EXPLAINED", 0)
    assert "5 more models with smaller differences are in the file." in texts(at.run())
