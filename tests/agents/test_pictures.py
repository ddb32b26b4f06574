"""Pictures of agents: whatever is uploaded becomes small, square and harmless."""

import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageDraw

from chatcore.agents import Content, contents, square
from chatcore.agents.pictures import MAX_BYTES
from chatcore.errors import InvalidInput


def picture(size: tuple[int, int] = (300, 200), kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    image = Image.new(mode, size, "red" if mode == "RGB" else None)
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 4, size[1] // 4), fill="blue" if mode == "RGB" else None)
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
@pytest.mark.parametrize("size", [(300, 200), (200, 900), (3, 3), (1, 1), (2000, 10)])
def test_it_becomes_a_small_square_png(kind: str, size: tuple[int, int]) -> None:
    made = Image.open(BytesIO(square(picture(size, kind))))
    assert (made.format, made.size) == ("PNG", (128, 128))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_any_kind_of_pixels_will_do(mode: str) -> None:
    out = BytesIO()
    Image.new(mode, (50, 40)).save(out, "PNG")
    assert len(square(out.getvalue())) <= MAX_BYTES


def test_noise_of_all_colours_is_still_small_enough_to_keep() -> None:
    out = BytesIO()
    Image.effect_noise((400, 400), 255).convert("RGBA").save(out, "PNG")
    made = square(out.getvalue())
    assert len(made) <= MAX_BYTES
    assert contents.checked(Content("x", picture=made))["picture"] == made


def test_it_is_turned_upright_and_tells_nothing_of_where_it_was_taken() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "at home"
    turned = square(picture((200, 200), "JPEG", exif=exif))
    assert b"at home" not in turned
    corner = Image.open(BytesIO(turned)).convert("RGBA").getpixel((120, 8))
    assert isinstance(corner, tuple)
    assert corner[2] > corner[0], "the blue corner is at the right now"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of some bytes that says it has so many pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1_000_000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 10_000), (50_000, 50_000), (2**31 - 1, 2**31 - 1), (20_000_001, 1)])
def test_a_bomb_is_refused_before_it_is_opened(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="more than 20 megapixels"):
        square(bomb(*size))


def test_text_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    text = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(100_000_000)))
    whole = picture()
    at = whole.index(b"IDAT") - 4
    with pytest.raises(InvalidInput, match="no picture that can be read"):
        square(whole[:at] + text + whole[at:])


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"<svg/>", picture()[:100], b"\xff\xd8\xff" * 10, b"GIF89a", b"%PDF-1.7"]
)
def test_what_is_no_picture_says_so(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="no picture that can be read"):
        square(data)


def test_a_large_file_is_not_even_looked_at() -> None:
    with pytest.raises(InvalidInput, match="at most 5 MB"):
        square(bytes(5 * 2**20 + 1))
