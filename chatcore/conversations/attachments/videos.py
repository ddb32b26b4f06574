"""Videos: known by their first bytes and their tracks, and looked at by ffprobe where there is one."""

import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from chatcore.conversations.attachments import ffmpeg
from chatcore.errors import InvalidInput

_SECONDS: Final = 20.0
_AT_ONCE: Final = threading.Semaphore(2)
_EBML: Final = b"\x1aE\xdf\xa3"
_LOOKED_AT: Final = 2**20  # bytes in which a Matroska file names its tracks
_MATROSKA_PICTURE: Final = re.compile(  # the element CodecID: its length in one of three forms, its value
    rb"\x86(?:[\x80-\xff]|[\x40-\x7f].|\x01.{7})V_[A-Z]", re.S
)
_PICTURE_TRACK: Final = re.compile(rb"hdlr.{8}vide", re.S)
_FIRST_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_MOST_BOXES: Final = 100_000
_BROKEN: Final = "{} cannot be read: it is a broken video, only a part of one, or of a rare kind."


def media_type(data: bytes) -> str | None:
    """The media type of a video with a picture; None where it is none."""
    if data.startswith(_EBML):
        known = next((kind for kind in (b"webm", b"matroska") if kind in data[:64]), None)
        if known is None or not _MATROSKA_PICTURE.search(data, 0, _LOOKED_AT):
            return None
        return "video/webm" if known == b"webm" else "video/x-matroska"
    start, end = dict(_boxes(data)).get(b"moov", (0, 0))
    if not _PICTURE_TRACK.search(data, start, end):
        return None
    return "video/mp4" if data[4:8] == b"ftyp" and data[8:12] != b"qt  " else "video/quicktime"


def is_cut(data: bytes) -> bool:
    """Whether this is an MP4 without the part that says what is in it, which most have at their end."""
    if data[4:8] != b"ftyp":
        return False
    kinds = {kind for kind, _ in _boxes(data)}
    return not kinds & {b"moov", b"meta"}  # a picture (HEIC, AVIF) has `meta`


def check(name: str, data: bytes, found: str) -> dict[str, Any]:
    """`width`, `height` in pixels and `seconds` of a video, as far as they can be known; nothing without ffprobe.

    `found`: its media type. Raises `InvalidInput` with a sentence that names it. Takes up to 20 seconds.
    """
    ffprobe = ffmpeg.found("ffprobe")
    if ffprobe is None:
        return {}
    facts = _probed(ffprobe, name, data, found)
    if facts is None:
        raise broken(name)
    if not 0 < facts.width * facts.height <= ffmpeg.MAX_PIXELS:  # ffprobe itself gives no size to what is larger
        raise InvalidInput(f"{name} has no picture that can be read, or one of more than 8,192 × 4,320 pixels.")
    length = {} if facts.seconds is None else {"seconds": round(facts.seconds, 1)}
    return {"width": facts.width, "height": facts.height, **length}


def broken(name: str) -> InvalidInput:
    """What is said of a video that cannot be read."""
    return InvalidInput(_BROKEN.format(name))


def _probed(ffprobe: str, name: str, data: bytes, found: str) -> ffmpeg.Facts | None:
    with _AT_ONCE, tempfile.NamedTemporaryFile(prefix="chatcore-") as source, tempfile.TemporaryFile() as said:
        source.write(data)
        source.flush()
        try:
            done = subprocess.run(  # noqa: S603 - our own command
                ffmpeg.probing(ffprobe, Path(source.name), found),
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL,
                timeout=_SECONDS, env={}, cwd="/", check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise InvalidInput(f"{name} takes too much work to read. Attach a simpler version of it.") from error
        said.seek(0)
        return ffmpeg.facts(said.read()) if done.returncode == 0 else None


def _boxes(data: bytes) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """The outermost boxes of an MP4 or QuickTime file, each with where it begins and ends. Nothing of other files."""
    at = 0
    if data[4:8] not in _FIRST_BOXES:
        return
    for _ in range(_MOST_BOXES):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        if size == 0:  # up to the end
            size = len(data) - at
        yield kind, (at, min(at + size, len(data)))
        at += size
        if size < 8 or at + 8 > len(data):
            return
