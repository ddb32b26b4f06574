"""Files: what they are found to be, what is refused with which sentence, where they lie, and who may have them."""

import os
import stat
import struct
import threading
import time
import wave
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.config import Settings
from chatcore.conversations import store as conversations
from chatcore.conversations.attachments import Attachments, checks, images, pdf, store
from chatcore.conversations.attachments.blobs import Blobs
from chatcore.conversations.sharing import Shares
from chatcore.db import Database
from chatcore.db.tables import Attachment as AttachmentRow
from chatcore.db.tables import Conversation, QueuedMessage, Share, utcnow
from chatcore.errors import InvalidInput, NotFound
from chatcore.ids import new_id
from tests.conftest import add_person
from tests.tools import films

DAY_AGO = timedelta(hours=25)


def picture(format_: str = "PNG", size: tuple[int, int] = (8, 6), colour: str = "red", **options: Any) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, colour).save(out, format_, **options)
    return out.getvalue()


def sound(seconds: float = 0.1) -> bytes:
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\0\0" * int(seconds * 16_000))
    return out.getvalue()


def pdf_of(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size %d /Root 1 0 R %b >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, trailer, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(objects) + 1, table) + end


def document(drawing: bytes, *, pages: int = 1, packed: bool = False, trailer: bytes = b"") -> bytes:
    """A PDF whose pages all draw the same."""
    kids = b" ".join(b"%d 0 R" % (number + 5) for number in range(pages))
    filter_ = b"/Filter /FlateDecode " if packed else b""
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 3 0 R /Resources << /Font << /F 4 0 R >> >> >>"
    )
    return pdf_of(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, pages),
            b"<< %b/Length %d >>\nstream\n%b\nendstream" % (filter_, len(drawing), drawing),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            *[page] * pages,
        ],
        trailer,
    )


def words(text: bytes) -> bytes:
    return b"BT /F 12 Tf 72 720 Td (" + text + b") Tj ET"


def packed(piece: bytes, times: int) -> bytes:
    machine = zlib.compressobj(9)
    return b"".join(machine.compress(piece) for _ in range(times)) + machine.flush()


LOCKED = (
    b"/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <" + b"11" * 32 + b"> /U <" + b"22" * 32 + b"> >> "
    b"/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"
)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a picture of this size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def refusal(name: str, data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        checks.examine(name, data)
    return str(caught.value)


# --- what a file is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp")],
)
def test_pictures_are_known_by_content_and_kept_as_they_are(format_: str, media_type: str) -> None:
    data = picture(format_)
    found = checks.examine("whatever.txt", data)
    assert (found.kind, found.media_type, found.data) == ("image", media_type, data)
    assert found.details == {"width": 8, "height": 6}


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (sound(), "audio/wav"),
        (b"ID3\x04" + b"\0" * 50, "audio/mpeg"),
        (b"\xff\xfb\x90\x00" + b"\0" * 500, "audio/mpeg"),
        (b"fLaC" + b"\0" * 50, "audio/flac"),
        (b"OggS" + b"\0" * 50, "audio/ogg"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0" + b"hdlr" + b"\0" * 8 + b"soun", "audio/mp4"),
        (b"\x1aE\xdf\xa3" + b"\x42\x82\x84webm" + b"A_OPUS", "audio/webm"),
    ],
)
def test_sound_is_known_by_content(data: bytes, media_type: str) -> None:
    found = checks.examine("whatever.png", data)
    assert (found.kind, found.media_type) == ("audio", media_type)


@pytest.mark.parametrize(
    ("name", "data", "characters"),
    [
        ("notes.md", "# Grüße 🎉\n".encode(), 10),
        ("data.csv", b"\xef\xbb\xbfa,b\r\n1,2\r\n", 10),
        ("old.txt", "naïve".encode("utf-16"), 5),
        ("page.html", b"<html><script>alert(1)</script></html>", 38),
        ("no ending", b"{}", 2),
    ],
)
def test_text_is_what_can_be_read_as_text(name: str, data: bytes, characters: int) -> None:
    found = checks.examine(name, data)
    assert (found.kind, found.media_type, found.details) == ("text", "text/plain", {"characters": characters})


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.txt", b"", "empty.txt is empty."),
        ("blank.txt", b" \n\t", "blank.txt is empty."),
        ("nul.txt", b"a\0b", "nul.txt is of a kind"),
        ("latin.csv", "é".encode("latin-1"), "UTF-8"),
        ("bell.txt", b"a\x07b", "bell.txt is of a kind"),
        ("run.exe", b"MZ\x90\0\x03", "run.exe is of a kind"),
        ("x.zip", b"PK\x03\x04" + b"\0" * 30, "x.zip is of a kind"),
        ("x.png", b"<html><script>alert(1)</script></html>", "x.png is not what its name says"),
        ("x.pdf", b"only words", "x.pdf is not what its name says"),
        ("x.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("x.txt", b"<?xml version='1.0'?>\n<!-- hi -->\n<!DOCTYPE svg>\n<svg onload='alert(1)'/>", "SVG"),
        ("film.mp4", b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\x90\0mdat" + b"\0" * 99, "film.mp4 cannot be read"),
        ("film.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "film.mp4 is not what its name says"),
        ("film.mkv", b"\x1aE\xdf\xa3" + b"\x42\x82\x88matroska" + b"\x86\x86A_OPUS", "film.mkv is of a kind"),
        ("half.png", picture()[:40], "half.png is a broken picture"),
        ("half.jpg", picture("JPEG", (400, 400))[:600], "half.jpg is a broken picture"),
        ("head.gif", b"GIF89a", "head.gif is a broken picture"),
        ("long.txt", b"a" * 2_000_001, "long.txt has 2,000,001 characters"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence_that_names_it(name: str, data: bytes, says: str) -> None:
    assert says in refusal(name, data)


def test_a_text_of_comments_costs_no_more_than_one_of_words() -> None:
    began = time.monotonic()
    assert checks.examine("a.xml", b"<!---->" * 5_000).kind == "text"
    assert time.monotonic() - began < 0.5


@given(st.binary(max_size=200), st.sampled_from([b"", b"%PDF-", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff"]))
def test_whatever_the_bytes_they_are_something_or_refused(data: bytes, head: bytes) -> None:
    if b"%PDF-" in head + data:
        return  # a child process for each would take minutes
    with suppress(InvalidInput):
        assert checks.examine("some file", head + data).kind in ("image", "audio", "video", "text")


@given(st.text(max_size=400))
def test_a_cleaned_name_is_one_line_without_folders(name: str) -> None:
    cleaned = checks.clean_name(name)
    assert 0 < len(cleaned) <= 200
    assert "/" not in cleaned
    assert "\\" not in cleaned
    assert cleaned.isprintable()
    assert checks.clean_name(cleaned) == cleaned


def test_a_long_name_keeps_its_ending() -> None:
    assert checks.clean_name("../../etc/" + "a" * 300 + ".pdf") == "a" * 196 + ".pdf"
    assert checks.clean_name("C:\\me\\my\u202efdp.exe") == "my fdp.exe"


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 6_000), (2_000_000_000, 2_000_000_000)])
def test_a_picture_too_large_is_refused_before_it_is_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    began = time.monotonic()
    assert "too many pixels" in refusal("huge.png", png_header(*size)) or size[0] > 100_000
    assert time.monotonic() - began < 0.5


def with_camera_data(format_: str, orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Camera of Ada"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    return picture(format_, (40, 20), exif=exif)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_where_a_picture_was_taken_is_not_kept_and_it_stands_upright(format_: str) -> None:
    data = with_camera_data(format_)
    assert b"Camera of Ada" in data
    found = checks.examine("photo", data)
    kept = Image.open(BytesIO(found.data))
    assert b"Camera of Ada" not in found.data
    assert not kept.getexif()
    assert kept.format == format_
    assert kept.size == (20, 40)
    assert found.details == {"width": 20, "height": 40}
    pixel = kept.convert("RGB").getpixel((5, 5))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 240


def test_camera_data_goes_also_where_nothing_is_to_be_turned() -> None:
    found = checks.examine("photo", with_camera_data("JPEG", 1))
    assert found.details == {"width": 40, "height": 20}
    assert b"Camera of Ada" not in found.data


def test_a_palette_and_its_transparency_survive_cleaning() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 0, 200, 0])
    out, exif = BytesIO(), Image.Exif()
    exif[0x010F] = "Camera"
    image.save(out, "PNG", transparency=0, exif=exif)
    kept = Image.open(BytesIO(checks.examine("p.png", out.getvalue()).data))
    assert kept.convert("RGBA").getpixel((1, 1)) == (0, 200, 0, 255)
    assert kept.info["transparency"] == 0


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_a_model_gets_a_small_picture_as_it_is(format_: str) -> None:
    data = picture(format_, (2048, 20))
    assert images.for_model(data, f"image/{format_.lower()}") == (data, f"image/{format_.lower()}")


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_model_gets_a_large_picture_made_smaller(format_: str) -> None:
    data, media_type = images.for_model(picture(format_, (4000, 1000)), f"image/{format_.lower()}")
    assert Image.open(BytesIO(data)).size == (2048, 512)
    assert media_type in ("image/png", "image/jpeg")


def test_a_model_gets_a_noisy_picture_below_the_limit() -> None:
    noise = Image.frombytes("RGBA", (2048, 2048), os.urandom(2048 * 2048 * 4))
    out = BytesIO()
    noise.save(out, "PNG", compress_level=1)
    data, media_type = images.for_model(out.getvalue(), "image/png")
    assert media_type == "image/jpeg"
    assert len(data) < 5 * 2**20


def test_of_an_animation_a_model_gets_the_first_picture() -> None:
    out = BytesIO()
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    data, media_type = images.for_model(out.getvalue(), "image/gif")
    assert media_type == "image/png"
    assert getattr(Image.open(BytesIO(data)), "n_frames", 1) == 1


# --- videos ---------------------------------------------------------------------------------------------------------

SMALL = "testsrc=size=64x48:rate=5:duration=2"
VP8 = ("-c:v", "libvpx", "-deadline", "realtime")


def box(kind: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4) + kind + body


def mp4(handler: bytes = b"vide", brand: bytes = b"isom") -> bytes:
    """The outermost boxes of an MP4 with one track, which holds nothing."""
    track = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + handler + bytes(12))))
    return box(b"ftyp", brand + bytes(4)) + box(b"mdat", bytes(99)) + box(b"moov", track)


def webm(*codecs: bytes, kind: bytes = b"webm") -> bytes:
    """The head of a Matroska file whose tracks have these codecs."""
    tracks = b"".join(b"\x86" + bytes([0x80 + len(codec)]) + codec for codec in codecs)
    return b"\x1aE\xdf\xa3\x93\x42\x82" + bytes([0x80 + len(kind)]) + kind + bytes(40) + tracks


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (mp4(), "video/mp4"),
        (mp4(brand=b"qt  "), "video/quicktime"),
        (mp4()[16:], "video/quicktime"),
        (webm(b"A_OPUS", b"V_VP9"), "video/webm"),
        (webm(b"V_MPEG4/ISO/AVC", kind=b"matroska"), "video/x-matroska"),
    ],
)
def test_videos_are_known_by_content_where_nothing_can_look_into_them(
    data: bytes, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    found = checks.examine("whatever.txt", data)
    assert (found.kind, found.media_type, found.data, found.details) == ("video", media_type, data, {})


@pytest.mark.parametrize("data", [mp4(b"soun"), mp4(b"soun", b"M4A "), webm(b"A_OPUS")])
def test_sound_in_the_form_of_a_video_is_sound(data: bytes) -> None:
    assert checks.examine("whatever", data).kind == "audio"


@pytest.mark.parametrize(
    ("options", "ending", "media_type"),
    [
        (films.X264, "mp4", "video/mp4"),
        (films.X264, "mov", "video/quicktime"),
        (films.X264, "mkv", "video/x-matroska"),
        (VP8, "webm", "video/webm"),
    ],
)
def test_the_size_and_length_of_a_video_are_found(options: tuple[str, ...], ending: str, media_type: str) -> None:
    found = checks.examine("clip", films.film(SMALL, *options, ending=ending))
    assert (found.kind, found.media_type) == ("video", media_type)
    assert found.details == {"width": 64, "height": 48, "seconds": 2.0}


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def overwritten(data: bytes) -> bytes:
    """The tracks are still named, but what they say of themselves is not there."""
    at = data.index(b"stbl")
    return data[:at] + b"\xff" * (len(data) - at)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: cut(films.film()), "clip.mp4 cannot be read: it is a broken video, only a part of one"),
        (lambda: overwritten(films.film()), "clip.mp4"),
        (mp4, "clip.mp4"),
        (lambda: films.film("color=size=9000x5000:rate=1:duration=1", "-c:v", "mjpeg", ending="mkv"), "8,192 × 4,320"),
    ],
    ids=["cut", "overwritten", "empty", "huge"],
)
def test_a_video_that_cannot_be_used_is_refused_with_why(make: Callable[[], bytes], says: str) -> None:
    films.need_ffmpeg()
    assert says in refusal("clip.mp4", make())


def test_a_box_that_lies_about_its_size_costs_nothing() -> None:
    began = time.monotonic()
    for size in (b"\0\0\0\0", b"\0\0\0\x01", b"\0\0\0\x02", b"\xff\xff\xff\xff"):
        with suppress(InvalidInput):
            checks.examine("a.mp4", size + b"free" + bytes(9) + box(b"free", b"") * 200_000)
    assert time.monotonic() - began < 2


# --- PDFs -----------------------------------------------------------------------------------------------------------


def test_the_text_of_a_pdf_is_read_with_its_pages() -> None:
    found = checks.examine("a.pdf", document(words(b"Hello, PDF"), pages=3))
    assert (found.kind, found.details["pages"]) == ("pdf", 3)
    assert found.text == "Hello, PDF\n\nHello, PDF\n\nHello, PDF"
    assert found.details["characters"] == len(found.text)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: document(words(b"x"), trailer=LOCKED), "protected by a password"),
        (lambda: document(words(b"x"))[:70], "broken PDF"),
        (lambda: b"%PDF-1.7 and nothing else", "broken PDF"),
        (lambda: document(b"0 0 m 100 100 l S"), "probably scanned"),
        (lambda: document(words(b"x"), pages=2_001), "more than 2,000 pages"),
        (lambda: document(words(b"x" * 30_000), pages=70), "more than 2,000,000 characters"),
    ],
    ids=["locked", "cut", "junk", "scanned", "pages", "characters"],
)
def test_a_pdf_without_readable_text_is_refused_with_why(make: Callable[[], bytes], says: str) -> None:
    assert says in refusal("a.pdf", make())


@pytest.mark.parametrize("piece", [b"\0" * 2**20, b"BT /F 1 Tf (aaaaaaaa) Tj ET " * 40_000], ids=["zeros", "drawing"])
def test_a_pdf_that_unpacks_to_gigabytes_hurts_only_the_child(piece: bytes) -> None:
    bomb = document(packed(piece, 800), packed=True)
    assert len(bomb) < 5_000_000
    began = time.monotonic()
    assert "too much work" in refusal("bomb.pdf", bomb)
    assert time.monotonic() - began < 31


def test_a_child_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    endless = tmp_path / "endless.py"
    endless.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(pdf.child, "__file__", str(endless))
    monkeypatch.setattr(pdf, "_SECONDS", 0.5)
    assert "too much work" in refusal("a.pdf", document(words(b"x")))


# --- keeping --------------------------------------------------------------------------------------------------------


class Files:
    """Attachments over a database of each kind, with two people of one tenant and one of another."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.db = database
        self.all = Attachments(database, settings)
        self.ada, self.bob = add_person(database, "ada"), add_person(database, "bob")
        self.eve = add_person(database, "eve", tenant="Elsewhere")

    def rows(self) -> int:
        return self.db.read(lambda s: int(s.scalar(select(func.count()).select_from(AttachmentRow)) or 0))

    def names(self) -> set[str]:
        return {path.name for path in self.all.files.folder.rglob("*") if path.is_file()}

    def conversation(self, who: Principal) -> str:
        def work(session: Session) -> str:
            return conversations.create(session, who, "hello", model="m", agent_id=None, settings={}).id

        return self.db.write(work)

    def carry(self, who: Principal, conversation_id: str, *ids: str) -> str:
        """A message that carries them."""

        def work(session: Session) -> str:
            values = {"parent_id": None, "role": "user", "content": "look", "status": "complete", "parts": []}
            message_id = conversations.add_message(session, who, conversation_id, **values)
            store.link(session, who, conversation_id, message_id, store.allowed(session, who, ids))
            return message_id

        return self.db.write(work)

    def share_with_team(self, conversation_id: str, *, can_reply: bool) -> str:
        share_id = new_id("share")

        def work(session: Session) -> None:
            whose = {"tenant_id": self.ada.tenant_id, "user_id": self.ada.user_id}
            session.add(Share(id=share_id, conversation_id=conversation_id, kind="team", can_reply=can_reply, **whose))

        self.db.write(work)
        return share_id

    def age(self) -> None:
        """Let a day go by."""
        self.db.write(lambda s: s.execute(update(AttachmentRow).values(created_at=utcnow() - DAY_AGO)) and None)
        self.age_files(25 * 60)

    def age_files(self, minutes: float = 60) -> None:
        old = time.time() - minutes * 60
        for path in self.all.files.folder.rglob("*"):
            os.utime(path, (old, old))


@pytest.fixture
def files(any_database: Database, settings: Settings) -> Files:
    return Files(any_database, settings)


@pytest.fixture
def lite(database: Database, settings: Settings) -> Files:
    return Files(database, settings)


def test_what_was_added_is_there_again(files: Files) -> None:
    data = picture()
    added = files.all.add(files.ada, "/home/ada/red.png", data)
    found, path = files.all.get(files.ada, added.id)
    assert found == added
    assert (found.name, found.kind, found.size, found.details) == (
        "red.png",
        "image",
        len(data),
        {"width": 8, "height": 6},
    )
    assert path.read_bytes() == data == files.all.read(found)
    assert files.all.text_of(found) == ""


def test_the_same_bytes_are_stored_once(lite: Files) -> None:
    first, second = lite.all.add(lite.ada, "a.png", picture()), lite.all.add(lite.eve, "b.png", picture())
    assert first.id != second.id
    assert lite.all.get(lite.ada, first.id)[1] == lite.all.get(lite.eve, second.id)[1]
    assert lite.names() == {first.sha256}


def test_the_bytes_are_for_this_account_only(lite: Files) -> None:
    path = lite.all.get(lite.ada, lite.all.add(lite.ada, "a.txt", b"secret").id)[1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.parent.name == path.name[:2]


def test_the_text_of_pdfs_and_text_files_is_at_hand(lite: Files) -> None:
    paper = lite.all.add(lite.ada, "a.pdf", document(words(b"Hello, PDF")))
    note = lite.all.add(lite.ada, "a.txt", "Grüße".encode("utf-16"))
    assert lite.all.text_of(paper) == "Hello, PDF"
    assert lite.all.text_of(note) == "Grüße"


def test_a_file_that_is_too_big_is_refused(lite: Files, settings: Settings) -> None:
    own = settings.own.model_copy(update={"max_attachment_mb": 1})
    small = Attachments(lite.db, replace(settings, file=settings.file.model_copy(update={"chatcore": own})))
    with pytest.raises(InvalidInput, match=r"big\.txt has 2\.0 MB; the most that can be attached is 1 MB"):
        small.add(lite.ada, "big.txt", b"a" * 2 * 2**20)
    assert lite.rows() == 0


def test_a_video_has_a_limit_of_its_own(lite: Files, settings: Settings) -> None:
    own = settings.own.model_copy(update={"max_attachment_mb": 1, "max_video_mb": 3})
    small = Attachments(lite.db, replace(settings, file=settings.file.model_copy(update={"chatcore": own})))
    data = films.film() + box(b"free", bytes(2 * 2**20))
    assert small.add(lite.ada, "clip.mp4", data).kind == "video"
    with pytest.raises(InvalidInput, match=r"clip\.mp4 has 4\.0 MB; the most that can be attached is 3 MB"):
        small.add(lite.ada, "clip.mp4", data + box(b"free", bytes(2 * 2**20)))
    with pytest.raises(InvalidInput, match="1 MB"):
        small.add(lite.ada, "a.mp4", mp4(b"soun") + box(b"free", bytes(2 * 2**20)))


def test_a_video_is_stored_once_and_leaves_nothing_else_behind(lite: Files) -> None:
    data = films.film(SMALL)
    first, again = lite.all.add(lite.ada, "a.mp4", data), lite.all.add(lite.bob, "b.mp4", data)
    assert first.sha256 == again.sha256
    assert lite.names() == {first.sha256}
    assert lite.all.read(first) == data
    assert lite.all.text_of(first) == ""


def test_nothing_refused_leaves_anything_behind(lite: Files) -> None:
    for name, data in (("x.exe", b"MZ\0"), ("x.pdf", b"%PDF-junk"), ("x.png", picture()[:30])):
        with pytest.raises(InvalidInput):
            lite.all.add(lite.ada, name, data)
    assert (lite.rows(), lite.names()) == (0, set())


# --- whose it is ----------------------------------------------------------------------------------------------------


def gone(files: Files, who: Principal, attachment_id: str, **more: Any) -> str:
    with pytest.raises(NotFound) as caught:
        files.all.get(who, attachment_id, **more)
    return str(caught.value)


def test_anothers_file_is_as_absent_as_one_that_never_was(files: Files) -> None:
    mine = files.all.add(files.ada, "a.txt", b"secret").id
    sentence = gone(files, files.ada, "att_nobody")
    assert gone(files, files.bob, mine) == gone(files, files.eve, mine) == sentence


def test_who_may_reply_in_a_conversation_may_have_its_files(files: Files) -> None:
    mine = files.all.add(files.ada, "a.txt", b"shared").id
    conversation_id = files.conversation(files.ada)
    files.carry(files.ada, conversation_id, mine)
    gone(files, files.bob, mine)
    share_id = files.share_with_team(conversation_id, can_reply=True)
    assert files.all.get(files.bob, mine)[0].id == mine
    gone(files, files.eve, mine)
    files.db.write(lambda s: s.execute(update(Share).where(Share.id == share_id).values(revoked_at=utcnow())) and None)
    gone(files, files.bob, mine)


def test_a_share_that_is_only_to_be_read_gives_no_files_without_its_token(files: Files) -> None:
    mine = files.all.add(files.ada, "a.txt", b"shared").id
    conversation_id = files.conversation(files.ada)
    files.carry(files.ada, conversation_id, mine)
    files.share_with_team(conversation_id, can_reply=False)
    gone(files, files.bob, mine)


def test_a_link_shows_the_files_of_its_messages_in_its_tenant_until_it_is_revoked(
    files: Files, settings: Settings
) -> None:
    shown, other = (files.all.add(files.ada, "a.txt", data).id for data in (b"shown", b"not shown"))
    conversation_id = files.conversation(files.ada)
    message_id = files.carry(files.ada, conversation_id, shown)
    files.db.write(lambda s: conversations.advance(s, conversation_id, message_id, 1))
    shares = Shares(files.db, settings)
    share = shares.create(files.ada, conversation_id, kind="link")
    assert files.all.get(files.bob, shown, share_token=share.handle)[0].id == shown
    gone(files, files.bob, shown)
    gone(files, files.bob, shown, share_token=share.handle[:-2] + "xx")
    gone(files, files.bob, other, share_token=share.handle)
    gone(files, files.eve, shown, share_token=share.handle)
    shares.revoke(files.ada, share.id)
    gone(files, files.bob, shown, share_token=share.handle)


def test_a_share_never_opens_another_tenants_file(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatcore.conversations.sharing.reads_attachment", lambda *_: True)
    mine = files.all.add(files.ada, "a.txt", b"shared").id
    assert files.all.get(files.bob, mine, share_token="any")[0].id == mine
    gone(files, files.eve, mine, share_token="any")
    gone(files, files.bob, "att_nobody", share_token="any")


def test_only_what_one_may_have_can_be_linked(files: Files) -> None:
    mine = files.all.add(files.ada, "a.txt", b"mine").id
    for stranger in (files.bob, files.eve):
        conversation_id = files.conversation(stranger)
        with pytest.raises(NotFound):
            files.carry(stranger, conversation_id, mine)


def test_a_file_that_somebody_took_away_is_not_found(lite: Files) -> None:
    added = lite.all.add(lite.ada, "a.txt", b"words")
    lite.all.files.path(added.sha256).unlink()
    gone(lite, lite.ada, added.id)
    for read in (lite.all.read, lite.all.text_of):
        with pytest.raises(NotFound):
            read(added)


# --- tidying --------------------------------------------------------------------------------------------------------


def test_what_no_message_carries_goes_after_a_day(files: Files) -> None:
    kept, dropped = files.all.add(files.ada, "a.txt", b"kept"), files.all.add(files.ada, "b.pdf", document(words(b"x")))
    files.carry(files.ada, files.conversation(files.ada), kept.id)
    assert files.all.collect() == 0
    files.age()
    young = files.all.add(files.ada, "c.txt", b"young")
    assert files.all.collect() == 1
    assert files.names() == {kept.sha256, young.sha256}
    gone(files, files.ada, dropped.id)
    assert files.all.text_of(files.all.get(files.ada, kept.id)[0]) == "kept"


def test_a_file_goes_with_the_last_conversation_that_carries_it(files: Files) -> None:
    one = files.all.add(files.ada, "a.txt", b"one")
    first, second = files.conversation(files.ada), files.conversation(files.ada)
    files.carry(files.ada, first, one.id)
    files.carry(files.ada, second, one.id)
    for conversation_id, left in ((first, {one.sha256}), (second, set())):
        files.db.write(lambda s, found=conversation_id: s.delete(s.get_one(Conversation, found)))  # type: ignore[misc]
        files.age()
        files.all.collect()
        assert files.names() == left


def test_the_files_of_a_waiting_question_stay(files: Files) -> None:
    one = files.all.add(files.ada, "a.txt", b"one")
    conversation_id = files.conversation(files.ada)

    wait_with(files, conversation_id, one.id)
    files.age()
    assert files.all.collect() == 0
    assert files.all.get(files.ada, one.id)[0] == one


def wait_with(files: Files, conversation_id: str, *ids: str) -> None:
    """A question with these files that waits in a conversation of Ada's."""

    def work(session: Session) -> None:
        session.add(
            QueuedMessage(
                id=new_id("queued"), tenant_id=files.ada.tenant_id, user_id=files.ada.user_id, content="later",
                conversation_id=conversation_id, model="m", agent_id=None, attachments=list(ids),
            )
        )  # fmt: skip

    files.db.write(work)


def test_what_only_erased_conversations_carry_goes_with_them(files: Files) -> None:
    erased, other = files.conversation(files.ada), files.conversation(files.ada)
    only, both, queued, queued_elsewhere = (
        files.all.add(files.ada, "a.txt", data).id for data in (b"only", b"both", b"queued", b"elsewhere")
    )
    files.carry(files.ada, erased, only, both, queued_elsewhere)
    files.carry(files.ada, other, both)
    wait_with(files, erased, queued)
    wait_with(files, other, queued_elsewhere)
    assert files.db.write(lambda session: store.forget(session, [erased])) == 2
    for attachment_id in (only, queued):
        gone(files, files.ada, attachment_id)
    for attachment_id in (both, queued_elsewhere):
        assert files.all.get(files.ada, attachment_id)[0].id == attachment_id
    files.db.write(lambda s: s.delete(s.get_one(Conversation, erased)))
    files.age_files()
    files.all.collect()
    assert len(files.names()) == 2


@pytest.mark.parametrize("tidy", ["collect", "forget"])
def test_a_link_that_is_being_made_meanwhile_wins(files: Files, tidy: str) -> None:
    one = files.all.add(files.ada, "a.txt", b"one")
    old, new = files.conversation(files.ada), files.conversation(files.ada)
    if tidy == "forget":
        files.carry(files.ada, old, one.id)
    files.age()
    linked = threading.Event()

    def link(session: Session) -> None:
        store.link(session, files.ada, new, "msg_new", store.allowed(session, files.ada, [one.id]))
        linked.set()
        time.sleep(0.2)  # the other transaction comes while this one is open

    with ThreadPoolExecutor(1) as pool:
        linking = pool.submit(files.db.write, link)
        linked.wait(5)
        if tidy == "collect":
            files.all.collect()
        else:
            files.db.write(lambda session: store.forget(session, [old]))
        linking.result()
    assert files.all.get(files.ada, one.id)[0] == one
    files.all.collect()
    assert files.names() == {one.sha256}


def test_a_file_without_a_row_needs_no_day(lite: Files) -> None:
    lite.all.files.put(b"of a process that died")
    lite.age_files(minutes=9)
    assert lite.all.collect() == 0
    lite.age_files(minutes=11)
    assert lite.all.collect() == 1
    assert lite.names() == set()


def test_what_was_put_again_a_moment_ago_stays(lite: Files) -> None:
    one = lite.all.add(lite.ada, "a.txt", b"one")
    lite.age()
    lite.db.write(lambda s: s.delete(s.get_one(AttachmentRow, one.id)))
    lite.all.files.put(b"one")  # an upload that has not written its row yet
    assert lite.all.collect() == 0
    assert not lite.all.files.drop(one.sha256, 3600)
    assert lite.names() == {one.sha256}


def test_half_written_files_of_a_dead_process_go(lite: Files) -> None:
    one = lite.all.add(lite.ada, "a.txt", b"one")
    half = lite.all.files.path(one.sha256).with_name(".part-dead")
    half.write_bytes(b"o")
    lite.all.collect()
    assert half.exists()
    lite.age()
    lite.all.collect()
    assert not half.exists()


def test_uploads_and_sweeps_at_once_lose_nothing(tmp_path: Path) -> None:
    """A sweep that would remove everything, against uploads of the same content: what is put can be read."""
    blobs, stop, lost = Blobs(tmp_path), threading.Event(), []

    def sweep() -> None:
        while not stop.is_set():
            for hashes in blobs.old(3600):
                for sha256 in hashes:
                    blobs.drop(sha256, 3600)

    def upload(number: int) -> None:
        for turn in range(150):
            data = b"%d" % (turn % 5)
            path = blobs.path(blobs.put(data))
            if number == 0:
                os.utime(path, (0, 0))  # as if it had been there for years
            blobs.put(data)
            time.sleep(0.0005)
            if number == 0:
                continue
            if not until_there(path):
                lost.append(turn)

    def until_there(path: Path) -> bool:
        return any(path.exists() or time.sleep(0.002) for _ in range(100))

    with ThreadPoolExecutor(4) as pool:
        sweeping = pool.submit(sweep)
        list(pool.map(upload, range(3)))
        stop.set()
        sweeping.result()
    for data in (b"0", b"1", b"2", b"3", b"4"):
        assert blobs.read(blobs.put(data)) == data
    assert not list(tmp_path.rglob(".part-*"))


def test_the_child_is_told_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-children")
    nosy = tmp_path / "nosy.py"
    nosy.write_text("import json, os\nprint(json.dumps({'pages': 1, 'text': ' '.join(os.environ)}))\n")
    monkeypatch.setattr(pdf.child, "__file__", str(nosy))
    assert "OPENAI" not in pdf.extract("a.pdf", document(words(b"x")))[1]
