"""A report as a PDF: set by Typst as exported conversations are, in a process that ends when it is left."""

import asyncio
import sys
import tempfile
from contextlib import suppress
from datetime import UTC
from typing import Final

from chatcore.conversations.export.document import when
from chatcore.conversations.export.pdf import COMPILER, PAGE
from chatcore.conversations.export.typst_code import block, call, literal
from chatcore.conversations.export.typst_markdown import Renderer
from chatcore.conversations.export.typst_parts import part_content
from chatcore.conversations.parts import plain_text
from chatcore.tools.report.contents import Report
from chatcore.tools.values import ToolFailed

SECONDS: Final = 40.0
"""That one attempt to set it may take."""
_SHORT: Final = 70  # characters of a title above each page


async def pdf(report: Report) -> bytes:
    """The report on A4 pages. What Typst refuses as Markdown is printed as it was written.

    Raises `ToolFailed` where it takes too long, or cannot be set at all.
    """
    for plain in (False, True):
        source = await asyncio.to_thread(_source, report, plain=plain)
        made = await _compiled(source)
        if made is not None:
            return made
    raise ToolFailed("This report cannot be laid out as a PDF. Make it simpler, or make it HTML.")


def _source(report: Report, *, plain: bool) -> str:
    renderer = Renderer()
    if plain:
        contents = [renderer.plain(plain_text(part)) for part in report.parts]
    else:
        contents = [part_content(renderer, part, {}, as_typed=False) for part in report.parts]
    title = report.title
    short = title if len(title) <= _SHORT else title[: _SHORT - 1] + "…"
    date = f"{report.made_at.astimezone(UTC):%-d %B %Y}"
    heads = (literal(title), literal(short), literal(date), literal(f"Made {when(report.made_at)}"))
    return f"{PAGE}\n#{call('conversation', *heads, 'none', block(contents))}\n"


async def _compiled(source: str) -> bytes | None:
    """The PDF, or None where the compiler refused the source. Its process never outlives this call."""
    with tempfile.TemporaryDirectory(prefix="chatcore-report-") as folder:
        # Our own interpreter and script; without our environment and its keys.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(COMPILER), folder, cwd=folder, env={},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(SECONDS):
                said, _ = await process.communicate(source.encode())
        except TimeoutError:
            raise ToolFailed("This report is too long for a PDF. Make it shorter, or make it HTML.") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):  # it has ended a moment ago
                    process.kill()
                await process.wait()
    return said if process.returncode == 0 else None
