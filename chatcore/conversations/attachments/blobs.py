"""The bytes of attachments: one file for each content, named by its sha256, below the data folder."""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from chatcore.errors import NotFound

_LOST: Final = "This file is no longer there."
_TEMPORARY: Final = ".part-"
_GOING: Final = ".going-"


class Blobs:
    """A folder of files that never change. Safe for several processes at once."""

    def __init__(self, folder: Path) -> None:
        """`folder`: made when the first file comes."""
        self.folder = folder

    def put(self, data: bytes) -> str:
        """Keep `data`, once however often it comes; returns its sha256 in hex."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        try:
            os.utime(path)  # a sweep leaves alone what was put a moment ago
        except FileNotFoundError:
            write(path, data)
        return sha256

    def path(self, sha256: str) -> Path:
        """Where the content of this hash lies."""
        return self.folder / sha256[:2] / sha256

    def beside(self, sha256: str, ending: str) -> Path:
        """Where something made from that content lies: `txt` for its text, `small` for a smaller picture."""
        return self.path(sha256).with_suffix(f".{ending}")

    def read(self, sha256: str) -> bytes:
        """The content. Raises `NotFound` when somebody took the file away."""
        return read(self.path(sha256))

    def old(self, seconds: float) -> Iterator[list[str]]:
        """The hashes of contents that were put longer than `seconds` ago, a few hundred at a time."""
        before = time.time() - seconds
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            found = []
            for path in folder.iterdir():
                if path.name.startswith((_TEMPORARY, _GOING)):
                    _drop_if_old(path, before)
                elif path.suffix == "" and _touched(path) < before:
                    found.append(path.name)
            for start in range(0, len(found), 500):
                yield found[start : start + 500]

    def drop(self, sha256: str, seconds: float) -> bool:
        """Remove a content and what lies beside it, unless it was put again within the last `seconds`."""
        path = self.path(sha256)
        names = [*(made.name for made in path.parent.glob(f"{sha256}.*")), sha256]
        aside = {name: path.with_name(f"{_GOING}{name}-{secrets.token_hex(4)}") for name in names}
        # Once it is aside, whoever puts it writes it anew; who was faster has left a fresh time on it. It goes last,
        # so that nothing that was made beside a new one is taken for an old one's.
        moved = {name: to for name, to in aside.items() if _moved(path.with_name(name), to)}
        if sha256 in moved and _touched(moved[sha256]) > time.time() - seconds:
            for name, where in moved.items():
                where.replace(path.with_name(name))
            return False
        for where in moved.values():
            where.unlink(missing_ok=True)
        return sha256 in moved


def write(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all, readable by this account only."""
    with writing(path) as file:
        file.write(data)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """The same, piece by piece: the file has its name when the block has ended well."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def read(path: Path) -> bytes:
    """A file's content. Raises `NotFound` when it is gone."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(_LOST) from error


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _drop_if_old(path: Path, before: float) -> None:
    if _touched(path) < before:
        path.unlink(missing_ok=True)


def _moved(path: Path, to: Path) -> bool:
    try:
        path.rename(to)
    except FileNotFoundError:
        return False
    return True
