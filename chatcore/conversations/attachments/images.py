"""Pictures: checked before they are decoded, freed of what a camera wrote into them, made smaller for models."""

import threading
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from PIL import Image, ImageOps

from chatcore.conversations.attachments import blobs
from chatcore.conversations.attachments.blobs import Blobs
from chatcore.errors import InvalidInput

MAX_PIXELS: Final = 50_000_000
MODEL_EDGE: Final = 2048  # pixels: what providers scale a picture down to before they look at it
MODEL_BYTES: Final = 4 * 2**20  # Anthropic takes 5 MB a picture, others more
_FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")
_MEDIA_TYPES: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with further ones behind it, as phones write them
    "GIF": "image/gif",
    "WEBP": "image/webp",
}
_DECODING: Final = threading.Lock()  # a picture of 50 megapixels takes 200 MB: one at a time
_ORIENTATION: Final = 0x0112


@dataclass(frozen=True)
class Picture:
    """A picture that was found to be whole. Sizes are pixels, as it is seen."""

    data: bytes
    media_type: str
    width: int
    height: int


def is_image(data: bytes) -> bool:
    """Whether the first bytes are those of a PNG, JPEG, GIF or WebP."""
    return data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")) or (
        data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    )


def check(name: str, data: bytes) -> Picture:
    """The picture without metadata, the right way up. Raises `InvalidInput`, for a huge one before it is decoded."""
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name) from error
    except Exception as error:  # Pillow raises anything on a broken file
        raise _broken(name) from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)
    try:
        with _DECODING, image:
            image.load()
            return _kept(image, data)
    except Exception as error:
        raise _broken(name) from error


def for_model(data: bytes, media_type: str) -> tuple[bytes, str]:
    """A still picture of at most 2,048 pixels a side and about 4 MB, and its media type: what is sent to a model."""
    with _DECODING, Image.open(BytesIO(data), formats=_FORMATS) as image:
        still = getattr(image, "n_frames", 1) == 1 and media_type != "image/gif"
        if still and max(image.size) <= MODEL_EDGE and len(data) <= MODEL_BYTES:
            return data, media_type
        wanted = "RGBA" if image.has_transparency_data else "RGB"
        # Made smaller before anything else where that is possible: a copy of a large picture takes 200 MB.
        small: Image.Image = image if image.mode in ("L", "RGB", "RGBA") else image.convert(wanted)
        small.thumbnail((MODEL_EDGE, MODEL_EDGE))
        small = small.convert(wanted)
    if media_type != "image/jpeg":
        png = _saved(small, "PNG", optimize=False)
        if len(png) <= MODEL_BYTES // 2:
            return png, "image/png"
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    return _saved(small.convert("RGB"), "JPEG", quality=88), "image/jpeg"


def sent(files: Blobs, sha256: str, media_type: str) -> tuple[bytes, str]:
    """`for_model` of a stored picture. What had to be made smaller is kept beside it. Raises `NotFound`."""
    small = files.beside(sha256, "small")
    if small.is_file():
        data = blobs.read(small)
    else:
        whole = files.read(sha256)
        data, kept_type = for_model(whole, media_type)
        if data is whole:
            return whole, kept_type
        blobs.write(small, data)
    return data, "image/jpeg" if data.startswith(b"\xff\xd8") else "image/png"


def _kept(image: Image.Image, data: bytes) -> Picture:
    media_type = _MEDIA_TYPES[image.format or ""]
    turned = image.getexif().get(_ORIENTATION, 1) != 1
    told = any(image.info.get(key) for key in ("exif", "xmp", "photoshop", "XML:com.adobe.xmp"))
    if media_type == "image/gif" or not (turned or told or image.getexif() or image.format == "MPO"):
        return Picture(data, media_type, image.width, image.height)
    upright = ImageOps.exif_transpose(image) if turned else image
    format_ = "JPEG" if image.format == "MPO" else str(image.format)
    quality = {"JPEG": {"quality": 93}, "WEBP": {"quality": 93}}.get(format_, {})
    clean = Image.new(upright.mode, upright.size)  # takes over the pixels and none of what came with them
    clean.paste(upright)
    if upright.palette is not None:
        clean.putpalette(upright.palette)
    more = {name: image.info[name] for name in ("icc_profile", "transparency") if name in image.info}
    return Picture(_saved(clean, format_, **quality, **more), media_type, *upright.size)


def _saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def _too_large(name: str) -> InvalidInput:
    return InvalidInput(
        f"{name} has too many pixels; the most is {MAX_PIXELS // 1_000_000} megapixels. Make it smaller first."
    )


def _broken(name: str) -> InvalidInput:
    return InvalidInput(f"{name} is a broken picture, or only a part of one.")
