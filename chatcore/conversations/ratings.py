"""Ratings of replies: one to five stars and a comment; by model for admins, without the text unless it was sent."""

from chatcore.db import Database


class Ratings:
    """What people think of replies."""

    def __init__(self, db: Database) -> None:
        self._db = db
