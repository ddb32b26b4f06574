"""Agents as JSON: what leaves, what comes in, and what is kept out."""

import base64
import json
import secrets
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.agents import Agents, AgentTool, Allowed, Content, exchange, square
from chatcore.db import Database
from chatcore.errors import InvalidInput
from tests.agents.test_pictures import bomb, picture
from tests.conftest import add_person

WHOLE = Content(
    "Planner", description="Plans.", icon="🧭", picture=square(picture()), system_prompt="Für {{person}}.",
    model="auto", parameters={"temperature": 0.5, "max_tokens": 10}, suggestions=("Rome\nPlan\nRome.",),
    tools=(AgentTool("search_knowledge"), AgentTool("mcp/files", True)), knowledge=("kb_1", "kb_2"),
    visibility="people", shared_with=("usr_1",),
)  # fmt: skip
ALL = Allowed({"search_knowledge", "mcp/files"}, {"kb_1": "Handbook", "kb_9": "Other"}, {"auto"})


def test_what_is_exported_comes_in_again() -> None:
    data = exchange.written(WHOLE, {"kb_1": "Handbook"})
    found, left_out = exchange.read(data, ALL)
    assert left_out == ()
    assert found.picture is not None
    assert found == replace(WHOLE, knowledge=("kb_1",), visibility="own", shared_with=(), picture=found.picture), (
        "who may use it, and whose knowledge it is, stays at home"
    )
    assert "kb_" not in data.decode()
    assert "usr_" not in data.decode()


def test_what_the_importer_may_not_use_is_kept_out_and_named() -> None:
    found, left_out = exchange.read(exchange.written(WHOLE, {"kb_1": "Handbook", "kb_2": "Twice"}), Allowed(
        {"search_knowledge"}, {"kb_3": "Twice", "kb_4": "Twice"}, set(),
    ))  # fmt: skip
    assert (found.tools, found.knowledge, found.model) == ((AgentTool("search_knowledge"),), (), None)
    assert left_out == (
        "The tool “mcp/files” is not here, or not yours to use.",
        "The model “auto” is not here, or not yours to use. Who asks chooses one.",
        "The knowledge base “Handbook” is not here, or not yours to use.",
        "You have several knowledge bases called “Twice”: choose one yourself.",
    )


def agent(**fields: Any) -> bytes:
    return json.dumps({"format": "chatcore.agent", "version": 1, "agent": {"name": "A", **fields}}).encode()


BAD: list[tuple[bytes, str]] = [
    (b"", "no JSON"),
    (b"\xff\xfe\x00", "no JSON"),
    (b"{", "no JSON"),
    (b"[" * 200_000, "no JSON"),
    (b'{"a":' * 100_000, "no JSON"),
    (b'{"a": ' + b"9" * 5_000 + b"}", "no JSON"),
    (b'{"format": "chatcore.agent", "format": "x"}', "no JSON"),
    (b" " * (2**20 + 1), "too large"),
    (b"[]", "no exported agent"),
    (b"null", "no exported agent"),
    (b'{"format": "chatcore.conversation"}', "no exported agent"),
    (b'{"format": "chatcore.agent", "version": 2}', "later Chatcore"),
    (b'{"format": "chatcore.agent", "version": "1"}', "later Chatcore"),
    (b'{"format": "chatcore.agent", "version": 1}', "agent: field required"),
    (b'{"format": "chatcore.agent", "version": 1, "agent": []}', "agent: input should be"),
    (agent(name=5), "agent.name: input should be a valid string"),
    (agent(name=None), "agent.name: input should be a valid string"),
    (agent(name="x" * 10_240), "1 to 60 characters"),
    (agent(system_prompt="x" * 200_000), "at most 50,000 characters"),
    (agent(id="agent_1"), "agent.id: extra inputs are not permitted"),
    (agent(owner_id="usr_1", visibility="team"), "agent.visibility"),
    (agent(tools=["a"]), "agent.tools.0"),
    (agent(tools=[{"name": "a", "asks_first": 1}]), "agent.tools.0.asks_first"),
    (agent(tools=[{"name": "a"}] * 65), "agent.tools"),
    (agent(tools={"name": "a"}), "agent.tools"),
    (agent(knowledge=[1]), "agent.knowledge.0"),
    (agent(suggestions=[{"title": "a"}]), "agent.suggestions.0.text"),
    (agent(suggestions=[{"title": "a", "text": "b"}] * 7), "agent.suggestions"),
    (agent(parameters={"api_base": "http://evil"}), "The parameter “api_base”"),
    (agent(parameters={"temperature": "hot"}), "0 to 2"),
    (agent(parameters={"temperature": [[[]]]}), "0 to 2"),
    (agent(icon="<script>"), "one emoji"),
    (agent(picture="not base64!"), "not in base64"),
    (agent(picture=base64.b64encode(b"hello").decode()), "no picture"),
    (agent(picture=base64.b64encode(bomb(50_000, 50_000)).decode()), "megapixels"),
    (agent(picture="A" * 100_000), "agent.picture"),
    (agent(name="a").replace(b'"a"', b"NaN"), "no JSON"),
]


@pytest.mark.parametrize(("data", "said"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_what_is_wrong_is_named_and_nothing_is_made(database: Database, data: bytes, said: str) -> None:
    ann = add_person(database, "ann")
    with pytest.raises(InvalidInput) as found:
        Agents(database).import_(ann, data, ALL)
    assert said in str(found.value)
    assert len(str(found.value)) < 800
    assert [one for one in Agents(database).list(ann) if not one.built_in] == []


def test_a_name_of_ten_thousand_signs_is_cut_where_it_is_named() -> None:
    with pytest.raises(InvalidInput) as found:
        exchange.read(agent(**{"x" * 10_000: 1}), ALL)
    assert len(str(found.value)) < 300


def test_an_import_is_its_importers_alone(module_database: Database) -> None:
    mark = secrets.token_hex(4)
    ann, bob = (add_person(module_database, f"{one}-{mark}", tenant=f"A-{mark}") for one in ("ann", "bob"))
    agents = Agents(module_database)
    made = agents.import_(ann, exchange.written(WHOLE, {}), Allowed())
    one = agents.get(ann, made.agent_id)
    assert (made.name, one.content.visibility, one.is_own) == ("Planner", "own", True)
    assert len(made.left_out) == 3
    assert made.agent_id not in {each.id for each in agents.list(bob)}
    assert [each.note for each in agents.versions(ann, made.agent_id)] == ["Imported"]
    again, left_out = exchange.read(agents.export(ann, made.agent_id, {}), Allowed())
    assert again.name == "Planner"
    assert left_out == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["name", "description", "icon", "picture", "system_prompt", "model", "parameters", "tools", "knowledge",
     "suggestions", "visibility"]
)  # fmt: skip


@given(st.dictionaries(FIELDS, JSON, max_size=5))
def test_any_file_is_read_or_refused_with_a_sentence(fields: dict[str, Any]) -> None:
    try:
        found, _ = exchange.read(agent(**fields), Allowed())
    except InvalidInput as error:
        said = str(error)
    else:
        assert (found.visibility, found.tools, found.knowledge, found.model) == ("own", (), (), None)
        return
    assert said.endswith(".")
    assert len(said) < 2_000


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        exchange.read(data, ALL)
