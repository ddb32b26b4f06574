"""Attachments: files checked by their content, stored once by their hash, read by who may read their message."""

from chatcore.config import Settings
from chatcore.db import Database


class Attachments:
    """Files that people attach."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
