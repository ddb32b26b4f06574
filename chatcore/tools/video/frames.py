"""Single frames of a video, each found by seeking: a video of ten hours costs what one of a minute does."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from chatcore.tools.video.film import Ffmpeg, Film

EDGE: Final = 768
_SECONDS: Final = 15.0  # of one frame: the pictures since the one before it that stands for itself are decoded, too
_ALL_SECONDS: Final = 60.0
_MOST_BYTES: Final = 2 * 2**20
_SCALED: Final = (
    f"scale=w='max(1,min({EDGE},iw))':h='max(1,min({EDGE},ih))':force_original_aspect_ratio=decrease,format=yuvj420p"
)


@dataclass(frozen=True)
class Frame:
    """A picture of the video. `at`: seconds from its beginning. `data`: a JPEG of at most `EDGE` pixels a side."""

    at: float
    data: bytes = field(repr=False)


def spread(start: float, end: float, count: int) -> list[float]:
    """`count` times between two, in the middle of equal pieces."""
    return [start + (end - start) * (number + 0.5) / count for number in range(count)]


async def taken(program: Ffmpeg, film: Film, times: Sequence[float]) -> list[Frame]:
    """The frames at these times, without those that cannot be had, or not in time."""
    deadline = time.monotonic() + _ALL_SECONDS

    async def one(at: float) -> Frame | None:
        seconds = min(_SECONDS, deadline - time.monotonic())
        data = (
            await program.run([*film.source(at), *_jpeg()], seconds=seconds, most=_MOST_BYTES) if seconds > 0 else b""
        )
        return Frame(at, data) if data else None

    found: list[Frame | None] = []
    for pair in range(0, len(times), 2):
        found += await asyncio.gather(*(one(at) for at in times[pair : pair + 2]))
    return [frame for frame in found if frame is not None]


def _jpeg() -> tuple[str, ...]:
    what = ("-map", "0:V:0", "-frames:v", "1", "-an", "-sn", "-dn", "-map_metadata", "-1")
    return (*what, "-vf", _SCALED, "-c:v", "mjpeg", "-q:v", "4", "-f", "image2pipe", "pipe:1")
