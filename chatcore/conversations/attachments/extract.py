"""The child process that reads a PDF: the file on standard input, `{"pages", "text"}` or `{"problem"}` as JSON out.

It is run as a file and imports nothing of ours, so that it starts within a tenth of a second.
"""

import json
import sys
from typing import Any, Final

MAX_PAGES: Final = 2_000
MAX_CHARACTERS: Final = 2_000_000
MAX_OUTPUT: Final = MAX_CHARACTERS * 12 + 4096  # bytes: each character as JSON's escape of a surrogate pair at worst
_CPU_SECONDS: Final = 20
_MEMORY: Final = 600 * 2**20
_PASSWORD: Final = 4  # FPDF_ERR_PASSWORD
_SECURITY: Final = 5  # FPDF_ERR_SECURITY


def limit() -> None:
    """Give up processor time, memory and files, for good."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; the parent's clock and its bound on the output hold there
        return
    for what, most in (
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, MAX_OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def read(data: bytes) -> dict[str, Any]:
    """`{"pages", "text"}` of a PDF, or `{"problem"}`: locked, broken, pages, characters, empty."""
    import pypdfium2  # type: ignore[import-untyped]

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = getattr(error, "err_code", None) in (_PASSWORD, _SECURITY)
        return {"problem": "locked" if locked else "broken"}
    pages = len(document)
    if pages > MAX_PAGES:
        return {"problem": "pages"}
    texts: list[str] = []
    unreadable = characters = 0
    for number in range(pages):
        try:
            page = document[number]
            text_page = page.get_textpage()
            text = text_page.get_text_range().replace("\r\n", "\n").replace("\x00", "").strip()
            text_page.close()
            page.close()
        except pypdfium2.PdfiumError:
            unreadable += 1
            continue
        characters += len(text)
        if characters > MAX_CHARACTERS:
            return {"problem": "characters"}
        texts.append(text)
    if unreadable == pages:
        return {"problem": "broken"}
    whole = "\n\n".join(texts).strip()
    return {"pages": pages, "text": whole} if whole else {"problem": "empty"}


if __name__ == "__main__":
    limit()
    sys.stdout.write(json.dumps(read(sys.stdin.buffer.read())))
