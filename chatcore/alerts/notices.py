"""Notices: an alert's words, brought to Slack, e-mail, PagerDuty or a webhook by the library apprise.

Every notice has a thread of its own and a bounded time: who does not answer holds up nobody else. Nothing here touches
the database. No address stands in what is returned or logged.
"""

import functools
import logging
import re
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from chatcore import logs
from chatcore.alerts import channel_kinds
from chatcore.errors import InvalidInput

if TYPE_CHECKING:
    from apprise import NotifyBase

SECONDS: Final = 10.0
"""How long one notice may take."""
_CONNECT: Final = 4.0
_ANSWER: Final = 6.0
_STATUS: Final = re.compile(r"error=(\d{3})\b")
_SIGN: Final = {"firing": "failure", "recovered": "success", "test": "info"}

log = logging.getLogger(__name__)
_loading = threading.Lock()


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
    """What came of a notice. `words`: one sentence for a person."""

    sent: bool
    words: str


class Sender:
    """Sends, at most one notice to a channel at a time. Safe to use from any thread."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def send(self, jobs: Sequence[tuple[Channel, Notice]]) -> list[Outcome]:
        """All at once, those of one channel in their order; what came of each. Takes `seconds` at most."""
        found: list[Outcome | None] = [None] * len(jobs)
        by_channel: dict[str, list[int]] = {}
        for number, (channel, _) in enumerate(jobs):
            by_channel.setdefault(channel.id, []).append(number)
        threads = [self._started(jobs, numbers, found) for numbers in by_channel.values()]
        deadline = time.monotonic() + self._seconds
        for one in threads:
            one.join(max(0.0, deadline - time.monotonic()))
        late = Outcome(False, f"There was no answer within {self._seconds:.0f} seconds.")
        return [one or late for one in list(found)]

    def _started(
        self, jobs: Sequence[tuple[Channel, Notice]], numbers: Sequence[int], found: list[Outcome | None]
    ) -> threading.Thread:
        def run() -> None:
            channel = jobs[numbers[0]][0]
            with self._lock:
                if channel.id in self._busy:
                    return  # the one before still hangs
                self._busy.add(channel.id)
            try:
                for number in numbers:
                    found[number] = _send(*jobs[number])
            finally:
                with self._lock:
                    self._busy.discard(channel.id)

        thread = threading.Thread(target=run, name="notice", daemon=True)
        thread.start()
        return thread


def _send(channel: Channel, notice: Notice) -> Outcome:
    logs.know_secrets(channel_kinds.secrets(channel.kind, channel.fields))
    try:
        if channel.public_only:
            channel_kinds.require_public(channel.kind, channel.fields)
        plugin = _plugin(channel, notice)
        _EAR.begin()
        sent = plugin.notify(body=notice.body, title=notice.title, notify_type=_SIGN[notice.word])
    except InvalidInput as error:
        return Outcome(False, str(error))
    except Exception as error:  # noqa: BLE001 - whatever a library makes of an address, the others are to be told
        log.warning("a notice could not be sent", extra={"channel_id": channel.id, "error": type(error).__name__})
        return Outcome(False, "It could not be sent.")
    return Outcome(True, "Sent.") if sent else Outcome(False, _EAR.words)


def _plugin(channel: Channel, notice: Notice) -> "NotifyBase":
    library = _library()
    limits = {"asset": library.asset, "cto": _CONNECT, "rto": _ANSWER, "redirect": "no", "overflow": "truncate"}
    arguments = limits | _ARGUMENTS[channel.kind](channel.fields, notice, library)
    found: NotifyBase = library.of_kind[channel.kind](**arguments)
    return found


@dataclass(frozen=True)
class _Library:
    """What is used of apprise. Asked for by its usual way in, it would load all of its 140 services."""

    asset: Any
    of_kind: Mapping[str, Any]


@functools.cache
def _library() -> _Library:
    logging.getLogger("apprise").addFilter(_EAR)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)  # below, it names the paths of webhooks
    with _loading, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports what Python 3.13 has no more
        from apprise import AppriseAsset
        from apprise.plugins.custom_json import NotifyJSON
        from apprise.plugins.email.base import NotifyEmail
        from apprise.plugins.pagerduty import NotifyPagerDuty
        from apprise.plugins.slack import NotifySlack
    asset = AppriseAsset(app_id="Chatcore", app_desc="Chatcore", app_url="", http_redirects=False)
    kinds = {"slack": NotifySlack, "email": NotifyEmail, "pagerduty": NotifyPagerDuty, "webhook": NotifyJSON}
    return _Library(asset, kinds)


def _slack(fields: Mapping[str, str], notice: Notice, library: _Library) -> dict[str, Any]:
    found: dict[str, Any] = library.of_kind["slack"].parse_native_url(fields["url"]) or {}
    return {**found, "include_image": False}


def _pagerduty(fields: Mapping[str, str], notice: Notice, library: _Library) -> dict[str, Any]:
    # The Events API knows whom an event is for by the integration key alone; apprise wants an API key beside it.
    return {
        "secure": True, "host": "chatcore", "apikey": "unused", "integrationkey": fields["key"],
        "source": "Chatcore", "component": "alerts", "include_image": False, "dedup": notice.about,
        "action": "resolve" if notice.word == "recovered" else "trigger",
        "severity": {"critical": "critical", "warning": "warning"}.get(notice.severity, "info"),
    }  # fmt: skip


def _webhook(fields: Mapping[str, str], notice: Notice, library: _Library) -> dict[str, Any]:
    parts = urlsplit(fields["url"])
    return {
        "secure": parts.scheme == "https",
        "host": f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname,
        "port": parts.port,
        "fullpath": parts.path or "/",
        "params": dict(parse_qsl(parts.query)),
        "user": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "payload": {"state": notice.word, "severity": notice.severity, **notice.facts},
    }


def _email(fields: Mapping[str, str], notice: Notice, library: _Library) -> dict[str, Any]:
    return {
        "secure": fields["security"] != "none",
        "secure_mode": {"none": "insecure"}.get(fields["security"], fields["security"]),
        "host": fields["from"].partition("@")[2],
        "smtp_host": fields["host"],
        "port": int(fields["port"]) if fields["port"] else None,
        "user": fields["user"] or None,
        "password": fields["password"] or None,
        "from_addr": fields["from"],
        "targets": [one.strip() for one in fields["to"].split(",")],
        "format": "text",
    }


_ARGUMENTS: Final = {"slack": _slack, "email": _email, "pagerduty": _pagerduty, "webhook": _webhook}


class _Ear(logging.Filter):
    """Hears what apprise logs and lets none of it pass: addresses stand in its lines. Only the status is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._heard = threading.local()

    def begin(self) -> None:
        """Forget what was said in this thread."""
        self._heard.status = ""

    @property
    def words(self) -> str:
        """Why a notice was not sent in this thread."""
        if status := getattr(self._heard, "status", ""):
            return f"The other side refused it with the status {status}."
        return "The other side cannot be reached, or refused it. Check the address."

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the status where the line names one; the line itself goes nowhere."""
        if found := _STATUS.search(record.getMessage()):
            self._heard.status = found[1]
        return False


_EAR: Final = _Ear()
