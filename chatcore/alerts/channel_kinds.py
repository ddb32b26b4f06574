"""The kinds of channels that notices go through: what is asked for each, what may be shown of it.

A channel's fields are text by name. A webhook's address and a password are secrets, so all of them are kept sealed and
only `shown` is for people.
"""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from chatcore.addresses import is_public
from chatcore.errors import InvalidInput
from chatcore.notifier import PRIVATE

_MAIL: Final = re.compile(r"[^@\s,;<>\"]{1,64}@[A-Za-z0-9.\-\[\]:]{1,255}")
_HOST: Final = re.compile(r"[A-Za-z0-9.\-:]{1,255}")
_SLACK: Final = re.compile(r"https://hooks\.slack(-gov)?\.com/services(/[A-Za-z0-9]{6,100}){3}/?")
_PAGERDUTY: Final = re.compile(r"[A-Za-z0-9]{20,64}")
_SECURITY: Final = ("starttls", "ssl", "none")
_MOST: Final = 2000  # characters of a field
_PLACE: Final = re.compile(r"([^@/\\]*@)?([A-Za-z0-9._\-]{1,255}|\[[0-9A-Fa-f:.]{2,50}\])(:\d{1,5})?")  # of a URL


@dataclass(frozen=True)
class Field:
    """One thing to type. `choices`: to choose from instead; `optional`: may be left empty."""

    name: str
    label: str
    secret: bool = False
    choices: tuple[str, ...] = ()
    optional: bool = False
    hint: str = ""


KINDS: Final[Mapping[str, tuple[str, tuple[Field, ...]]]] = {
    "slack": (
        "Slack",
        (Field("url", "Incoming webhook", secret=True, hint="https://hooks.slack.com/services/…"),),
    ),
    "email": (
        "E-mail",
        (
            Field("host", "Mail server", hint="smtp.example.com"),
            Field("port", "Port", hint="587", optional=True),
            Field("security", "Encryption", choices=_SECURITY),
            Field("user", "User name", optional=True),
            Field("password", "Password", secret=True, optional=True),
            Field("from", "From", hint="chatcore@example.com"),
            Field("to", "To, several with commas", hint="ops@example.com"),
        ),
    ),
    "pagerduty": ("PagerDuty", (Field("key", "Integration key (Events API v2)", secret=True),)),
    "webhook": ("Webhook", (Field("url", "Address", secret=True, hint="https://…; gets the notice as JSON"),)),
}
"""Label and fields by kind."""


def checked(kind: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of a channel, trimmed. Raises `InvalidInput` with a sentence that names what is wrong."""
    if kind not in KINDS:
        raise InvalidInput(f"A channel is one of {', '.join(KINDS)}.")
    found = {one.name: str(fields.get(one.name) or "").strip() for one in KINDS[kind][1]}
    for one in KINDS[kind][1]:
        value = found[one.name]
        if not value and one.choices:
            found[one.name] = value = one.choices[0]
        if not value and not one.optional:
            raise InvalidInput(f"{one.label} is missing.")
        if len(value) > _MOST or any(ord(sign) < 32 for sign in value):
            raise InvalidInput(f"{one.label} is too long, or has signs that no address has.")
    _CHECKS[kind](found)
    return found


def shown(kind: str, fields: Mapping[str, str]) -> str:
    """What everybody who sees the channel may see of its address."""
    match kind:
        case "slack":
            return "hooks.slack.com/…"
        case "pagerduty":
            return f"key …{fields['key'][-4:]}"
        case "webhook":
            parts = urlsplit(fields["url"])
            return f"{parts.hostname}{f':{parts.port}' if parts.port else ''}/…"
    return f"{fields['to']} by {fields['host']}"


def secrets(kind: str, fields: Mapping[str, str]) -> list[str]:
    """What must stand in no log."""
    found = [fields[one.name] for one in KINDS[kind][1] if one.secret and fields.get(one.name)]
    if kind in ("slack", "webhook"):
        parts = urlsplit(fields["url"])
        found += [one for one in (parts.path.strip("/"), parts.query, parts.password or "") if len(one) >= 8]
    return found


def require_public(kind: str, fields: Mapping[str, str]) -> None:
    """Raises `InvalidInput` for an address of our own network, or a webhook without https.

    A name is looked up for that, so it may take a moment. What it leads to when a notice is sent, the notifier looks
    at again where it connects; so a name that has no address yet passes here.
    """
    if kind not in ("email", "webhook"):
        return
    require_https(kind, fields)
    host = fields["host"] if kind == "email" else urlsplit(fields["url"]).hostname or ""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    if not all(is_public(str(one[4][0])) for one in found):
        raise InvalidInput(PRIVATE)


def require_https(kind: str, fields: Mapping[str, str]) -> None:
    """Raises `InvalidInput` for a webhook without https."""
    if kind == "webhook" and urlsplit(fields["url"]).scheme != "https":
        raise InvalidInput("A team's webhook has an https address.")


def _slack(fields: dict[str, str]) -> None:
    if not _SLACK.fullmatch(fields["url"]):
        raise InvalidInput("A Slack webhook begins with https://hooks.slack.com/services/; copy it again.")


def _pagerduty(fields: dict[str, str]) -> None:
    if not _PAGERDUTY.fullmatch(fields["key"]):
        raise InvalidInput("An integration key of PagerDuty has 32 letters and digits; copy it again.")


def _webhook(fields: dict[str, str]) -> None:
    try:
        parts = urlsplit(fields["url"])
        fine = parts.scheme in ("http", "https") and bool(_PLACE.fullmatch(parts.netloc)) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine or any(sign in fields["url"] for sign in " \\"):
        raise InvalidInput(
            "A webhook is an address such as https://example.com/hooks/chatcore; a name in other letters is written "
            "as xn--…."
        )


def _email(fields: dict[str, str]) -> None:
    if not _HOST.fullmatch(fields["host"]):
        raise InvalidInput("The mail server is a name such as smtp.example.com.")
    if fields["port"] and not (fields["port"].isdecimal() and 1 <= int(fields["port"]) <= 65_535):
        raise InvalidInput("A port is a number from 1 to 65535.")
    if fields["security"] not in _SECURITY:
        raise InvalidInput(f"The encryption of a mail server is one of {', '.join(_SECURITY)}.")
    to = [one.strip() for one in fields["to"].split(",") if one.strip()]
    if not to or len(to) > 20 or not all(_MAIL.fullmatch(one) for one in [fields["from"], *to]):
        raise InvalidInput("From and To are e-mail addresses such as ops@example.com, at most 20 to send to.")
    fields["to"] = ", ".join(to)
    if bool(fields["user"]) != bool(fields["password"]):
        raise InvalidInput("A mail server takes a user name and a password together, or neither.")


_CHECKS: Final = {"slack": _slack, "email": _email, "pagerduty": _pagerduty, "webhook": _webhook}
