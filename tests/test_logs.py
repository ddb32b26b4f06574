"""Log lines: one JSON object each, whatever is logged; with their context, without keys, without anybody's words."""

import asyncio
import contextlib
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, literal, select

from chatcore import logs
from chatcore.config import PROJECT_ROOT
from chatcore.ids import new_id
from chatcore.redaction import REDACTED
from tests.keys import KEYS

log = logging.getLogger("chatcore.tests")


class Lines:
    """What was logged, read back."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def raw(self) -> list[str]:
        return self._stream.getvalue().splitlines()

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line, parse_constant=pytest.fail) for line in self.raw]

    @property
    def one(self) -> dict[str, Any]:
        [line] = self.all
        return line


@contextlib.contextmanager
def logging_to_lines(**options: Any) -> Iterator[Lines]:
    """Set up as the app does, with a standard error of its own; everything is as before afterwards."""
    logger, stream = logging.getLogger("chatcore"), io.StringIO()
    before = logger.handlers[:], logger.level, logger.propagate
    known = logs._secrets.copy(), logs._spelled
    logs._secrets.clear()  # what earlier tests made known
    logs._spelled = ()
    with contextlib.redirect_stderr(stream):
        logs.set_up(**options)
    try:
        yield Lines(stream)
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
        logs._secrets.clear()
        logs._secrets.update(known[0])
        logs._spelled = known[1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logging_to_lines() as found:
        yield found


# --- the form -------------------------------------------------------------------------------------------------------


def test_a_line_has_its_facts(lines: Lines) -> None:
    turn_id = new_id("turn")
    before = datetime.now(UTC)
    log.warning("turn %s is slow", 7, extra={"turn_id": turn_id, "pause_s": 0.25, "tries": 3, "model": None})
    line = lines.one
    said = datetime.fromisoformat(line.pop("time"))
    assert abs((said - before).total_seconds()) < 5
    assert said.utcoffset() is not None
    assert list(line.items()) == [
        ("level", "warning"), ("logger", "chatcore.tests"), ("message", "turn 7 is slow"),
        ("turn_id", turn_id), ("pause_s", 0.25), ("tries", 3), ("model", None),
    ]  # fmt: skip


def test_the_time_is_that_of_the_record_in_milliseconds_of_utc(lines: Lines) -> None:
    record = log.makeRecord(log.name, logging.INFO, "", 1, "late", (), None)
    record.created = 1_700_000_000.1239
    log.handle(record)
    assert lines.one["time"] == "2023-11-14T22:13:20.123+00:00"


def test_an_exception_comes_with_its_traceback(lines: Lines) -> None:
    try:
        raise ValueError("no such thing") from KeyError("cause")
    except ValueError:
        log.exception("it failed")
    line = lines.one
    assert line["exception"].startswith("KeyError: 'cause'")
    assert line["exception"].endswith("ValueError: no such thing")
    assert "in test_an_exception_comes_with_its_traceback" in line["exception"]
    assert "exc_info" not in line


def test_an_error_that_was_caught_elsewhere_can_be_given(lines: Lines) -> None:
    log.error("it failed", exc_info=ValueError("no such thing"))
    log.error("nothing failed", exc_info=True)
    log.error("nothing failed", exc_info=None)
    assert lines.all[0]["exception"] == "ValueError: no such thing"
    assert "exception" not in lines.all[2]


def test_a_stack_is_that_of_who_logs(lines: Lines) -> None:
    log.info("here", stack_info=True)
    assert "in test_a_stack_is_that_of_who_logs" in lines.one["stack"]


def test_levels_and_other_loggers() -> None:
    with logging_to_lines(level=logging.WARNING) as lines:
        log.info("too little")
        log.warning("enough")
        logging.getLogger("chatcore").error("the root of ours")
    assert [line["message"] for line in lines.all] == ["enough", "the root of ours"]


def test_set_up_twice_says_everything_once() -> None:
    with logging_to_lines() as first, logging_to_lines() as second:
        log.info("once")
    assert first.raw == []
    assert len(second.raw) == 1


def test_a_fact_does_not_take_the_place_of_ours(lines: Lines) -> None:
    log.info("said", extra={"time": "noon", "level": 3, "event": "party", "logger": "me", "exception": "none"})
    line = lines.one
    assert (line["level"], line["logger"], line["message"]) == ("info", "chatcore.tests", "said")
    assert (line["time_"], line["level_"], line["event"], line["logger_"]) == ("noon", 3, "party", "me")


class Collector(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


def test_another_handler_sees_the_record_as_it_was_logged(lines: Lines) -> None:
    seen: list[logging.LogRecord] = []
    other = Collector(seen)
    log.addHandler(other)
    try:
        log.info("turn %s", 7, extra={"text": "hello"})
    finally:
        log.removeHandler(other)
    assert (seen[0].getMessage(), vars(seen[0])["text"]) == ("turn 7", "hello")
    assert "text" not in lines.one


# --- whatever is logged ---------------------------------------------------------------------------------------------


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("I say nothing")

    __repr__ = __str__
    __hash__ = object.__hash__


class Shout(str):
    def __str__(self) -> str:
        raise RuntimeError("I say nothing")


circle: list[Any] = [1]
circle.append({"again": circle})
deep: list[Any] = []
for _ in range(10_000):
    deep = [deep]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"bytes \xff", "bytes \\xff"),
        (bytearray(b"more"), "more"),
        ("half \ud83d of a pair \x00", "half \\ud83d of a pair \x00"),
        ({"\ud800": {"b"}, 3: (1, 2)}, {"\\ud800": ["b"], "3": [1, 2]}),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (10**5000, "a number of 16610 bits"),
        (2**70, 2**70),
        (True, True),
        (ValueError("no"), "ValueError: no"),
        (Unspeakable(), "<Unspeakable>"),
        ({Unspeakable(): 1}, {"<Unspeakable>": 1}),
        (Shout("hey"), "hey"),
        (datetime(2025, 1, 31, tzinfo=UTC), "2025-01-31 00:00:00+00:00"),
        (circle, [1, {"again": "…"}]),
        (list(range(1000)), [*range(200), "… 800 more"]),
        ("x y " * 10_000, f"{'x y ' * 2500} … {'x y ' * 2500}"),
        (logging.WARNING, 30),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_any_value_becomes_json(lines: Lines, value: object, said: object) -> None:
    log.info("said", extra={"fact": value})
    assert lines.one["fact"] == said


def test_a_long_mapping_says_how_much_is_left_out(lines: Lines) -> None:
    log.info("said", extra={"fact": {f"k {n}": n for n in range(1000)}})
    fact = lines.one["fact"]
    assert (len(fact), fact["k 199"], fact["…"]) == (201, 199, "800 more")


def test_what_is_nested_without_end_ends(lines: Lines) -> None:
    log.info("said", extra={"fact": deep})
    assert len(lines.raw[0]) < 300


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(st.characters()) | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    ),
    st.text(st.characters()),
)  # fmt: skip
def test_everything_is_one_line_of_ascii_json(value: Any, message: str) -> None:
    with logging_to_lines() as lines:
        log.info(message, extra={"fact": value})
        log.info("%s", value)
    assert len(lines.all) == 2
    assert all(line.isascii() for line in lines.raw)


def test_an_exception_that_cannot_speak_is_logged(lines: Lines) -> None:
    class Mute(Exception):
        __str__ = Unspeakable.__str__

    log.error("it failed", exc_info=Mute())
    assert "exception str() failed" in lines.one["exception"]


@pytest.mark.parametrize("arguments", [("three",), (1, 2), (Unspeakable(),)])
def test_a_line_that_cannot_be_made_names_its_place(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...]
) -> None:
    with logging_to_lines() as lines:  # here, and not as a fixture: pytest's own handler would raise
        log.info("%d words", *arguments)
    line = lines.one
    assert line["message"] == "a log line could not be written as it was meant"
    assert line["place"].startswith("test_logs:")
    assert line["logger"] == "chatcore.tests"
    assert capsys.readouterr().err == ""


def test_a_standard_error_that_is_gone_disturbs_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_lines():
        handler = logging.getLogger("chatcore").handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.stream.close()
        log.info("nobody hears this", extra={"api_key": KEYS["openai"]})
    assert capsys.readouterr().err == ""


# --- context --------------------------------------------------------------------------------------------------------


def test_bound_facts_stand_on_every_line_inside(lines: Lines) -> None:
    with logs.bound(trace_id="t1", turn_id="u1"):
        log.info("one")
        with logs.bound(attempt=2, turn_id="u2"):
            log.info("two", extra={"trace_id": "own"})
        log.info("three")
    log.info("four")
    facts = [{name: line.get(name) for name in ("trace_id", "turn_id", "attempt")} for line in lines.all]
    assert facts == [
        {"trace_id": "t1", "turn_id": "u1", "attempt": None},
        {"trace_id": "own", "turn_id": "u2", "attempt": 2},
        {"trace_id": "t1", "turn_id": "u1", "attempt": None},
        {"trace_id": None, "turn_id": None, "attempt": None},
    ]


def test_they_end_with_an_error(lines: Lines) -> None:
    with contextlib.suppress(ValueError), logs.bound(trace_id="t1"):
        raise ValueError
    log.info("after")
    assert "trace_id" not in lines.one


def test_they_do_not_leak_into_other_tasks(lines: Lines) -> None:
    async def answer(turn: int, ready: asyncio.Barrier) -> None:
        with logs.bound(trace_id=f"trace {turn}"):
            log.info("begun", extra={"turn": turn})
            await ready.wait()  # all are inside at once
            log.info("inside", extra={"turn": turn})
            await asyncio.gather(asyncio.to_thread(log.info, "thread", extra={"turn": turn}), child(turn))
            await ready.wait()
        log.info("outside", extra={"turn": turn})

    async def child(turn: int) -> None:
        await asyncio.sleep(0)
        log.info("child", extra={"turn": turn})

    async def all_at_once() -> None:
        ready = asyncio.Barrier(20)
        await asyncio.gather(*(answer(turn, ready) for turn in range(20)))
        log.info("outside", extra={"turn": -1})

    asyncio.run(all_at_once())
    assert len(lines.all) == 20 * 5 + 1
    for line in lines.all:
        assert line.get("trace_id") == (None if line["message"] == "outside" else f"trace {line['turn']}")


def test_a_thread_of_its_own_begins_without_them(lines: Lines) -> None:
    with logs.bound(trace_id="t1"):
        thread = threading.Thread(target=log.info, args=("elsewhere",))
        thread.start()
        thread.join()
    assert "trace_id" not in lines.one


def test_bound_facts_are_redacted_too(lines: Lines) -> None:
    with logs.bound(key=KEYS["groq"], text="hello", turn_id=new_id("turn")):
        log.info("said")
    assert lines.one["key"] == REDACTED
    assert lines.one["turn_id"].startswith("turn_")
    assert "text" not in lines.one


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", KEYS)
def test_no_providers_key_gets_through_anywhere(lines: Lines, provider: str) -> None:
    key = KEYS[provider]

    def refused() -> None:
        try:
            raise PermissionError(f"401: bad key {key}")
        except PermissionError as error:
            raise RuntimeError(f"key={key}") from error

    try:
        refused()
    except RuntimeError as error:
        error.add_note(f"was {key}")
        log.exception("refused %s", key, extra={
            "detail": f"Incorrect API key provided: {key}.", key: "a name", "nested": [{"a": ({key}, key.encode())}],
            "headers": {"Authorization": f"Bearer {key}", "x-api-key": key}, "error": error,
        })  # fmt: skip
    log.info({"key": key})
    for start in range(len(key) - 9):
        assert key[start : start + 10] not in "".join(lines.raw)
    assert "in refused" in lines.all[0]["exception"]


@pytest.mark.parametrize(
    "name", ["api_key", "OPENAI_API_KEY", "x-api-key", "Authorization", "db_password", "set-cookie"]
)
def test_what_is_secret_by_its_name_goes(lines: Lines, name: str) -> None:
    log.info("said", extra={"config": {name: "plain", "of many": {name: ["plain"]}}})
    assert lines.one["config"] == {name: REDACTED, "of many": {name: REDACTED}}


def test_counts_are_no_secrets(lines: Lines) -> None:
    log.info("said", extra={"token": 7, "max_tokens": 5, "password": None, "key_source": "own"})
    line = lines.one
    assert (line["token"], line["max_tokens"], line["password"], line["key_source"]) == (7, 5, None, "own")


HASH = "0123456789abcdef" * 4


def test_a_hash_of_ours_stays_where_its_name_says_what_it_is(lines: Lines) -> None:
    log.info("said", extra={"sha256": HASH, "request_hash": HASH, "else": HASH, "hash": KEYS["openai"]})
    line = lines.one
    assert (line["sha256"], line["request_hash"], line["else"], line["hash"]) == (HASH, HASH, REDACTED, REDACTED)


def test_secrets_become_known_as_they_are_used() -> None:
    with logging_to_lines(secrets=["of the config"]) as lines:
        log.info("of the config, of ada")
        logs.know_secrets(["of ada", "abc", ""])
        logs.know_secrets("of eve")
        log.info("of the config, of ada, abc, of eve", extra={"sha256": HASH})
        logs.set_up()  # forgets nothing
        logs.know_secrets([HASH])
    assert [line["message"] for line in lines.all] == [
        f"{REDACTED}, of ada",
        f"{REDACTED}, {REDACTED}, abc, {REDACTED}",
    ]


def test_a_known_secret_is_no_hash() -> None:
    with logging_to_lines(secrets=[HASH]) as lines:
        log.info("said", extra={"sha256": HASH})
    assert lines.one["sha256"] == REDACTED


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in strings_in(part))
    elif isinstance(value, list):
        yield from (text for part in value for text in strings_in(part))


SECRET = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=30).filter(
    lambda text: text not in REDACTED
)


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, Any]:
    """A secret, and a structure that holds it at some place: in a text, a key, bytes, an exception, an object."""
    secret = draw(SECRET)
    text = draw(st.text(max_size=10)) + secret + draw(st.text(max_size=10))

    @dataclass(frozen=True)
    class Thing:
        inside: str

    value: Any = draw(
        st.sampled_from([text, text.encode(errors="replace"), ValueError(text), KeyError(text), Thing(text), {text}])
    )
    for _ in range(draw(st.integers(0, 6))):
        others = draw(st.lists(st.integers() | st.text(max_size=5), max_size=2))
        value = draw(
            st.sampled_from(
                [[*others, value], (value, *others), {"name": value}, {text: value}, {"a": others, "b": value}]
            )
        )
    return secret, value  # fmt: skip


@given(planted())
def test_a_known_secret_appears_nowhere(case: tuple[str, Any]) -> None:
    secret, value = case
    with logging_to_lines(secrets=[secret]) as lines:
        try:
            raise ValueError(value)
        except ValueError:
            log.exception("%s", value, extra={"fact": value, "list": [value]})
    line = lines.one
    for name in ("time", "level", "logger"):  # these are ours, and a secret may be "info"
        del line[name]
    names = {"message", "fact", "list", "exception", "name"}
    for text in strings_in(line):
        if text not in names:
            assert secret not in text.replace(REDACTED, "\x00")


# --- words ----------------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    turn: str
    content: str
    prompt: int
    key: str = field(default="of ada", repr=False)


class Sent(pydantic.BaseModel):
    model: str
    messages: list[dict[str, str]]


WORDS = "Dear diary"


@pytest.mark.parametrize(
    "fact",
    [
        *({name: WORDS} for name in sorted(logs.TEXT_KEYS)),
        {"Text": WORDS},
        {"content": [{"type": "text", "text": WORDS}]},
        {"content": {"deep": WORDS}},
        {"calls": [{"function": {"prompt": WORDS}}]},
        {"asked": Asked("t", WORDS, 5)},
        {"sent": Sent(model="m", messages=[{"content": WORDS}])},
        {"many": [Asked("t", WORDS, 5)]},
    ],
    ids=str,
)
def test_no_words_are_logged_but_where_a_setting_says_so(fact: dict[str, Any]) -> None:
    with logging_to_lines() as lines:
        log.info("said", extra=fact)
    assert WORDS not in lines.raw[0]


def test_words_of_a_database_row_are_not_logged(lines: Lines) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        row = connection.execute(select(literal(WORDS).label("content"), literal("m").label("model"))).one()
    engine.dispose()
    log.info("said", extra={"row": row, "rows": [row]})
    assert (lines.one["row"], lines.one["rows"]) == ({"model": "m"}, [{"model": "m"}])


def test_counts_under_those_names_stay(lines: Lines) -> None:
    log.info("said", extra={"prompt": 12, "reply": None, "text": True, "asked": Asked("t", WORDS, 5)})
    line = lines.one
    assert (line["prompt"], line["reply"], line["text"], line["asked"]) == (12, None, True, {"turn": "t", "prompt": 5})


def test_words_are_logged_where_a_setting_says_so_without_keys() -> None:
    with logging_to_lines(log_text=True) as lines:
        log.info("said", extra={"text": f"{WORDS}, my key is {KEYS['anthropic']}", "asked": Asked("t", WORDS, 5)})
    line = lines.one
    assert line["text"] == f"{WORDS}, my key is {REDACTED}"
    assert line["asked"]["content"] == WORDS


# --- a process of its own -------------------------------------------------------------------------------------------


def test_on_standard_error_of_a_process_without_a_locale() -> None:
    code = """if True:
        import logging
        from chatcore import logs
        logs.set_up(secrets=["geheim"])
        logging.getLogger("chatcore.x").warning("Gr\\xfc\\xdfe \\U0001f388 geheim", extra={"half": chr(0xd83d)})
        logging.getLogger("other").warning("plain")
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, env={"LC_ALL": "C", "PYTHONUTF8": "0"}, capture_output=True,
        check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == b""
    ours, other = done.stderr.decode("ascii").splitlines()
    assert other == "plain"
    assert json.loads(ours)["half"] == "\\ud83d"
    assert json.loads(ours)["message"] == f"Grüße 🎈 {REDACTED}"
