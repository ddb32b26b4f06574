"""Attachments on their way into a message, and from there to a model."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.conversations import Message
from chatcore.conversations.attachments import Attachment, Blobs, images, store, text_of
from chatcore.errors import InvalidInput, NotFound
from chatcore.gateway import Model

MAX_FILES: Final = 10
MAX_REQUEST_BYTES: Final = 40 * 2**20  # of attachments in one request, encoded: the worker takes frames of 64 MB
_USUAL: Final = 6 * 2**20  # a picture is at most about this large when it is encoded
_TOO_MUCH: Final = "left out, the attachments of this conversation are too much for one request"
_AUDIO_FORMATS: Final = {
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/webm": "webm",
}
Part = Mapping[str, Any]


def parts(session: Session, principal: Principal, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The parts of a message that carries these attachments, each once, in this order.

    Raises `NotFound` for one that is absent or somebody else's, `InvalidInput` for more than ten.
    """
    return [_part(one) for one in store.allowed(session, principal, _once(ids))] if ids else []


def link(session: Session, principal: Principal, conversation_id: str, message_id: str, ids: Sequence[str]) -> None:
    """Whoever may read the message may read these from now on. Raises as `parts` does."""
    if not ids:
        return
    store.link(session, principal, conversation_id, message_id, store.allowed(session, principal, _once(ids)))


def link_made(
    session: Session, who: Principal | None, conversation_id: str, message_id: str, parts: Sequence[Part]
) -> None:
    """Let whoever may read a reply read what tools made for it. What is gone meanwhile is left out."""
    ids = list(dict.fromkeys(str(part["attachment_id"]) for part in parts if "attachment_id" in part))
    if ids and who is not None:
        store.link(session, who, conversation_id, message_id, store.those_there(session, who, ids))


def require_capable(model: Model, parts: Sequence[Part]) -> None:
    """Raises `InvalidInput` when there is a picture or sound among the parts, and the model takes none."""
    media = [part.get("media") for part in parts if part.get("type") == "media"]
    if "image" in media and not model.vision:
        raise InvalidInput(f"{model.display_name} cannot see images. Choose a model that can, or remove the image.")
    if "audio" in media and not model.audio:
        raise InvalidInput(f"{model.display_name} cannot hear audio. Choose a model that can, or remove the recording.")


@dataclass
class Reader:
    """Reads the attachments of one conversation for one request. `left`: bytes that still fit into it, encoded.

    `is_full`: one of usual size did not fit, so nothing older is read any more.
    """

    files: Blobs
    attachments: Mapping[str, Attachment]
    left: int = MAX_REQUEST_BYTES
    is_full: bool = False

    @property
    def has_files(self) -> bool:
        """Whether there is anything to read."""
        return bool(self.attachments)

    def picture(self, attachment: Attachment) -> dict[str, Any]:
        """An image part with a data URL of at most about 5 MB."""
        data, media_type = images.sent(self.files, attachment.sha256, attachment.media_type)
        return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{_encoded(data)}"}}

    def sound(self, attachment: Attachment) -> dict[str, Any]:
        """An audio part."""
        format_ = _AUDIO_FORMATS.get(attachment.media_type, "wav")
        data = _encoded(self.files.read(attachment.sha256))
        return {"type": "input_audio", "input_audio": {"data": data, "format": format_}}

    def document(self, attachment: Attachment) -> dict[str, Any]:
        """A text part. The marks come from the file's own hash, so nothing in the file can pretend to be its end."""
        mark = attachment.sha256[:16]
        pages = attachment.details.get("pages")
        about = f" ({pages} page{'s' if pages != 1 else ''})" if pages else ""
        text = text_of(self.files, attachment)
        return {"type": "text", "text": f"File {attachment.name}{about}:\n[begin {mark}]\n{text}\n[end {mark}]"}


def reader(session: Session, conversation_id: str, messages: Sequence[Message], data_dir: Path) -> Reader:
    """What reads the attachments of these messages of a conversation; the caller has seen whose it is."""
    ids = {str(part["attachment_id"]) for message in messages for part in message.parts if "attachment_id" in part}
    found = store.of_conversation(session, conversation_id, sorted(ids)) if ids else {}
    return Reader(Blobs(data_dir / "attachments"), found)


def content(message: Message, model: Model | None, read: Reader | None) -> str | list[dict[str, Any]]:
    """A message's content in OpenAI's form: its text, then its attachments. A string where all of it is text.

    What the model cannot take, what does not fit any more and what is lost is named in a note. Reads files.
    """
    files = [part for part in message.parts if "attachment_id" in part]
    found = [{"type": "text", "text": message.content}] if message.content else []
    if data := message.meta.get("data_parts"):
        found.append({"type": "text", "text": data_note(data)})
    found += [_sent(part, model, read) for part in files]
    if all(part["type"] == "text" for part in found):
        return "\n\n".join(str(part["text"]) for part in found)
    return found


def data_note(data: Any) -> str:
    """Data that a program sent with a question, for a model to read."""
    return f"Data of this message, as JSON:\n{json.dumps(data, ensure_ascii=False)}"


def _sent(part: Part, model: Model | None, read: Reader | None) -> dict[str, Any]:
    name, kind = part.get("name", "file"), part.get("media", "file")
    if kind == "image" and model is not None and not model.vision:
        return _note(kind, name, "not shown, this model cannot see images")
    if kind == "video":
        return _note(kind, name, "attached; only the tool analyze_video can look at it")
    if kind == "audio" and model is not None and not model.audio:
        return _note(kind, name, "not played, this model cannot hear audio")
    attachment = read.attachments.get(str(part["attachment_id"])) if read else None
    if read is None or attachment is None:
        return _note(kind, name, "not here any more" if read else "not shown")
    if read.is_full:
        return _note(kind, name, _TOO_MUCH)
    how: dict[str, Callable[[Attachment], dict[str, Any]]] = {"image": read.picture, "audio": read.sound}
    try:
        made = how.get(attachment.kind, read.document)(attachment)
    except (NotFound, OSError):
        return _note(kind, name, "not here any more")
    size = len(json.dumps(made))
    if size > read.left:
        read.is_full = read.left < _USUAL
        return _note(kind, name, _TOO_MUCH)
    read.left -= size
    return made


def _note(kind: str, name: str, why: str) -> dict[str, Any]:
    return {"type": "text", "text": f"[{kind} {name}: {why}]"}


def _part(attachment: Attachment) -> dict[str, Any]:
    is_media = attachment.kind in ("image", "audio", "video")
    return {
        **({"type": "media", "media": attachment.kind} if is_media else {"type": "file", "kind": attachment.kind}),
        "attachment_id": attachment.id,
        "name": attachment.name,
        "media_type": attachment.media_type,
        "size": attachment.size,
        **attachment.details,
    }


def _once(ids: Sequence[str]) -> list[str]:
    once = list(dict.fromkeys(ids))
    if len(once) > MAX_FILES:
        raise InvalidInput(f"A message can carry {MAX_FILES} files; these are {len(once)}.")
    return once


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
