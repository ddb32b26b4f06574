"""Attachments: files checked by their content, stored once by their hash, read by who may read their message."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.config import Settings
from chatcore.conversations import sharing
from chatcore.conversations.attachments import blobs, checks, images, store, videos
from chatcore.conversations.attachments.blobs import Blobs
from chatcore.conversations.attachments.store import Attachment
from chatcore.db import Database
from chatcore.errors import InvalidInput, NotFound

__all__ = ["Attachment", "Attachments", "Blobs", "images", "store", "text_of"]

_WITHOUT_ROW: Final = timedelta(minutes=10)


class Attachments:
    """Files that people attach. `files`: where their bytes lie."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self.files = Blobs(settings.data_dir / "attachments")

    def add(self, principal: Principal, name: str, data: bytes) -> Attachment:
        """Check a file, keep it, and return what it is. Takes up to 30 seconds for a hard PDF.

        `name`: as the browser says it; it decides nothing. Raises `InvalidInput` with a sentence that names the file.
        """
        name = checks.clean_name(name)
        own = self._settings.own
        most = own.max_video_mb if videos.media_type(data) else own.max_attachment_mb
        if len(data) > most * 2**20:
            raise InvalidInput(f"{name} has {len(data) / 2**20:,.1f} MB; the most that can be attached is {most} MB.")
        found = checks.examine(name, data)
        sha256 = self.files.put(found.data)
        if found.text is not None:
            blobs.write(self.files.beside(sha256, "txt"), found.text.encode())
        attachment = store.new(found.kind, found.media_type, name, len(found.data), sha256, found.details)
        self._db.write(lambda session: store.add(session, principal, attachment))
        return attachment

    def get(
        self, principal: Principal, attachment_id: str, *, share_token: str | None = None
    ) -> tuple[Attachment, Path]:
        """An attachment and where its bytes lie: one's own, one in a conversation that one may reply in, or one that
        the share of `share_token` shows.

        Raises `NotFound`, the same for absent and for somebody else's.
        """
        attachment = self._db.read(partial(self._found, principal, attachment_id, share_token))
        path = self.files.path(attachment.sha256)
        if not path.is_file():
            raise NotFound(store.GONE)
        return attachment, path

    def read(self, attachment: Attachment) -> bytes:
        """Its bytes. Raises `NotFound` when they are lost."""
        return self.files.read(attachment.sha256)

    def text_of(self, attachment: Attachment) -> str:
        """The text of a PDF or a text file, '' of anything else. Raises `NotFound` when it is lost."""
        return text_of(self.files, attachment)

    def collect(self, older_than: timedelta = timedelta(hours=24)) -> int:
        """Delete what no message and no waiting question carries and is older, and files that no row names.

        Returns how many files went. Blocks on the disk: not for a loop. An upload of the same content meanwhile is
        safe: its file is fresh then, or written anew.
        """
        self._db.write(lambda session: store.remove_unused(session, older_than))
        # An upload writes its row right behind its file, so a file without one needs no day.
        seconds = min(older_than, _WITHOUT_ROW).total_seconds()
        gone = 0
        for hashes in self.files.old(seconds):
            kept = self._db.read(partial(store.kept, hashes=hashes))
            gone += sum(self.files.drop(sha256, seconds) for sha256 in hashes if sha256 not in kept)
        return gone

    def _found(self, principal: Principal, attachment_id: str, share_token: str | None, session: Session) -> Attachment:
        try:
            return store.allowed(session, principal, [attachment_id])[0]
        except NotFound:
            if not share_token:
                raise
        if not sharing.reads_attachment(session, self._settings, principal, share_token, attachment_id):
            raise NotFound(store.GONE)
        return store.unscoped(session, principal.tenant_id, attachment_id)


def text_of(files: Blobs, attachment: Attachment) -> str:
    """The text of a PDF or a text file, '' of anything else. Raises `NotFound` when it is lost."""
    if attachment.kind == "pdf":
        return blobs.read(files.beside(attachment.sha256, "txt")).decode()
    return checks.decoded(files.read(attachment.sha256)) or "" if attachment.kind == "text" else ""
