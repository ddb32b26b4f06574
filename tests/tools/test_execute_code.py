"""`execute_code`: what a program says and makes comes back, and it is off until an operator switches it on."""

import asyncio
import json
import os
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chatcore.config import Settings
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.parts import parse
from chatcore.db import Database
from chatcore.flags import FlagStore
from chatcore.tools.execute_code import AT_ONCE, CodeRunner
from chatcore.tools.sandbox import (
    Cell,
    GivenFile,
    Limits,
    NoSandbox,
    Outcome,
    Proof,
    confine,
    find_cell,
    prove,
    received,
    run,
    syscalls,
)
from chatcore.tools.values import ToolFailed
from tests.conftest import add_person
from tests.tools.conftest import House, tried
from tests.tools.shut_in import LIMITS, ran, require_sandbox


def test_what_is_printed_comes_back(house: House) -> None:
    result = house.run("print('hello')")
    assert result.text == "Printed:\nhello\n"
    assert result.parts == ({"type": "code", "language": "text", "code": "hello", "runnable": False},)
    assert not result.failed


def test_the_value_of_the_last_line_comes_back(house: House) -> None:
    assert house.run("x = 40\nx + 2").text == "Printed:\n42\n"
    assert house.run("x = 40\nNone").text == "It printed nothing."


def test_a_program_is_its_own_main_module(house: House) -> None:
    code = "import pickle, sys\nclass A: pass\npickle.loads(pickle.dumps(A()))\nprint(__name__, sys.argv, __file__)"
    assert "__main__ ['program.py'] program.py" in house.run(code).text


def test_a_frame_becomes_a_table(house: House) -> None:
    result = house.run("import pandas as pd\npd.DataFrame({'city': ['Oslo', None], 'n': [1.5, float('inf')]})")
    (table,) = result.parts
    assert (table["columns"], table["rows"]) == (["city", "n"], [["Oslo", 1.5], [None, "inf"]])
    assert parse(table) is not None
    assert "A table of 2 rows and 2 columns is shown to the person" in result.text
    assert "Oslo" in result.text


@pytest.mark.parametrize(
    ("frame", "columns", "first"),
    [
        ("pd.Series([1, 2], index=['a', 'b'], name='n')", ["", "n"], ["a", 1]),
        ("pd.DataFrame({'a': [1, 1], 'b': [2, 4]}).groupby('a').agg(['sum', 'max'])",
         ["a", "b sum", "b max"], [1, 6, 4]),
        ("pd.DataFrame({'t': pd.to_datetime(['2026-01-02'])})", ["t"], ["2026-01-02 00:00:00"]),
        ("pd.DataFrame({'x': [2**60, 1]})", ["x"], [str(2**60)]),
        ("pd.DataFrame({'a': [1]}, index=pd.MultiIndex.from_tuples([('u', 1)], names=['k', None]))",
         ["k", "", "a"], ["u", 1, 1]),
        ("pd.DataFrame([[1, 2]], columns=['a', 'a'])", ["a", "a"], [1, 2]),
        ("pd.DataFrame({'a': [[1, 2]], 'b': [True]})", ["a", "b"], ["[1, 2]", True]),
        ("pd.DataFrame({'a': ['x' * 9999]})", ["a"], ["x" * 300]),
        ("pd.DataFrame({'a': ['n\\0ul\\ud800']})", ["a"], ["nul\ufffd"]),
    ],
)  # fmt: skip
def test_frames_of_all_kinds_become_tables(house: House, frame: str, columns: list[str], first: list[Any]) -> None:
    (table,) = house.run(f"import pandas as pd\n{frame}").parts
    assert (table["columns"], table["rows"][0]) == (columns, first)


@pytest.mark.parametrize("frame", ["pd.DataFrame()", "pd.DataFrame({'a': []})", "pd.Series(dtype=float)"])
def test_empty_frames_break_nothing(house: House, frame: str) -> None:
    assert not house.run(f"import pandas as pd\n{frame}").failed


def test_several_values_can_be_displayed(house: House) -> None:
    result = house.run(
        "import pandas as pd\nd = pd.DataFrame({'a': [1]})\ndisplay(d, 'words', d)\nfor _ in range(9): display(d)"
    )
    assert [part["type"] for part in result.parts].count("table") == 5
    assert "words" in result.text


def test_a_figure_becomes_a_picture_of_the_person(house: House) -> None:
    result = house.run("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()")
    (picture,) = (part for part in result.parts if part["type"] == "media")
    attachment, path = house.attachments.get(house.ann, picture["attachment_id"])
    with Image.open(path) as image:
        assert image.size[0] > 300
    assert attachment.media_type == "image/png"
    assert parse(picture) is not None
    assert "Shown to the person: figure-1.png." in result.text


def test_a_saved_figure_is_not_shown_twice(house: House) -> None:
    result = house.run("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.savefig('mine.png')\nplt.show()")
    assert [part["name"] for part in result.parts if part["type"] == "media"] == ["mine.png"]


def test_files_of_the_folder_come_back(house: House) -> None:
    code = (
        "from PIL import Image\nImage.new('RGB', (20, 10), 'red').save('red.png')\n"
        "open('table.csv', 'w').write('a,b\\n1,2\\n')\nopen('model.bin', 'wb').write(b'x')\n"
        "open('.hidden', 'w').write('x')\n"
        "open('large.txt', 'w').write('x' * (11 << 20))\nNone"
    )
    result = house.run(code)
    assert [(part["type"], part["name"]) for part in result.parts[1:]] == [("media", "red.png"), ("file", "table.csv")]
    assert result.parts[1]["width"] == 20
    assert "Not kept, of a kind or size that cannot be: large.txt, model.bin." in result.text


def test_a_picture_as_the_last_value_is_shown(house: House) -> None:
    (picture,) = house.run("from PIL import Image\nImage.new('RGB', (7, 5))").parts
    assert (picture["width"], picture["height"]) == (7, 5)


def test_what_is_no_picture_is_told_and_not_kept(house: House) -> None:
    result = house.run("open('x.png', 'wb').write(bytes(100))\nNone")
    assert "Not kept: x.png" in result.text
    assert [part["type"] for part in result.parts] == ["code"]


def test_an_error_comes_back_with_its_line_and_no_path_of_the_host(house: House) -> None:
    result = house.run("import json\ndef f(x):\n    return json.loads(x)\nprint('before')\nf('{')")
    assert result.failed
    for said in ("before", 'File "program.py", line 5', "f('{')", "JSONDecodeError", "exit code 1"):
        assert said in result.text
    for path in ("inside.py", sys.base_prefix, sys.prefix, os.getcwd(), "site-packages"):
        assert path not in result.text
    assert "JSONDecodeError" in result.parts[0]["code"]


def test_a_syntax_error_shows_the_line_and_nothing_of_ours(house: House) -> None:
    errors = house.run("x = 1\ny = (").parts[0]["code"]
    assert errors == "  File \"program.py\", line 2\n    y = (\n        ^\nSyntaxError: '(' was never closed"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("x =", "SyntaxError"), ("print('\0')", "null bytes"), ("\ud800", "surrogates"), ("def f(:\n", "SyntaxError"),
        ("(" * 5000, "too many nested"), ("raise SystemExit('bye')", "bye"), ("import sys\nsys.exit(3)", "exit code 3"),
        ("import os\nos._exit(7)", "exit code 7"), ("import os\nos.abort()", "ended by the system"),
        ("import ctypes\nctypes.string_at(0)", "ended by the system"),
        ("raise BaseException('x' * 99)", "BaseException"), ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class E(Exception):\n    def __str__(self): raise self\nraise E", "E"),
        ("import sys\nsys.modules.clear()\nraise ValueError('odd')", "odd"), ("input()", "EOF"),
        ("import builtins\nfor n in dir(builtins): delattr(builtins, n)", "It"),
    ],
)  # fmt: skip
def test_odd_programs_are_told_and_break_nothing(house: House, code: str, says: str) -> None:
    result = house.run(code)
    assert says in result.text
    assert result.failed


@pytest.mark.parametrize("code", ["", "   ", "# nothing", "import sys\nsys.exit(0)", "'\\ud800\\0\\x1b[31m'", "pass;"])
def test_programs_that_say_little_are_no_failures(house: House, code: str) -> None:
    assert not house.run(code).failed


def test_what_cannot_be_stored_is_cleaned(house: House) -> None:
    result = house.run("import sys\nprint('a\\0b\\ud800c\\x1b[31md')\nsys.stdout.buffer.write(b'\\xff\\xfe')")
    said = result.parts[0]["code"]
    assert said.startswith("ab")
    assert not {"\0", "\x1b"} & set(said + result.text)
    (said + result.text).encode()


def test_long_output_keeps_its_beginning_and_its_end(house: House) -> None:
    result = house.run("print('first'); print('x' * 100_000); print('last')")
    assert "first" in result.text
    assert "last" in result.text
    assert len(result.text) < 20_000


def test_threads_and_processor_wait_for_each_other(house: House) -> None:
    code = "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('from a thread'))).start()"
    assert "from a thread" in house.run(code).text


def test_usual_libraries_work(house: House) -> None:
    code = (
        "import csv, datetime, decimal, hashlib, io, json, random, re, shutil, sqlite3, statistics, tempfile, uuid\n"
        "import zipfile, zlib, zoneinfo, lzma, bz2, concurrent.futures as f\nimport numpy as np\n"
        "open('a', 'w').write('x'); shutil.copy('a', 'b'); shutil.copytree('.', '.c', ignore=lambda *_: ['.c'])\n"
        "sqlite3.connect('x.db').execute('create table t (a)')\nnp.linalg.svd(np.random.rand(200, 200))\n"
        "with tempfile.TemporaryDirectory() as d: pass\n"
        "print(list(f.ThreadPoolExecutor(4).map(lambda x: x * 2, range(3))), hashlib.sha256(b'').hexdigest()[:4])\n"
        "print(datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')))\nNone"
    )
    result = house.run(code)
    assert "[0, 2, 4] e3b0" in result.text
    assert "2026-01-01 00:00:00+01:00" in result.text


def test_each_call_begins_anew(house: House) -> None:
    house.run("open('left.txt', 'w').write('x')\nleft = 1")
    assert "[] False" in house.run("import os\nprint(os.listdir('.'), 'left' in globals())").text


def test_files_that_were_attached_lie_in_the_folder(house: House) -> None:
    data = house.attachments.add(house.ann, "sales of 2026.csv", b"city,n\nOslo,3\n")
    same = house.attachments.add(house.ann, "sales of 2026.csv", b"city,n\nRome,4\n")
    code = "import os\nimport pandas as pd\nprint(sorted(os.listdir('.')), pd.read_csv('sales of 2026.csv').city[0])\nx"
    result = house.run(code, data.id, same.id)
    assert "['sales of 2026-2.csv', 'sales of 2026.csv'] Rome" in result.text
    assert "Attached files in its folder: sales of 2026.csv, sales of 2026-2.csv." in result.text
    assert not [part for part in result.parts if part["type"] == "file"], "what was given does not come back"


def test_a_given_file_is_a_copy(house: House) -> None:
    data = house.attachments.add(house.ann, "a.txt", b"as it was")
    result = house.run("import os\nos.unlink('a.txt')\nopen('a.txt', 'w').write('changed')\nNone", data.id)
    assert not result.failed
    assert house.attachments.read(data) == b"as it was"


def test_only_what_the_person_may_read_is_given(any_database: Database, settings: Settings) -> None:
    require_sandbox()
    attachments, flags = Attachments(any_database, settings), FlagStore(any_database, settings)
    flags.set(add_person(any_database, "root", role="operator"), execute_code=True)
    ann, bob = add_person(any_database, "ann"), add_person(any_database, "bob")
    theirs, own = attachments.add(bob, "secret.txt", b"hush"), attachments.add(ann, "own.txt", b"mine")
    runner = CodeRunner(attachments, flags)
    code = "import os\nprint(os.listdir('.'))\nopen('made.txt', 'w').write('new')"
    result = asyncio.run(runner.run(ann, code, [theirs.id, own.id, "att_unknown"]))
    assert "['own.txt']" in result.text
    (made,) = (part for part in result.parts if part["type"] == "file")
    assert attachments.get(ann, made["attachment_id"])[0].name == "made.txt"


@pytest.mark.parametrize("name", ["x" * 200 + ".csv", "ü" * 190 + ".csv", ".hidden", "a.b.c", "日本.txt", "no ending"])
def test_names_of_given_files_fit_every_folder(house: House, name: str) -> None:
    files = [house.attachments.add(house.ann, name, f"{n}".encode()).id for n in range(3)]
    assert "3" in house.run("import os\nprint(len(os.listdir('.')))", *files).text


def test_it_is_off_until_an_operator_switches_it_on(database: Database, settings: Settings) -> None:
    flags = FlagStore(database, settings)
    runner = CodeRunner(Attachments(database, settings), flags)
    ann, root = add_person(database, "ann", role="admin"), add_person(database, "root", role="operator")
    asyncio.run(runner.start())
    assert runner.tools(ann, None, ["execute_code"]) == []
    assert "switched off" in runner.choices(ann)[0].why_not
    with pytest.raises(ToolFailed, match="switched off"):
        asyncio.run(runner.run(ann, "1"))
    flags.set(root, execute_code=True)
    assert "switched off" not in runner.choices(ann)[0].why_not


def test_a_call_fails_once_it_is_switched_off_again(house: House) -> None:
    (tool,) = house.runner.tools(house.ann, None, ["execute_code"])
    house.flags.set(house.root, execute_code=False)
    with pytest.raises(ToolFailed, match="switched off"):
        asyncio.run(tool.run({"code": "1"}, house.call()))


def test_other_tools_are_not_its_own(house: House) -> None:
    assert house.runner.tools(house.ann, None, ["query_database", "mcp/files"]) == []


def test_the_first_call_waits_until_the_sandbox_is_tried(house: House) -> None:
    fresh = CodeRunner(house.attachments, house.flags)
    (tool,) = fresh.tools(house.ann, None, ["execute_code"])
    assert "42" in asyncio.run(tool.run({"code": "6 * 7"}, house.call())).text
    assert fresh.why_not() == ""


def test_without_bubblewrap_it_says_so_and_stays_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    runner = CodeRunner(house.attachments, house.flags)
    assert "bubblewrap" in tried(runner)
    assert runner.tools(house.ann, None, ["execute_code"]) == []
    with pytest.raises(NoSandbox, match="bubblewrap"):
        asyncio.run(runner.run(house.ann, "1"))


def weaker(cell: Cell, *binds: str, rules: bytes | None = None) -> Cell:
    """The same, with a hole."""
    runtime = replace(cell.runtime, binds=(*cell.runtime.binds, *binds))
    return replace(cell, runtime=runtime, rules=cell.rules if rules is None else rules)


ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
HOLES: dict[str, Callable[[Cell], Cell]] = {
    "no filter": lambda cell: weaker(cell, rules=ALLOW_ALL),
    "a file of the host": lambda cell: weaker(cell, "--dir", "/etc", "--ro-bind", "/etc/passwd", "/etc/passwd"),
    "the processes": lambda cell: weaker(cell, "--proc", "/proc"),
    "the network": lambda cell: weaker(cell, "--share-net", rules=ALLOW_ALL),
    "a folder that can be written": lambda cell: weaker(cell, "--perms", "0777", "--tmpfs", "/packages"),
    "nothing works": lambda cell: weaker(cell, "--tmpfs", "/python"),
    "a mount that cannot be": lambda cell: weaker(cell, "--ro-bind", "/nowhere", "/x"),
    "a broken filter": lambda cell: weaker(cell, rules=b"\0" * 8),
}


@pytest.mark.parametrize("hole", HOLES)
def test_a_sandbox_with_a_hole_is_found_out(hole: str) -> None:
    require_sandbox()
    with pytest.raises(NoSandbox):
        asyncio.run(prove(HOLES[hole](find_cell())))


def test_a_private_file_in_sight_is_found_out(tmp_path: Path) -> None:
    require_sandbox()
    asyncio.run(prove(find_cell(), [tmp_path]))
    with pytest.raises(NoSandbox):
        asyncio.run(prove(find_cell(), [tmp_path, Path("/folder")]))


def test_what_was_proved_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    require_sandbox()
    proof = Proof()
    asyncio.run(proof.cell())
    monkeypatch.setattr(confine, "find_runtime", lambda: pytest.fail("it is not tried again"))
    asyncio.run(proof.cell())
    assert proof.why_not == ""


def test_whoever_stops_waiting_ends_the_proof_for_nobody() -> None:
    require_sandbox()
    proof = Proof()

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(proof.cell(), 0.001)
        await proof.cell()

    asyncio.run(impatient())


@pytest.mark.parametrize("machine", ["riscv64", "i686", "armv7l"])
def test_a_machine_whose_calls_are_not_known_has_no_filter(machine: str) -> None:
    assert syscalls.seccomp_filter(machine) is None


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_names_no_call_twice_and_ends(machine: str) -> None:
    rules = syscalls.seccomp_filter(machine)
    assert rules is not None
    lines = [struct.unpack("=HBBI", rules[at : at + 8]) for at in range(0, len(rules), 8)]
    compared = [value for code, _, _, value in lines[4:] if code == 0x15]
    assert len(compared) == len(set(compared))
    assert all(at + 1 + max(yes, no) < len(lines) for at, (code, yes, no, _) in enumerate(lines) if code == 0x15)
    assert lines[-1] == (0x06, 0, 0, 0x00050001)
    assert len(lines) < 4096


def test_only_so_many_run_at_once_and_the_others_wait(house: House) -> None:
    (tool,) = house.runner.tools(house.ann, None, ["execute_code"])
    code = "import time\nprint(time.monotonic()); time.sleep(0.3); print(time.monotonic())"

    async def all_of_them() -> list[tuple[float, float]]:
        results = await asyncio.gather(*(tool.run({"code": code}, house.call()) for _ in range(AT_ONCE + 2)))
        spans = [result.parts[0]["code"].split() for result in results]
        return [(float(begin), float(end)) for begin, end in spans]

    spans = asyncio.run(all_of_them())
    for moment, _ in spans:
        assert sum(begin <= moment < end for begin, end in spans) <= AT_ONCE


def test_a_place_is_free_again_when_its_call_was_cancelled(house: House) -> None:
    (tool,) = house.runner.tools(house.ann, None, ["execute_code"])

    async def cancelled() -> str:
        for _ in range(AT_ONCE + 1):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(tool.run({"code": "import time\ntime.sleep(60)"}, house.call()), 0.2)
        return (await tool.run({"code": "1 + 1"}, house.call())).text

    assert "2" in asyncio.run(cancelled())


def test_a_program_that_runs_too_long_is_told_so(house: House) -> None:
    runner = CodeRunner(house.attachments, house.flags, limits=Limits(seconds=0.5))
    result = asyncio.run(runner.run(house.ann, "print('begun')\nwhile True: pass"))
    assert result.failed
    assert "begun" in result.text
    assert "longer than 0.5 seconds" in result.text
    assert "longer than 0.5 seconds" in result.parts[0]["code"]


def test_a_trivial_call_is_quick() -> None:
    require_sandbox()
    took = []
    for _ in range(5):
        began = time.monotonic()
        assert ran("1 + 1").stdout == "2\n"
        took.append(time.monotonic() - began)
    assert min(took) < 0.5


def test_other_tasks_of_the_loop_go_on_meanwhile() -> None:
    require_sandbox()

    async def gaps() -> float:
        task = asyncio.ensure_future(run(find_cell(), "import time\ntime.sleep(0.3)", [], LIMITS))
        longest, last = 0.0, time.monotonic()
        while not task.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        return longest

    assert asyncio.run(gaps()) < 0.25


def test_a_program_that_takes_no_input_and_ends_is_no_failure() -> None:
    require_sandbox()
    outcome: Outcome = ran("import os\nos._exit(0)", GivenFile("a.bin", bytes(2**22)))
    assert outcome.ending == "ended"


def test_more_than_the_folder_holds_is_told(house: House) -> None:
    require_sandbox()
    outcome = ran("1", GivenFile("a.bin", bytes(LIMITS.folder_bytes)))
    assert outcome.ending == "failed"
    assert "No space left" in outcome.stderr or "File too large" in outcome.stderr


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FRAMES = st.dictionaries(
    st.sampled_from(["kind", "size", "name", "names", "more", "columns", "rows", "of", "text"]),
    _JSON | st.sampled_from(["table", "file", "left", "end", "ready"]),
)


@given(st.lists(st.binary(max_size=40) | _FRAMES.map(lambda one: json.dumps(one).encode() + b"\n")))
def test_whatever_a_program_sends_is_read_without_a_fault(sent: list[bytes]) -> None:
    data = b"".join(sent)
    came = received.read(data)
    assert sum(len(file.data) for file in came.files) <= len(data)
    assert all(isinstance(name, str) and name.isprintable() for name in came.left)
