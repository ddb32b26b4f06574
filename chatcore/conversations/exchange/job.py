"""Imports in the background: each on its own thread, with progress that anybody of its person can look at."""

import logging
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final, Literal

from chatcore.accounts.principal import Principal
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.exchange.reader import NO_CONVERSATIONS, Reader
from chatcore.conversations.exchange.values import ImportedConversation
from chatcore.conversations.exchange.writer import Writer
from chatcore.db import Database
from chatcore.errors import ChatcoreError, InvalidInput
from chatcore.ids import new_id

log = logging.getLogger(__name__)

State = Literal["running", "done", "failed", "cancelled"]

_PROBLEMS: Final = 20
_REST: Final = 0.3  # of the time worked: pages and running replies come in between
_LONGEST_REST: Final = 0.1  # seconds


@dataclass(frozen=True)
class ImportProgress:
    """How far an import is. `fraction`: of the file, 0 to 1. Conversations are counted by what became of them:
    `skipped` ones could not be used. `problems`: up to 20 sentences for the person; with `failed` the first says why.
    """

    id: str
    name: str
    state: State = "running"
    fraction: float = 0.0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    messages: int = 0
    problems: tuple[str, ...] = ()

    @property
    def conversations(self) -> int:
        """Conversations of the file that were looked at."""
        return self.added + self.updated + self.unchanged + self.skipped


class Cancelled(Exception):
    """The person stopped the import; what was written stays."""


@dataclass
class Job:
    """One import. The thread that runs it replaces `progress`; others only read it."""

    principal: Principal
    file: IO[bytes]
    size: int
    progress: ImportProgress
    cancelled: threading.Event = field(default_factory=threading.Event)
    _worked_since: float = 0.0

    def run(self, db: Database, attachments: Attachments, places: threading.Semaphore) -> None:
        """The whole import; it raises nothing."""
        try:
            while not places.acquire(timeout=0.1):
                self._stop_if_cancelled()
            try:
                self._worked_since = time.monotonic()
                self._import(db, attachments)
            finally:
                places.release()
        except Cancelled:
            self._end("cancelled")
        except ChatcoreError as error:
            self._end("failed", str(error))
        except Exception:
            log.exception("an import failed")
            self._end("failed", "Something went wrong on our side. What was imported so far is kept; try again.")
        finally:
            self.file.close()

    def _import(self, db: Database, attachments: Attachments) -> None:
        reader = Reader(self.file, self.size)
        writer = Writer(db, self.principal, attachments, lambda: self._pause(reader))
        for one in reader:
            self._one(writer, one)
            self._pause(reader)
        if reader.broken and not reader.found:
            raise InvalidInput("The file is damaged, or was cut off before its first conversation ended.")
        if reader.broken:
            whole = _count(reader.found, "conversation")
            self._problem(f"The file is damaged or was cut off. Its first {whole} could be read.")
        if reader.unknown:
            self._problem(f"{_count(reader.unknown, 'entry', 'entries')} of the file are no conversations.")
        self.progress = replace(self.progress, fraction=1.0)
        self._end("done")

    def _one(self, writer: Writer, one: ImportedConversation) -> None:
        outcome, messages = writer.write(one)
        now = self.progress
        self.progress = replace(now, **{outcome: getattr(now, outcome) + 1}, messages=now.messages + messages)
        title = one.title[:60] or "A conversation without title"
        if outcome == "skipped":
            self._problem(f"“{title}” has no messages that can be read.")
        if one.doubled and outcome != "unchanged":
            self._problem(f"“{title}”: {_count(one.doubled, 'message')} had the id of another one.")
        if one.unread and outcome != "unchanged":
            self._problem(f"“{title}”: {_count(one.unread, 'piece')} could not be read.")
        for problem in writer.problems:
            self._problem(problem)
        writer.problems.clear()

    def _pause(self, reader: Reader) -> None:
        self.progress = replace(self.progress, fraction=max(self.progress.fraction, min(reader.fraction, 0.99)))
        worked = time.monotonic() - self._worked_since
        self.cancelled.wait(min(worked * _REST, _LONGEST_REST))
        self._stop_if_cancelled()
        self._worked_since = time.monotonic()

    def _stop_if_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled

    def _problem(self, sentence: str) -> None:
        if len(self.progress.problems) < _PROBLEMS and sentence not in self.progress.problems:
            self.progress = replace(self.progress, problems=(*self.progress.problems, sentence))

    def _end(self, state: State, problem: str | None = None) -> None:
        problems = (problem, *self.progress.problems)[:_PROBLEMS] if problem else self.progress.problems
        self.progress = replace(self.progress, state=state, problems=problems)


def job(principal: Principal, name: str, source: Path | bytes | IO[bytes], folder: Path, most: int) -> Job:
    """A job with a copy of the file of its own. The copy has no name on the disk: however this process ends, nothing
    is left. Raises `InvalidInput` where the file is empty or holds more than `most` bytes.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
    try:
        size = _copied(source, copy, most)
        if size == 0:
            raise InvalidInput(NO_CONVERSATIONS)
    except BaseException:
        copy.close()
        raise
    return Job(principal, copy, size, ImportProgress(new_id("import"), name))


def _copied(source: Path | bytes | IO[bytes], copy: IO[bytes], most: int) -> int:
    if isinstance(source, bytes):
        if len(source) <= most:
            return copy.write(source)
    elif isinstance(source, Path):
        with source.open("rb") as file:
            return _copied(file, copy, most)
    else:
        size = 0
        while (piece := source.read(2**20)) and size <= most:
            size += copy.write(piece)
        if size <= most:
            return size
    raise InvalidInput(f"This file is too big to import: at most {most // 2**20} MB.")


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
