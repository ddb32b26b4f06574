"""Attachments that tools made, as parts of a reply."""

from typing import Any

from chatcore.conversations.attachments import Attachment


def media_part(attachment: Attachment) -> dict[str, Any]:
    """The part that shows or offers it."""
    is_media = attachment.kind in ("image", "audio", "video")
    return {
        **({"type": "media", "media": attachment.kind} if is_media else {"type": "file", "kind": attachment.kind}),
        "attachment_id": attachment.id, "name": attachment.name, "media_type": attachment.media_type,
        "size": attachment.size, **attachment.details,
    }  # fmt: skip
