"""Import: our own JSON and the export files of other products, idempotently, in the background."""

from chatcore.config import Settings
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database


class Imports:
    """Running and finished imports of this process."""

    def __init__(self, db: Database, settings: Settings, attachments: Attachments) -> None:
        self._db = db
        self._settings = settings
        self._attachments = attachments
