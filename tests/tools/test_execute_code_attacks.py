"""The red team's file for `execute_code`: each attack by its name, and none gets through.

Every attack of `ATTACKS` is made twice: by this account and, where this is root, by one without any rights, as the two
are shut in by other means. It says `GOT` and what, where it got something. The others have tests of their own.
"""

import asyncio
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatcore.tools.sandbox import find_cell, received, run
from tests.tools import shut_in
from tests.tools.conftest import House
from tests.tools.shut_in import LIMITS, ROOT, ran

SECRET = "planted-secret-4711"
CONFIG = ROOT / "config.example.yaml"


def attempt(body: str) -> str:
    """Do it; it got something where nothing is raised."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return (
        f"import os, sys, ctypes, socket\ntry:\n{lines}\n    print('GOT', 'it')\n"
        "except BaseException as e:\n    print('no:', type(e).__name__, e)\n"
    )


def read(path: str) -> str:
    return attempt(f"print(open({path!r}, 'rb').read(200))")


def write(path: str) -> str:
    return attempt(f"open({path!r}, 'ab').write(b'x')")


def syscall(number: int, *arguments: str) -> str:
    """By its number on x86_64, with no library between. Whatever the arguments are, it has to be refused as such."""
    given = ", ".join(f"ctypes.c_long({one})" for one in arguments or ("0",))
    return (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "if os.uname().machine != 'x86_64':\n    print('no: the numbers are others')\nelse:\n"
        f"    found, why = libc.syscall({number}, {given}), ctypes.get_errno()\n"
        "    print('no:' if found == -1 and why in (1, 38) else 'GOT', found, why)\n"
    )


ATTACKS: dict[str, str] = {
    # files of the host
    "password file": read("/etc/passwd"),
    "shadow file": read("/etc/shadow"),
    "host name file": read("/etc/hostname"),
    "environment of the first process": read("/proc/1/environ"),
    "own environment by /proc": read("/proc/self/environ"),
    "memory of the first process": read("/proc/1/mem"),
    "own maps": read("/proc/self/maps"),
    "walk of /proc": attempt("print(os.listdir('/proc'))"),
    "walk of /sys": attempt("print(os.listdir('/sys'))"),
    "kernel log": read("/dev/kmsg"),
    "memory device": read("/dev/mem"),
    "disk": read("/dev/vda"),
    "terminal": read("/dev/tty"),
    "app's config": read(str(CONFIG)),
    "app's data": attempt("print(os.listdir({data!r}))"),
    "app's code": attempt(f"print(os.listdir({str(ROOT / 'chatcore')!r}))"),
    "import of the app": attempt("import chatcore"),
    "a package that is not shown": attempt("import litellm"),
    "packages beside the runtime": attempt(
        "import glob\nsys.path += glob.glob('/python/*/*/*-packages')\nimport pip"
    ),
    "home": attempt("print(os.listdir('/root'))"),
    "homes": attempt("print(os.listdir('/home'))"),
    "var": attempt("print(os.listdir('/var'))"),
    "run": attempt("print(os.listdir('/run'))"),
    "tmp of the host": attempt("print(os.listdir('/tmp'))"),
    "dot dot": read("/folder/../../../../../../etc/passwd"),
    "symlink out of the folder": attempt("os.symlink('/etc/passwd', 'a.txt')\nprint(open('a.txt').read())"),
    "hard link out of the folder": attempt("os.link('/inside.py', 'a.txt')"),
    "open by handle": syscall(304, "-100", "0", "0"),
    "name to handle": syscall(303, "-100", "0", "0", "0", "0"),
    # writing
    "write beside the folder": write("/pwned"),
    "write over the runner": write("/inside.py"),
    "write over the standard library": write(f"/python/lib/python3.{sys.version_info.minor}/json/__init__.py"),
    "write over the interpreter": write(f"/python/bin/python3.{sys.version_info.minor}"),
    "write over a package": write("/packages/six.py"),
    "write over a library": write("/python/libs/libc.so.6"),
    "a file among the packages": write("/packages/evil.py"),
    "a file among the devices": write("/dev/evil"),
    "rights of the root folder": attempt("os.chmod('/', 0o777)"),
    "rights of the runner": attempt("os.chmod('/inside.py', 0o777)"),
    "removal of the runner": attempt("os.unlink('/inside.py')"),
    "a program in the folder, mapped": attempt(
        "import mmap\nopen('x', 'wb').write(bytes(4096))\n"
        "mmap.mmap(os.open('x', os.O_RDONLY), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE)"
    ),
    # the network
    "TCP": attempt("socket.create_connection(('127.0.0.1', {port}), 2)"),
    "UDP": attempt("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))"),
    "IPv6": attempt("socket.socket(socket.AF_INET6)"),
    "unix socket": attempt("socket.socket(socket.AF_UNIX)"),
    "abstract unix socket": attempt("socket.socket(socket.AF_UNIX).connect('\\0{abstract}')"),
    "socket pair": attempt("socket.socketpair()"),
    "netlink": attempt("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    "raw packets": attempt("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    "vsock": attempt("socket.socket(40, socket.SOCK_STREAM)"),
    "DNS": attempt("print(socket.getaddrinfo('localhost.example', 80))"),
    "urllib": attempt("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}', timeout=2)"),
    "socket by number": syscall(41, "2", "1", "0"),
    "connect by number": syscall(42, "0", "0", "0"),
    # processes and other programs
    "fork": attempt("os.fork()"),
    "fork bomb": attempt(
        "for _ in range(1000):\n    try: os.fork()\n    except OSError: bad = 1\n    else: print('GOT')\n"
        "raise OSError"
    ),
    "vfork by number": syscall(58),
    "fork by number": syscall(57),
    "clone of a process": syscall(56, "17", "0", "0", "0", "0"),
    "clone that shares memory": syscall(56, "0x111", "0", "0", "0", "0"),
    "clone into namespaces": syscall(56, "0x7e020011", "0", "0", "0", "0"),
    "clone3": syscall(435, "0", "88"),
    "posix_spawn": attempt("os.posix_spawn('/python/bin/python3', ['python3'], dict())"),
    "exec of Python": attempt(f"os.execv('/python/bin/python3.{sys.version_info.minor}', ['python3', '-c', '1'])"),
    "exec of a shell": attempt("os.execv('/bin/sh', ['sh', '-c', 'echo GOT'])"),
    "exec by number": syscall(59, "0", "0", "0"),
    "execveat": syscall(322, "0", "0", "0", "0", "0"),
    "system": attempt("assert os.system('true') == 0"),
    "subprocess": attempt("import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'], check=True)"),
    "multiprocessing": attempt("import multiprocessing as m\nm.get_context('fork').Process(target=print).start()"),
    "ptrace of the first process": syscall(101, "16", "1", "0", "0"),
    "ptrace of itself": syscall(101, "0", "0", "0", "0"),
    "memory of another": syscall(310, "1", "0", "0", "0", "0", "0"),
    "kill of everybody": attempt("os.kill(-1, 0)"),
    "kill of the host's processes": attempt(
        "alive = []\nfor pid in [{pid}, *range(3, 3000)]:\n    try:\n        os.kill(pid, 0)\n"
        "        alive.append(pid)\n"
        "    except OSError: pass\nassert [one for one in alive if one != os.getpid()]"
    ),
    "handle of the first process": syscall(434, "1", "0"),
    "session of its own": attempt("os.setsid()"),
    # rights
    "setuid": attempt("os.setuid(0)"),
    "setresuid by number": syscall(117, "0", "0", "0"),
    "setgid": attempt("os.setgid(0)"),
    "setgroups": attempt("os.setgroups([0])"),
    "capabilities": syscall(126, "0", "0"),
    "setuid file of root": attempt("open('x', 'w').close()\nos.chown('x', 0, 0)"),
    "chroot": attempt("os.chroot('/folder')"),
    "mount": syscall(165, "0", "0", "0", "0", "0"),
    "unmount": syscall(166, "0", "2"),
    "fsopen": syscall(430, "0", "0"),
    "open_tree": syscall(428, "-100", "0", "1"),
    "move_mount": syscall(429, "0", "0", "0", "0", "0"),
    "mount_setattr": syscall(442, "0", "0", "0", "0", "0"),
    "pivot_root": syscall(155, "0", "0"),
    "unshare": syscall(272, "0x10000000"),
    "unshare of the network": syscall(272, "0x40000000"),
    "setns": syscall(308, "0", "0"),
    "sethostname": syscall(170, "0", "0"),
    "device": attempt("os.mknod('sda', 0o60600, os.makedev(8, 0))"),
    "raised priority": attempt("os.nice(-5)"),
    "raised memory limit": attempt("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
    "raised thread limit": attempt("import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (99999, 99999))"),
    "clock": syscall(227, "0", "0"),
    "reboot": syscall(169, "0xfee1dead", "0x28121969", "0x1234567", "0"),
    # parts of the kernel
    "keyctl": syscall(250, "0", "-3", "0", "0", "0"),
    "add_key": syscall(248, "0", "0", "0", "0", "0"),
    "io_uring": syscall(425, "1", "0"),
    "aio": syscall(206, "1", "0"),
    "bpf": syscall(321, "0", "0", "0"),
    "perf_event_open": syscall(298, "0", "0", "0", "0", "0"),
    "userfaultfd": syscall(323, "1"),
    "memfd": syscall(319, "0", "0"),
    "shared memory": syscall(29, "0", "4096", "0x3ff"),
    "message queue": syscall(68, "0", "0x3ff"),
    "inotify": syscall(253),
    "fanotify": syscall(300, "0", "0"),
    "vmsplice": syscall(278, "1", "0", "0", "0"),
    "splice": syscall(275, "0", "0", "1", "0", "1", "0"),
    "load a module": syscall(175, "0", "0", "0"),
    "kexec": syscall(246, "0", "0", "0", "0"),
    "personality": syscall(135, "0x0040000"),
    "kernel's messages": syscall(103, "2", "0", "0"),
    "memory locked": syscall(149, "0", "4096"),
    "calls of the x32 table": syscall(0x40000000 + 39),
    "a call that does not exist": syscall(9999),
    "type into the terminal": attempt("import fcntl\nfcntl.ioctl(0, 0x5412, b'x')"),
    "type into the terminal, high bits set": syscall(16, "0", "0x100005412", "0"),
    "paste into the console": attempt("import fcntl\nfcntl.ioctl(1, 0x541C, b'\\x03')"),
    "lift the filter": attempt("assert ctypes.CDLL(None).prctl(22, 0, 0, 0, 0) == 0"),
    "gain rights again": attempt("assert ctypes.CDLL(None).prctl(38, 0, 0, 0, 0) == 0"),
    "dump memory": attempt("assert ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0"),
    # what was left open
    "inherited descriptors": attempt(
        "import stat\nfound = []\nfor fd in range(3, 4096):\n"
        "    try: found.append(stat.S_ISFIFO(os.fstat(fd).st_mode))\n"
        "    except OSError: pass\nassert found != [True], found"
    ),
    "the planted secret in the environment": attempt(f"assert {SECRET!r} in str(dict(os.environ))"),
    "a key in the environment": attempt("assert [k for k in os.environ if 'KEY' in k or 'CHATCORE' in k]"),
    "what the runner was told": attempt(f"assert {SECRET!r} in str(vars(sys.modules['__main__'])) + str(sys.argv)"),
    "open folders above": attempt("print(os.listdir('/folder/..'))\nassert 'etc' in os.listdir('/')"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def sandbox() -> None:
    shut_in.require_sandbox()


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The programs, with a server of this host to reach, and a data folder to see."""
    data = tmp_path_factory.mktemp("data")
    (data / "chatcore.db").write_text(SECRET)
    abstract = f"chatcore-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0{abstract}")
        local.listen()
        words = {"port": tcp.getsockname()[1], "abstract": abstract, "pid": os.getpid(), "data!r": repr(str(data))}
        made = dict(ATTACKS)
        for word, value in words.items():
            made = {name: code.replace(f"{{{word}}}", str(value)) for name, code in made.items()}
        yield made
        for server in (tcp, local):
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()


@pytest.fixture(scope="module", params=["this account", "an account without rights"])
def told(request: pytest.FixtureRequest, attacks: dict[str, str]) -> dict[str, dict[str, Any]]:
    """How each attack went."""
    codes = list(attacks.values())
    secret = {"PLANTED_API_KEY": SECRET, "CHATCORE_SECRET_KEY": SECRET}
    if request.param == "this account":
        with pytest.MonkeyPatch.context() as patched:
            for name, value in secret.items():
                patched.setenv(name, value)
            return dict(zip(attacks, asyncio.run(shut_in.all_told(codes)), strict=True))
    if os.geteuid() != 0:
        pytest.skip("this account has no rights, so both are the same")
    return dict(zip(attacks, shut_in.told_by_another(codes, secret), strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_gets_nothing(told: dict[str, dict[str, Any]], name: str) -> None:
    outcome = told[name]
    assert "no:" in outcome["said"] or outcome["ending"] == "killed", outcome
    assert "GOT" not in outcome["said"]
    assert SECRET not in outcome["said"]
    assert outcome["ready"]


def test_calls_of_a_32_bit_program_end_the_process() -> None:
    """`int 0x80` on a 64-bit kernel speaks the table of i386, whose numbers mean other calls."""
    if platform.machine() != "x86_64":
        pytest.skip("only x86_64 has two tables")
    code = (
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
        "m.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))\n"  # getpid
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nprint('GOT', f())"
    )
    outcome = ran(code)
    assert (outcome.ending, outcome.stdout) == ("killed", "")


EATS: dict[str, tuple[str, str]] = {
    "memory bomb": ("x = [bytearray(100 << 20) for _ in range(100)]", "MemoryError"),
    "mapped memory": ("import mmap\nx = [mmap.mmap(-1, 100 << 20) for _ in range(100)]", "Cannot allocate"),
    "thread bomb": (
        "import threading, time\n"
        "for _ in range(9999): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "can't start new thread",
    ),
    "file of ten gigabytes": ("f = open('x', 'wb')\nfor _ in range(10240): f.write(bytes(1 << 20))", "File too large"),
    "sparse file": ("import os\nos.truncate(os.open('x', os.O_RDWR | os.O_CREAT), 10 << 30)", "File too large"),
    "reserved file": (
        "import os\nos.posix_fallocate(os.open('x', os.O_RDWR | os.O_CREAT), 0, 10 << 30)",
        "File too large",
    ),
    "many large files": ("for n in range(9999): open(f'{n}', 'wb').write(bytes(1 << 20))", "No space left"),
    "a million small files": ("for n in range(1000000): open(f'{n}', 'w').close()", "No space left"),
    "a million symlinks": ("import os\nfor n in range(1000000): os.symlink('x', f'{n}')", "No space left"),
    "a million hard links": (
        "import os\nopen('x', 'w').close()\nfor n in range(1000000): os.link('x', f'{n}')",
        "No space left",
    ),
    "deep folders": ("import os\nfor _ in range(1000000): os.mkdir('d'); os.chdir('d')", "No space left"),
    "open files": ("x = [open('/dev/null') for _ in range(9999)]", "Too many open files"),
    "pipes": ("import os\nx = [os.pipe() for _ in range(9999)]", "Too many open files"),
    "deep recursion": ("def f(): f()\nf()", "RecursionError"),
    "large number as text": ("print(10 ** 100000)", "Exceeds the limit"),
}  # fmt: skip


@pytest.mark.parametrize("name", EATS)
def test_what_eats_the_machine_is_refused(name: str) -> None:
    code, says = EATS[name]
    outcome = ran(code)
    assert says in outcome.stderr
    assert outcome.ending == "failed"


def test_threads_made_by_number_are_limited_too() -> None:
    """Threads without Python's locks and stacks cost no memory that its limit would see."""
    if platform.machine() != "x86_64":
        pytest.skip("written in the machine's own code")
    clone = (  # clone(0x3d0f00, rbp - 64, 0, 0, 0); the new thread calls pause() for ever
        "b838000000 bf000f3d00 488d75c0 4831d2 4d31d2 4d31c0 0f05 4885c0 7401 c3 b822000000 0f05 ebf7"
    )
    code = (
        f"import ctypes, mmap, os\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex({clone!r}))\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
        "print(sum(f() > 0 for _ in range(300)))\nos._exit(0)\n"
    )
    outcome = ran(code)
    assert (outcome.ending, int(outcome.stdout)) == ("ended", LIMITS.threads - 1)


FOREVER = {
    "spin": "while True: pass",
    "sleep for ever": "import time\ntime.sleep(600)",
    "deaf to signals": (
        "import signal, time\nfor n in (1, 2, 3, 15, 24): signal.signal(n, signal.SIG_IGN)\ntime.sleep(600)"
    ),
    "threads that spin": (
        "import threading\ndef f():\n    while True: pass\n"
        "for _ in range(8): threading.Thread(target=f).start()"
    ),
    "long in C": "10 ** 10 ** 9",
    "waiting for input": "import os\nos.read(os.pipe()[0], 1)",
    "closing everything": (
        "import os, time\nfor fd in range(64):\n    try: os.close(fd)\n    except OSError: pass\n"
        "time.sleep(600)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREVER)
def test_what_never_ends_is_ended(name: str) -> None:
    began = time.monotonic()
    assert ran(FOREVER[name], seconds=0.6).ending == "too_long"
    assert time.monotonic() - began < 6
    assert not left_behind()


@pytest.mark.parametrize("whom", ["0", "-os.getpgrp()", "os.getpid()", "-1", "1"])
def test_signals_stay_inside(whom: str) -> None:
    outcome = ran(f"import os\nos.kill({whom}, 9)\nos.kill(os.getpid(), 9)")
    assert (outcome.ending, outcome.status) in (("killed", 128 + 9), ("failed", 1))
    assert not left_behind()


def test_the_processor_is_limited_over_all_threads() -> None:
    assert ran(FOREVER["threads that spin"], cpu_seconds=1).ending == "cpu"


def test_a_program_that_ignores_the_end_of_its_cpu_time_is_killed() -> None:
    code = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert ran(code, cpu_seconds=1).ending == "killed"
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5


def left_behind() -> list[str]:
    """Processes of this test process's sandboxes that still run, waited for a moment."""
    deadline = time.monotonic() + 3
    while (
        found := [pid for pid in os.listdir("/proc") if pid.isdigit() and is_ours(pid)]
    ) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def is_ours(pid: str) -> bool:
    """Whether it is one of `LIMITS`, by the number of files that these allow."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return False
    return "/inside.py" in words and f'"folder_files": {LIMITS.folder_files},' in words


@pytest.mark.parametrize("where", ["stdout", "stderr"])
def test_ten_gigabytes_of_output_are_neither_kept_nor_waited_for(where: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = ran(f"import sys\nfor _ in range(10240): sys.{where}.write('x' * 2**20)")
    assert outcome.ending == "too_much"
    assert len(getattr(outcome, where)) == LIMITS.output_bytes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # kilobytes


FIND = (
    "import os, stat\ndef _is(n):\n    try: return stat.S_ISFIFO(os.fstat(n).st_mode)\n"
    "    except OSError: return False\n"
    "fd = next(n for n in range(3, 64) if _is(n))\n"
)


def test_a_flood_of_results_is_ended() -> None:
    outcome = ran(FIND + "while True: os.write(fd, bytes(1 << 20))")
    assert outcome.ending == "too_much"
    assert outcome.came.files == ()


LIES = {
    "no JSON": b"]]]{\n",
    "deep JSON": b"[" * 200_000 + b"\n",
    "a list": b"[1, 2]\n",
    "no line end": b"x" * 3_000_000,
    "more bytes than there are": b'{"kind": "file", "size": 99999999, "name": "x.png"}\nabc',
    "a negative size": b'{"kind": "file", "size": -5, "name": "x.png"}\n' * 3,
    "sizes that are none": (
        b'{"kind": "file", "size": true}\n'
        b'{"kind": "file", "size": 1e99}\n{"kind": "file", "size": "1"}\n'
    ),
    "a number without end": b'{"kind": "table", "rows": ' + b"9" * 100_000 + b"}\n",
    "a table that is none": b'{"kind": "table", "columns": [1, {}], "rows": [[1], 5, [[]]], "of": [1, 2]}\n',
    "a table of lies": b'{"kind": "table", "columns": ["a"], "rows": [[NaN]], "of": [-1, null]}\n',
    "names that are none": b'{"kind": "left", "names": [1, null, {"a": 2}, "\\ud800\\u0000"], "more": "x"}\n',
    "a file with a path": b'{"kind": "file", "size": 1, "name": "../../../etc/cron.d/x"}\nx',
    "a picture that is none": b'{"kind": "file", "size": 8, "name": "a.png"}\n\x89PNG\r\n\x1a\n',
    "unknown kinds": b'{"kind": "run", "command": "rm"}\n{"kind": {"a": 1}}\n{}\n',
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_lies_about_results_break_nothing(house: House, name: str) -> None:
    result = house.run(f"{FIND}os.write(fd, {LIES[name][:60_000]!r})\nos._exit(0)")
    assert [part["type"] for part in result.parts if part["type"] != "text"] in ([], ["code"], ["file"])
    assert "\0" not in json.dumps(list(result.parts))


@pytest.mark.parametrize("name", LIES)
def test_whatever_is_sent_can_be_read(name: str) -> None:
    came = received.read(b'{"kind": "ready"}\n' + LIES[name])
    assert came.ready
    assert all("/" not in file.name or name == "a file with a path" for file in came.files)


def test_closing_the_way_of_the_results_keeps_what_was_said(house: House) -> None:
    result = house.run(FIND + "print('said')\nos.close(fd)")
    assert "said" in result.text


LEFT = {
    "a symlink to a file of the host": "import os\nos.symlink('/etc/passwd', 'a.txt')",
    "a symlink to the app's config": f"import os\nos.symlink({str(CONFIG)!r}, 'a.txt')",
    "a symlink to itself": "import os\nos.symlink('a.txt', 'a.txt')",
    "a folder with a file's name": "import os\nos.mkdir('a.txt')",
    "a FIFO": "import os\ntry: os.mkfifo('a.txt')\nexcept OSError: pass",
    "a file without an end": "import os\nos.symlink('/dev/zero', 'a.txt')",
    "a file that is replaced by a symlink": (
        "import os\nopen('a.txt', 'w').write('x')\nos.unlink('a.txt')\nos.symlink('/etc/passwd', 'a.txt')"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_in_the_folder_is_not_followed(name: str) -> None:
    outcome = ran(LEFT[name])
    assert outcome.came.files == ()
    assert outcome.ending == "ended"


@pytest.mark.parametrize(
    "name", ["a\nb.txt", "a..txt", "\x1b[31m.txt", "x" * 251 + ".txt", "a\\..\\b.txt", "%2e%2e.txt", "\u202etxt.txt"]
)
def test_names_of_files_stay_names(house: House, name: str) -> None:
    (part,) = (part for part in house.run(f"open({name!r}, 'w').write('data')").parts if part["type"] == "file")
    assert part["name"].isprintable()
    assert "/" not in part["name"]
    _, path = house.attachments.get(house.ann, part["attachment_id"])
    assert house.attachments.files.folder in path.parents


def test_a_name_that_is_not_text_breaks_nothing(house: House) -> None:
    assert not house.run("open(b'\\xff\\xfe.txt', 'w').write('data')").failed


BOMB = """
import struct, zlib
def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
head = struct.pack('>IIBBBBB', 60000, 60000, 8, 0, 0, 0, 0)
pixels = zlib.compressobj(9)
data = b''.join(pixels.compress(bytes(60001)) for _ in range(2000)) + pixels.flush()
parts = chunk(b'IHDR', head) + chunk(b'IDAT', data) + chunk(b'IEND', b'')
open('bomb.png', 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n' + parts)
"""


def test_a_decompression_bomb_is_not_decoded(house: House) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = house.run(BOMB)
    assert "bomb.png has too many pixels" in result.text
    assert [part["type"] for part in result.parts] == ["code"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_a_huge_table_is_cut(house: House) -> None:
    result = house.run("import numpy as np, pandas as pd\npd.DataFrame(np.zeros((100_000, 60)))")
    (table,) = result.parts
    assert (len(table["rows"]), len(table["columns"])) == (200, 30)
    assert table["title"] == "The first 200 of 100,000 rows"
    assert len(result.text) < 20_000


def test_a_cancelled_call_ends_at_once_and_leaves_nothing() -> None:
    async def cancelled() -> float:
        cell = find_cell()
        task = asyncio.ensure_future(run(cell, "import time\ntime.sleep(600)", [], LIMITS))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    assert asyncio.run(cancelled()) < 0.2
    assert not left_behind()


def test_a_call_that_is_cancelled_while_it_is_set_up_leaves_nothing() -> None:
    async def cancelled(after: float) -> None:
        task = asyncio.ensure_future(run(find_cell(), "import time\ntime.sleep(600)", [], LIMITS))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for step in range(12):
        asyncio.run(cancelled(step * 0.003))
    assert not left_behind()


def test_when_the_app_is_killed_its_programs_end() -> None:
    script = (
        "import asyncio\nfrom chatcore.tools.sandbox import find_cell, run\nfrom tests.tools.shut_in import LIMITS\n"
        "asyncio.run(run(find_cell(), 'import time\\ntime.sleep(600)', [], LIMITS))"
    )
    app = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    deadline = time.monotonic() + 30
    while len(running_below(app.pid)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    below = running_below(app.pid)
    app.kill()
    app.wait()
    assert len(below) >= 3  # bubblewrap, its first process, the program
    while any(Path(f"/proc/{pid}").exists() for pid in below) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


def running_below(pid: int) -> list[int]:
    """The processes that it began, and those that these began."""
    found: list[int] = []
    children = Path(f"/proc/{pid}/task")
    try:
        for task in children.iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *running_below(int(child))]
    except OSError:
        return found
    return found
