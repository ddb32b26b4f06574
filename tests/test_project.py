"""The project around the code: what its files say about each other is true."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatcore.__main__ import parser
from chatcore.config import _KNOWN_VARIABLES, PROJECT_ROOT
from chatcore.db.tables import UsageMetric

PINNED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.]+)(?: ; .*)?")
HASHED = re.compile(r"\S+==\S+( ; [^\n]+?)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n?)+")
DOCUMENTS = [PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").rglob("*.md"))]


def read(name: str) -> str:
    return (PROJECT_ROOT / name).read_text(encoding="utf-8")


def tracked() -> list[Path]:
    """The project's text files: git's where this is a checkout, else everything but what tools leave behind."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        files = [PROJECT_ROOT / line for line in listed.stdout.splitlines()]
    else:
        hidden = {".venv", "venv", "data", "__pycache__"}
        files = [path for path in PROJECT_ROOT.rglob("*") if not hidden & set(path.relative_to(PROJECT_ROOT).parts)]
    return [path for path in files if path.is_file() and path.suffix not in {".png", ".ico", ".woff2", ".pyc"}]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name: str) -> dict[str, str]:
    """Package → version of a requirements file, read strictly."""
    found: dict[str, str] = {}
    for line in read(name).splitlines():
        line = line.strip().rstrip("\\").strip()
        if not line or line.startswith(("#", "-r ", "--hash=sha256:")):
            continue
        match = PINNED.fullmatch(line)
        assert match, f"{name}: {line!r} is not pinned with =="
        assert found.setdefault(normal(match[1]), match[2]) == match[2], f"{name} pins {match[1]} twice"
    return found


# ---- requirements


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_lock_holds_what_the_requirements_pin_with_hashes(name: str) -> None:
    locked = pins("requirements.lock") | pins(f"{name}.lock")
    for package, version in pins(f"{name}.txt").items():
        assert locked.get(package) == version, f"{package}: run scripts/lock"
    for block in re.split(r"\n(?=[A-Za-z0-9])", read(f"{name}.lock").split("do not edit.\n", 1)[1].strip()):
        assert re.fullmatch(r"\S+==\S+( ; [^\n]+?)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n?)+", block + "\n"), (
            block
        )


def test_the_two_locks_share_nothing() -> None:
    assert not pins("requirements.lock").keys() & pins("requirements-dev.lock").keys()


def test_the_given_packages_are_all_there() -> None:
    given = {"streamlit", "litellm", "sqlalchemy", "pandas", "plotly", "streamlit-authenticator", "pytest"}
    assert given <= pins("requirements.txt").keys()


def test_requirements_are_what_the_code_imports_and_nothing_more() -> None:
    distributions, pinned = packages_distributions(), pins("requirements.txt").keys()
    imported = {
        name
        for top in imported_packages("app.py", "chatcore", "pages")
        if top not in sys.stdlib_module_names and top not in {"chatcore", "pages"}
        # Several packages share the name opentelemetry: those of them that are asked for.
        for name in pinned & set(map(normal, distributions[top])) or {normal(distributions[top][0])}
    }
    # pytest is given; st.login needs Authlib; code of models in the sandbox draws with matplotlib.
    assert imported == pinned - {"pytest", "authlib", "matplotlib"}


def imported_packages(*names: str) -> set[str]:
    found: set[str] = set()
    for name in names:
        path = PROJECT_ROOT / name
        for file in [path] if path.is_file() else path.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.split(".")[0])
    return found


# ---- rules


def test_the_import_rules_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_rules_name_every_package_and_page() -> None:
    contracts = {c["name"]: c for c in tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]}
    layers = {name for layer in contracts["chatcore's layers"]["layers"] for name in layer.split(" | ")}
    packages = {f"chatcore.{path.parent.name}" for path in (PROJECT_ROOT / "chatcore").glob("*/__init__.py")}
    assert packages <= layers
    pages = {f"pages.{path.stem}" for path in (PROJECT_ROOT / "pages").glob("*.py")}
    assert set(contracts["pages never import pages"]["modules"]) == pages


def test_nothing_names_the_place_where_it_was_written() -> None:
    # Written in two halves each, so that this file passes its own test.
    halves = {"/wo": "rk/", "../sha": "red", "/opt/ve": "nv", "/opt/py": "pi", "/opt/whe": "els", "--index": "-url"}
    forbidden = [left + right for left, right in halves.items()] + ["--extra-index" + "-url", "pypi.org" + "/simple"]
    found = [
        f"{path.relative_to(PROJECT_ROOT)}: {words}"
        for path in tracked()
        for words in forbidden
        if words in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert found == []


def test_streamlit_shows_strangers_nothing_and_believes_no_stranger() -> None:
    config: dict[str, Any] = tomllib.loads(read(".streamlit/config.toml"))
    assert config["client"]["showErrorDetails"] == "none"
    assert config["client"]["toolbarMode"] == "minimal"
    assert config["client"]["disableDataExport"], "what tables hand out by themselves is not safe for spreadsheets"
    assert config["server"]["enableAgentApi"] is False
    assert config["server"]["enableStaticServing"] is False
    assert config["server"]["trustedUserHeaders"] == {
        "X-Chatcore-Session": "session_id",
        "X-Chatcore-Address": "address",
    }
    assert config["browser"]["gatherUsageStats"] is False
    assert config["runner"]["postScriptGC"] is False
    assert config["server"].get("enableCORS", True)
    assert config["server"].get("enableXsrfProtection", True)


# ---- documents


def shell_lines(document: Path) -> Iterator[str]:
    for block in re.findall(r"```sh\n(.*?)```", document.read_text(encoding="utf-8"), re.S):
        for line in block.splitlines():
            yield line.split("  #")[0].split("   ")[0]


def test_the_readme_starts_with_one_picture_one_start_one_test() -> None:
    first_screen = read("README.md").split("\n## ", 1)[0]
    assert first_screen.count("![") == 1
    assert "pip install -r requirements.txt && streamlit run app.py" in first_screen
    assert "pip install -r requirements-dev.txt && pytest" in first_screen
    assert first_screen.count("```sh") == 2


def test_the_commands_in_the_documents_exist() -> None:
    seen = 0
    for document in DOCUMENTS:
        for line in shell_lines(document):
            for command in line.split("&&"):
                words = shlex.split(command)
                if "chatcore" in words and words[:2] == ["python", "-m"]:
                    parser().parse_args(words[3:])
                    seen += 1
                for word in words:
                    if re.fullmatch(r"[\w./-]+\.(?:py|txt|lock|example\.yaml)", word):
                        assert (PROJECT_ROOT / word).is_file(), f"{document.name}: {word}"
    assert seen >= 3


def test_the_links_in_the_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_tree_in_the_readme_is_the_tree() -> None:
    tree = re.search(r"```\n(app\.py.*?)```", read("README.md"), re.S)
    assert tree
    folder = ""
    for line in tree[1].splitlines():
        indent, names = re.match(r"( *)(.*)", line).groups()  # type: ignore[union-attr]
        if not indent:
            folder = ""
        for name in re.findall(r"[\w.]+(?:\.py|/)(?= |$)", names.split("   ")[0]):
            assert (PROJECT_ROOT / folder / name).exists(), f"{folder}{name}"
            if not indent and name.endswith("/"):
                folder = name


def test_every_setting_is_explained() -> None:
    table = re.findall(r"^\| (`CHATCORE_.*?) \|", read("docs/operations.md"), re.M)
    assert {name for cell in table for name in re.findall(r"CHATCORE_[A-Z_]+", cell)} == _KNOWN_VARIABLES


def test_every_command_is_in_the_manual() -> None:
    manual = read("docs/operations.md")
    for group in subcommands(parser()):
        assert f"`{group}" in manual, group


def subcommands(found: Any, before: str = "") -> Iterator[str]:
    actions = [action for action in found._actions if action.choices and hasattr(action.choices, "items")]
    if not actions:
        yield before.strip()
    for action in actions:
        for name, deeper in action.choices.items():
            yield from subcommands(deeper, f"{before} {name}")


def test_the_ledgers_columns_in_the_manual_are_the_tables() -> None:
    section = read("docs/operations.md").split("## The ledger, for BI tools")[1]
    cells = re.findall(r"^\| (`.*?) \|", section, re.M)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named <= set(UsageMetric.__table__.columns.keys())
    assert len(named) > 25


# ---- deployment


def test_compose_has_no_password_of_its_own() -> None:
    compose = yaml.safe_load(read("compose.yaml"))
    for service, variable in (("app", "PGPASSWORD"), ("db", "POSTGRES_PASSWORD")):
        assert compose["services"][service]["environment"][variable].startswith("${POSTGRES_PASSWORD:?")
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["app"]["ports"])
    named = {name for name in compose["services"]["app"]["environment"] if name.startswith("CHATCORE_")}
    assert named <= _KNOWN_VARIABLES


def test_the_image_installs_by_hash_and_runs_as_nobody_in_particular() -> None:
    lines = read("Dockerfile").splitlines()
    assert "RUN pip install --require-hashes -r requirements.lock" in lines
    assert "USER chatcore" in lines
    assert "STOPSIGNAL SIGTERM" in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    kept = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    for line in lines:
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert (PROJECT_ROOT / source).exists()
                assert source in kept
