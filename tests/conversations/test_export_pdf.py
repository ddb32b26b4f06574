"""The PDF, read back: what was written stands in it, and nothing that was written is obeyed."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
import typst
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chatcore.conversations.export import Document, pdf, to_pdf
from chatcore.conversations.values import Message
from chatcore.errors import InvalidInput
from tests.conftest import skip_or_fail

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)


def message(content: str, role: str = "assistant", *parts: Mapping[str, Any], **more: Any) -> Message:
    model = "fast" if role == "assistant" else None
    return Message("m", None, role, content, more.pop("status", "complete"), NOW, "u", parts=parts, model=model, **more)


def document(*messages: Message, **more: Any) -> Document:
    return Document("Of cats", messages, NOW, people={"u": "Ann Archer"}, models={"fast": "Fast One"}, **more)


def pages(data: bytes) -> list[str]:
    """The text layer, page by page, each run of spaces as one."""
    with pypdfium2.PdfDocument(data) as opened:
        return [" ".join(page.get_textpage().get_text_bounded().split()) for page in opened]


def read(*messages: Message, **more: Any) -> str:
    return " ".join(pages(to_pdf(document(*messages, **more))))


def links(data: bytes) -> int:
    """How many places can be clicked."""
    return data.count(b"/Subtype/Link") + data.count(b"/Subtype /Link")


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("# Head\n\ntext", "Head text"),
        ("**bold** *slanted* ~~struck~~", "bold slanted struck"),
        ("- one\n  - two\n    1. three", "• one ◦ two 1. three"),
        ("7. seven\n8. eight", "7. seven 8. eight"),
        ("- [x] done\n- [ ] open", "☑ done • ☐ open"),
        ("> quoted\n> on", "quoted on"),
        ("| a | b |\n|---|--:|\n| 1 | **2** |", "a b 1 2"),
        ("| a |\n|---|\n| x<br>y |", "x y"),
        ("```python\ndef f():\n    return 1\n```", "def f(): return 1"),
        ("```nolanguage\nx\n```", "x"),
        ("```python\nnever = 'closed'", "never = 'closed'"),
        ("use `a  b`", "use a b"),
        ("above\n\n---\n\nbelow", "above below"),
        ("so $x^2$ and \\(y_1\\)", "so $x^2$ and \\(y_1\\)"),
        ("$$\na \\\\ b\n$$", "$$ a \\\\ b $$"),
        ("\\[\nz\n\\]", "\\[ z \\]"),
        ("from $5 to $10", "from $5 to $10"),
        ("![a cat](https://example.org/c.png)", "a cat"),
        ("<b>not html</b>", "<b>not html</b>"),
        ("a &amp; b", "a & b"),
    ],
)
def test_markdown_is_printed_as_it_means(written: str, printed: str) -> None:
    assert printed in read(message(written))


def test_only_addresses_of_the_web_and_of_mail_can_be_clicked() -> None:
    text = "[a](https://example.org) [b](mailto:a@example.org) [c](javascript:alert(1)) [d](file:///etc/passwd) [e]()"
    data = to_pdf(document(message(text)))
    assert links(data) == 2
    assert "c (javascript:alert(1)) d (file:///etc/passwd) e" in pages(data)[0]


@pytest.mark.parametrize(
    "text",
    [
        '#read("/etc/passwd")',
        '#import "@preview/cetz:0.3.0"',
        '"); read("/etc/passwd"); ("',
        '\\"); panic("no',
        "\\",
        "$ #panic() $ ] } ) `` */ // <label> @reference = x",
        '#{ panic() } #set page(width: 1pt) #eval("1")',
        "\\u{41} \\n",
    ],
)
@pytest.mark.parametrize("form", ["{}", "`` {} ``", "```typ\n{}\n```", "# {}", "| {} |\n|---|\n| {} |"])
def test_nothing_that_is_written_is_obeyed(text: str, form: str) -> None:
    source = pdf.source(document(message(form.replace("{}", text))), {})
    plain = pdf.source(document(message("x")), {})
    # Outside string literals stand only the page's own names.
    assert _names(source) <= _names(plain) | {
        "code",
        "inline-code",
        "head",
        "grid-table",
        "start",
        "label",
        "lang",
        "maths",
        "linebreak",
        "cut",
    }
    assert "root:" not in read(message(form.replace("{}", text)))


def _names(source: str) -> set[str]:
    """The words outside of strings in what follows the page's own definitions."""
    body, names, inside, escaped, word = source.rpartition("\n#conversation(")[2], set(), False, False, ""
    for sign in body:
        if inside:
            inside, escaped = escaped or sign != '"', sign == "\\" and not escaped
        elif sign == '"':
            inside = True
        elif sign.isalnum() or sign == "-":
            word += sign
        else:
            names.add(word)
            word = ""
    assert not inside
    return {name for name in names if not name.removesuffix("pt").isdigit()}


def test_a_page_cannot_read_a_file_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden")
    folder = tmp_path / "root"
    folder.mkdir()
    assert pdf._compiled('#read("../secret")', folder) is None
    assert pdf._compiled('#read("/etc/passwd")', folder) is None
    assert pdf._compiled("fine", folder) is not None


@pytest.mark.parametrize("text", ["مرحبا", "שלום", "Привет", "ελληνικά", "😀", "👍🏽", "✅", "🇩🇪", "é"])
def test_scripts_and_emoji_stand_in_the_text(text: str) -> None:
    # Some readers turn right-to-left words around, and take letters apart from their marks.
    assert set(text) <= set(read(message(f"before {text} after")))


@pytest.mark.parametrize(
    ("text", "font"),
    [
        ("中文文本", "Noto Sans CJK SC"),
        ("日本語", "Noto Sans CJK SC"),
        ("한국어", "Noto Sans CJK SC"),
        ("ภาษาไทย", "Noto Sans Thai"),
        ("हिन्दी", "Noto Sans Devanagari"),
    ],
)
def test_scripts_with_fonts_of_their_own_stand_in_the_text(text: str, font: str) -> None:
    printed = read(message(f"before {text} after"))
    assert printed.count("before") == printed.count("after") == 1
    if font not in typst.Fonts().families():
        skip_or_fail(f"the font {font} is not installed")
    assert set(text) <= set(printed)


@pytest.mark.parametrize(
    ("text", "sign", "is_right"), [("שלום hello", "ש", True), ("zoo שלום", "z", False), ("- مرحبا", "م", True)]
)
def test_a_paragraph_begins_where_its_script_does(text: str, sign: str, is_right: bool) -> None:
    with pypdfium2.PdfDocument(to_pdf(document(message(text)))) as opened:
        page = opened[0].get_textpage()
        signs = [page.get_text_range(i, 1) for i in range(page.count_chars())]
        left = page.get_charbox(signs.index(sign))[0]
        assert (left > opened[0].get_width() / 2) is is_right


def test_pages_are_numbered_and_carry_the_title() -> None:
    texts = pages(to_pdf(document(*(message("words " * 400) for _ in range(4)))))
    assert len(texts) >= 3
    assert all(f"Page {number} of {len(texts)}" in text for number, text in enumerate(texts, 1))
    assert all(text.startswith("Of cats 4 March 2026") for text in texts[1:])


def test_who_when_and_what_happened_stand_beside_the_words() -> None:
    text = read(
        message("Why?\nSecond line", "user", edited_at=NOW),
        message("Becau", status="stopped"),
        message("", "assistant", {"type": "error", "message": "No answer came."}, status="failed"),
    )
    assert "Ann Archer 4 March 2026, 15:30 UTC Why? Second line Edited." in text
    assert "Fast One 4 March 2026, 15:30 UTC Becau Stopped." in text
    assert "No answer came. This reply failed." in text


def test_thinking_is_printed_only_on_request() -> None:
    thought = message("Yes.", "assistant", {"type": "reasoning", "text": "Hmm hmm", "duration_ms": 4200})
    assert "Hmm" not in read(thought)
    assert "Thought for 4 s Hmm hmm Yes." in read(thought, with_reasoning=True)


@pytest.mark.parametrize("kind", ["line", "bar", "scatter", "pie"])
def test_a_chart_is_drawn_with_its_figures(kind: str) -> None:
    chart = {
        "type": "chart",
        "chart": kind,
        "title": "Sales",
        "x": [1, 2, 3],
        "series": [{"name": "N", "values": [4, 0, 9]}],
    }
    assert "Sales" in read(message("", "assistant", chart))
    assert {"pie": "pie(", "bar": "bar(", "line": "stroke-line(", "scatter": "dot("}[kind] in pdf.source(
        document(message("", "assistant", chart)), {}
    ).rpartition("#conversation(")[2]


@pytest.mark.parametrize("values", [[0, 0], [-5, -1], [1e300, -1e300], [1e-300, 2e-300], [None, 3], [7.5, 7.5]])
def test_odd_figures_are_drawn_too(values: list[float | None]) -> None:
    chart = {
        "type": "chart",
        "chart": "line",
        "title": "Odd",
        "x": ["a", "b"],
        "series": [{"name": "N", "values": values}],
    }
    source = pdf.source(document(message("", "assistant", chart)), {})
    assert "plot(" in source.rpartition("#conversation(")[2]
    assert "Odd" in read(message("", "assistant", chart))


def test_the_other_parts_are_printed() -> None:
    parts = (
        {"type": "tool_call", "name": "search", "arguments": '{"q": "cats"}', "state": "success", "result": "3 found"},
        {"type": "table", "title": "People", "columns": ["Name", "Age"], "rows": [["Bo", 30], ["Cy", None]]},
        {"type": "code", "language": "rust", "code": "fn main() {}"},
        {"type": "component", "name": "callout", "props": {"title": "Careful", "text": "Hot."}},
        {
            "type": "media",
            "media": "image",
            "attachment_id": "att_1",
            "name": "cat.png",
            "media_type": "image/png",
            "size": 1,
        },
        {"type": "nonsense"},
    )
    text = read(message("Look:", "assistant", *parts))
    for words in ("Tool call: search", '"q": "cats"', "3 found", "Name Age Bo 30 Cy", "fn main() {}", "Careful Hot.",
                  "Attached: cat.png (image)", "A part of this message cannot be shown."):  # fmt: skip
        assert words in text


def test_images_are_embedded_and_broken_ones_named(tmp_path: Path) -> None:
    good, broken = tmp_path / "good", tmp_path / "broken"
    Image.new("RGB", (3000, 1500), "red").save(good, "JPEG")
    broken.write_bytes(good.read_bytes()[:300])
    parts = [
        {
            "type": "media",
            "media": "image",
            "attachment_id": name,
            "name": f"{name}.jpg",
            "media_type": "image/jpeg",
            "size": 1,
        }
        for name in ("good", "broken")
    ]
    data = to_pdf(document(message("", "user", *parts)), {"good": good, "broken": broken})
    with pypdfium2.PdfDocument(data) as opened:
        assert [type(one).__name__ for one in opened[0].get_objects()].count("PdfImage") == 1
    assert "Attached: broken.jpg (image)" in pages(data)[0]


def test_an_empty_conversation_is_a_page() -> None:
    assert "Of cats" in read()
    assert "Page 1 of 1" in read(message(""))


def test_only_the_newest_messages_are_printed_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MOST_MESSAGES", 2)
    text = read(message("first"), message("second"), message("third"))
    assert "only its newest 2 messages are in this file" in text
    assert "first" not in text
    assert "second" in text
    monkeypatch.setattr(pdf, "MOST_CHARACTERS", 3)
    assert "newest 1 message " in read(message("first"), message("third"))


@pytest.mark.parametrize(
    "text",
    ["a" * 200_000, "x" * 9_999 + "👩‍" * 20_000, ">" * 300 + " deep", "[" * 3_000, "*a **b " * 3_000, "`" * 9_999,
     "```\n" + "y=1;" * 5_000, "\n".join("  " * i + "- x" for i in range(120)), "\\[\n\n" * 3_000, "$" * 9_999],
    ids=["word", "joined", "quotes", "brackets", "stars", "ticks", "code", "lists", "maths", "dollars"],
)  # fmt: skip
@pytest.mark.timeout(60)
def test_hostile_markdown_ends_in_a_pdf(text: str) -> None:
    assert to_pdf(document(message(text), message("the end"))).startswith(b"%PDF")


def test_what_the_compiler_refuses_is_printed_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf.Renderer, "markdown", lambda self, text, as_typed=False: "panic()")
    assert "**kept**" in read(message("**kept**"))


def test_a_layout_without_an_end_is_stopped_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "_SECONDS", 0.01)
    with pytest.raises(InvalidInput, match="too long for a PDF"):
        to_pdf(document(message("x")))


@settings(max_examples=40)
@given(st.lists(st.text(max_size=300), max_size=4), st.text(max_size=60))
def test_any_text_compiles(texts: list[str], title: str) -> None:
    found = replace(document(*(message(text) for text in texts)), title=title)
    with_folder = pdf.source(found, {})
    assert to_pdf(found).startswith(b"%PDF")
    assert with_folder.count("message(") >= len(texts)


@settings(max_examples=40)
@given(st.text("#*_`~[]()!<>|-+=:$\\\"'&{} \n\ta1.", max_size=200))
def test_any_signs_compile_without_giving_up_on_markdown(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pdf.Renderer, "plain", _refuse)
        assert to_pdf(document(message(text))).startswith(b"%PDF")


def _refuse(renderer: pdf.Renderer, text: str) -> str:
    raise AssertionError("the plain form was needed")


def test_an_upright_copy_is_made_of_a_turned_photo(tmp_path: Path) -> None:
    path, folder = tmp_path / "photo", tmp_path / "root"
    folder.mkdir()
    photo, exif = Image.new("RGB", (40, 20), "blue"), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90°
    buffer = BytesIO()
    photo.save(buffer, "JPEG", exif=exif)
    path.write_bytes(buffer.getvalue())
    assert pdf._pictures({"a": path}, folder) == {"a": "/0.png"}
    with Image.open(folder / "0.png") as copy:
        assert copy.size == (20, 40)
