"""All that is taken out of one video for one question."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chatcore.tools.values import ModelAccess, ToolFailed
from chatcore.tools.video import hearing, loudness
from chatcore.tools.video.film import Ffmpeg, Film, clock, measured
from chatcore.tools.video.frames import Frame, spread, taken
from chatcore.tools.video.hearing import Heard
from chatcore.tools.video.loudness import Levels

USUAL_FRAMES: Final = 12
_NO_PICTURE: Final = "No picture of {} can be read: it is damaged, or of a rare kind."
_NO_SOUND: Final = "There is no sound in it."
_SILENT: Final = "Its sound is silent there."


@dataclass(frozen=True)
class Seen:
    """`start`, `end`: seconds that were looked at. `notes`: sentences on what of it is not there."""

    film: Film
    start: float
    end: float
    frames: Sequence[Frame]
    levels: Levels
    transcript: str
    notes: tuple[str, ...]


async def see(
    program: Ffmpeg, film: Film, start: float, end: float | None, count: int | None, models: ModelAccess
) -> Seen:
    """Frames and sound between two times. `end`: None for its end. `count`: of frames, None for the usual.

    Raises `ToolFailed` where there is no picture.
    """
    until, times, frames = await _pictures(program, film, start, end, count)
    # The header may promise more than there is.
    if _are_few(frames, times) and (found := await measured(program, film)) is not None:
        film = found
        until, times, frames = await _pictures(program, film, start, end, count)
    if not frames:
        raise ToolFailed(_NO_PICTURE.format(film.name))
    missing = len(times) - len(frames)
    lost = (f"{missing} of {len(times)} frames could not be read.",) if _are_few(frames, times) else ()
    levels, heard = await _sound(program, film, start, until, models)
    return Seen(film, start, until, frames, levels, heard.text, (*lost, *((heard.why_not,) if heard.why_not else ())))


def _are_few(frames: Sequence[Frame], times: Sequence[float]) -> bool:
    """Behind the last picture of a slow video there is none, so that a few are missing means nothing."""
    return len(frames) * 3 < len(times) * 2


async def _pictures(
    program: Ffmpeg, film: Film, start: float, end: float | None, count: int | None
) -> tuple[float, list[float], list[Frame]]:
    """Where the part ends, the times that are looked at, and the frames that were found there."""
    until = _until(film, start, end)
    times = spread(start, until, count or min(USUAL_FRAMES, math.ceil((until - start) * 2) or 1))
    return until, times, await taken(program, film, times)


async def _sound(program: Ffmpeg, film: Film, start: float, end: float, models: ModelAccess) -> tuple[Levels, Heard]:
    if not film.has_sound:
        return [], Heard(why_not=_NO_SOUND)
    until = min(end, start + hearing.MOST)
    levels = await loudness.levels(program, film, start, until)
    if not levels:
        return [], Heard(why_not="Its sound cannot be read.")
    heard = (
        Heard(why_not=_SILENT)
        if loudness.is_silent(levels)
        else await hearing.heard(program, film, start, until, models)
    )
    if until < end and not heard.why_not:
        heard = Heard(heard.text, f"Nobody listened to it after {clock(until)}.")
    return levels, heard


def _until(film: Film, start: float, end: float | None) -> float:
    if start > film.seconds or (end is not None and end <= start):
        raise ToolFailed(
            f"{film.name} is {clock(film.seconds)} long, so there is nothing from {start:g} to "
            f"{'its end' if end is None else f'{end:g} seconds'}."
        )
    return film.seconds if end is None else min(end, film.seconds)
