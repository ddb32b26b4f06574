"""What is to happen for every fault of a provider, with and without a model behind it, streamed and whole.

`python -m tests.turns.fault_matrix` writes it as a table to `docs/fault-matrix.md`; `test_fault_matrix.py` tries every
cell through real sockets.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final, Literal

Mode = Literal["stream", "whole"]
Behind = Literal["no fallback", "fallback", "fallback dead too"]
Who = Literal["primary", "fallback"]

MODES: Final[tuple[Mode, ...]] = ("stream", "whole")
BEHIND: Final[tuple[Behind, ...]] = ("no fallback", "fallback", "fallback dead too")
PAGE: Final = Path(__file__).parents[2] / "docs" / "fault-matrix.md"

FIRST_WORD: Final = 2.0  # seconds; a whole reply has both times together
BETWEEN_WORDS: Final = 0.7
SLOW_FIRST_WORD: Final = 10.0  # for a model that is known to be slow
SLOW_AFTER: Final = 1.0  # seconds of silence after which a model is asked beside a silent one
RETRY_AFTER: Final = 2  # what the 429 asks for

_DOWN: Final = "{model} cannot be reached right now. Try again or choose another model."
_KEY: Final = "The provider refused the key for {model}. Choose another model, or tell an administrator."
_LATE: Final = "The provider of {model} took too long to answer. Try again."
_SILENT: Final = "{model} sent nothing for {seconds:g} seconds."
_BUSY: Final = f"{{model}} is receiving too many requests. Try again in {RETRY_AFTER} seconds."
_CUT: Final = "The connection to {model} ended in mid-reply."
_NONSENSE: Final = "{model} sent an answer that makes no sense."
_EMPTY: Final = "{model} answered with nothing at all. Try again or choose another model."


@dataclass(frozen=True)
class End:
    """How one call ends: its ledger row, the number of words that are said, and the sentence where it fails."""

    outcome: str
    error: str | None = None
    source: str = "provider"
    words: int = 0
    sentence: str = ""
    retryable: bool = True
    finish: str | None = None


def _refused(code: str, sentence: str, outcome: str = "error", *, retryable: bool = True) -> End:
    """The provider took the call not on: nothing is counted."""
    return End(outcome, code, "none", 0, sentence, retryable)


def _kept(sentence: str, words: int) -> str:
    return f"{sentence} What it said is kept; try again." if words else f"{sentence} Try again."


def _silence(seconds: float, words: int = 0) -> End:
    sentence = _SILENT.replace("{seconds:g}", f"{seconds:g}")
    return End("timeout", "timeout", "estimated", words, _kept(sentence, words))


def _cut(words: int) -> End:
    return End("truncated", "truncated", "estimated", words, _kept(_CUT, words))


def _nonsense(words: int) -> End:
    return End("error", "provider_down", "estimated", words, _kept(_NONSENSE, words))


def _ok(words: int, source: str = "provider") -> End:
    return End("ok", None, source, words, finish="stop")


OK: Final = _ok(6)
FALLBACK: Final = _ok(5)
DEAD: Final = _refused("provider_down", _DOWN)
BEATEN: Final = End("stopped", None, "estimated")  # a silent call, ended as the one beside it spoke
_NO_TIME: Final = End("timeout", "timeout", "estimated", 0, _LATE)


@dataclass(frozen=True)
class Fault:
    """One fault. `model`: the hostile provider's behaviour; `at`: where the primary is looked for, if not there.

    `stream`, `whole`: how one call of it ends. `calls`: for each of `BEHIND` the calls in the order of their attempts,
    P the primary, S the primary that was too slow, F the fallback, D the dead fallback; `whole_calls` where whole
    replies differ. `silent`: another model may be asked beside it. `first_word`: seconds it is waited for.
    """

    name: str
    model: str
    stream: End
    calls: tuple[str, str, str]
    whole: End | None = None
    whole_calls: tuple[str, str, str] | None = None
    at: Literal["", "refused", "dns", "tls"] = ""
    silent: bool = False
    first_word: float = FIRST_WORD

    def cell(self, mode: Mode, behind: Behind) -> "Cell":
        end = self.stream if mode == "stream" else self.whole or self.stream
        calls = self.calls if mode == "stream" else self.whole_calls or self.calls
        ends = {"P": end, "S": BEATEN, "F": FALLBACK, "D": DEAD}
        rows = tuple(Row("primary" if who in "PS" else "fallback", ends[who]) for who in calls[BEHIND.index(behind)])
        return Cell(self, mode, behind, rows)


@dataclass(frozen=True)
class Row:
    """One call: a row of the ledger."""

    who: Who
    end: End


@dataclass(frozen=True)
class Cell:
    """One fault in one mode with one kind of model behind it, and all that is to follow from its calls."""

    fault: Fault = field(repr=False)
    mode: Mode
    behind: Behind
    rows: tuple[Row, ...] = field(repr=False)

    @property
    def answer(self) -> Row:
        """The call that gave the answer, else the last one that failed."""
        return next((row for row in self.rows if row.end.outcome == "ok"), self.rows[-1])

    @property
    def status(self) -> str:
        """Of the stored message."""
        return "complete" if self.answer.end.outcome == "ok" else "failed"

    @property
    def words(self) -> list[int]:
        """The numbers of the words that stand in the reply, in order."""
        return [number for row in self.rows for number in range(row.end.words)]

    def sentence(self, primary: str, fallback: str) -> str:
        """What the person is told of the failure; nothing where there was an answer."""
        if self.status == "complete":
            return ""
        sentence = self.answer.end.sentence.replace("{model}", primary if self.answer.who == "primary" else fallback)
        other = any(row.who != self.answer.who and row.end.error for row in self.rows)
        return f"{sentence} Another model failed before it." if other else sentence


_PASSING: Final = ("PPP", "PPPF", "PPPDD")
_AT_ONCE: Final = ("P", "PF", "PDD")
_WELL: Final = ("P", "P", "P")

FAULTS: Final = (
    Fault("401", "401", _refused("bad_key", _KEY, retryable=False), _AT_ONCE),
    Fault("403", "403", _refused("bad_key", _KEY, retryable=False), _AT_ONCE),
    Fault("408", "408", _refused("timeout", _LATE, "timeout"), _PASSING),
    Fault(
        f"429, Retry-After {RETRY_AFTER} s", f"429;after={RETRY_AFTER}",
        _refused("rate_limited", _BUSY, "rate_limited"), ("PPP", "PF", "PDD"),
    ),
    Fault("500", "500", _refused("provider_down", _DOWN), _PASSING),
    Fault("502", "502", _refused("provider_down", _DOWN), _PASSING),
    Fault("503", "503", _refused("provider_down", _DOWN), _PASSING),
    Fault("connection refused", "ok", _refused("provider_down", _DOWN), _PASSING, at="refused"),
    Fault("unknown host name", "ok", _refused("provider_down", _DOWN), _PASSING, at="dns"),
    Fault("TLS fails", "ok", _refused("provider_down", _DOWN), _PASSING, at="tls"),
    Fault(
        "hangs", "hang", _silence(FIRST_WORD), ("PPP", "SF", "PDDPP"),
        whole=_NO_TIME, whole_calls=_PASSING, silent=True,
    ),
    Fault(
        "slow first word", "slow;first=4;n=6", OK, ("P", "SF", "PDD"),
        whole_calls=_WELL, silent=True, first_word=SLOW_FIRST_WORD,
    ),
    Fault("cut at word 0", "cut;n=20;at=0", _cut(0), _PASSING),
    Fault("cut at word 1", "cut;n=20;at=1", _cut(1), _AT_ONCE, whole=_cut(0), whole_calls=_PASSING),
    Fault("cut at word 120", "cut;n=150;at=120", _cut(120), _AT_ONCE, whole=_cut(0), whole_calls=_PASSING),
    Fault(
        "stalls", "stall;n=20;at=5", _silence(BETWEEN_WORDS, 5), _AT_ONCE,
        whole=_NO_TIME, whole_calls=_PASSING,
    ),
    Fault(
        "garbage in the stream or as the body", "garbage;n=20;at=5",
        _nonsense(5), _AT_ONCE, whole=_nonsense(0), whole_calls=_PASSING,
    ),
    Fault("empty reply", "empty", End("error", "provider_down", "provider", 0, _EMPTY, finish="stop"), _PASSING),
    Fault("no usage", "nousage;n=6", _ok(6, "estimated"), _WELL),
    Fault("usage only cumulative", "usagecum;n=6", OK, _WELL),
    Fault("wrong finish reason", "oddfinish;n=6", OK, _WELL),
    Fault("1 MB chunk", "bigchunk", _ok(1), _WELL),
)  # fmt: skip


def cells() -> Iterator[Cell]:
    """Every cell of the matrix."""
    for fault in FAULTS:
        for mode in MODES:
            for behind in BEHIND:
                yield fault.cell(mode, behind)


# --- the page -------------------------------------------------------------------------------------------------------

_INTRO: Final = f"""# What happens when a provider fails

Made by `python -m tests.turns.fault_matrix` from the expectations that `tests/turns/test_fault_matrix.py` tries, each
cell through real sockets and the real litellm: the question is asked of *Primary*, behind which stands nothing,
*Fallback* (`router_settings.fallbacks`), or a *Fallback* that answers 503 itself. For the test the times are short:
{FIRST_WORD:g} s for the first word ({SLOW_FIRST_WORD:g} s for the slow model, which takes 4), {BETWEEN_WORDS:g} s
between words; a whole reply has both together. Another model is asked beside one that streams nothing for
{SLOW_AFTER:g} s. Everything else is as it is by default.

- **The person reads**: before the first word failures are silent, so with a fallback that works nothing is seen of
  them. Words that were said stay, and the next model goes on below them in the same reply.
- **The message** is what the database holds: its status, and the model that answered (or failed last).
- **The ledger** has one row for each call, in this order: who was called, the outcome, the error's type, and who
  counted the tokens (`none`: the provider did not take the call on, and it costs nothing; `estimated`: by us). Every
  cost is known. Where the provider counted, the row equals its own log to the token.

A finish reason that nobody knows is litellm's `stop`: the words are complete. One by which a provider says that it
broke off (`error`, `network_error`), and none at all, are `truncated`. Of a whole reply that is cut no word is kept.
"""


def page() -> str:
    """The page in Markdown."""
    lines = [
        _INTRO,
        "| Fault | Behind it | Reply | The person reads | The message | The ledger |",
        "|---|---|---|---|---|---|",
    ]
    for fault in FAULTS:
        for behind in BEHIND:
            stream, whole = fault.cell("stream", behind), fault.cell("whole", behind)
            if stream.rows == whole.rows:
                lines.append(_line(stream, "both"))
            else:
                lines += [_line(stream, "stream"), _line(whole, "whole")]
    return "\n".join(lines) + "\n"


def _line(cell: Cell, mode: str) -> str:
    status = f"`{cell.status}`, {cell.answer.who.title()}"
    if cell.status == "failed":
        status += ", Retry offered" if cell.answer.end.retryable else ""
    return f"| {cell.fault.name} | {cell.behind} | {mode} | {_read(cell)} | {status} | {_ledger(cell)} |"


def _read(cell: Cell) -> str:
    said = [f"{row.who.title()}'s {_words(row)}" for row in cell.rows if row.end.words]
    sentence = cell.sentence("Primary", "Fallback")
    return ", then ".join([*said, *([f"“{sentence}”"] if sentence else [])])


def _words(row: Row) -> str:
    if row.end.outcome == "ok":
        return "reply"
    return f"{row.end.words} word{'' if row.end.words == 1 else 's'}"


def _ledger(cell: Cell) -> str:
    found = []
    for row, same in groupby(cell.rows):
        times = len(list(same))
        parts = [row.end.outcome, *([row.end.error] if row.end.error else []), row.end.source]
        found.append(f"{f'{times} × ' if times > 1 else ''}{row.who}: {', '.join(f'`{part}`' for part in parts)}")
    return "; ".join(found)


if __name__ == "__main__":
    PAGE.write_text(page())
