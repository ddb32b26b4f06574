"""The tool `analyze_video`: frames of an attached video and what is said in it, looked at by a model that sees."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.conversations.attachments import Attachment, Attachments
from chatcore.errors import ChatcoreError, NotFound
from chatcore.tools.media import media_part
from chatcore.tools.values import Tool, ToolCall, ToolChoice, ToolFailed, ToolResult, ToolSpec
from chatcore.tools.video import telling
from chatcore.tools.video.film import Ffmpeg, clock, opened
from chatcore.tools.video.frames import Frame
from chatcore.tools.video.seeing import USUAL_FRAMES, Seen, see

NAME: Final = "analyze_video"
MAX_FRAMES: Final = 24
_ABOUT: Final = (
    "Look at a video that the person attached, and listen to it: its frames are shown to a model that sees, with what "
    "is said in it. You get an answer to your question with times. Ask again with `from` and `to` to look closer at a "
    "part. The person is shown a few of the frames."
)
_PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "minLength": 1, "maxLength": 4_000, "description": "What you want to know."},
        "video": {
            "type": "string", "maxLength": 300,
            "description": "Its name, or its number: 1 is the first of this conversation. Not needed where it is the "
            "only one.",
        },
        "from": {"type": "number", "minimum": 0, "description": "Seconds from its beginning where to begin."},
        "to": {"type": "number", "minimum": 0, "description": "Seconds from its beginning where to end."},
        "frames": {
            "type": "integer", "minimum": 1, "maximum": MAX_FRAMES,
            "description": f"How many frames to look at. Where it is left out, two a second, at most {USUAL_FRAMES}.",
        },
    },
    "required": ["question"],
    "additionalProperties": False,
}  # fmt: skip


class VideoAnalyst:
    """ffmpeg of this machine, as a source of one tool."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments
        self._ffmpeg = Ffmpeg()

    def choices(self, who: Principal) -> Sequence[ToolChoice]:
        """One choice, with why it cannot be used where ffmpeg is missing."""
        about = "Looks at the frames of an attached video, and listens to it."
        return [ToolChoice(NAME, "Analyze a video", about, ":material/movie:", why_not=self._ffmpeg.why_not)]

    def tools(self, who: Principal, agent: Agent | None, names: Sequence[str]) -> Sequence[Tool]:
        """The tool, where ffmpeg is there."""
        return [AnalyzeVideo(self._ffmpeg, self._attachments)] if NAME in names and not self._ffmpeg.why_not else []


class AnalyzeVideo:
    """Looks at one video once."""

    spec = ToolSpec(NAME, _ABOUT, _PARAMETERS, timeout=600.0)

    def __init__(self, ffmpeg: Ffmpeg, attachments: Attachments) -> None:
        self._ffmpeg = ffmpeg
        self._attachments = attachments

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """See `tools.Tool`."""
        attachment, path = await asyncio.to_thread(self._chosen, arguments.get("video", ""), call)
        film = await opened(self._ffmpeg, attachment, path)
        if film is None:
            raise ToolFailed(f"{attachment.name} cannot be read: it is damaged, or has no picture.")
        start, end = float(arguments.get("from", 0)), arguments.get("to")
        seen = await see(self._ffmpeg, film, start, end, arguments.get("frames"), call.models)
        answer, seen = await _answered(arguments["question"], seen, call)
        pictures = await asyncio.to_thread(self._kept, call.who, seen)
        shown = [frame for frame, _ in pictures]
        parts = (*telling.charts(seen), *(part for _, part in pictures))
        return ToolResult(telling.result(answer, seen, shown), parts)

    def _chosen(self, wanted: str, call: ToolCall) -> tuple[Attachment, Path]:
        """The video that is meant: by its name or number, or the only one. Raises `ToolFailed`."""
        videos = self._videos(call)
        if not videos:
            raise ToolFailed("No video is attached to this conversation.")
        if not wanted and len(videos) == 1:
            return videos[0]
        for found in reversed(videos):  # of two with one name the newer one is meant
            if found[0].name.casefold() == wanted.strip().casefold():
                return found
        if wanted.strip().isdecimal() and 1 <= int(wanted) <= len(videos):
            return videos[int(wanted) - 1]
        listed = "; ".join(f"{number}. {one.name}" for number, (one, _) in enumerate(videos, 1))
        raise ToolFailed(f"Say which video is meant, by its number or name. There are: {listed}.")

    def _videos(self, call: ToolCall) -> list[tuple[Attachment, Path]]:
        found = []
        for attachment_id in dict.fromkeys(call.attachments):
            try:
                attachment, path = self._attachments.get(call.who, attachment_id)
            except NotFound:
                continue  # it was removed since
            if attachment.kind == "video":
                found.append((attachment, path))
        return found

    def _kept(self, who: Principal, seen: Seen) -> list[tuple[Frame, dict[str, Any]]]:
        """A few frames as attachments, with the parts that show them."""
        stem = PurePosixPath(seen.film.name).stem[:100]
        kept = []
        for frame in telling.key_frames(seen.frames):
            name = f"{stem} {clock(frame.at).replace(':', '-')}.jpg"
            kept.append((frame, media_part(self._attachments.add(who, name, frame.data))))
        return kept


async def _answered(question: str, seen: Seen, call: ToolCall) -> tuple[str, Seen]:
    """What the model that sees says. Where none does, the transcript is worth having; raises where there is none."""
    try:
        return await call.models.complete(telling.messages(question, seen), needs="vision"), seen
    except ChatcoreError as error:
        if not seen.transcript:
            raise
        return "", replace(seen, notes=(*seen.notes, f"Nobody looked at its frames. {error}"))
