"""Why a document cannot be read, as a word that the child process hands up, and the limits behind some of them."""

from typing import Final

MAX_PAGES: Final = 5_000  # of a PDF
MAX_CHARACTERS: Final = 20_000_000  # of text in one document


class Problem(Exception):
    """One of `extracting.PROBLEMS`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
