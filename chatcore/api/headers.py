"""Values of headers."""

from urllib.parse import quote


def header(value: str) -> str:
    """A value as it can stand in a header: what is not plain ASCII is percent-encoded."""
    return value if value.isascii() and value.isprintable() else quote(value, safe="/ ;=:,.()")
