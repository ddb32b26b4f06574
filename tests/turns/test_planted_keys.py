"""Keys planted everywhere, in a process of its own, and looked for in all that it leaves behind."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import MetaData, create_engine, select

from chatcore.config import PROJECT_ROOT
from tests.conftest import fresh_postgres
from tests.hostile import Call, HostileProvider
from tests.turns.planted import KEYS, QUESTION, SAID, WORD, environment, write_config

# Where a person's own words stand.
OWN_WORDS: Final = {
    "messages", "conversations", "message_search", "message_search_content", "message_search_idx",
    "message_search_data", "turn_chunks",
}  # fmt: skip
HOLDERS: Final = {
    "Begun", "Step", "Model", "CompletionRequest", "Caller", "OwnKey", "Settings", "Core", "Choice", "Picked",
    "NewCall", "ConfigFile",
}  # fmt: skip


@dataclass(frozen=True)
class Left:
    """What the process left behind. `tables`: every row of the database, by table; `log`: its standard error."""

    folder: Path
    tables: dict[str, list[dict[str, Any]]]
    log: str
    doctor: str
    calls: list[Call]

    def files(self, *parts: str) -> Iterator[Path]:
        return (path for path in self.folder.joinpath(*parts).rglob("*") if path.is_file())


def traces(text: str | bytes, keys: dict[str, str]) -> list[str]:
    """The names of the keys that stand in a text: whole, in good part, or in another spelling."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    found = []
    for name, key in keys.items():
        spelled = base64.b64encode(key.encode()).rstrip(b"=")
        spellings = (key.encode(), key[4:16].encode(), key[-16:-4].encode(), spelled, key.encode().hex().encode())
        found += [name] if any(one in data for one in spellings) else []
    return found


PLANTED: Final = dict(KEYS)
ALL: Final = PLANTED | {"said": SAID}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("planted")
    with ExitStack() as stack:
        url = f"sqlite:///{folder / 'data' / 'chatcore.db'}"
        if request.param == "postgres":
            url = stack.enter_context(fresh_postgres()).render_as_string(hide_password=False)
        provider = stack.enter_context(HostileProvider())
        write_config(folder / "config.yaml", provider.url)
        unwanted = ("CHATCORE_", "OPENAI_", "GEMINI_")
        variables = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        variables |= environment(folder, url)
        command = [sys.executable, "-m", "tests.turns.planted", str(folder)]
        run = subprocess.run(command, cwd=PROJECT_ROOT, env=variables, capture_output=True, timeout=110, check=False)
        assert run.returncode == 0, run.stderr.decode()[-3000:]
        doctor = subprocess.run(
            [sys.executable, "-m", "chatcore", "doctor"],
            cwd=PROJECT_ROOT, env=variables, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert doctor.stdout
        said = (doctor.stdout + doctor.stderr).decode()
        yield Left(folder, dump(url), (run.stdout + run.stderr).decode(), said, list(provider.log))


def dump(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, also of those that the search keeps for itself."""
    engine = create_engine(url)
    tables = MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        found = {
            name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for name, table in tables.tables.items()
        }
    engine.dispose()
    return found


def test_every_key_was_used(left: Left) -> None:
    """Or there would be nothing to find: the provider has seen them, and said each of them in a refusal."""
    refused = {call.key_last4 for call in left.calls if call.status == 401}
    assert refused == {KEYS[name][-4:] for name in ("config", "environment", "header", "person", "tenant", "refused")}
    answered = {call.key_last4 for call in left.calls if call.status == 200}
    assert answered >= {KEYS[name][-4:] for name in ("config", "environment", "person", "tenant")}


def test_no_key_and_no_word_is_in_the_log(left: Left) -> None:
    lines = [json.loads(line) for line in left.log.splitlines()]
    failed = [line for line in lines if line["message"] == "attempt failed"]
    refused = sum(call.status == 401 for call in left.calls)
    assert sum(line["code"] == "bad_key" for line in failed) == refused
    assert not any("text" in line for line in failed), "what a provider says may quote the question"
    assert traces(left.log, ALL) == []
    assert WORD not in left.log


def test_no_key_is_in_the_database(left: Left) -> None:
    asked = [row for row in left.tables["messages"] if row["role"] == "user"]
    assert {row["content"] for row in asked} == {QUESTION}
    for table in ("usage_metrics", "audit_log", "limit_hits", "provider_keys", "turns", "cached_replies"):
        assert left.tables[table], f"{table} is empty: nothing was looked through"
    found = {table: traces(repr(rows), PLANTED) for table, rows in left.tables.items()}
    assert {table: names for table, names in found.items() if names} == {}
    said = {table for table, rows in left.tables.items() if traces(repr(rows), {"said": SAID})}
    assert "messages" in said
    assert said <= OWN_WORDS


def test_own_keys_are_encrypted_and_four_characters_tell_them_apart(left: Left) -> None:
    rows = left.tables["provider_keys"]
    assert {row["last4"] for row in rows} == {KEYS["person"][-4:], KEYS["tenant"][-4:]}
    assert all(len(row["secret"]) > 100 for row in rows)


def test_no_key_is_in_any_file_of_the_data_folder(left: Left) -> None:
    """The database's own files, byte by byte, with what was deleted and is not yet written over."""
    files = list(left.files("data"))
    found = {path.name: traces(path.read_bytes(), PLANTED) for path in files}
    assert {name: names for name, names in found.items() if names} == {}
    if any(path.name == "chatcore.db" for path in files):
        assert any(traces(path.read_bytes(), {"said": SAID}) for path in files), "the bytes can be read"


def test_no_key_is_in_an_export(left: Left) -> None:
    files = list(left.files("exports"))
    assert {path.suffix for path in files} == {".md", ".json", ".csv"}
    assert {path.name: names for path in files if (names := traces(path.read_bytes(), PLANTED))} == {}
    assert all(SAID in path.read_text() for path in files if path.suffix == ".md"), "their own words are theirs"
    assert not any(traces(path.read_bytes(), ALL) for path in files if path.suffix == ".csv")


def test_what_holds_a_key_does_not_say_it(left: Left) -> None:
    files = list(left.files("told"))
    assert {path.name.split("-")[-1] for path in files} >= HOLDERS
    assert {path.name: names for path in files if (names := traces(path.read_bytes(), PLANTED))} == {}


def test_the_doctor_says_no_key(left: Left) -> None:
    assert traces(left.doctor, ALL) == []


@pytest.mark.parametrize("spelled", [SAID, SAID[2:18], base64.b64encode(SAID.encode()).decode(), SAID.encode().hex()])
def test_the_search_finds_a_key(spelled: str) -> None:
    assert traces(f"before {spelled} after", ALL) == ["said"]
