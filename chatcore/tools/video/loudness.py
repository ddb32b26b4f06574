"""How loud a video is over time, as a chart."""

import re
from collections.abc import Sequence
from typing import Any, Final

from chatcore.tools.video.film import Ffmpeg, Film

Levels = list[tuple[float, float | None]]

_POINTS: Final = 200
_SHORTEST: Final = 0.1  # seconds of a point
_RATE: Final = 16_000
_SECONDS: Final = 60.0
_MOST_BYTES: Final = 256 * 1024
_SILENT: Final = -60.0  # dB below full scale; the hum of an empty room is louder
_LINE: Final = re.compile(rb"pts_time:(\S+)\s*\nlavfi\.astats\.Overall\.RMS_level=(\S+)")


async def levels(program: Ffmpeg, film: Film, start: float, end: float) -> Levels:
    """At most 200 times in seconds, each with its level in dBFS; None for digital silence. Empty where it cannot be
    measured."""
    window = max(_SHORTEST, (end - start) / _POINTS)
    filters = (
        f"aresample={_RATE},aformat=channel_layouts=mono,asetnsamples=n={int(window * _RATE) + 1}:p=0,"
        "astats=metadata=1:reset=1,ametadata=mode=print:key=lavfi.astats.Overall.RMS_level:file=-"
    )
    what = ("-map", "0:a:0", "-vn", "-af", filters, "-f", "null", "-")
    said = await program.run([*film.source(start, end - start), *what], seconds=_SECONDS, most=_MOST_BYTES)
    found = [(start + float(at), _level(level)) for at, level in _LINE.findall(said or b"")]
    return found[:_POINTS]


def is_silent(levels: Levels) -> bool:
    """Whether nothing can be heard in it."""
    return all(level is None or level < _SILENT for _, level in levels)


def chart(name: str, levels: Levels) -> dict[str, Any]:
    """A chart part of it."""
    values: Sequence[float | None] = [level for _, level in levels]
    return {
        "type": "chart", "chart": "line", "title": f"Loudness of {name}"[:200], "x_label": "Seconds", "y_label": "dBFS",
        "x": [round(at, 1) for at, _ in levels], "series": [{"name": "Loudness", "values": values}],
    }  # fmt: skip


def _level(said: bytes) -> float | None:
    level = float(said)
    return round(level, 1) if -200 < level < 200 else None
