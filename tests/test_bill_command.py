"""`reconcile` as it is typed: what it says, what it writes, and what it refuses."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from chatcore.__main__ import main
from chatcore.config import load_settings
from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric
from tests.bills.test_reconcile import call

HEAD = "date,model,prompt_tokens,completion_tokens,cost\n"
Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name in ("CHATCORE_DATABASE_URL", "CHATCORE_CONFIG", "CHATCORE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHATCORE_DATA_DIR", str(tmp_path / "data"))

    def command(*arguments: str) -> tuple[int, list[str], str]:
        code = main(["reconcile", *arguments])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.strip()

    return command


@pytest.fixture
def bill(tmp_path: Path, run: Run) -> Path:
    """A bill that has more than the ledger, whose two calls are of two tenants."""
    path = tmp_path / "march.csv"
    path.write_text(f"{HEAD}2026-03-02,gpt-5-2025-08-07,20,10,0.5\n")
    run(str(path))  # makes the database with its default tenant
    db = Database(load_settings().database_url)
    moment = datetime(2026, 3, 2, 12, tzinfo=UTC)
    other = {"id": "tenant_b", "name": "Research"}
    calls = [call(created_at=moment, tenant_id="tenant_b"), call(created_at=moment, tenant_id="tenant_b")]
    db.write(lambda session: session.execute(insert(Tenant), [other]))
    db.write(lambda session: session.execute(insert(UsageMetric), calls))
    db.close()
    return path


def test_it_says_how_far_they_are_apart_and_why(run: Run, bill: Path) -> None:
    code, out, _ = run(str(bill))
    assert code == 0
    assert out[0] == "march.csv: generic form, 1 row, 2026-03-02 to 2026-03-02 (UTC)"
    assert out[1] == "The ledger says $0.0000020, the bill $0.50: $0.50 apart (100.0%)."
    assert out[3].split("  ")[0] == "MODEL"
    assert out[4].split() == ["gpt-5-2025-08-07", "large", "30", "30", "$0.50", "$0.0000020", "$0.50"]
    assert out[5].strip().startswith("gpt-5-2025-08-07: The tokens agree, so it is the price")


def test_one_tenant_s_calls_are_asked_for_by_its_name(run: Run, bill: Path) -> None:
    assert run(str(bill), "--tenant", "Research")[1][1].startswith("The ledger says $0.0000020")
    assert run(str(bill), "--tenant", "Default")[1][1].startswith("The ledger says $0.00,")
    assert run(str(bill), "--tenant", "Nobody")[::2] == (2, "There is no such tenant; `tenants list` shows them.")


def test_the_lines_go_into_a_file(run: Run, bill: Path, tmp_path: Path) -> None:
    target = tmp_path / "differences.csv"
    assert run(str(bill), "--csv", str(target))[1][-1] == f"1 lines are in {target}."
    assert target.read_text().splitlines()[1].startswith('"2026-03-02","gpt-5-2025-08-07","large",')
    code, _, error = run(str(bill), "--csv", str(tmp_path / "no" / "such.csv"))
    assert (code, error) == (2, f"{tmp_path}/no/such.csv cannot be written: No such file or directory.")


def test_options_reach_the_reader(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "euro.csv"
    path.write_text("date;model;cost;currency\n2026-03-02;gpt-5;1.000;EUR\n")
    assert "two ways" in run(str(path))[2]
    assert "in EUR, the ledger in USD" in run(str(path), "--decimal", ",")[2]
    assert "the bill $1,080.00" in run(str(path), "--decimal", ",", "--rate", "eur=1.08")[1][1]
    assert "No row is of the days" in run(str(path), "--decimal", ".", "--since", "2026-04-01")[2]
    assert "no such time zone" in run(str(path), "--zone", "Nowhere")[2]


@pytest.mark.parametrize("rate", ["EUR", "EUR=x", "=1", "EUR=0", "EUR=-1", "EUR=Infinity"])
def test_a_rate_that_is_none_is_refused(run: Run, rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("x.csv", "--rate", rate)
    assert "must be like EUR=1.08" in capsys.readouterr().err


def test_what_cannot_be_read_is_a_sentence(run: Run, tmp_path: Path) -> None:
    code, _, error = run(str(tmp_path / "none.csv"))
    assert (code, error) == (2, f"{tmp_path}/none.csv cannot be read: No such file or directory.")
    (tmp_path / "zip.csv").write_bytes(b"PK\x03\x04")
    assert run(str(tmp_path / "zip.csv"))[2].startswith("This is a ZIP archive")
    assert run(str(tmp_path))[2].endswith("cannot be read: Is a directory.")
