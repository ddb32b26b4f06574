"""Saved prompts with `{{variables}}`, one's own and the team's."""

from chatcore.db import Database


class Prompts:
    """The prompts a person can insert."""

    def __init__(self, db: Database) -> None:
        self._db = db
