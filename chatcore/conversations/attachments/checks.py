"""What a file is, by its content; its name is never believed."""

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final, Literal

from chatcore.conversations.attachments import images, pdf, videos
from chatcore.errors import InvalidInput

Kind = Literal["image", "audio", "video", "pdf", "text"]

MAX_CHARACTERS: Final = pdf.MAX_CHARACTERS
_NAME_LENGTH: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")  # tab, newline, return and form feed stand in real texts
# Possessive throughout: a file of thousands of comments must not cost more than one of words.
_SVG: Final = re.compile(r"\s*+(?:<\?xml[^>]*+>\s*+|(?><!--.*?-->)\s*+|<!DOCTYPE[^>]*+>\s*+)*+<svg\b", re.I | re.S)
_NOT_TEXT: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".webp", ".heic", ".pdf", ".docx", ".xlsx", ".pptx", ".zip"}
    | {".wav", ".mp3", ".m4a", ".ogg", ".flac", ".webm", ".mp4", ".mov", ".mkv"}
)
_UNKNOWN: Final = (
    "{} is of a kind that cannot be read here. Attach pictures (PNG, JPEG, GIF, WebP), PDFs, "
    "videos (MP4, MOV, WebM, MKV), audio (WAV, MP3, M4A, OGG, FLAC, WebM) or text in UTF-8."
)


@dataclass(frozen=True)
class Found:
    """What a file turned out to be. `data`: what is to be kept of it. `text`: what was read in a PDF."""

    kind: Kind
    media_type: str
    data: bytes = field(repr=False)
    details: dict[str, Any] = field(default_factory=dict)
    text: str | None = field(default=None, repr=False)


def examine(name: str, data: bytes) -> Found:
    """What the file is. Raises `InvalidInput` with a sentence that names it."""
    if not data:
        raise InvalidInput(f"{name} is empty.")
    if images.is_image(data):
        picture = images.check(name, data)
        size = {"width": picture.width, "height": picture.height}
        return Found("image", picture.media_type, picture.data, size)
    if b"%PDF-" in data[:1024]:
        pages, text = pdf.extract(name, data)
        return Found("pdf", "application/pdf", data, {"pages": pages, "characters": len(text)}, text)
    if (media_type := videos.media_type(data)) is not None:
        return Found("video", media_type, data, videos.check(name, data, media_type))
    if (media_type := _audio(data)) is not None:
        return Found("audio", media_type, data)
    if videos.is_cut(data):
        raise videos.broken(name)
    return _text(name, data)


def clean_name(name: str) -> str:
    """A name without folders and control characters, at most 200 characters, its ending kept."""
    own = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = " ".join("".join(sign if sign.isprintable() else " " for sign in own).split())
    if name in ("", ".", ".."):
        return "file"
    ending = PurePosixPath(name).suffix[:20]
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - len(ending)] + ending


def decoded(data: bytes) -> str | None:
    """UTF-8 or (with its mark) UTF-16 text without control characters; None for anything else."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def _text(name: str, data: bytes) -> Found:
    text = decoded(data)
    if text is None:
        raise InvalidInput(_UNKNOWN.format(name))
    if not text.strip():
        raise InvalidInput(f"{name} is empty.")
    if _SVG.match(text[:5000]):
        raise InvalidInput(f"{name} is an SVG drawing, which models cannot see. Attach it as a PNG.")
    if PurePosixPath(name).suffix.lower() in _NOT_TEXT:
        raise InvalidInput(f"{name} is not what its name says: there is only text in it.")
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(
            f"{name} has {len(text):,} characters; the most that can be attached is {MAX_CHARACTERS:,}. "
            "Attach a part of it."
        )
    return Found("text", "text/plain", data, {"characters": len(text)})


def _audio(data: bytes) -> str | None:
    """The media type of a sound file, None where it is none. Of a file that is no video."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "audio/wav"
    if data[:4] == b"fLaC":
        return "audio/flac"
    if data[:4] == b"OggS":
        return None if b"theora" in data[:4096] else "audio/ogg"
    if data[:4] == b"\x1aE\xdf\xa3":
        return "audio/webm" if b"webm" in data[:64] else None
    if data[4:8] == b"ftyp":
        return "audio/mp4" if b"soun" in data else None
    return "audio/mpeg" if data[:3] == b"ID3" or _is_mp3_frame(data) else None


def _is_mp3_frame(data: bytes) -> bool:
    """An MPEG layer III frame header whose bit rate and sampling rate exist (ISO/IEC 11172-3, 2.4.2.3)."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return False
    return (data[1] >> 3) & 3 != 1 and data[2] >> 4 not in (0, 15) and (data[2] >> 2) & 3 != 3
