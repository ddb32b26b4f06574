"""An agent's picture: whatever is uploaded becomes a small square PNG."""

import threading
from io import BytesIO
from typing import Final

from PIL import Image, ImageOps

from chatcore.errors import InvalidInput

EDGE: Final = 128  # pixels
MAX_BYTES: Final = 32 * 2**10
"""Of what is kept: a picture of that size and 256 colours is never larger."""
MAX_UPLOAD: Final = 5 * 2**20
MAX_PIXELS: Final = 20_000_000
_FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_DECODING: Final = threading.Lock()  # a picture of 20 megapixels takes 80 MB: one at a time


def is_png(data: bytes) -> bool:
    """Whether it begins as a PNG does."""
    return data.startswith(_PNG)


def square(data: bytes) -> bytes:
    """The middle of a PNG, JPEG, GIF or WebP as a PNG of 128 pixels a side, without what else was in the file.

    Raises `InvalidInput`, for a huge one before it is decoded.
    """
    if len(data) > MAX_UPLOAD:
        raise InvalidInput(f"A picture has at most {MAX_UPLOAD // 2**20} MB. Make it smaller first.")
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large() from error
    except Exception as error:  # Pillow raises anything on a broken file
        raise _unreadable() from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large()
    try:
        with _DECODING, image:
            return _small(image)
    except Exception as error:
        raise _unreadable() from error


def _small(image: Image.Image) -> bytes:
    image.draft("RGB", (EDGE * 2, EDGE * 2))  # a JPEG is decoded no larger than it need be
    upright = ImageOps.exif_transpose(image)
    cut = ImageOps.fit(upright.convert("RGBA"), (EDGE, EDGE))
    out = BytesIO()
    cut.quantize(256, Image.Quantize.FASTOCTREE).save(out, "PNG", optimize=True)
    return out.getvalue()


def _too_large() -> InvalidInput:
    return InvalidInput(f"This picture has more than {MAX_PIXELS // 1_000_000} megapixels. Make it smaller first.")


def _unreadable() -> InvalidInput:
    return InvalidInput("This is no picture that can be read. Choose a PNG, JPEG, GIF or WebP.")
