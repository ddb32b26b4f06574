"""Log lines as JSON, one object a line, with every fact that the code gave beside the message.

Our code logs with the standard library (`log.warning("…", extra={…})`); structlog makes the lines. No key stands in
them, whoever put it there, and no words of a conversation unless a setting allows it. Logging raises nothing.
"""

import json
import logging
import math
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.processors import JSONRenderer, format_exc_info
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

from chatcore.redaction import REDACTED, redact_spelled, spellings, without

TEXT_KEYS: Final = frozenset({"text", "content", "messages", "prompt", "question", "reply"})
"""Facts under these names are left out unless text is allowed. Numbers stay: they are counts."""
_SECRET_KEYS: Final = (
    "api_key", "apikey", "authorization", "cookie", "credential", "credentials", "password", "secret", "secret_key",
    "access_token", "session_token", "token",
)  # fmt: skip
_HASH_KEYS: Final = ("sha256", "hash")
_OWN: Final = frozenset({"time", "level", "logger", "message", "exception", "stack"})
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MOST_TEXT: Final = 20_000  # characters of one value, half from its beginning and half from its end
_MOST_ITEMS: Final = 200  # of one list or mapping
_DEEPEST: Final = 8  # levels of nesting
_MOST_BITS: Final = 1024  # of a whole number

_secrets: set[str] = set()
_spelled: tuple[str, ...] = ()
_lock = threading.Lock()


def set_up(level: int = logging.INFO, secrets: Iterable[str] = (), *, log_text: bool = False) -> None:
    """Send Chatcore's own log lines to standard error. Other libraries' loggers stay as they are.

    `secrets`: as for `know_secrets`. `log_text`: whether facts that hold words of a conversation are logged. May be
    called again, when the settings are known.
    """
    know_secrets(secrets)
    handler = _Handler(sys.stderr)
    handler.setFormatter(_formatter(log_text))
    logger = logging.getLogger("chatcore")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def know_secrets(values: Iterable[str]) -> None:
    """From now on these stand in no line. Values of fewer than 4 characters are left alone."""
    global _spelled
    fresh = {values} if isinstance(values, str) else set(values)
    with _lock:
        if not fresh <= _secrets:
            _secrets.update(fresh)
            _spelled = spellings(_secrets)


def bound(**facts: object) -> AbstractContextManager[None]:
    """Put the facts on every line that is logged inside the `with`, also in what is awaited and started there.

    A fact that a line brings itself stands before them. Threads begin without them, `asyncio.to_thread` keeps them.
    """
    return bound_contextvars(**facts)


def _formatter(log_text: bool) -> logging.Formatter:
    def clean(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        cleaned: EventDict = _Cleaner(log_text).mapping(line, _DEEPEST)
        return cleaned

    return _Formatter(
        foreign_pre_chain=[_with_facts, merge_contextvars],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            format_exc_info,
            clean,
            JSONRenderer(allow_nan=False),
        ],
    )


def _with_facts(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """`time` (UTC), `level`, `logger` and the message, then the facts of the record, then its exception."""
    record: logging.LogRecord = line["_record"]
    facts = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if "stack_info" in line:
        line["stack"] = line.pop("stack_info")
    return {
        "time": _time(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": line.pop("event"),
        **{f"{name}_" if name in _OWN else name: value for name, value in facts.items()},
        **line,
    }


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class _Formatter(ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:  # noqa: BLE001 - whoever logs goes on, and the place is said
            line = {
                "time": _time(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": "a log line could not be written as it was meant",
                "error": type(error).__name__,
                "place": f"{record.module}:{record.lineno}",
            }
            return json.dumps(line)


class _Handler(logging.StreamHandler[Any]):
    def handleError(self, record: logging.LogRecord) -> None:
        """Standard error is gone. The library would say so there, with the record as it came."""


class _Cleaner:
    """Makes of one line's facts what JSON can say, without keys and without words of a conversation."""

    def __init__(self, log_text: bool) -> None:
        self._log_text = log_text
        self._spelled = _spelled
        self._above: set[int] = set()  # the containers that the present value is in

    def mapping(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        """All of it, down to `depth` levels."""
        cleaned = {}
        for key, value in islice(values.items(), _MOST_ITEMS):
            name = key if isinstance(key, str) else _told(key)
            if self._is_shown(name, value):
                cleaned[self._text(name)] = self._under(name, value, depth)
        if len(values) > _MOST_ITEMS:
            cleaned["…"] = f"{len(values) - _MOST_ITEMS} more"
        return cleaned

    def _is_shown(self, name: str, value: object) -> bool:
        return self._log_text or name.lower() not in TEXT_KEYS or isinstance(value, int | float | None)

    def _under(self, name: str, value: object, depth: int) -> Any:
        plain = name.lower().replace("-", "_")
        if plain.endswith(_SECRET_KEYS) and not isinstance(value, int | float | None):
            return REDACTED
        if isinstance(value, str) and plain.endswith(_HASH_KEYS) and _is_sha256(value):
            return without(value, self._spelled)
        return self._value(value, depth)

    def _value(self, value: object, depth: int) -> Any:
        match _with_names(value):
            case None | bool():
                return value
            case int() as number:
                bits = number.bit_length()
                return int(number) if bits <= _MOST_BITS else f"a number of {bits} bits"
            case float() as number:
                return float(number) if math.isfinite(number) else str(number)
            case str() as text:
                return self._text(text)
            case bytes() | bytearray() as data:
                return self._text(data.decode(errors="backslashreplace"))
            case Mapping() | list() | tuple() | set() | frozenset() as values:
                return self._inside(values, id(value), depth)
            case BaseException():
                return self._text(f"{type(value).__name__}: {_told(value)}")
        return self._text(_told(value))

    def _inside(self, values: Any, identity: int, depth: int) -> Any:
        if identity in self._above or depth == 0:
            return "…"
        self._above.add(identity)
        try:
            if isinstance(values, Mapping):
                return self.mapping(values, depth - 1)
            cleaned = [self._value(value, depth - 1) for value in islice(values, _MOST_ITEMS)]
            return [*cleaned, f"… {len(values) - _MOST_ITEMS} more"] if len(values) > _MOST_ITEMS else cleaned
        finally:
            self._above.discard(identity)

    def _text(self, text: str) -> str:
        said = redact_spelled(str.__str__(text), self._spelled).encode(errors="backslashreplace").decode()
        if len(said) <= _MOST_TEXT:
            return said
        half = _MOST_TEXT // 2
        return f"{said[:half]} … {said[-half:]}"


def _with_names(value: object) -> object:
    """The fields of dataclasses, models and database rows under their names, by which text is known."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value) if field.repr}
    if hasattr(type(value), "model_fields"):
        return vars(value)
    as_dict = getattr(type(value), "_asdict", None)
    return value if as_dict is None else as_dict(value)


def _is_sha256(value: str) -> bool:
    return len(value) == 64 and all(digit in "0123456789abcdef" for digit in value)


def _told(value: object) -> str:
    """`str(value)` of an object that may not be able to."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - another's __str__ does what it likes
        return f"<{type(value).__name__}>"
