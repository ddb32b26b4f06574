"""A workshop as a PDF: what everybody said, wrote and was asked to do, and nothing that breaks it."""

from dataclasses import replace

import pypdfium2
import pytest

from chatcore.conversations import Message
from chatcore.db.tables import utcnow
from chatcore.workshops import Content, Notes, Step, exporting
from chatcore.workshops.exporting import Export
from tests.workshops.conftest import House

NOW = utcnow()


def message(number: int, role: str, content: str, user_id: str = "user_1") -> Message:
    return Message(f"msg_{number}", None, role, content, "complete", NOW, user_id, model="gpt")


EXPORT = Export(
    title="Better mornings",
    content=Content("Plan", steps=(Step("look", "Look", "Go and *see*."), Step("think", "Think"))),
    notes={"look": Notes(1, "They **wait** a lot.", "Bob", "gpt", NOW)},
    said={"look": (message(1, "user", "What do they do?"), message(2, "assistant", "They wait for the bus."),
                   message(3, "user", "And then?", "user_2"))},
    done={"look": NOW, "think": None},
    taking_part=("Ann", "Bob"),
    people={"user_1": "Ann", "user_2": "Bob"},
    models={"gpt": "GPT X"},
    made_at=NOW,
)  # fmt: skip


def text(data: bytes) -> str:
    with pypdfium2.PdfDocument(data) as opened:
        return " ".join(" ".join(page.get_textpage().get_text_bounded() for page in opened).split())


def test_it_holds_all_of_every_step() -> None:
    found = text(exporting.to_pdf(EXPORT))
    for words in (
        "Better mornings", "2 people: Ann, Bob", "1. Look", "Done ", "Go and see.", "They wait a lot.",
        "Saved by gpt for Bob", "What do they do?", "They wait for the bus.", "And then?", "GPT X", "2. Think",
        "Not done yet", "No notes were written", "Nothing was said",
    ):  # fmt: skip
        assert words in found, words
    assert found.index("They wait for the bus.") < found.index("2. Think")
    assert "only their newest" not in found


@pytest.mark.parametrize(
    "odd", ['#panic("x")', "]] } {{ $ \\", "$\\frac{", "\ud800 \x00 <script>", "| a |\n|-|\n" * 40]
)
def test_nothing_that_is_written_breaks_it(odd: str) -> None:
    said = {"look": (message(1, "user", odd), message(2, "assistant", odd))}
    written, content = {"look": Notes(1, odd, odd, None, NOW)}, Content(odd, steps=(Step("look", odd, odd),))
    broken = replace(EXPORT, title=odd, notes=written, taking_part=(odd,), content=content, said=said)
    assert exporting.to_pdf(broken).startswith(b"%PDF")


def test_the_newest_of_what_is_too_much_is_kept_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MOST_MESSAGES", 4)
    said = {step: tuple(message(n, "user", f"word{n}") for n in range(5)) for step in ("look", "think")}
    kept, cut = exporting.fitting(said)
    assert cut
    assert [[one.content for one in messages] for messages in kept.values()] == [["word3", "word4"]] * 2
    assert "only their newest messages" in text(exporting.to_pdf(replace(EXPORT, said=kept, cut=cut)))
    monkeypatch.setattr(exporting, "MOST_CHARACTERS", 1)
    assert [[one.content for one in messages] for messages in exporting.fitting(said)[0].values()] == [["word4"]] * 2
    assert exporting.fitting({"look": ()}) == ({"look": ()}, False)


def test_a_whole_one_out_of_the_database(house: House) -> None:
    house.workshops.save_notes(house.ann, house.id, "define", "Our problem.", 0)
    file = house.workshops.pdf(house.ann, house.id, labels={})
    assert file.name.startswith("Better-mornings-")
    found = text(file.data)
    for words in ("1. Empathize", "Understand the people", "5. Test", "Our problem.", "Saved by Ann"):
        assert words in found
