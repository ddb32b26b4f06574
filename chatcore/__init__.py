"""Chatcore: a team's chat with any language model. Everything that is not drawing lives in this package."""

__version__ = "0.1.0"
