"""Notices: an alert's words, brought to where they go by a process that lives for them alone (`chatcore.notifier`).

Every channel has a bounded time: who does not answer holds up nobody else. Nothing here touches the database. No
address stands in what is returned or logged.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from chatcore import logs
from chatcore.alerts import channel_kinds
from chatcore.config import PROJECT_ROOT
from chatcore.errors import InvalidInput

SECONDS: Final = 10.0
"""How long one notice may take."""
_START: Final = 10.0  # seconds that the process may take to begin, and to end

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Channel:
    """Where a notice goes. `fields`: as `channel_kinds` names them. `public_only`: no address of our own network."""

    id: str
    name: str
    kind: str
    fields: Mapping[str, str] = field(repr=False)
    public_only: bool = True


@dataclass(frozen=True)
class Notice:
    """What is told. `about`: the same for the notices of one alert, by which PagerDuty closes what it opened.

    `facts`: what a webhook gets beside the words, as JSON values.
    """

    word: Literal["firing", "recovered", "test"]
    title: str
    body: str
    severity: str = "warning"
    about: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a notice. `words`: one sentence for a person. `late`: nobody answered, so it may have arrived."""

    sent: bool
    words: str
    late: bool = False


class Sender:
    """Sends. Safe to use from any thread."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds

    def send(self, jobs: Sequence[tuple[Channel, Notice]]) -> list[Outcome]:
        """All at once, those of one channel in their order; what came of each.

        Takes `seconds`, and a moment in which a process begins.
        """
        found: dict[int, Outcome] = {}
        groups: dict[bool, list[int]] = {True: [], False: []}
        for number, (channel, _) in enumerate(jobs):
            logs.know_secrets(channel_kinds.secrets(channel.kind, channel.fields))
            try:
                groups[_stays_outside(channel)].append(number)
            except InvalidInput as error:
                found[number] = Outcome(False, str(error))
        with ThreadPoolExecutor(len(groups), "notices") as pool:
            for one in pool.map(lambda outside: self._sent(jobs, groups[outside], outside), groups):
                found |= one
        return [found[number] for number in range(len(jobs))]

    def _sent(self, jobs: Sequence[tuple[Channel, Notice]], numbers: list[int], outside: bool) -> dict[int, Outcome]:
        """What became of the jobs with these numbers, which a process of their own sends."""
        if not numbers:
            return {}
        asked = {
            "seconds": self._seconds, "public_only": outside,
            "jobs": [
                {"channel": one.id, "kind": one.kind, "fields": dict(one.fields), "notice": asdict(notice)}
                for one, notice in (jobs[number] for number in numbers)
            ],
        }  # fmt: skip
        try:
            said = _run(json.dumps(asked).encode(), self._seconds + _START)
        except OSError:
            log.exception("the process that sends notices cannot be started")
            return dict.fromkeys(numbers, Outcome(False, "It could not be sent: no process can be started."))
        late = Outcome(False, f"There was no answer within {self._seconds:.0f} seconds.", late=True)
        told = {numbers[number]: Outcome(sent, words) for number, sent, words in map(json.loads, said)}
        return {number: told.get(number, late) for number in numbers}


def _stays_outside(channel: Channel) -> bool:
    """Whether nothing of our own network may be connected to. Raises `InvalidInput` for what is not sent at all."""
    if not channel.public_only or channel.kind not in ("email", "webhook"):
        return False
    channel_kinds.require_https(channel.kind, channel.fields)
    return True


def _run(asked: bytes, seconds: float) -> list[bytes]:
    """The lines that the notifier writes. Raises `OSError` where there can be no process."""
    command = [sys.executable, "-m", "chatcore.notifier"]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, input=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=seconds,
            cwd=PROJECT_ROOT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return _whole_lines(error.stdout or b"")
    if done.returncode:
        log.error("the process that sends notices failed", extra={"status": done.returncode})
    return _whole_lines(done.stdout)


def _whole_lines(said: bytes) -> list[bytes]:
    return said.split(b"\n")[:-1]
