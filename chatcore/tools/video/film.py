"""ffmpeg as a child process with limits, and the video that it is run on."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from chatcore.conversations.attachments import Attachment, ffmpeg
from chatcore.conversations.attachments.ffmpeg import Facts

_PIECE: Final = 64 * 1024
_PROBE_SECONDS: Final = 20.0
_PROBE_BYTES: Final = 2**20
_MEASURE_SECONDS: Final = 60.0
_READ: Final = re.compile(rb"^frame=([1-9]\d*)$.*?^out_time_us=(\d+)$", re.M | re.S)
_MISSING: Final = "The program ffmpeg is not installed on the server."


class Ffmpeg:
    """ffmpeg and ffprobe of this machine. Belongs to one loop; two run at once, others wait."""

    def __init__(self) -> None:
        self._ffmpeg = ffmpeg.found("ffmpeg")
        self._ffprobe = ffmpeg.found("ffprobe")
        self._at_once = asyncio.Semaphore(2)

    @property
    def why_not(self) -> str:
        """A sentence where they are not installed, else empty."""
        return "" if self._ffmpeg and self._ffprobe else _MISSING

    async def run(self, arguments: Sequence[str], *, seconds: float, most: int) -> bytes | None:
        """What ffmpeg writes to its standard output; None where it failed, took longer, or wrote more than `most`
        bytes. It has ended when this returns or is cancelled."""
        assert self._ffmpeg is not None
        always = ("-nostdin", "-hide_banner", "-loglevel", "quiet", "-filter_threads", "1")
        async with self._at_once:
            return await _output(ffmpeg.command(self._ffmpeg, int(seconds) + 1, [*always, *arguments]), seconds, most)

    async def probe(self, path: Path, media_type: str) -> Facts | None:
        """What a file says of itself; None where it cannot be read."""
        assert self._ffprobe is not None
        async with self._at_once:
            said = await _output(ffmpeg.probing(self._ffprobe, path, media_type), _PROBE_SECONDS, _PROBE_BYTES)
        return None if said is None else ffmpeg.facts(said)


@dataclass(frozen=True)
class Film:
    """A video to be looked at. `seconds`: its length as it says, or up to its last picture, as found by reading."""

    name: str
    path: Path
    media_type: str
    seconds: float
    has_sound: bool

    def source(self, start: float, seconds: float | None = None) -> list[str]:
        """The arguments that open it at `start`: by seeking, so that what stands before is not read."""
        length = () if seconds is None else ("-t", f"{seconds:.3f}")
        return ["-ss", f"{start:.3f}", *length, *ffmpeg.source(self.path, self.media_type)]


async def opened(program: Ffmpeg, attachment: Attachment, path: Path) -> Film | None:
    """A stored video; None where it has no picture, or cannot be read."""
    facts = await program.probe(path, attachment.media_type)
    if facts is None or not facts.width:
        return None
    film = Film(attachment.name, path, attachment.media_type, facts.seconds or 0.0, facts.has_sound)
    return film if facts.seconds else await measured(program, film)


async def measured(program: Ffmpeg, film: Film) -> Film | None:
    """The same with the length that its pictures have: what browsers record says none, and a file can lie. None where
    it has no picture."""
    copied = ("-map", "0:V:0", "-c", "copy", "-f", "null", "-progress", "pipe:1", "-")
    said = await program.run([*film.source(0), *copied], seconds=_MEASURE_SECONDS, most=2**20)
    found = _READ.findall(said or b"")
    return replace(film, seconds=int(found[-1][1]) / 1e6) if found else None


def clock(seconds: float) -> str:
    """`0:07.5`, `1:02:03.0`."""
    tenths = round(seconds * 10)
    hours, minutes = divmod(tenths // 600, 60)
    rest = f"{tenths % 600 // 10:02}.{tenths % 10}"
    return f"{hours}:{minutes:02}:{rest}" if hours else f"{minutes}:{rest}"


async def _output(command: Sequence[str], seconds: float, most: int) -> bytes | None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={}, cwd="/", start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while len(data) <= most and (piece := await process.stdout.read(_PIECE)):
                data += piece
            is_whole = len(data) <= most and await process.wait() == 0
    except TimeoutError:
        return None
    finally:
        await _end(process, process.stdout)
    return bytes(data) if is_whole else None


async def _end(process: asyncio.subprocess.Process, out: asyncio.StreamReader) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    while await out.read(_PIECE):  # what is left in the pipe keeps asyncio from seeing the end
        pass
    await process.wait()
