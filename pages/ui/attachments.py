"""Attachments on the pages: what was handed in at the input, and what a message carries.

Pictures, videos and sound come from our own route, which asks who is there; Streamlit's media folder would not, and
`st.video` would keep a whole video in memory for it.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final
from urllib.parse import quote

import streamlit as st

from pages.ui.figures import whole
from pages.ui.session import base_path
from pages.ui.text import plain

_KEPT: Final = "kept_files"
_ROW: Final = "display:flex;flex-wrap:wrap;gap:0.5rem;align-items:flex-start;margin-bottom:0.25rem"
_PICTURE: Final = "display:block;max-width:100%;border-radius:0.6rem"
_EDGE: Final = 360  # pixels of a single picture; several stand side by side and are smaller
_EDGE_OF_SEVERAL: Final = 240
_VIDEO: Final = "display:block;max-width:100%;border-radius:0.6rem;background:black"
_VIDEO_EDGE: Final = 480
_ROW_OF_VIDEO: Final = "display:flex;flex-direction:column;gap:0.35rem;max-width:100%"
_CHIP: Final = (
    "display:inline-flex;flex-direction:column;max-width:min(100%,22rem);padding:0.4rem 0.8rem;border-radius:0.6rem;"
    "border:1px solid color-mix(in srgb, currentColor 20%, transparent);color:inherit;text-decoration:none;"
    "overflow-wrap:anywhere"
)


def submitted(value: Any) -> tuple[str, list[tuple[str, bytes]]]:
    """The text of what `st.chat_input` returned, and each file as its name and bytes; a recording comes last."""
    if value is None or isinstance(value, str):
        return value or "", []
    found = [file for file in value.get("files") or () if hasattr(file, "getvalue")]
    files = [(str(file.name), bytes(file.getvalue())) for file in found]
    if (recorded := value.get("audio")) is not None:
        files.append(("recording.wav", bytes(recorded.getvalue())))
    return str(value.get("text") or ""), files


def keep(conversation_id: str | None, files: Sequence[tuple[str, bytes]]) -> None:
    """Files of a question that could not be sent: they wait above the input of the conversation (None: of a new one),
    behind those that wait there already, and go with its next question."""
    st.session_state[_KEPT] = (conversation_id, _kept(conversation_id) + list(files))


def take_kept(conversation_id: str | None) -> list[tuple[str, bytes]]:
    """The files that wait there, once."""
    found = _kept(conversation_id)
    st.session_state.pop(_KEPT, None)
    return found


def _kept(conversation_id: str | None) -> list[tuple[str, bytes]]:
    of, files = st.session_state.get(_KEPT, (None, []))
    return list(files) if of == conversation_id else []


def draw_kept(conversation_id: str | None) -> None:
    """A line for each file that waits, with a way to take it back."""
    for number, (name, data) in enumerate(_kept(conversation_id)):
        with st.container(key=f"kept-{number}", horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f":material/attach_file: {plain(name)} · {size(len(data))} · goes with your next message")
            st.button(
                f"Remove {plain(name)}", key=f"remove_kept-{number}", type="tertiary", icon=":material/close:",
                on_click=_remove_kept, args=(conversation_id, name),
            )  # fmt: skip


def draw(parts: Sequence[Mapping[str, Any]], *, share: str | None = None) -> None:
    """What a message carries: pictures side by side, then videos, sound and files. Other parts are left alone.

    `share`: the token of the share through which the page is read.
    """
    attached = [part for part in parts if "attachment_id" in part]
    groups: dict[str, list[str]] = {"image": [], "video": [], "audio": [], "file": []}
    edge = _EDGE if sum(part.get("media") == "image" for part in attached) == 1 else _EDGE_OF_SEVERAL
    for part in attached:
        url = escape(address(part, share))
        if part.get("media") == "image":
            groups["image"].append(_image(part, url, edge))
        elif part.get("media") == "video":
            groups["video"].append(_video(part, url))
        elif part.get("media") == "audio":
            groups["audio"].append(_audio(part, url))
        else:
            groups["file"].append(_chip(part, url))
    for items in groups.values():
        if items:
            st.html(f'<div style="{_ROW}">{"".join(items)}</div>')


def address(part: Mapping[str, Any], share: str | None = None) -> str:
    """Where the bytes of a part's attachment are served."""
    token = f"?s={quote(share, safe='')}" if share else ""
    return f"{base_path()}/api/attachments/{quote(str(part['attachment_id']), safe='')}{token}"


def about(part: Mapping[str, Any]) -> str:
    """`PDF · 12 pages · 1.4 MB`, `Video · 1:03 · 12.0 MB`."""
    kinds = {"pdf": "PDF", "text": "Text", "video": "Video"}
    kind = kinds.get(str(part.get("media") or part.get("kind")), "File")
    pages, seconds = int(part.get("pages") or 0), round(part.get("seconds") or 0)
    counted = [f"{whole(pages)} page{'s' if pages != 1 else ''}"] if pages else []
    counted += [length(seconds)] if seconds else []
    return " · ".join([kind, *counted, size(int(part.get("size") or 0))])


def length(seconds: int) -> str:
    """`0:07`, `1:02:03`."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def size(count: int) -> str:
    """`312 bytes`, `12 KB`, `1.4 MB`."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:.0f} KB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def _remove_kept(conversation_id: str | None, name: str) -> None:
    files = _kept(conversation_id)
    st.session_state[_KEPT] = (conversation_id, [file for file in files if file[0] != name])


def _image(part: Mapping[str, Any], url: str, edge: int) -> str:
    name, width, height = escape(str(part.get("name"))), int(part.get("width") or 0), int(part.get("height") or 0)
    place = _place(width, height, edge)
    return (
        f'<a href="{url}" target="_blank" rel="noopener" title="Open {name}">'
        f'<img src="{url}" alt="{name}" loading="lazy" style="{_PICTURE};{place}"></a>'
    )


def _place(width: int, height: int, edge: int) -> str:
    if not width or not height:
        return f"max-width:min(100%,{edge}px);max-height:{edge}px"
    # Known beforehand, it takes its place before it has come, and nothing jumps.
    return f"width:{max(1, round(min(1.0, edge / width, edge / height) * width))}px;aspect-ratio:{width}/{height}"


def _video(part: Mapping[str, Any], url: str) -> str:
    """A player, and a link to the file below it: no browser plays every kind."""
    name, width, height = escape(str(part.get("name"))), int(part.get("width") or 0), int(part.get("height") or 0)
    place = _place(width, height, _VIDEO_EDGE)
    player = (
        f'<video controls playsinline preload="metadata" src="{url}" aria-label="{name}" title="{name}" '
        f'style="{_VIDEO};{place}"></video>'
    )
    return f'<div style="{_ROW_OF_VIDEO}">{player}{_chip(part, url)}</div>'


def _audio(part: Mapping[str, Any], url: str) -> str:
    name = escape(str(part.get("name")))
    return f'<audio controls preload="metadata" src="{url}" aria-label="{name}" title="{name}"></audio>'


def _chip(part: Mapping[str, Any], url: str) -> str:
    name = escape(str(part.get("name")))
    return (
        f'<a href="{url}" download="{name}" style="{_CHIP}" aria-label="Download {name}"><span>{name}</span>'
        f'<small style="opacity:0.75">{escape(about(part))}</small></a>'
    )
