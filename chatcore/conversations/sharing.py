"""Sharing: with the team, or by a link that expires and can be revoked."""

from chatcore.config import Settings
from chatcore.db import Database


class Shares:
    """What of one's conversations others may read."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
