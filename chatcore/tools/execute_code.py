"""The tool `execute_code`: Python in the sandbox. What it prints, tables, pictures and text files come back."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.parts import CodePart, parse
from chatcore.conversations.text import clean
from chatcore.errors import InvalidInput, NotFound
from chatcore.flags import FlagStore
from chatcore.tools.media import media_part
from chatcore.tools.sandbox import GivenFile, Limits, MadeFile, Outcome, Proof, run
from chatcore.tools.values import Tool, ToolCall, ToolChoice, ToolFailed, ToolResult, ToolSpec

NAME: Final = "execute_code"
AT_ONCE: Final = 2
"""Programs that run in this process at the same time; the others wait."""
MAX_CODE: Final = 50_000
_PATIENCE: Final = 30.0  # seconds that one waits for its place
_KEEPING: Final = 30.0  # seconds to store what it made
_MOST_GIVEN: Final = 10
_GIVEN_BYTES: Final = 32 * 2**20
_GIVEN_KINDS: Final = ("text", "image", "pdf")
_SAID: Final = 16_000  # characters of standard output and of errors, each
_OFF: Final = "Running code is switched off. An operator can switch it on."
_TRYING: Final = "The server is finding out whether it can shut programs in. Look again in a moment."
_FULL: Final = "Too many programs run at this moment. Call it again a little later."
_ENDINGS: Final = {
    "too_long": "It was ended: it ran longer than {0.seconds:g} seconds.",
    "too_much": "It was ended: it wrote too much.",
    "cpu": "It was ended: it used more than {0.cpu_seconds} seconds of the processor.",
    "killed": "It was ended by the system, out of a limit or by a fault of its own.",
}
Part = Mapping[str, Any]


class CodeRunner:
    """Running code, as a source of tools. Nothing can be run before the sandbox has proved that it holds."""

    def __init__(
        self, attachments: Attachments, flags: FlagStore, private: Sequence[Path] = (), limits: Limits | None = None
    ) -> None:
        """`private`: files and folders that it proves to be out of sight, such as the data folder."""
        self._attachments = attachments
        self._flags = flags
        self._proof = Proof(private)
        self._limits = limits or Limits()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def start(self) -> None:
        """Try the sandbox where it is switched on already; waits for nothing."""
        if self._flags.now.execute_code:
            self._proof.begin()

    async def close(self) -> None:
        """Nothing is left open: each program ends with its call."""

    def why_not(self) -> str:
        """A sentence where no code can be run now, else empty. Begins to try the sandbox where that is not known."""
        if not self._flags.now.execute_code:
            return _OFF
        self._proof.begin()
        return _TRYING if self._proof.why_not is None else self._proof.why_not

    def choices(self, who: Principal) -> Sequence[ToolChoice]:
        """One choice, with why it cannot be used where it is off, or the machine gives no sandbox."""
        about = "Runs Python in a sandbox: computes, draws, and reads the attached files."
        return [ToolChoice(NAME, "Run code", about, ":material/code_blocks:", why_not=self.why_not())]

    def tools(self, who: Principal, agent: Agent | None, names: Sequence[str]) -> Sequence[Tool]:
        """The tool, where it is on and can be. While the sandbox is being tried it is there, and its call waits."""
        return [ExecuteCode(self, self._limits)] if NAME in names and self.why_not() in ("", _TRYING) else []

    async def run(self, who: Principal, code: str, attachments: Sequence[str] = ()) -> ToolResult:
        """Run a program for this person, with those of the attachments that they may read. Raises `ToolFailed` where
        it is switched off or too much runs, `NoSandbox` where the machine cannot shut it in."""
        if not self._flags.now.execute_code:
            raise ToolFailed(_OFF)
        cell = await self._proof.cell()
        given = await asyncio.to_thread(lambda: list(self._given(who, attachments)))
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._places.acquire()
        except TimeoutError:
            raise ToolFailed(_FULL) from None
        try:
            outcome = await run(cell, code, given, self._limits)
        finally:
            self._places.release()
        kept, notes = await asyncio.to_thread(self._kept, who, outcome.came.files)
        return _result(outcome, [file.name for file in given], kept, notes, self._limits)

    def _given(self, who: Principal, attachments: Sequence[str]) -> Iterator[GivenFile]:
        """The newest of the attached files that a program can read, under names that differ."""
        names: set[str] = set()
        room = _GIVEN_BYTES
        for attachment_id in dict.fromkeys(reversed(attachments)):
            try:
                attachment, _ = self._attachments.get(who, attachment_id)
                if attachment.kind not in _GIVEN_KINDS or attachment.size > room:
                    continue
                data = self._attachments.read(attachment)
            except NotFound:
                continue  # removed since, or not theirs any more
            name = _different(attachment.name, names)
            names.add(name)
            room -= len(data)
            yield GivenFile(name, data)
            if len(names) == _MOST_GIVEN:
                return

    def _kept(self, who: Principal, files: Sequence[MadeFile]) -> tuple[list[Part], list[str]]:
        """The files that a program left, as parts, and why others are none. They are checked like uploaded ones."""
        parts: list[Part] = []
        notes: list[str] = []
        for file in files:
            try:
                parts.append(media_part(self._attachments.add(who, file.name, file.data)))
            except InvalidInput as error:
                notes.append(f"Not kept: {error}")
        return parts, notes


class ExecuteCode:
    """Runs a program once."""

    def __init__(self, runner: CodeRunner, limits: Limits) -> None:
        self._runner = runner
        self.spec = ToolSpec(
            NAME,
            "Run a Python 3 program and get what it prints. numpy, pandas, matplotlib and Pillow are there. It runs in "
            "a sandbox: no network, no other processes, no asyncio, "
            f"{limits.seconds:g} seconds, {limits.memory_bytes // 2**20} MB of memory. Every call starts in a new, "
            "empty folder, and nothing is left of earlier calls; the person's attached files are there under their "
            "names. The value of the last line is shown; display(value) shows others. A DataFrame is shown to the "
            "person as a table, an open figure of matplotlib as a picture, and so are PNG, JPEG, CSV and text files "
            "that the program leaves in its folder; do not repeat them in the reply.",
            {
                "type": "object",
                "properties": {"code": {"type": "string", "description": "The whole program.", "maxLength": MAX_CODE}},
                "required": ["code"],
                "additionalProperties": False,
            },
            timeout=_PATIENCE + limits.seconds + _KEEPING,
        )

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """See `tools.Tool`."""
        return await self._runner.run(call.who, arguments["code"], call.attachments)


def _different(name: str, taken: set[str]) -> str:
    """A file's name that fits into 255 bytes and is none of those that are taken."""
    stem, dot, ending = name.rpartition(".")
    if not stem:
        stem, dot, ending = name, "", ""
    stem = stem.encode()[: 200 - len(ending.encode()[:50])].decode(errors="ignore") or "file"
    ending = ending.encode()[:50].decode(errors="ignore")
    names = (f"{stem}{f'-{number}' if number > 1 else ''}{dot}{ending}" for number in range(1, len(taken) + 2))
    return next(one for one in names if one not in taken)


def _result(
    outcome: Outcome, given: Sequence[str], kept: Sequence[Part], notes: list[str], limits: Limits
) -> ToolResult:
    """What the model is told, and what the person sees."""
    came = outcome.came
    tables, said_tables = _tables(came.tables)
    ended = _ENDINGS.get(outcome.ending, "").format(limits)
    if outcome.ending == "failed":
        ended = f"It ended with the exit code {outcome.status}."
    stdout, stderr = _shortened(outcome.stdout), _shortened(outcome.stderr)
    if came.left:
        more = f" and {came.more} more" if came.more else ""
        notes = [*notes, f"Not kept, of a kind or size that cannot be: {', '.join(came.left)}{more}."]
    shown = [str(part["name"]) for part in kept]
    told = [
        f"Printed:\n{stdout}" if stdout.strip() else "It printed nothing.",
        f"Errors:\n{stderr}" if stderr.strip() else "",
        *said_tables,
        f"Shown to the person: {', '.join(shown)}." if shown else "",
        *notes,
        ended,
        f"Attached files in its folder: {', '.join(given)}." if given and outcome.ending != "ended" else "",
    ]
    words = [*(one.rstrip() for one in (stdout, stderr) if one.strip()), ended if outcome.ending != "failed" else ""]
    said = CodePart(language="text", code="\n".join(filter(None, [*words, *notes])))
    parts = [said.model_dump()] if said.code else []
    return ToolResult("\n\n".join(filter(None, told)), (*parts, *tables, *kept), outcome.ending != "ended")


def _tables(sent: Sequence[Mapping[str, Any]]) -> tuple[list[Part], list[str]]:
    """The tables that are valid, as parts, and each as the model reads it."""
    parts: list[Part] = []
    told: list[str] = []
    for table in sent:
        rows, of = table.get("rows"), table.get("of")
        if not isinstance(rows, list) or not isinstance(of, list) or [type(one) for one in of] != [int, int]:
            continue
        title = f"The first {len(rows):,} of {of[0]:,} rows" if of[0] > len(rows) else ""
        columns = _clean_cells(table.get("columns"))
        raw = {"type": "table", "title": title, "columns": columns, "rows": [_clean_cells(row) for row in rows]}
        if (part := parse(raw)) is not None:
            parts.append(part.model_dump())
            text = clean(str(table.get("text", "")))[:_SAID]
            told.append(f"A table of {of[0]:,} rows and {of[1]:,} columns is shown to the person:\n{text}")
    return parts, told


def _clean_cells(row: object) -> object:
    """A lone half of a character is no text, and would cost the whole table."""
    return [clean(one) if isinstance(one, str) else one for one in row] if isinstance(row, list) else row


def _shortened(said: str) -> str:
    """Clean, and without its middle where it is long: how a program ends is what explains it."""
    said = clean(said)
    if len(said) <= _SAID:
        return said
    half = _SAID // 2
    return f"{said[:half]}\n[… {len(said) - _SAID:,} characters left out …]\n{said[-half:]}"
