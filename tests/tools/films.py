"""Videos for tests, made by ffmpeg's own sources."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import skip_or_fail

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
WITH_SOUND = ("-f", "lavfi", "-i", "sine=frequency=440", "-shortest", *X264, "-c:a", "aac")


def need_ffmpeg() -> None:
    """Skips, or fails where everything has to be tried."""
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        skip_or_fail("ffmpeg is not installed")


@functools.cache
def film(picture: str = "testsrc=size=320x240:rate=5:duration=4", *options: str, ending: str = "mp4") -> bytes:
    """A video. `picture`: of ffmpeg's source `lavfi`; `options`: what follows it; an H.264 video without sound
    where there are none."""
    need_ffmpeg()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"film.{ending}"
        command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", picture, *(options or X264), str(made)]
        subprocess.run(command, check=True, timeout=60)
        return made.read_bytes()


def spoken() -> bytes:
    """Four seconds with a picture and a tone."""
    return film("testsrc=size=320x240:rate=5:duration=4", *WITH_SOUND)


def ten_hours() -> bytes:
    """Ten hours of one colour, at a frame every ten seconds."""
    return film("color=c=red:size=64x48:rate=1/10:duration=36000", *X264)


def claiming_ten_hours() -> bytes:
    """Four seconds whose header promises ten hours."""
    data = bytearray(film())
    at = data.index(b"mvhd") + 16  # after version, flags and both times: the time scale, and the length in it
    scale = int.from_bytes(data[at : at + 4])
    data[at + 4 : at + 8] = (36_000 * scale).to_bytes(4)
    return bytes(data)
