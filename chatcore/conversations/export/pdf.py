"""A conversation as a PDF: set by Typst, in a process of its own."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from chatcore.conversations.export.document import Document, body, facts, notes, omission, one_line, when, who
from chatcore.conversations.export.typst_code import block, call, literal, words
from chatcore.conversations.export.typst_markdown import Renderer
from chatcore.conversations.export.typst_parts import part_content
from chatcore.conversations.parts import TextPart
from chatcore.conversations.values import Message
from chatcore.errors import InvalidInput

MOST_MESSAGES: Final = 2_000
MOST_CHARACTERS: Final = 3_000_000
_SECONDS: Final = 60
PAGE: Final = Path(__file__).with_name("page.typ").read_text(encoding="utf-8")
COMPILER: Final = Path(__file__).with_name("compile.py")
_MOST_PIXELS: Final = 40_000_000  # of an image that is opened at all
_PIXELS_WIDE: Final = 1_400
_NO_IMAGES: Final[Mapping[str, Path]] = {}
_room = threading.BoundedSemaphore(2)  # a large document takes a core and hundreds of megabytes


def to_pdf(document: Document, images: Mapping[str, Path] = _NO_IMAGES) -> bytes:
    """The document on A4 pages: its newest 2,000 messages, and a sentence where there are more.

    `images`: files of attached images by attachment id. What the compiler refuses as Markdown is printed as it was
    written. Raises `InvalidInput` when it cannot be laid out within a minute.
    """
    document = newest(document)
    with _room, tempfile.TemporaryDirectory(prefix="chatcore-pdf-") as name:
        folder = Path(name)
        pictures = _pictures(images, folder)
        pdf = _compiled(source(document, pictures), folder)
        if pdf is None:
            pdf = _compiled(source(document, {}, plain=True), folder)
    if pdf is None:
        raise InvalidInput("This conversation cannot be laid out as a PDF. Export it as Markdown instead.")
    return pdf


def newest(document: Document) -> Document:
    """The document with as many of its newest messages as a PDF takes, and never without the last one."""
    kept, characters = 0, 0
    for message in reversed(document.messages[-MOST_MESSAGES:]):
        characters += len(message.content)
        if kept and characters > MOST_CHARACTERS:
            break
        kept += 1
    if kept == len(document.messages):
        return document
    return replace(document, messages=document.messages[-kept:], earlier=True)


def source(document: Document, pictures: Mapping[str, str], *, plain: bool = False) -> str:
    """The Typst source of the document. `pictures`: paths below the root by attachment id. `plain`: no Markdown."""
    renderer = Renderer()
    messages = [_message(document, message, renderer, pictures, plain=plain) for message in document.messages]
    title = one_line(document.title) or "Conversation"
    heads = literal(title), literal(title if len(title) <= 70 else title[:69] + "…")
    below = literal(f"{document.made_at:%-d %B %Y}"), words(facts(document))
    missing = literal(omission(document)) if document.earlier else "none"
    return f"{PAGE}\n#{call('conversation', *heads, *below, missing, block(messages))}\n"


def _message(
    document: Document, message: Message, renderer: Renderer, pictures: Mapping[str, str], *, plain: bool
) -> str:
    parts = body(message, with_reasoning=document.with_reasoning)
    if plain:
        contents = [renderer.plain(part.text) for part in parts if isinstance(part, TextPart)]
    else:
        contents = [part_content(renderer, part, pictures, as_typed=message.role == "user") for part in parts]
    if note := notes(message):
        contents.append(call("note", literal(note)))
    head = words(who(document, message)), literal(when(message.created_at)), literal(message.role)
    return call("message", *head, block(contents))


def _compiled(text: str, folder: Path) -> bytes | None:
    """The PDF, or None when the compiler refused the source or ended in another way."""
    command = [sys.executable, "-I", str(COMPILER), str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and script; without our environment and its keys
            command, input=text.encode(), capture_output=True, timeout=_SECONDS, check=False, cwd=folder, env={}
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidInput("This conversation is too long for a PDF. Export it as Markdown instead.") from error
    return done.stdout if done.returncode == 0 else None


def _pictures(images: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """Copies of the images in the folder, turned upright and no larger than print needs, by attachment id."""
    found = {}
    for number, (attachment_id, path) in enumerate(images.items()):
        try:
            with Image.open(path) as image:
                if image.width * image.height > _MOST_PIXELS:
                    continue
                image.draft("RGB", (_PIXELS_WIDE, _PIXELS_WIDE))
                upright = ImageOps.exif_transpose(image).convert("RGBA")
            upright.thumbnail((_PIXELS_WIDE, _PIXELS_WIDE))
            upright.save(folder / f"{number}.png")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # its name is printed instead
        found[attachment_id] = f"/{number}.png"
    return found
