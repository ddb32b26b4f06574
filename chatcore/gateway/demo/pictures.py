"""What a demo model can truthfully say of a picture: its size and format, read from its header."""

import base64
import binascii
from io import BytesIO
from typing import Any

from PIL import Image


def described(parts: list[dict[str, Any]]) -> tuple[str, ...]:
    """`a PNG of 640 × 480 pixels` for each picture among OpenAI's content parts."""
    urls = [str((part.get("image_url") or {}).get("url", "")) for part in parts if part.get("type") == "image_url"]
    return tuple(_described(url) for url in urls)


def _described(url: str) -> str:
    head, _, body = url.partition(";base64,")
    if not head.startswith("data:image/"):
        return "a picture that I was given the address of only"
    try:
        with Image.open(BytesIO(base64.b64decode(body, validate=True))) as image:
            return f"a {image.format} of {image.width} × {image.height} pixels"
    except (OSError, binascii.Error, Image.DecompressionBombError):
        return "something that says it is a picture, but cannot be read"
