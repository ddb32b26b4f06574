"""The page of knowledge bases, driven without a browser."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from chatcore import bootstrap
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import KnowledgeDocument
from chatcore.knowledge import Knowledge
from pages.ui import session
from tests.conftest import add_person
from tests.knowledge import documents

PAGE = Path(__file__).parents[2] / "pages" / "knowledge.py"


@pytest.fixture
def house(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    documents.read_here(monkeypatch)
    house = SimpleNamespace(db=database, knowledge=Knowledge(database, settings))
    mark = secrets.token_hex(4)
    house.ann = house.who = add_person(database, f"ann-{mark}")
    house.bob = add_person(database, f"bob-{mark}")
    monkeypatch.setattr(session, "current_principal", lambda: house.who)
    bootstrap.use(house)  # type: ignore[arg-type]
    yield house
    bootstrap.use(None)


def filled(house: Any, *texts: str, name: str = "Garden", visibility: str = "own") -> str:
    base_id = house.knowledge.create(house.ann, name, "What grows", visibility=visibility)
    for number, text in enumerate(texts):
        house.knowledge.add(house.ann, base_id, f"{name} {number}.txt", text.encode())
    house.knowledge.work_off()
    return str(base_id)


def run(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


def page(base_id: str | None = None) -> AppTest:
    at = AppTest.from_file(str(PAGE), default_timeout=30)
    if base_id:
        at.query_params["base"] = base_id
    return run(at)


def press(at: AppTest, label: str) -> AppTest:
    next(button for button in at.button if button.label == label).click()
    return run(at)


def dialog(script: Any, *arguments: Any) -> AppTest:
    return run(AppTest.from_function(script, default_timeout=30, args=arguments))


def words(at: AppTest) -> str:
    kinds = (at.title, at.markdown, at.caption, at.info, at.error, at.text, at.toast)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def field(at: AppTest, label: str) -> Any:
    return next(one for one in (*at.text_input, *at.text_area) if one.label == label)


def edit_script(who: object, base: object) -> None:
    from pages.ui import knowledge_parts

    knowledge_parts.edit(who, base)  # type: ignore[arg-type]


def remove_script(who: object, base: object) -> None:
    from pages.ui import knowledge_parts

    knowledge_parts.remove(who, base)  # type: ignore[arg-type]


def remove_document_script(who: object, document: object) -> None:
    from pages.ui import knowledge_documents

    knowledge_documents.remove(who, document)  # type: ignore[arg-type]


def test_at_first_it_says_what_knowledge_is_for(house: Any) -> None:
    at = page()
    assert "documents that answers can rest on" in at.info[0].value
    assert [one.label for one in at.text_input] == [], "there is nothing to search"


def test_a_base_is_made_changed_and_deleted(house: Any) -> None:
    assert field(press(page(), "New knowledge base"), "Name").value == ""
    at = dialog(edit_script, house.ann, None)
    field(at, "Name").set_value("Garden")
    press(at, "Save")
    (base,) = house.knowledge.bases(house.ann)
    assert (base.name, base.visibility) == ("Garden", "own")
    at = dialog(edit_script, house.ann, base)
    field(at, "Name").set_value("Park")
    at.radio[0].set_value("team")
    press(at, "Save")
    (base,) = house.knowledge.bases(house.bob)
    assert base.name == "Park"
    at = press(page(base.id), "Delete")
    assert "for everybody of the team" in words(at)
    assert house.knowledge.bases(house.ann), "it asks first"
    press(dialog(remove_script, house.ann, base), "Delete")
    assert house.knowledge.bases(house.ann) == []


def test_what_cannot_be_saved_says_why(house: Any) -> None:
    at = press(dialog(edit_script, house.ann, None), "Save")
    assert at.error[0].value == "A knowledge base's name has 1 to 100 characters."


def test_the_list_says_what_is_in_each_and_opens_it(house: Any) -> None:
    filled(house, "Ferns like shade.", "Roses", name="Garden *x*", visibility="team")
    at = page()
    assert "2 documents · 2 passages · changed just now" in words(at)
    next(one for one in at.button if "Garden" in one.label).click()
    at = run(at)
    assert at.title[0].value == r"Garden \*x\*"
    assert "What grows" in words(at)
    assert "Ready · 1 KB · 1 passage" in words(at)
    assert at.title[0].value != press(at, "All knowledge bases").title[0].value


def test_files_are_uploaded_and_what_is_refused_is_said(house: Any) -> None:
    base_id = filled(house, "Ferns like shade.")
    at = page(base_id)
    files = {"roses.txt": b"Roses", "again.txt": b"Ferns like shade.", "junk.txt": b"\0\1\2"}
    at.file_uploader[0].set_value([(name, data, "text/plain") for name, data in files.items()])
    at = run(at)
    assert "junk\\.txt is of a kind that cannot be read here" in words(at)
    assert "1 document added, 1 document there already" in words(at).replace("\\", "")
    assert "Waiting" in words(at)
    assert not at.file_uploader[0].value
    house.knowledge.work_off()
    assert len(house.knowledge.documents(house.ann, base_id)) == 2


def test_one_that_failed_says_why_and_is_tried_again(house: Any) -> None:
    base_id = filled(house)
    house.knowledge.add(house.ann, base_id, "a.pdf", b"%PDF-1.7 broken")
    house.knowledge.work_off()
    at = page(base_id)
    assert "1 failed" in words(at)
    assert "It is broken" in words(at)
    at = press(at, "Try again")
    assert "Waiting" in words(at)


def test_how_far_a_document_is(house: Any) -> None:
    base_id = filled(house)
    house.knowledge.add(house.ann, base_id, "a.txt", b"Ferns")
    for now, shown in (({"state": "indexing"}, "Reading"), ({"passages": 1_200, "done": 300}, "Indexing")):
        house.db.write(lambda session, now=now: session.execute(update(KnowledgeDocument).values(**now)) and None)
        at = page(base_id)
        assert shown in words(at)
    (bar,) = at.get("progress")
    assert bar.proto.text == "Indexing: 300 of 1,200 passages"
    assert "1 being indexed" in words(page())


def test_a_document_is_deleted_when_it_was_confirmed(house: Any) -> None:
    base_id = filled(house, "Ferns")
    (document,) = house.knowledge.documents(house.ann, base_id)
    at = page(base_id)
    at.button(key=f"remove-{document.id}").click()
    assert "will be found no more" in words(run(at))
    press(dialog(remove_document_script, house.ann, document), "Delete")
    assert house.knowledge.documents(house.ann, base_id) == []
    assert "No documents yet" in words(page(base_id))


def test_a_search_shows_passages_with_their_places(house: Any) -> None:
    base_id = filled(house, "Ferns like *shade*.", "Roses like the sun.")
    filled(house, "Ferns elsewhere", name="Other")
    at = page(base_id)
    field(at, "Try a search").set_value("What does a fern like?")
    at = run(at)
    assert "**1. Garden 0\\.txt** :gray[line 1]" in words(at)
    assert ":orange-background[**Ferns**]" in words(at), "also in another form"
    assert "Ferns like *shade*." in [one.value for one in at.text], "the passage as it is"
    assert "Other" not in words(at)
    field(at, "Try a search").set_value("submarine")
    assert "No passage has any of these words." in words(run(at))
    field(at, "Try a search").set_value("?!")
    assert "There is no word in this question" in words(run(at))
    at = page()
    field(at, "Try a search").set_value("fern")
    assert "Other" in words(run(at))


def test_a_colleagues_base_is_read_and_not_changed(house: Any) -> None:
    own, team = filled(house, "Ferns"), filled(house, "Roses", name="Team's", visibility="team")
    house.who = house.bob
    at = page(team)
    assert [one.label for one in at.button] == ["All knowledge bases"]
    assert not at.file_uploader
    assert "does not exist, or it is not yours" in words(page(own))


def test_many_documents_are_shown_some_at_a_time(house: Any) -> None:
    base_id = house.knowledge.create(house.ann, "Many")
    for number in range(31):
        house.knowledge.add(house.ann, base_id, f"document {number}.txt", f"text {number}".encode())
    at = page(base_id)
    assert len([one for one in at.button if one.key and one.key.startswith("remove-")]) == 30
    at.pagination[0].set_value(2)
    assert "document 0" in words(run(at)).replace("\\", "")
