"""Documents as they are read: their passages and places, and what becomes of those that were made to do harm."""

import time
from io import StringIO
from pathlib import Path

import pytest

from chatcore.errors import InvalidInput
from chatcore.knowledge import extracting, kinds
from chatcore.knowledge.extracting import GivenUp, Piece
from chatcore.knowledge.reading import child, problems, sections, texts
from chatcore.knowledge.values import Kind
from tests.knowledge import documents


def read(tmp_path: Path, name: str, data: bytes) -> list[Piece]:
    """The passages of a document, by the child process. Raises `InvalidInput`."""
    kind = kinds.examine(name, data)
    source, target = tmp_path / "source", tmp_path / "made"
    source.write_bytes(data)
    extracting.extract(source, kind, target, lambda: True)
    with target.open("rb") as file:
        found = list(extracting.pieces(file, 0))
        assert extracting.summary(file)[0] == len(found)
    return found


def refusal(tmp_path: Path, name: str, data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, name, data)
    return str(caught.value)


# ---- what is read


def test_a_pdf_has_its_pages_for_places(tmp_path: Path) -> None:
    found = read(tmp_path, "a.pdf", documents.pdf(["First things first", "", "Third things"]))
    assert [(one.place, one.text) for one in found] == [("page 1", "First things first"), ("page 3", "Third things")]
    assert found[0].words == "first thing first", "in the spelling of the index"


def test_a_word_document_has_its_headings_for_places(tmp_path: Path) -> None:
    found = read(tmp_path, "a.docx", documents.word())
    assert [one.place for one in found] == ["Handbook", "Handbook › Holidays"]
    assert "Thirty days a year" in found[1].text
    assert "Month | Days\nMay | 4" in found[1].text


def test_markdown_is_cut_at_headings_but_not_in_code(tmp_path: Path) -> None:
    text = "# House\n\n## `Roof`\n\nIt is red.\n\n```sh\n# no heading\n```\n\n## Cellar\nIt is dark.\n"
    found = read(tmp_path, "a.md", text.encode())
    assert [one.place for one in found] == ["House › Roof", "House › Cellar"]
    assert "# no heading" in found[0].text
    assert found[1].text == "## Cellar\nIt is dark."


def test_a_web_page_is_read_without_what_nobody_sees(tmp_path: Path) -> None:
    page = b"""<!doctype html><html><head><title>x</title><style>p{}</style></head><body><nav>Menu</nav>
    <script>alert('stolen')</script><h1>Care</h1><p>Water   it<br>daily.</p><ul><li>one</li><li>two</li></ul>
    <table><tr><th>Plant</th><th>Days</th></tr><tr><td>Fern</td><td>3</td></tr></table>
    <pre>a
      b</pre><p onclick="run()">&lt;script&gt; is only a word</p></body></html>"""
    (found,) = read(tmp_path, "a.html", page)
    assert found.place == "Care"
    assert "Water it\ndaily." in found.text
    assert "- one\n- two" in found.text
    assert "Plant | Days" in found.text
    assert "<script> is only a word" in found.text
    assert not any(word in found.text for word in ("stolen", "Menu", "p{}", "run()"))


def test_rows_of_a_table_keep_the_names_of_their_columns(tmp_path: Path) -> None:
    rows = "".join(f'Ada {n};"Rome; old town";{n}\n' for n in range(200))
    found = read(tmp_path, "a.csv", f"Name;City;Age\n{rows}".encode())
    assert found[0].text.splitlines()[0] == "Name: Ada 0; City: Rome; old town; Age: 0"
    assert found[0].place == f"rows 2–{1 + len(found[0].text.splitlines())}"
    assert sum(len(one.text.splitlines()) for one in found) == 200


def test_a_table_of_nothing_but_its_head_and_ragged_rows(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", b"Name,City")[0].text == "Name; City"
    (found,) = read(tmp_path, "b.csv", b"Name,City\nAda\nBob,Rome,more\n\n")
    assert found.text.strip() == "Name: Ada\nName: Bob; City: Rome; more"


def test_plain_text_has_its_lines_for_places(tmp_path: Path) -> None:
    text = "\n".join(f"Line {n} says something of its own." for n in range(1, 301))
    found = read(tmp_path, "a.txt", text.encode())
    assert found[0].place == "line 1"
    for one in found:
        assert one.text.startswith(f"Line {one.place.removeprefix('line ')} says")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_is_read_in_its_encoding(tmp_path: Path, encoding: str) -> None:
    assert read(tmp_path, "a.txt", "Größe – über".encode(encoding))[0].text == "Größe – über"


# ---- passages


def cut(text: str) -> list[str]:
    return [one.text for one in sections.passages([sections.Section(text)])]


def test_passages_end_between_paragraphs_and_lose_no_word() -> None:
    paragraphs = [" ".join(f"word{n}.{m}" for m in range(60)) for n in range(40)]
    found = cut("\n\n".join(paragraphs))
    assert all(len(one) <= sections.LONGEST for one in found)
    assert all(one in paragraphs or "\n\n" in one for one in found), "no paragraph is cut"
    assert " ".join(found).split() == " ".join(paragraphs).split()


@pytest.mark.parametrize("text", ["x" * 5_000, "one two " * 1_000, "A sentence is here. " * 500, "字。" * 4_000])
def test_text_without_paragraphs_is_cut_where_it_can_be(text: str) -> None:
    found = cut(text)
    assert all(len(one) <= sections.LONGEST for one in found)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


def test_cutting_takes_no_longer_than_the_text_is_long() -> None:
    def seconds(text: str) -> float:
        start = time.process_time()
        cut(text)
        return time.process_time() - start

    for piece in ("x", "a b ", "a.b!", "\n", ". ", "字"):
        assert seconds(piece * (2_000_000 // len(piece))) < 3, repr(piece)


# ---- what cannot be read


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"", "a.txt is empty."),
        ("a.txt", b" \n\t ", "a.txt is empty."),
        ("a.txt", bytes(range(256)) * 40, "a.txt is of a kind that cannot be read here."),
        ("a.txt", b"\x7fELF\x02\x01\x01\0\0\0", "a.txt is of a kind that cannot be read here."),
        ("a.pdf", b"only words", "a.pdf is of a kind that cannot be read here."),
        ("a.docx", b"PK\x03\x04 and no more", "a.docx is broken, or only a part of a file."),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "a.doc is an old Office file, or protected"),
        ("a.txt", b"a" * (51 * 2**20), "a.txt has 51 MB; the most is 50 MB."),
    ],
)
def test_what_is_no_document_is_refused_at_once(name: str, data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        kinds.examine(name, data)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.pdf", documents.pdf(["secret"], documents.LOCKED), "locked"),
        ("a.pdf", b"%PDF-1.7 and no more", "broken"),
        ("a.pdf", documents.pdf(["", ""]), "empty"),
        ("a.pdf", documents.pdf_of_many(problems.MAX_PAGES + 1), "pages"),
        ("a.docx", documents.word_of(b"<w:document"), "broken"),
        ("a.docx", documents.word_of(b"\0" * 2**20, 61), "heavy"),
        ("a.html", b"<html><body><script>x</script></body></html>", "empty"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, data: bytes, problem: str) -> None:
    assert refusal(tmp_path, name, data) == extracting.PROBLEMS[problem]
    assert not (tmp_path / "made").exists()


def test_entities_of_a_word_document_are_neither_unfolded_nor_fetched(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a.docx", documents.word_of(documents.BILLION_LAUGHS)) in extracting.PROBLEMS.values()
    (found,) = read(tmp_path, "a.docx", documents.word_of(documents.FOREIGN_FILE))
    assert "root:" not in found.text


def test_a_page_that_unpacks_to_much_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extracting, "_SECONDS", 1.0)
    monkeypatch.setattr(extracting, "_BEAT", 0.2)
    assert refusal(tmp_path, "a.pdf", documents.pdf(["boom"], bomb=True)) == extracting.PROBLEMS["heavy"]


def test_deep_nesting_is_no_trap(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "a.html", b"<html><body>" + b"<div>" * 10_000 + b"deep down")
    assert found.text == "deep down"


def test_too_much_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "MAX_CHARACTERS", 5_000)
    with pytest.raises(problems.Problem, match="characters"):
        child._write(StringIO(), child._sections("text", b"word " * 2_000))


def test_a_table_of_many_rows_is_read_to_its_end() -> None:
    found = list(texts.table("name,n\n" + "a,b\n" * 200_000))
    assert found[-1].place.endswith("200,001")


def test_the_child_is_ended_when_nobody_wants_it_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extracting, "_BEAT", 0.01)
    source, kind = tmp_path / "source", Kind.__args__[-1]  # type: ignore[attr-defined]
    source.write_bytes(b"word " * 3_000_000)
    with pytest.raises(GivenUp):
        extracting.extract(source, kind, tmp_path / "made", lambda: False)
    assert list(tmp_path.iterdir()) == [source], "nothing is left of it"


def test_the_child_knows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATCORE_SECRET_KEY", "planted")
    look = "import os, sys; sys.stdout.write(str(sorted(os.environ)))"
    monkeypatch.setattr(extracting, "_START", look)
    with (tmp_path / "in").open("wb+") as source, (tmp_path / "out").open("wb+") as target:
        extracting._run("text", source, target, lambda: True)
    assert "CHATCORE" not in (tmp_path / "out").read_text()
