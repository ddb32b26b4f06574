"""Fixtures that the tests of asking share."""

from tests.api.asking import asking_core, asking_url, client

__all__ = ["asking_core", "asking_url", "client"]
