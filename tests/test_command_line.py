"""`python -m chatcore`: what it prints, where, and with which exit code."""

import asyncio
import io
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from chatcore.__main__ import main, parser
from chatcore.accounts import Accounts, passwords
from chatcore.config import PROJECT_ROOT, load_settings
from chatcore.db import Database
from chatcore.db.migrate import revisions
from chatcore.db.tables import UsageHourly

PASSWORD = "correct horse"


@dataclass
class Ran:
    code: int
    out: list[str]
    err: str


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CHATCORE_DATABASE_URL", "CHATCORE_CONFIG", "CHATCORE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHATCORE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(passwords, "_ROUNDS", 4)
    return tmp_path / "data"


@pytest.fixture
def run(data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    def command(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = main(arguments)
        out, err = capsys.readouterr()
        return Ran(code, out.splitlines(), err.strip())

    return command


def accounts() -> Accounts:
    settings = load_settings()
    return Accounts(Database(settings.database_url), settings)


def test_users_come_and_go(run: Callable[..., Ran]) -> None:
    assert run("users", "add", "Ada", stdin=f"{PASSWORD}\nmore\n").out == [
        "ada can sign in now, as operator of Default."
    ]
    assert run("users", "add", "bob", "--role", "admin", "--tier", "pro", stdin=PASSWORD).code == 0
    listed = run("users", "list").out
    assert listed[0].split() == ["USERNAME", "NAME", "ROLE", "TIER", "TEAM", "STATUS", "TENANT", "LAST", "SEEN"]
    assert [line.split()[:5] for line in listed[1:]] == [
        ["ada", "Ada", "operator", "free", "active"],
        ["bob", "bob", "admin", "pro", "active"],
    ]
    assert run("users", "team", "bob", "Red Pandas").out == ["bob is in the team Red Pandas now."]
    assert "Red Pandas" in run("users", "list").out[2]
    assert run("users", "team", "bob").out == ["bob is in no team now."]
    assert "Red Pandas" not in run("users", "list").out[2]
    assert run("users", "disable", "bob").code == 0
    assert "disabled" in run("users", "list").out[2]
    assert run("users", "enable", "bob").code == 0
    assert run("users", "passwd", "bob", stdin="another password\n").code == 0
    assert passwords.matches("another password", accounts().credentials("bob")[1])


def test_a_printed_cookie_value_is_the_last_line_and_signs_in(run: Callable[..., Ran]) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    printed = run("users", "session", "ada").out
    session_id = asyncio.run(accounts().session_for_token(printed[-1]))
    assert session_id is not None
    principal = accounts().principal(session_id)
    assert principal is not None
    assert principal.username == "ada"


def test_keys_are_printed_once_listed_without_the_key_and_revoked(run: Callable[..., Ran]) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    key = run("keys", "add", "ada").out[-1]
    named = run("keys", "add", "ci", "--user", "ada").out[-1]
    assert accounts().principal_for_key(key).username == "ada"
    listed = run("keys", "list").out
    assert key not in "\n".join(listed)
    assert named not in "\n".join(listed)
    line = next(line for line in listed if " ci " in line)
    assert run("keys", "revoke", line.split()[0]).code == 0
    assert "revoked" in next(line for line in run("keys", "list", "--user", "ada").out if " ci " in line)
    assert accounts().principal_for_key(key)


def test_a_key_is_made_for_some_things_and_some_days(run: Callable[..., Ran]) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    key = run("keys", "add", "ada", "--scope", "read", "--scope", "usage", "--days", "30").out[-1]
    assert accounts().caller_for_key(key)[1] == {"read", "usage"}
    assert "read usage" in run("keys", "list").out[1]
    assert "3,660 days" in run("keys", "add", "ada", "--days", "0").err


def test_tenants_have_their_own_people_and_agents(run: Callable[..., Ran]) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    assert run("tenants", "add", "Team B").code == 0
    assert run("users", "add", "bob", "--tenant", "Team B", stdin=PASSWORD).code == 0
    assert [line.split()[-1] for line in run("tenants", "list").out] == ["PEOPLE", "1", "1"]
    assert len(run("users", "list", "--tenant", "Team B").out) == 2
    settings = load_settings()
    with sqlite3.connect(settings.database_url.database or "") as connection:
        seeded = connection.execute("SELECT count(*) FROM agents GROUP BY tenant_id").fetchall()
    assert len(seeded) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("users", "add", "ada"), "The username ada is taken; choose another."),
        (("users", "add", "a b"), "A username has 1 to 64 characters: letters a to z, digits and . _ @ + -"),
        (("users", "add", "eve", "--tenant", "Nowhere"), "There is no such tenant; `tenants list` shows them."),
        (("users", "disable", "ada"), "This is the last operator of the instance; make another one first."),
        (("users", "session", "nobody"), "There is no active person called nobody; `users list` shows them."),
        (("users", "passwd", "nobody"), "There is no person called nobody; `users list` shows them."),
        (("keys", "add", "nobody"), "There is no active person called nobody; `users list` shows them."),
        (
            ("keys", "revoke", "key_absent"),
            "There is no such key, or it was revoked already; `keys list` shows them.",
        ),
        (("tenants", "add", "Default"), "There is a tenant called Default already."),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    run: Callable[..., Ran], arguments: tuple[str, ...], words: str
) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    ran = run(*arguments, stdin=PASSWORD)
    assert (ran.code, ran.out, ran.err) == (2, [], words)


def test_a_broken_setting_is_one_sentence(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATCORE_DATABASE_URL", "oracle://somewhere/x")
    ran = run("users", "list")
    assert (ran.code, ran.out) == (2, [])
    assert ran.err.startswith("CHATCORE_DATABASE_URL names oracle")


def test_the_command_line_makes_no_setup_code_and_voids_none(run: Callable[..., Ran], data_dir: Path) -> None:
    run("users", "list")
    code = accounts().ensure_ready()
    assert code is not None
    run("users", "list")
    assert accounts().open_code("setup", code)


def test_the_schema_goes_up_and_down(run: Callable[..., Ran]) -> None:
    assert run("db", "check").code == 2
    assert run("db", "upgrade").code == 0
    assert run("db", "check").code == 0
    refused = run("db", "downgrade", "0000_nowhere")
    assert refused.code == 2
    assert "There is no revision 0000_nowhere." in refused.err
    assert run("db", "downgrade", "-1").out == [f"The database is at revision {revisions()[-2]} now."]
    assert run("db", "downgrade", "base").code == 0
    assert run("db", "check").code == 2


def test_a_backup_is_a_whole_database_that_only_its_owner_reads(run: Callable[..., Ran], tmp_path: Path) -> None:
    assert run("backup").code == 2, "nothing there yet"
    run("users", "add", "ada", stdin=PASSWORD)
    target = tmp_path / "it's a copy.db"
    assert run("backup", str(target)).code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(target) as connection:
        assert connection.execute("SELECT username FROM users").fetchall() == [("ada",)]
    again = run("backup", str(target))
    assert (again.code, again.err) == (2, f"{target} exists already; a backup never overwrites a file.")


def test_a_backup_is_an_archive_and_comes_back(run: Callable[..., Ran], data_dir: Path, tmp_path: Path) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    said = run("backup", "--with-secret-key").out
    assert len(said) == 1, "nothing is to be kept apart"
    (archive,) = (data_dir / "backups").iterdir()
    assert archive.suffix == ".zip"
    restored = run("restore", str(archive), "--into", str(tmp_path / "new")).out
    assert restored == [f"Restored 0 messages and 0 attachments to {tmp_path / 'new' / 'chatcore.db'}."]
    assert (tmp_path / "new" / "secret_key").read_text() == (data_dir / "secret_key").read_text()
    assert run("restore", str(archive)).code == 2
    assert run("restore", str(archive), "--force").out[1].startswith("The database that was there is ")
    assert run("restore", str(tmp_path / "absent.zip"), "--into", str(tmp_path / "x")).code == 2


def test_a_person_is_erased_when_that_was_meant(run: Callable[..., Ran]) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    run("users", "add", "bob", stdin=PASSWORD)
    refused = run("users", "erase", "bob")
    assert refused.code == 2
    assert "Say --yes to do it." in refused.err
    assert run("users", "erase", "bob", "--yes").out == ["bob is erased."]
    assert len(run("users", "list").out) == 2
    assert run("tenants", "list").out[1].split()[-1] == "1"
    assert run("users", "erase", "bob", "--yes").code == 2
    assert "last operator" in run("users", "erase", "ada", "--yes").err
    assert run("users", "add", "bob", stdin=PASSWORD).code == 0, "the name is free"


def test_retention_says_what_it_would_do(run: Callable[..., Ran]) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    assert run("retention").out == ["Nothing is older than its time."]
    run("demo-data", "--days", "90", "--rows", "50")
    with sqlite3.connect(load_settings().database_url.database or "") as connection:
        connection.execute("UPDATE tenants SET ledger_days = 62")
    would = run("retention", "--dry-run").out
    assert would[0].split() == ["TENANT", "CONVERSATIONS", "OTHER", "MESSAGES", "CALLS"]
    assert would[-1] == "This would be removed."
    done = run("retention").out
    assert done[:2] == would[:2]
    assert run("retention", "--dry-run").out == ["Nothing is older than its time."]


def test_retention_removes_nothing_by_a_clock_that_seems_wrong(run: Callable[..., Ran]) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    with sqlite3.connect(load_settings().database_url.database or "") as connection:
        connection.execute("UPDATE users SET created_at = '2020-01-01 00:00:00.000000'")
    refused = run("retention")
    assert refused.code == 2
    assert "the last that was seen of this instance is of 2020-01-01" in refused.err
    assert run("retention", "--dry-run").code == 0
    assert run("retention", "--even-so").out == ["Nothing is older than its time."]
    assert run("retention").code == 0


def test_postgresql_is_told_its_own_tool_without_the_password(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATCORE_DATABASE_URL", "postgresql://ada:hidden-word@db.example:5433/chat")
    ran = run("backup")
    assert ran.code == 2
    assert "pg_dump --format=custom --file=chatcore.dump postgresql://ada@db.example:5433/chat" in ran.err
    assert "hidden-word" not in ran.err


def test_the_doctor_finds_nothing_on_a_fresh_machine_and_a_fault_where_there_is_one(
    run: Callable[..., Ran], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = run("doctor")
    assert fresh.code == 0, fresh.out
    assert not (data_dir / "chatcore.db").exists(), "looking makes nothing"
    (data_dir / "secret_key").chmod(0o644)
    assert any(line.startswith("FAIL") and "644" in line for line in run("doctor").out)
    monkeypatch.setenv("CHATCORE_DATABASE_URL", "postgresql://ada:hidden-word@127.0.0.1:1/chat")
    ran = run("doctor")
    assert ran.code == 1
    assert "hidden-word" not in "\n".join(ran.out)


def test_demo_data_comes_and_goes(run: Callable[..., Ran]) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    assert run("demo-data", "--days", "3", "--rows", "50").out[0].startswith("Made 50 calls")
    assert len(run("users", "list").out) == 2, "made-up people are not listed"
    assert run("demo-data", "--remove").out == ["Removed 50 made-up calls."]


def test_rollups_are_compared_with_the_ledger_and_counted_anew(run: Callable[..., Ran]) -> None:
    run("users", "add", "ada", stdin=PASSWORD)
    run("demo-data", "--days", "3", "--rows", "50")
    same = run("rollups", "check")
    assert (same.code, same.out[-1]) == (0, "The rollups say what the ledger says.")
    db = Database(load_settings().database_url)
    db.write(lambda session: session.execute(update(UsageHourly).values(prompt_tokens=UsageHourly.prompt_tokens + 1)))
    found = run("rollups", "check", "--tenant", "Default")
    assert found.code == 1
    assert any("prompt_tokens" in line for line in found.out)
    assert run("rollups", "rebuild", "--since", "2020-01-01").out[-1].endswith("days are counted anew.")
    assert run("rollups", "check").code == 0
    assert run("rollups", "check", "--tenant", "Nobody").code == 2
    db.close()


def test_a_password_is_asked_for_twice_at_a_terminal(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = iter([PASSWORD, PASSWORD, PASSWORD, "correct hoarse"])
    monkeypatch.setattr(getpass, "getpass", lambda _prompt: next(answers))
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert main(["users", "add", "ada"]) == 0
    assert main(["users", "add", "bob"]) == 2


def test_help_teaches_and_nothing_heavy_is_imported(data_dir: Path) -> None:
    code = "import sys, chatcore.__main__ as m; m.parser().print_help(); sys.exit('litellm' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0
    assert "users add ada --role admin" in ran.stdout
    for words in (["users", "--help"], ["keys", "add", "--help"]):
        with pytest.raises(SystemExit) as ended:
            parser().parse_args(words)
        assert ended.value.code == 0
