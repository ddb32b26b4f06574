"""`generate_report`: what was written stands in the file, and nothing that was written is obeyed."""

import asyncio
import json
import os
import re
import time
from datetime import UTC, datetime
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from chatcore.config import Settings
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.parts import parse
from chatcore.db import Database
from chatcore.errors import InvalidInput, NotFound
from chatcore.tools import ToolCall, ToolFailed, ToolResult
from chatcore.tools.generate_report import NAME, Reports
from chatcore.tools.report import html, typeset
from chatcore.tools.report.contents import report
from tests.chat import until
from tests.conftest import add_person

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
CHART = {"chart": "line", "title": "By month", "x": ["Jan", "Feb"], "series": [{"name": "Oslo", "values": [10, 12.5]}]}
TABLE = {"title": "Cities", "columns": ["City", "Sales"], "rows": [["Oslo", 3], ["Rome <b>", None]]}


def fenced(language: str, data: Any) -> str:
    return f"\n```{language}\n{json.dumps(data)}\n```\n"


TEXT = f"# Sales\n\nThey **grew**.\n{fenced('chart', CHART)}\nand\n{fenced('table', TABLE)}"


class Tags(HTMLParser):
    """What a browser would make of a page: its tags, attributes and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


def page(markdown: str, title: str = "Sales") -> str:
    return html.page(report(title, markdown, NOW))


def printed(markdown: str, title: str = "Sales") -> str:
    """The words of the PDF."""
    data = asyncio.run(typeset.pdf(report(title, markdown, NOW)))
    with pypdfium2.PdfDocument(BytesIO(data)) as opened:
        return " ".join(" ".join(one.get_textpage().get_text_bounded().split()) for one in opened)


@pytest.fixture
def attachments(any_database: Database, settings: Settings) -> Attachments:
    return Attachments(any_database, settings)


def made(attachments: Attachments, who: Any, **arguments: str) -> ToolResult:
    call = ToolCall("c", who, None, "conv", "msg", "turn", "trace", None)  # type: ignore[arg-type]
    (tool,) = Reports(attachments).tools(who, None, [NAME, "other"])
    return asyncio.run(tool.run({"title": "Sales", "markdown": TEXT, "format": "pdf", **arguments}, call))


# ---- the tool


def test_a_pdf_is_attached_and_is_the_persons_own(attachments: Attachments, any_database: Database) -> None:
    ann, bob = add_person(any_database, "ann"), add_person(any_database, "bob")
    result = made(attachments, ann, title="Sales / 2026")
    (part,) = result.parts
    assert (part["type"], part["kind"], part["media_type"], part["pages"]) == ("file", "pdf", "application/pdf", 1)
    assert re.fullmatch(r"Sales-2026-\d{4}-\d\d-\d\d\.pdf", part["name"])
    assert parse(part) is not None
    assert "with 1 page and attached to the reply as Sales" in result.text
    found, path = attachments.get(ann, part["attachment_id"])
    assert path.read_bytes().startswith(b"%PDF")
    assert "They grew." in attachments.text_of(found)
    with pytest.raises(NotFound):
        attachments.get(bob, part["attachment_id"])


def test_html_is_a_text_file_that_is_only_downloaded(attachments: Attachments, any_database: Database) -> None:
    ann = add_person(any_database, "ann")
    (part,) = made(attachments, ann, format="html").parts
    assert (part["type"], part["kind"], part["media_type"]) == ("file", "text", "text/plain")
    assert part["name"].endswith(".html")
    assert attachments.get(ann, part["attachment_id"])[1].read_text().startswith("<!doctype html>")


def test_a_block_that_is_no_chart_is_told(attachments: Attachments, any_database: Database) -> None:
    ann = add_person(any_database, "ann")
    result = made(attachments, ann, markdown=TEXT + fenced("chart", {"chart": "donut"}) + "\n```table\n{\n```")
    assert "could not be read and stand in it as code: chart, table." in result.text
    assert "could not be read" not in made(attachments, ann).text


@pytest.mark.parametrize("arguments", [{"title": " \u0000 "}, {"markdown": " \n "}, {"markdown": "# Sales\n"}])
def test_there_must_be_something_to_report(
    attachments: Attachments, any_database: Database, arguments: dict[str, str]
) -> None:
    with pytest.raises(ToolFailed, match="needs a title and some text"):
        made(attachments, add_person(any_database, "ann"), **arguments)


def test_a_title_without_letters_gives_a_name(attachments: Attachments, any_database: Database) -> None:
    (part,) = made(attachments, add_person(any_database, "ann"), title="!!! ///", format="html").parts
    assert part["name"].startswith("generate_report-20")


# ---- what stands in the files


@pytest.mark.parametrize("written", [page, printed])
def test_both_files_hold_the_same(written: Any) -> None:
    text = Tags(written(TEXT)).words if written is page else written(TEXT)
    words = " ".join(text.split())
    for said in ("Sales", "Made 4 March 2026, 15:30 UTC", "They grew.", "By month", "Cities", "Rome <b>", "12.5"):
        assert said in words, said
    assert '"series"' not in words


def test_the_title_is_not_said_twice() -> None:
    assert Tags(page("\n\n#  SALES ##\ntext")).tags.count("h1") == 1
    assert Tags(page("# Sales figures\ntext")).tags.count("h1") == 2


@pytest.mark.parametrize("kind", ["line", "bar", "scatter", "pie"])
def test_each_chart_is_drawn(kind: str) -> None:
    shape = {"line": "line", "bar": "rect", "scatter": "circle", "pie": "polygon"}[kind]
    found = Tags(page(fenced("chart", CHART | {"chart": kind})))
    assert shape in found.tags
    assert ("aria-label", "By month") in found.attributes
    assert "12.5" in found.words, "its figures can be read too"


def test_what_cannot_be_drawn_is_a_table() -> None:
    many = {"chart": "line", "x": list(range(600)), "series": [{"name": "n", "values": list(range(600))}]}
    found = Tags(page(fenced("chart", many)))
    assert "svg" not in found.tags
    assert found.tags.count("tr") == 601


def test_markdown_is_set() -> None:
    found = Tags(
        page("## H\n\n- a\n  1. b\n\n> q\n\n| a | b |\n|---|--:|\n| 1 | ~~2~~ |\n\n`c` $x$\n\n$$\ny\n$$\n\n---")
    )
    assert {"h2", "ul", "ol", "blockquote", "table", "s", "code", "pre", "hr"} <= set(found.tags)
    assert "$x$" in found.words


# ---- what is written to do harm

HARM = {
    "a script": "<script>alert(1)</script>",
    "a script in a heading": "# <script>alert(1)</script>",
    "a picture that fails": "<img src=x onerror=alert(1)>",
    "a frame": "<iframe src='https://example.com'></iframe>",
    "a form": "<form action='https://example.com'><input name=a></form>",
    "a style": "<style>body{display:none}</style>",
    "a base": "<base href='https://example.com'>",
    "a refresh": "<meta http-equiv=refresh content='0;url=https://example.com'>",
    "SVG of its own": "<svg onload=alert(1)></svg>",
    "an autolink": "<javascript:alert(1)>",
    "a script's address": "[a](javascript:alert(1))",
    "in capitals": "[a](JaVaScRiPt:alert(1))",
    "with entities": "[a](&#106;avascript:alert(1))",
    "with a line's end": "[a](java\nscript:alert(1))",
    "data": "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "a file": "[a](file:///etc/passwd)",
    "a server of the network": "[a](//example.com/x)",
    "by reference": "[a][b]\n\n[b]: vbscript:x",
    "a picture from elsewhere": "![a](https://example.com/x.png)",
    "a picture that is a script": "![a](javascript:alert(1))",
    "a quote in an address": '[a](https://example.com/"onmouseover="alert(1))',
    "a quote in a title": '[a](https://example.com "x\\" onclick=\\"alert(1)")',
    "a code block's language": '```"><script>alert(1)</script>\nx\n```',
    "code": "```html\n<script>alert(1)</script>\n```",
    "code in a line": "`<script>alert(1)</script>`",
    "maths": "$<script>alert(1)</script>$",
    "a chart's words": fenced("chart", CHART | {"title": '"><script>x</script>', "x": ["<script>", "'\" onload=x"]}),
    "a series' name": fenced("chart", CHART | {"series": [{"name": "</svg><script>x</script>", "values": [1, 2]}]}),
    "a table's words": fenced("table", TABLE | {"columns": ["<script>", "\"'"], "rows": [["<img src=x>", "</table>"]]}),
    "a component": fenced("component", {"name": "callout", "props": {"text": "<script>alert(1)</script>"}}),
    "the template's own signs": "$title ${body} $$ $",
    "a comment": "<!-- --><script>alert(1)</script>",
    "CDATA": "<![CDATA[<script>alert(1)</script>]]>",
}  # fmt: skip
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "p", "a", "em", "strong", "code",
    "pre", "figure", "figcaption", "svg", "line", "text", "circle", "ul", "li", "i", "details", "summary", "div",
    "table", "thead", "tbody", "tr", "th", "td", "blockquote",
}  # fmt: skip


@pytest.mark.parametrize("name", HARM)
def test_html_stays_text(name: str) -> None:
    found = Tags(page(HARM[name], title="A <script>title</script>"))
    plain = Tags(page("plain", title="plain"))
    assert set(found.tags) <= TAGS
    for tag in ("style", "meta", "title"):
        assert found.tags.count(tag) == plain.tags.count(tag)
    for attribute, value in found.attributes:
        assert not attribute.startswith("on"), attribute
        assert attribute != "src"
        if attribute == "href":
            assert value.startswith("https://example.com"), value
    assert ("http-equiv", "Content-Security-Policy") in found.attributes


@pytest.mark.parametrize("name", HARM)
def test_the_pdf_only_prints_it(name: str) -> None:
    data = asyncio.run(typeset.pdf(report("A title", HARM[name], NOW)))
    assert b"/JavaScript" not in data
    assert b"javascript:" not in data.lower()


@pytest.mark.parametrize(
    "written",
    ['#read("/etc/passwd")', '#import "@preview/x:1.0.0"', '$#read("/etc/passwd")$',
     '```typ\n#read("/etc/passwd")\n```', fenced("table", TABLE | {"title": '"); #read("/etc/passwd'})],
)  # fmt: skip
def test_typst_stays_text(written: str) -> None:
    said = printed(written)
    assert "root:" not in said
    assert "#" in said


@pytest.mark.parametrize(
    "written",
    ["> " * 400 + "deep", "[" * 5_000, "*a " * 20_000, "`" * 50_000, "![[]()" * 8_000, "|" * 20_000, "- " * 300 + "x",
     "x" * 199_999, "\u202e\u0000\ud800 lone", "a\n" * 50_000],
    ids=["quotes", "brackets", "stars", "ticks", "links", "bars", "lists", "a long word", "odd signs", "lines"],
)  # fmt: skip
def test_hostile_markdown_ends_soon(written: str) -> None:
    began = time.monotonic()
    assert "</html>" in page(written)
    assert time.monotonic() - began < 8


def test_what_typst_refuses_is_printed_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typeset, "part_content", lambda *_, **__: "broken(")
    assert "They **grew**." in printed(TEXT)


def test_one_that_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typeset, "SECONDS", 0.01)
    with pytest.raises(ToolFailed, match="too long for a PDF"):
        printed(TEXT)


def children() -> set[int]:
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(one) for path in found for one in path.read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the machine has no /proc")
def test_leaving_it_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that would take minutes."""
    monkeypatch.setattr(typeset, "_source", lambda *_, **__: "#for i in range(100000000) { [a #i] }")
    before = children()

    async def left() -> None:
        task = asyncio.ensure_future(typeset.pdf(report("a", "b", NOW)))
        while not children() - before:
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(left(), 20))
    until(lambda: not children() - before)


def test_a_file_that_is_too_large_is_refused(
    any_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.own, "max_attachment_mb", 0)
    with pytest.raises(InvalidInput, match="the most that can be attached"):
        made(Attachments(any_database, settings), add_person(any_database, "ann"), format="html")
