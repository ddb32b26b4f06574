"""The tool `generate_report`: Markdown with charts and tables as a PDF or an HTML file, attached to the reply."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.export.document import counted, file_name
from chatcore.db.tables import utcnow
from chatcore.tools.media import media_part
from chatcore.tools.report import html, typeset
from chatcore.tools.report.contents import Report, report
from chatcore.tools.values import Tool, ToolCall, ToolChoice, ToolFailed, ToolResult, ToolSpec

NAME: Final = "generate_report"
MAX_MARKDOWN: Final = 200_000
_AT_ONCE: Final = 2  # setting a long one takes a core and hundreds of megabytes
_SECONDS: Final = 150.0  # two attempts to set it, its check, and those before it
_ABOUT: Final = (
    "Make a report that the person can download, from Markdown, as PDF or HTML. Use it when they ask for a report, a "
    "file or a document. Charts and tables are fenced blocks of JSON in the Markdown: ```chart "
    '{"chart": "line|bar|pie|scatter", "title": "…", "x": ["Jan", "Feb"], "series": [{"name": "Sales", "values": '
    '[1, 2]}]} ``` and ```table {"title": "…", "columns": ["City", "Sales"], "rows": [["Oslo", 3]]} ```. '
    "Pictures and raw HTML are not shown. The file is attached to your reply: say what it holds, do not repeat it."
)


class Reports:
    """The one tool of this file, for everybody."""

    def __init__(self, attachments: Attachments) -> None:
        self._tool = GenerateReport(attachments)

    def choices(self, who: Principal) -> Sequence[ToolChoice]:
        """One choice."""
        about = "Makes a PDF or HTML file with text, charts and tables, attached to the reply."
        return [ToolChoice(NAME, "Generate a report", about, ":material/summarize:")]

    def tools(self, who: Principal, agent: Agent | None, names: Sequence[str]) -> Sequence[Tool]:
        """The tool."""
        return [self._tool] if NAME in names else []


class GenerateReport:
    """Makes one file."""

    spec = ToolSpec(
        NAME,
        _ABOUT,
        {
            "type": "object",
            "properties": {
                "title": {"type": "string", "minLength": 1, "maxLength": 200},
                "markdown": {"type": "string", "minLength": 1, "maxLength": MAX_MARKDOWN},
                "format": {"enum": ["pdf", "html"]},
            },
            "required": ["title", "markdown", "format"],
            "additionalProperties": False,
        },
        timeout=_SECONDS,
    )

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """See `tools.Tool`."""
        wanted, form = await asyncio.to_thread(_read, arguments), arguments["format"]
        async with self._room:
            if form == "pdf":
                data = await typeset.pdf(wanted)
            else:
                data = (await asyncio.to_thread(html.page, wanted)).encode()
            name = file_name(wanted.title if re.search(r"\w", wanted.title) else NAME, wanted.made_at, form)
            made = await asyncio.to_thread(self._attachments.add, call.who, name, data)
        pages = f" with {counted(made.details['pages'], 'page')}" if "pages" in made.details else ""
        said = f"The report is made{pages} and attached to the reply as {made.name}.{_unread(wanted)}"
        return ToolResult(said, (media_part(made),))


def _read(arguments: Mapping[str, Any]) -> Report:
    found = report(arguments["title"], arguments["markdown"], utcnow())
    if not found.title or not found.parts or not arguments["markdown"].strip():
        raise ToolFailed("A report needs a title and some text.")
    return found


def _unread(wanted: Report) -> str:
    if not wanted.unread:
        return ""
    return (
        f" These blocks could not be read and stand in it as code: {', '.join(wanted.unread)}. Check that each is "
        "valid JSON in the shape of the tool's description, and call it again."
    )
