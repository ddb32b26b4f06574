"""What of this machine a program in the sandbox can see: Python, a few packages, and the libraries that they need."""

import functools
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    "numpy", "pandas", "python-dateutil", "six", "tzdata", "pytz", "matplotlib", "contourpy", "cycler", "fonttools",
    "kiwisolver", "pyparsing", "packaging", "pillow", "scipy", "seaborn", "sympy", "mpmath", "tabulate",
)  # fmt: skip
"""Packages that a program may import where they are installed: they compute, and know nothing of Chatcore."""
_ZONES: Final = Path("/usr/share/zoneinfo")
_HIDDEN: Final = ("site-packages", "dist-packages", "test", "ensurepip", "idlelib", "lib2to3", "turtledemo")
_LINKED: Final = re.compile(r"^\s*(?:(\S+) => )?(/\S+) \(0x[0-9a-f]+\)$", re.M)
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/urandom")
_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Runtime:
    """`python`: the interpreter as the sandbox knows it. `binds`: the arguments of bubblewrap that put all of it in
    place, read-only."""

    python: str
    binds: tuple[str, ...]


@functools.cache
def find_runtime() -> Runtime:
    """Looks at what is installed; takes a second, once. Raises `OSError`, `subprocess.SubprocessError`."""
    interpreter = Path(os.path.realpath(sys.executable))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    standard = Path(sysconfig.get_path("stdlib"))
    inside = f"/python/{sysconfig.get_config_var('platlibdir') or 'lib'}/{version}"
    packages = dict(_packages())
    linked = list(_linked([interpreter, *_native(standard / "lib-dynload"), *_native(*packages.values())]))
    mounts = [
        (str(interpreter), f"/python/bin/{version}"),
        (str(standard), inside),
        *((str(path), f"/packages/{name}") for name, path in packages.items()),
        *linked,
    ]
    if _ZONES.is_dir():
        mounts.append((str(_ZONES), str(_ZONES)))
    binds = [*_folders(target for _, target in mounts), "--dir", "/dev"]
    binds += [word for source, target in dict.fromkeys(mounts) for word in ("--ro-bind", source, target)]
    for name in _HIDDEN:
        if (standard / name).is_dir():
            binds += ["--tmpfs", f"{inside}/{name}", "--remount-ro", f"{inside}/{name}"]
    for device in _DEVICES:
        binds += ["--dev-bind", device, device]
    return Runtime(f"/python/bin/{version}", tuple(binds))


def _folders(targets: Iterable[str]) -> Iterator[str]:
    """The folders above these places: bubblewrap would make them for root alone."""
    for folder in sorted({parent for target in targets for parent in Path(target).parents} - {Path("/")}):
        yield from ("--dir", str(folder))


def _packages() -> Iterator[tuple[str, Path]]:
    """What the packages install at the top of site-packages, by name."""
    for package in PACKAGES:
        try:
            distribution = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        for name in sorted({file.parts[0] for file in distribution.files or ()}):
            path = Path(str(distribution.locate_file(name)))
            if name not in ("..", "__pycache__") and not name.endswith((".dist-info", ".pth")) and path.exists():
                yield name, path


def _native(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*.so*")) if path.is_file())


def _linked(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """The system's libraries that these files need, and where the sandbox has them; the packages' own are left out."""
    done = subprocess.run(  # noqa: S603 - our own list
        ["/usr/bin/env", "-i", "ldd", *map(str, files)],
        capture_output=True, text=True, timeout=_SECONDS, check=False, errors="replace", cwd="/",
    )  # fmt: skip
    found: dict[str, str] = {}
    for name, path in _LINKED.findall(done.stdout):
        if not name:  # the loader, which has to be where every program says it is
            found[path] = path
        elif "site-packages" not in path and "dist-packages" not in path:
            found.setdefault(f"/python/libs/{name}", path)
    for target, path in found.items():
        yield path, target
