"""The process that brings notices to Slack, e-mail, PagerDuty or a webhook by the library apprise.

`python -m chatcore.notifier` reads one JSON object from standard input: `jobs`, lists of `channel` (any name), `kind`,
`fields` and `notice` (see `chatcore.alerts`); `seconds`, after which it ends; `public_only`. For each job it writes one
line, a JSON list of the job's number, whether it was sent, and words for a person.

It is a process of its own because whom it talks to is not to be trusted: one that never comes to an end of its answer
ends with it. Its sockets take little, and with `public_only` they connect to nothing inside a private network, whatever
a name server said before. No line of the library's log leaves it, as addresses stand in them.
"""

import functools
import json
import logging
import os
import re
import socket
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from chatcore.addresses import is_public

if TYPE_CHECKING:
    from apprise import NotifyBase

PRIVATE: Final = (
    "This address is inside a private network, or on this machine. Only an operator's channels may go there; "
    "chatcore.alerts_private_addresses lets teams do so too."
)
_CONNECT: Final = 4.0
_ANSWER: Final = 6.0
_MOST: Final = 1_000_000  # bytes that are taken from one connection
_STATUS: Final = re.compile(r"error=(\d{3})\b")
_SIGN: Final = {"firing": "failure", "recovered": "success", "test": "info"}
_Job = Mapping[str, Any]


def main() -> None:
    """Send what standard input asks for."""
    asked = json.load(sys.stdin)
    _library()
    _read_little()
    if asked["public_only"]:
        _stay_outside()
    by_channel: dict[str, list[tuple[int, _Job]]] = {}
    for number, job in enumerate(asked["jobs"]):
        by_channel.setdefault(job["channel"], []).append((number, job))
    threads = [threading.Thread(target=_send_all, args=(jobs,), daemon=True) for jobs in by_channel.values()]
    deadline = time.monotonic() + asked["seconds"]
    for one in threads:
        one.start()
    for one in threads:
        one.join(max(0.0, deadline - time.monotonic()))
    os._exit(0)  # whoever still hangs is not waited for


def _send_all(jobs: Sequence[tuple[int, _Job]]) -> None:
    """Those of one channel, in their order."""
    for number, job in jobs:
        sent, words = _send(job)
        sys.stdout.write(f"{json.dumps([number, sent, words])}\n")
        sys.stdout.flush()


def _send(job: _Job) -> tuple[bool, str]:
    EAR.begin()
    try:
        notice = job["notice"]
        sign = _SIGN[notice["word"]]
        if plugin(job["kind"], job["fields"], notice).notify(notice["body"], notice["title"], notify_type=sign):
            return True, "Sent."
    except Exception:  # noqa: BLE001 - whatever the library makes of an address, the others are to be told
        return False, EAR.words or "It could not be sent."
    return False, EAR.words or "The other side cannot be reached, or refused it. Check the address."


def plugin(kind: str, fields: Mapping[str, str], notice: Mapping[str, Any]) -> "NotifyBase":
    """What sends a notice to a channel of this kind."""
    library = _library()
    limits = {"asset": library.asset, "cto": _CONNECT, "rto": _ANSWER, "redirect": "no", "overflow": "truncate"}
    found: NotifyBase = library.of_kind[kind](**limits, **_ARGUMENTS[kind](fields, notice))
    return found


# ---- what is asked of the library


@dataclass(frozen=True)
class _Library:
    """What is used of apprise. Asked for by its usual way in, it would load all of its 140 services."""

    asset: Any
    of_kind: Mapping[str, Any]
    requests: Any
    """What it asks web addresses by."""


@functools.cache
def _library() -> _Library:
    logging.getLogger("apprise").addFilter(EAR)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)  # below, it names the paths of webhooks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports what Python 3.13 has no more
        from apprise import AppriseAsset
        from apprise.plugins import custom_json
        from apprise.plugins.email.base import NotifyEmail
        from apprise.plugins.pagerduty import NotifyPagerDuty
        from apprise.plugins.slack import NotifySlack
    asset = AppriseAsset(app_id="Chatcore", app_desc="Chatcore", app_url="", http_redirects=False)
    kinds = {
        "slack": NotifySlack,
        "email": NotifyEmail,
        "pagerduty": NotifyPagerDuty,
        "webhook": custom_json.NotifyJSON,
    }
    return _Library(asset, kinds, vars(custom_json)["requests"])


def _slack(fields: Mapping[str, str], _notice: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _library().of_kind["slack"].parse_native_url(fields["url"]) or {}
    return {**found, "include_image": False}


def _pagerduty(fields: Mapping[str, str], notice: Mapping[str, Any]) -> dict[str, Any]:
    # The Events API knows whom an event is for by the integration key alone; apprise wants an API key beside it.
    return {
        "secure": True, "host": "chatcore", "apikey": "unused", "integrationkey": fields["key"],
        "source": "Chatcore", "component": "alerts", "include_image": False, "dedup": notice["about"],
        "action": "resolve" if notice["word"] == "recovered" else "trigger",
        "severity": {"critical": "critical", "warning": "warning"}.get(notice["severity"], "info"),
    }  # fmt: skip


def _webhook(fields: Mapping[str, str], notice: Mapping[str, Any]) -> dict[str, Any]:
    parts = urlsplit(fields["url"])
    return {
        "secure": parts.scheme == "https",
        "host": f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname,
        "port": parts.port,
        "fullpath": f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}",  # just as it was typed
        "user": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "payload": {"state": notice["word"], "severity": notice["severity"], **notice["facts"]},
    }


def _email(fields: Mapping[str, str], _notice: Mapping[str, Any]) -> dict[str, Any]:
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
        self._heard.words = ""

    def say(self, words: str) -> None:
        """Why a notice of this thread is not sent."""
        self._heard.words = words

    @property
    def words(self) -> str:
        """Why a notice was not sent in this thread, '' where that is not known."""
        return str(getattr(self._heard, "words", ""))

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the status where the line names one; the line itself goes nowhere."""
        if found := _STATUS.search(record.getMessage()):
            self.say(f"The other side refused it with the status {found[1]}.")
        return False


EAR: Final = _Ear()


# ---- what the sockets of this process do


def _read_little() -> None:
    """A status says what became of a notice; an answer is read where Slack's says more, and never as a whole."""
    requests = _library().requests
    read, send = socket.SocketIO.readinto, requests.Session.send

    def readinto(self: Any, buffer: Any) -> int | None:
        got = read(self, buffer)
        self.taken = getattr(self, "taken", 0) + (got or 0)
        if self.taken > _MOST:
            raise OSError("the answer is too long")
        return got

    def send_only(self: Any, request: Any, **how: Any) -> Any:
        answer = send(self, request, **{**how, "stream": True})
        is_slack = (urlsplit(request.url).hostname or "").startswith("hooks.slack")
        answer._content = answer.raw.read(1000, decode_content=True) if is_slack else b""
        answer.close()
        return answer

    socket.SocketIO.readinto = readinto  # type: ignore[assignment,method-assign]
    requests.Session.send = send_only


def _stay_outside() -> None:
    """No socket connects to an address of a private network; a proxy, whose look-ups nobody sees here, is not asked."""
    requests = _library().requests
    connect = socket.socket.connect

    def connect_outside(self: socket.socket, address: Any) -> None:
        if self.family not in (socket.AF_INET, socket.AF_INET6) or not is_public(str(address[0])):
            EAR.say(PRIVATE)
            raise OSError("not a public address")
        connect(self, address)

    socket.socket.connect = connect_outside  # type: ignore[assignment,method-assign]
    requests.sessions.get_environ_proxies = lambda *_, **__: {}


if __name__ == "__main__":
    main()
