"""How ffmpeg and ffprobe are called on a file that somebody sent: which demuxer and decoders, and what they may take.

They get a path of ours and never a name of the file's; they open that file and nothing that it refers to.
"""

import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MAX_PIXELS: Final = 8192 * 4320  # of a frame
_LIMITED: Final = Path(__file__).with_name("limited.py")
_LONGEST: Final = 1e8  # seconds; more is no video's length
_PROBE_CPU: Final = 10
_MOV: Final = ("-f", "mov", "-enable_drefs", "0", "-use_absolute_path", "0")  # tracks in other files stay unread
_MATROSKA: Final = ("-f", "matroska")
_DEMUXERS: Final = {
    "video/mp4": _MOV, "video/quicktime": _MOV, "video/webm": _MATROSKA, "video/x-matroska": _MATROSKA,
}  # fmt: skip
# What cameras, phones, browsers and editors make. ffmpeg has hundreds more, of old games for example, which nobody
# needs here and few have looked at.
_DECODERS: Final = ",".join(
    (
        "h264,hevc,vp8,vp9,libvpx,libvpx-vp9,av1,libdav1d,libaom-av1,mpeg4,mpeg2video,mpeg1video,mjpeg,h263,theora",
        "prores,ffv1,rawvideo,aac,mp3float,mp3,opus,libopus,vorbis,libvorbis,flac,alac,ac3,eac3,amrnb,amrwb",
        "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_f32le,pcm_mulaw,pcm_alaw",
    )
)
_SHOWN: Final = (
    "stream=codec_type,width,height:stream_disposition=attached_pic:stream_tags=rotate:stream_side_data=rotation:"
    "format=duration"
)


@dataclass(frozen=True)
class Facts:
    """What a video says of itself. `seconds`: its length, None where it does not say. `width`, `height`: pixels, as it
    is seen; both 0 where it has no picture."""

    seconds: float | None
    width: int
    height: int
    has_sound: bool


def found(name: str) -> str | None:
    """Where this program lies; None where it is not installed, or cannot be held within limits, as on Windows."""
    return shutil.which(name) if os.name == "posix" else None


def command(program: str, cpu_seconds: int, arguments: Sequence[str]) -> list[str]:
    """A command that runs the program within limits. To be run without an environment, and without a shell."""
    return [sys.executable, "-I", "-S", str(_LIMITED), str(cpu_seconds), program, *arguments]


def source(path: Path, media_type: str) -> list[str]:
    """The arguments that open a file. `media_type`: of a video, as it was found by its first bytes."""
    return [
        *("-protocol_whitelist", "file", *_DEMUXERS[media_type], "-codec_whitelist", _DECODERS),
        *("-max_pixels", str(MAX_PIXELS), "-threads", "1", "-i", f"file:{path.absolute()}"),
    ]


def probing(ffprobe: str, path: Path, media_type: str) -> list[str]:
    """The command that tells what a file is, as JSON for `facts`."""
    shown = ("-v", "quiet", "-show_entries", _SHOWN, "-of", "json")
    return command(ffprobe, _PROBE_CPU, [*shown, *source(path, media_type)])


def facts(said: bytes) -> Facts | None:
    """What ffprobe said; None where that is not what it says of a video."""
    try:
        told = json.loads(said)
        streams = [one for one in told["streams"] if isinstance(one, dict)]
        seconds = _seconds(told.get("format", {}).get("duration"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    pictures = [one for one in streams if one.get("codec_type") == "video" and not _is_cover(one)]
    width, height = _size(pictures[0]) if pictures else (0, 0)
    return Facts(seconds, width, height, any(one.get("codec_type") == "audio" for one in streams))


def _is_cover(stream: Mapping[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _seconds(said: Any) -> float | None:
    seconds = float(said or 0)
    return seconds if math.isfinite(seconds) and 0 < seconds < _LONGEST else None


def _size(stream: Mapping[str, Any]) -> tuple[int, int]:
    """Phones film upright by a note that says how the picture is to be turned."""
    size = int(stream.get("width") or 0), int(stream.get("height") or 0)
    turns = [one.get("rotation") for one in stream.get("side_data_list", ())] + [stream.get("tags", {}).get("rotate")]
    turned = next((float(one) for one in turns if one is not None), 0.0)
    return size[::-1] if abs(turned) % 180 == 90 else size
