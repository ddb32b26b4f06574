"""Ten questions, as people ask them, to this project's own documents: by full text alone the right passage is among the
first three for at least nine. Each question is told with words that stand in the passage that answers it."""

from pathlib import Path

import pytest

from chatcore.accounts import Principal
from chatcore.config import load_settings
from chatcore.db import Database
from chatcore.knowledge import Knowledge
from tests.conftest import add_person
from tests.knowledge import documents

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
QUESTIONS = {
    "Why does only one thread write to SQLite?": ("007-sqlite-one-writer-or-postgresql.md", "one writer"),
    "If two people attach the same picture, is it stored twice?": ("012-attachments-by-hash.md", "sha256"),
    "Will I find Chinese or Japanese words when I search my messages?": (
        "011-one-spelling-for-search.md", "without spaces",
    ),
    "Is another model asked when the first one stays quiet for too long?": (
        "016-another-beside-a-silent-one.md", "silent",
    ),
    "When a person is erased, do the totals of what they spent change?": ("operations.md", "Erasing a person"),
    "How do I get an alert into our Slack channel?": ("operations.md", "Slack"),
    "How do I bring a backup onto a new machine?": ("operations.md", "restore"),
    "Why are tokens of a cancelled answer still on the bill?": ("005-the-ledger-row-opens-first.md", "cancel"),
    "Can I run several copies behind a load balancer?": ("operations.md", "several"),
    "How can I bring over my old chats from ChatGPT?": ("export-format.md", "ChatGPT"),
}  # fmt: skip


@pytest.fixture(scope="module")
def asked(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> tuple[Knowledge, Principal]:
    folder = tmp_path_factory.mktemp("data")
    knowledge = Knowledge(module_database, load_settings({"CHATCORE_DATA_DIR": str(folder)}, root=folder))
    ann = add_person(module_database, "ann")
    base_id = knowledge.create(ann, "The project's documents")
    for path in DOCUMENTS:
        knowledge.add(ann, base_id, path.name, path.read_bytes())
    with pytest.MonkeyPatch.context() as patched:
        documents.read_here(patched)
        knowledge.work_off()
    assert {one.state for one in knowledge.documents(ann, base_id)} == {"ready"}
    return knowledge, ann


def test_the_right_passage_is_among_the_first_three(asked: tuple[Knowledge, Principal]) -> None:
    knowledge, ann = asked
    missed = []
    for question, (title, words) in QUESTIONS.items():
        found = knowledge.search(ann, None, question, limit=3)
        if not any(one.title == title and words in one.text for one in found):
            missed.append((question, [(one.title, one.text[:60]) for one in found]))
    assert len(missed) <= 1, missed
    assert len(QUESTIONS) == 10


def test_passages_are_of_a_size_that_can_be_read(asked: tuple[Knowledge, Principal]) -> None:
    knowledge, ann = asked
    (base,) = knowledge.bases(ann)
    assert base.documents == len(DOCUMENTS)
    assert 400 < base.size / base.passages < 1_600
