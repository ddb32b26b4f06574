"""Each form of bill in its real columns, and everything that is none."""

import contextlib
import io
import tracemalloc
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatcore.bills.formats import Bill, Cell, Reading, read
from chatcore.bills.forms import FORMS
from chatcore.errors import InvalidInput

BILLS = Path(__file__).parent / "samples"
DAY, NEXT = date(2026, 3, 2), date(2026, 3, 3)
HEAD = "date,model,prompt_tokens,completion_tokens,cost\n"


def of_file(name: str, how: Reading | None = None) -> Bill:
    with (BILLS / name).open("rb") as stream:
        return read(stream, how or Reading())


def of_text(text: str, how: Reading | None = None) -> Bill:
    return read(io.BytesIO(text.encode()), how or Reading())


def refused(data: str | bytes, how: Reading | None = None) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(io.BytesIO(data.encode() if isinstance(data, str) else data), how or Reading())
    return str(caught.value)


def test_the_cost_export_of_anthropic() -> None:
    bill = of_file("anthropic_cost.csv")
    assert bill.form.name == "Anthropic cost export"
    assert bill.says == {"money"}
    assert bill.cells[DAY, "Claude Haiku 4.5"] == Cell(rows=2, money=Decimal("0.17"))
    assert bill.step == Decimal("0.01")


def test_the_usage_export_of_anthropic() -> None:
    bill = of_file("anthropic_usage.csv")
    assert bill.says == {"tokens", "cached"}
    assert bill.cells[DAY, "claude-haiku-4-5-20251001"] == Cell(rows=1, prompt=1234, cached=4, completion=500)


def test_the_cost_export_of_openai() -> None:
    bill = of_file("openai_costs.csv")
    assert bill.cells[DAY, "gpt-5-mini-2025-08-07"] == Cell(rows=2, money=Decimal("0.01383598"))
    assert bill.cells[DAY, "web search tool calls"].money == Decimal("0.01")
    assert (bill.rows, bill.empty, bill.step) == (3, 1, None)


def test_the_cost_export_of_openai_that_names_no_models() -> None:
    assert of_file("openai_costs_plain.csv").cells == {(DAY, ""): Cell(rows=1, money=Decimal("0.56177125"))}


def test_the_usage_export_of_openai() -> None:
    bill = of_file("openai_usage.csv")
    cell = Cell(rows=2, requests=9, prompt=52047, cached=8192, completion=76000)
    assert bill.cells == {(DAY, "gpt-5-2025-08-07"): cell}
    assert bill.says == {"requests", "tokens", "cached"}
    assert bill.empty == 1


def test_the_activity_of_openrouter_by_call() -> None:
    bill = of_file("openrouter_calls.csv")
    cell = Cell(rows=1, requests=1, prompt=10389, cached=12, completion=137, money=Decimal("0.0123"))
    assert bill.cells[DAY, "openai/gpt-4.1-2025-04-14"] == cell
    assert bill.cells[DAY, "openai/gpt-oss-120b:free"].requests == 1


def test_the_activity_of_openrouter_by_day() -> None:
    bill = of_file("openrouter_days.csv")
    cell = Cell(rows=1, requests=4115, prompt=70965665, completion=3009973, money=Decimal("430.07"))
    assert bill.cells[DAY, "anthropic/claude-opus-4.5"] == cell


def test_the_activity_of_openrouter_as_its_api_gives_it() -> None:
    text = "date,model,model_permaslug,usage,byok_usage_inference,requests,prompt_tokens,completion_tokens\n"
    bill = of_text(f"{text}2026-03-02,openai/gpt-4.1,openai/gpt-4.1-2025-04-14,0.015,0.012,5,50,125\n")
    cell = Cell(rows=1, requests=5, prompt=50, completion=125, money=Decimal("0.015"))
    assert bill.cells == {(DAY, "openai/gpt-4.1-2025-04-14"): cell}


def test_the_spend_logs_of_litellm_without_what_its_cache_served() -> None:
    bill = of_file("litellm_logs.csv")
    cell = Cell(rows=1, requests=1, prompt=10, completion=20, money=Decimal("0.000015"))
    assert bill.cells == {(DAY, "team-small"): cell}
    assert (bill.from_cache, bill.empty) == (1, 1)


def test_the_spend_of_litellm_by_day() -> None:
    bill = of_file("litellm_days.csv")
    cell = Cell(rows=1, requests=11, prompt=1000, cached=300, completion=2000, money=Decimal("0.00135"))
    assert bill.cells == {(DAY, "gpt-4o-mini"): cell}
    text = "Date,Team,Model,Spend ($),Requests,Total Tokens\n2026-03-02,a,m,1.5,2,30\n"
    assert of_text(text).cells == {(DAY, "m"): Cell(rows=1, requests=2, money=Decimal("1.5"))}


def test_the_generic_form_with_a_credit() -> None:
    bill = of_file("generic.csv")
    assert bill.says == {"requests", "tokens", "cached", "money"}
    assert bill.cells[DAY, "large"] == Cell(1, 3, 1000, 100, 200, Decimal("0.0123"))
    assert bill.cells[NEXT, "large"].credits == 1
    assert bill.cells[NEXT, "large"].credited == Decimal("-0.01")


def test_every_form_is_recognised_by_its_own_columns() -> None:
    for form in FORMS:
        names = [*form.needs, *form.one_of[:1]]
        values = ["2026-03-02" if name == form.day else "1" for name in names]
        assert of_text(",".join(names) + "\n" + ",".join(values) + "\n").form is form


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encodings_and_separators_are_found(encoding: str, separator: str) -> None:
    text = HEAD + "2026-03-02,large,1000,200,0.5\r\n2026-03-02,größer,1,2,3\r\n"
    bill = read(io.BytesIO(text.replace(",", separator).encode(encoding)), Reading())
    assert bill.cells[DAY, "large"] == Cell(rows=1, prompt=1000, completion=200, money=Decimal("0.5"))
    assert bill.cells[DAY, "größer"].prompt == 1


def test_a_file_saved_by_a_european_spreadsheet() -> None:
    text = "sep=;\nDate;Model;Prompt Tokens;Completion Tokens;Cost\n02.03.2026;large;1.234;5.678.901;12,34\n"
    cell = Cell(rows=1, prompt=1234, completion=5678901, money=Decimal("12.34"))
    assert of_text(text).cells == {(DAY, "large"): cell}


@pytest.mark.parametrize("data", ["", "\n\n", b"\xef\xbb\xbf", "   "])
def test_an_empty_file_is_said_to_be_empty(data: str | bytes) -> None:
    assert refused(data) == "The file is empty."


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04...", "ZIP archive or an Excel"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"%PDF-1.7", "PDF"),
        (b'{"data": []}', "JSON"),
        (b"<!doctype html>", "HTML"),
        (HEAD.encode() + b"2026-03-02,m\xff\xfe,1,1,1\n", "UTF-8"),
        (HEAD.encode() + b"2026-03-02,m,1,1,1\n2026-03-02,m\0,1,1,1\n", "Line 3 contains a NUL"),
        (HEAD.encode() + b"2026-03-02,m,1,1,1\n" + b"x" * 1_100_000, "Line 3 is longer"),
    ],
)
def test_what_is_no_text_of_rows_is_refused(data: bytes, words: str) -> None:
    assert words in refused(data)


def test_other_columns_are_named_with_the_nearest_form_and_the_known_ones() -> None:
    words = refused("start_time,amount,model\n1,2,3\n")
    assert "OpenAI" in words
    assert "it lacks:" in words
    assert "generic form" in words
    words = refused("day,what\n1,2\n")
    assert "The nearest is the generic form; it lacks: date, model, prompt_tokens or " in words


def test_a_provider_that_is_told_narrows_the_forms() -> None:
    text = "date,model,spend\n2026-03-02,m,1\n"
    assert of_text(text).form.source == "litellm"
    words = refused(text, Reading(source="openai"))
    assert "Known forms: OpenAI cost export; OpenAI usage export." in words


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2026-03-02,m,=1+1,1,1", "Line 3, column prompt_tokens: “=1+1” is not a number."),
        ("2026-03-02,m,1.5,1,1", "Line 3, column prompt_tokens: “1.5” is not a whole number."),
        ("2026-03-02,m,1,1,free", "Line 3, column cost: “free” is not a number."),
        ("2026-03-02,m,1,1,€5", "Line 3, column cost: “€5” is not a number."),
        ("Total,m,1,1,1", "Line 3, column date: “Total” is not a day; write days as 2026-01-31."),
        ("03/04/2026,m,1,1,1", "can be read with the day or the month first"),
        ("2026-03-02,m,1,1", "Line 3 has 4 cells, but there are 5 columns."),
        ("2026-03-02,m,1,1,1,1", "Line 3 has 6 cells, but there are 5 columns."),
        ('2026-03-02,"m,1,1,1', "The row that begins on line 3 cannot be read"),
        ('2026-03-02,"m"x,1,1,1', "The row that begins on line 3 cannot be read"),
        (f"2026-03-02,{'m' * 400},1,1,1", "Line 3 has a model's name of more than 300 characters."),
    ],
)
def test_a_bad_row_is_named_by_its_line(row: str, words: str) -> None:
    assert words in refused(f"{HEAD}2026-03-02,m,1,1,1\n{row}\n")


def test_lines_are_counted_across_cells_of_several_lines() -> None:
    words = refused(f'{HEAD}2026-03-02,"m\nn",1,1,1\n\n2026-03-02,m,x,1,1\n')
    assert words.startswith("Line 5, column prompt_tokens")


def test_a_formula_in_a_name_stays_text() -> None:
    evil = '=HYPERLINK("http://x")'
    bill = of_text(HEAD + '2026-03-02,"=HYPERLINK(""http://x"")",1,1,1\n')
    assert list(bill.cells) == [(DAY, evil)]


def test_another_currency_needs_its_rate() -> None:
    text = "date,model,cost,currency\n2026-03-02,m,2.5,eur\n2026-03-02,n,1,\n2026-03-02,o,1,usd\n"
    assert refused(text) == "Line 2 is in EUR, the ledger in USD. Say what one EUR is in USD."
    bill = of_text(text, Reading(rates={"EUR": Decimal("1.08")}))
    assert [cell.money for cell in bill.cells.values()] == [Decimal("2.7"), Decimal(1), Decimal(1)]


def test_only_the_days_that_were_asked_for_count() -> None:
    text = HEAD + "2026-03-01,m,1,1,1\n2026-03-02,m,1,1,1\n2026-03-03,m,1,1,1\n"
    bill = of_text(text, Reading(since=DAY, until=DAY))
    assert (list(bill.cells), bill.outside) == ([(DAY, "m")], 2)
    assert "3 are of other days" in refused(text, Reading(since=date(2026, 5, 1)))
    assert refused(HEAD) == "The file has its columns, but no rows with usage in them."


def test_a_time_zone_moves_points_in_time_and_no_dates() -> None:
    text = "created_at,model_permaslug,cost_total\n2026-03-01T23:30:00Z,m,1\n2026-03-02,m,1\n"
    assert set(of_text(text, Reading(zone="Europe/Berlin")).cells) == {(DAY, "m")}
    assert "no such time zone" in refused(text, Reading(zone="Mars/Base"))


def test_sums_are_exact_where_floats_are_not() -> None:
    bill = of_text(HEAD + "2026-03-02,m,0,0,0.1\n" * 3 + "2026-03-02,m,0,0,1e-28\n2026-03-02,m,0,0,99999999999\n")
    assert bill.cells[DAY, "m"].money == Decimal("99999999999.3000000000000000000000000001")


def test_a_column_that_is_there_twice_is_refused() -> None:
    assert refused("date,model,cost,Cost\n2026-03-02,m,1,2\n") == "There are several columns called cost."


def test_the_stream_stays_open_and_can_be_read_again() -> None:
    stream = io.BytesIO((HEAD + "2026-03-02,m,1,1,1\n").encode())
    assert read(stream, Reading()).cells == read(stream, Reading()).cells
    with pytest.raises(InvalidInput):
        read(stream, Reading(source="openai"))
    assert not stream.closed


class Endless(io.RawIOBase):
    """A file made while it is read, so that only what the reader keeps is in memory."""

    def __init__(self, rows: int) -> None:
        self._rows, self._made, self._rest = rows, self._lines(rows), b""

    @staticmethod
    def _lines(rows: int) -> Iterator[bytes]:
        yield HEAD.encode()
        for number in range(rows):
            yield f"2026-03-{number % 28 + 1:02},model-{number % 50},10,20,0.0000015\n".encode()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._made, self._rest = self._lines(self._rows), b""
        return 0

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (more := b"".join(next(self._made, b"") for _ in range(200))):
            self._rest += more
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    read1 = read


def test_memory_does_not_grow_with_the_rows() -> None:
    tracemalloc.start()
    bill = read(Endless(8_000), Reading())  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert bill.rows == 8_000
    assert sum(cell.prompt for cell in bill.cells.values()) == 80_000
    assert peak < 2_500_000


def test_a_file_with_a_name_for_each_row_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatcore.bills.formats._MOST_CELLS", 10)
    words = refused(HEAD + "".join(f"2026-03-02,m{number},1,1,1\n" for number in range(20)))
    assert words.startswith("Up to line 12 the file has more than 10 pairs of a day and a model")


def test_a_name_has_nothing_that_a_terminal_would_obey() -> None:
    assert list(of_text(HEAD + "2026-03-02,\x1b[31mm,1,1,1\n").cells) == [(DAY, "\ufffd[31mm")]
    assert refused(HEAD + "2026-03-02,m,\x1b[2J,1,1\n").startswith("Line 2, column prompt_tokens: “\ufffd[2J”")


def tried(data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        assert read(io.BytesIO(data), Reading()).cells


@given(st.binary(max_size=300))
@example(b"\xff\xfe\x00")
@example(b"sep=;")
@example(b'sep="\na"b')
@example(b'"')
def test_any_bytes_are_read_or_refused_with_a_sentence(data: bytes) -> None:
    tried(data)


cells = st.sampled_from(
    ["", "2026-03-02", "m", "1", "1.5", "1e99", "-1", "=1", '"', '""', "\r", ",", "1,000", "\x85", "٣", "²"]
)


@given(st.lists(st.lists(cells, max_size=6).map(",".join), max_size=4), st.sampled_from(["utf-8", "utf-16"]))
def test_any_rows_are_read_or_refused_with_a_sentence(rows: list[str], encoding: str) -> None:
    tried((HEAD + "\n".join(rows)).encode(encoding))
