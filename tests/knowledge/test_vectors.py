"""Vectors: made in the background at somebody's cost, found beside words, and never missed where the model fails."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import update

from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.db.tables import KnowledgeDocument, User, utcnow
from chatcore.errors import BudgetExceeded, ProviderError
from chatcore.knowledge import Knowledge, embedding, finding, vectors
from tests.knowledge.conftest import House

TOPICS = {"dog": 0, "puppy": 0, "ship": 1, "boat": 1, "bread": 2}


def meaning(text: str) -> list[float]:
    """A vector of what a text is about: the topics of its words."""
    found = [0.01] * 8
    for word, topic in TOPICS.items():
        found[topic] += text.lower().count(word)
    return found


class Model:
    """An embedding model that does as it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.failing: Exception | None = None
        self.answer: list[list[float]] | None = None

    def __call__(self, who: Principal, texts: Sequence[str]) -> list[list[float]]:
        self.calls.append((who.username, list(texts)))
        if self.failing:
            raise self.failing
        return self.answer if self.answer is not None else [meaning(text) for text in texts]


def with_model(settings: Settings, name: str) -> Settings:
    """The settings with this embedding model."""
    own = settings.own.model_copy(update={"embedding_model": name})
    return replace(settings, file=settings.file.model_copy(update={"chatcore": own}))


@pytest.fixture
def model(house: House) -> Model:
    """A model, and the house's knowledge made with it."""
    model = Model()
    house.settings = with_model(house.settings, "meaning")
    house.knowledge = Knowledge(house.db, house.settings, model)
    return model


def soon(house: House) -> None:
    """The time has come to try again."""
    now = update(KnowledgeDocument).values(embed_after=None)
    house.db.write(lambda session: session.execute(now) and None)


def by_meaning(house: House, question: str, who: Principal | None = None) -> list[str]:
    found = house.knowledge.search(who or house.ann, None, question, vector=meaning(question))
    return [one.title for one in found]


def test_what_means_the_same_is_found_without_its_words(house: House, model: Model) -> None:
    base = house.base("A puppy needs sleep.", "The boat is in the harbour.", "Bread is baked at five.")
    assert house.titles("dog") == []
    assert by_meaning(house, "dog")[0] == "text0.txt"
    assert house.knowledge.has_vectors(house.ann, None)
    assert [one.embedded for one in house.knowledge.documents(house.ann, base)] == [1, 1, 1]
    assert model.calls[0] == ("ann", ["text0.txt\nline 1\nA puppy needs sleep."])
    assert not house.knowledge.has_vectors(house.bob, None)
    assert by_meaning(house, "dog", house.eve) == []


def test_what_only_words_find_and_what_only_meaning_finds(
    house: House, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "_CANDIDATES", 1)
    house.base("Rules of the harbour.", "A puppy needs sleep.", "Bread is baked at five.")
    assert sorted(by_meaning(house, "A dog in the harbour")) == ["text0.txt", "text1.txt"]


@pytest.mark.parametrize("failure", [ProviderError("It is down."), BudgetExceeded("No money."), RuntimeError("x")])
def test_a_model_that_fails_loses_no_document(house: House, model: Model, failure: Exception) -> None:
    model.failing = failure
    base = house.base("A puppy needs sleep.")
    assert house.titles("puppy") == ["text0.txt"], "it is found by its words"
    assert (house.document(base).state, house.document(base).embedded) == ("ready", 0)
    house.knowledge.work_off()
    assert len(model.calls) == 1, "it is not tried again at once"
    model.failing = None
    soon(house)
    house.knowledge.work_off()
    assert house.document(base).embedded == 1


@pytest.mark.parametrize(
    "answer", [[], [[]], [[1.0], [2.0]], [[float("nan")] * 3], [["x"]], [[1.0, 2.0], [1.0]]], ids=str
)
def test_an_answer_that_is_no_vector(house: House, model: Model, answer: list[list[float]]) -> None:
    model.answer = answer
    base = house.base("A puppy needs sleep.")
    assert house.document(base).embedded == 0
    assert house.titles("puppy") == ["text0.txt"]
    assert house.knowledge.search(house.ann, None, "puppy", vector=[float("nan")])[0].title == "text0.txt"


def test_many_passages_are_embedded_some_at_a_time(house: House, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_BATCH", 3)
    house.base("\n\n".join("puppy " * 200 for _ in range(8)))
    counts = [len(texts) for _, texts in model.calls]
    assert max(counts) == 3
    assert sum(counts) == house.count("knowledge_vectors") == house.count("knowledge_passages")
    assert house.count("knowledge_sketches") == len(counts)


def test_another_model_embeds_anew(house: House, model: Model) -> None:
    base = house.base("A puppy needs sleep.")
    house.knowledge = Knowledge(house.db, with_model(house.settings, "other"), model)
    assert not house.knowledge.has_vectors(house.ann, None)
    house.knowledge.work_off()
    assert by_meaning(house, "dog") == ["text0.txt"]
    assert (house.document(base).embedded, house.count("knowledge_vectors")) == (1, 1)
    assert house.count("knowledge_sketches") == 1


def test_who_cannot_sign_in_pays_nothing(house: House, model: Model) -> None:
    base = house.base(visibility="team")
    house.knowledge.add(house.dora, base, "a.txt", b"puppy")
    gone = update(User).where(User.id == house.dora.user_id).values(disabled_at=utcnow())
    house.db.write(lambda session: session.execute(gone) and None)
    house.knowledge.work_off()
    assert [who for who, _ in model.calls] == ["ann"], "the owner of the base does"
    gone = update(User).values(disabled_at=utcnow())
    house.knowledge.add(house.ann, base, "b.txt", b"boat")
    house.db.write(lambda session: session.execute(gone) and None)
    house.knowledge.work_off()
    assert len(model.calls) == 1


def test_deleted_documents_have_no_vectors(house: House, model: Model) -> None:
    base = house.base("A puppy needs sleep.")
    house.knowledge.remove(house.ann, house.document(base).id)
    assert by_meaning(house, "dog") == []
    house.knowledge.work_off()
    assert house.count("knowledge_vectors") == house.count("knowledge_sketches") == 0


def test_a_deleted_document_is_not_embedded_meanwhile(house: House, model: Model) -> None:
    base = house.base()
    document = house.knowledge.add(house.ann, base, "a.txt", b"puppy").document
    model.failing = None
    answer = Model.__call__

    def slow(who: Principal, texts: Sequence[str]) -> list[list[float]]:
        house.knowledge.remove(house.ann, document.id)
        return answer(model, who, texts)

    house.knowledge = Knowledge(house.db, house.settings, slow)
    house.knowledge.work_off()
    assert house.count("knowledge_vectors") == house.count("knowledge_sketches") == 0


def test_sketches_lead_to_the_nearest_of_many(house: House, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    made = {f"passage {n}": rng.normal(size=256) for n in range(60)}
    monkeypatch.setattr(vectors, "EXACTLY", 15)

    def exact(who: Principal, texts: Sequence[str]) -> list[list[float]]:
        return [made[text.rpartition("\n")[2]].tolist() for text in texts]

    house.knowledge = Knowledge(house.db, house.settings, exact)
    base = house.knowledge.create(house.ann, "Base")
    house.knowledge.add(house.ann, base, "a.md", "\n".join(f"# {n}\n{name}" for n, name in enumerate(made)).encode())
    house.knowledge.work_off()
    for name, vector in list(made.items())[:10]:
        near = (vector + rng.normal(size=256) * 0.3).tolist()
        found = house.knowledge.search(house.ann, None, "nowhere", vector=near)
        assert found[0].text.endswith(f"\n{name}")
    assert house.knowledge.search(house.ann, None, "nowhere", vector=[1.0] * 128) == [], "of another size"
