"""What the chat input hands in, and how attachments are drawn: addresses, names, sizes."""

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from pages.ui import attachments

PICTURE = {
    "type": "media", "media": "image", "attachment_id": "att_1", "name": "a.png", "size": 5, "width": 800,
    "height": 400,
}  # fmt: skip
PAPER = {"type": "file", "kind": "pdf", "attachment_id": "att_2", "name": "b.pdf", "size": 1_400_000, "pages": 12}
SOUND = {"type": "media", "media": "audio", "attachment_id": "att_3", "name": "recording.wav", "size": 9}

FILM = {
    "type": "media", "media": "video", "attachment_id": "att_4", "name": "clip.mp4", "size": 12_000_000, "width": 1920,
    "height": 1080, "seconds": 63.4,
}  # fmt: skip


def uploaded(name: str, data: bytes) -> Any:
    return SimpleNamespace(name=name, getvalue=lambda: data)


def drawn(*parts: dict[str, Any], share: str | None = None) -> list[str]:
    """The HTML elements that a page with these parts has."""

    def page(parts: list[dict[str, object]], share: str | None) -> None:
        from pages.ui import attachments

        attachments.draw(parts, share=share)

    app = AppTest.from_function(page, args=(parts, share)).run()
    assert not app.exception
    return [element.proto.body for element in app.get("html")]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, ("", [])),
        ("hello", ("hello", [])),
        ({"text": "look", "files": [uploaded("a.png", b"1"), uploaded("b.txt", b"2")], "audio": None},
         ("look", [("a.png", b"1"), ("b.txt", b"2")])),
        ({"text": "", "files": [], "audio": uploaded("audio", b"3")}, ("", [("recording.wav", b"3")])),
        ({"text": "gone", "files": [SimpleNamespace(file_id="deleted")]}, ("gone", [])),
    ],
)  # fmt: skip
def test_what_was_submitted_is_its_text_and_its_files(value: Any, found: Any) -> None:
    assert attachments.submitted(value) == found


def test_pictures_stand_side_by_side_then_players_then_files() -> None:
    pictures, players, files = drawn(PAPER, PICTURE, SOUND, PICTURE, {"type": "text", "text": "no attachment"})
    assert pictures.count("<img") == 2
    assert 'src="/api/attachments/att_1" alt="a.png"' in pictures
    assert 'target="_blank"' in pictures
    assert "<audio controls" in players
    assert 'download="b.pdf"' in files
    assert "PDF · 12 pages · 1.4 MB" in files


def test_a_video_has_a_player_and_a_link_to_its_file() -> None:
    pictures, videos, players = drawn(SOUND, FILM, PICTURE)
    assert "<img" in pictures
    assert "<audio" in players
    assert '<video controls playsinline preload="metadata" src="/api/attachments/att_4"' in videos
    assert "width:480px;aspect-ratio:1920/1080" in videos
    assert 'download="clip.mp4"' in videos
    assert "Video · 1:03 · 12.0 MB" in videos


def test_a_video_that_nobody_could_look_into_has_a_player_too() -> None:
    (video,) = drawn({key: FILM[key] for key in ("type", "media", "attachment_id", "name", "size")})
    assert "max-width:min(100%,480px)" in video
    assert "Video · 12.0 MB" in video


@pytest.mark.parametrize(("seconds", "said"), [(7, "0:07"), (63, "1:03"), (3600, "1:00:00"), (36_061, "10:01:01")])
def test_lengths_are_said_as_players_say_them(seconds: int, said: str) -> None:
    assert attachments.length(seconds) == said


def test_a_single_picture_keeps_its_place_before_it_has_come() -> None:
    (picture,) = drawn(PICTURE)
    assert "width:360px;aspect-ratio:800/400" in picture
    (small,) = drawn({**PICTURE, "width": 10, "height": 10})
    assert "width:10px" in small


def test_nothing_attached_draws_nothing() -> None:
    assert drawn({"type": "text", "text": "words"}) == []


def test_the_token_of_a_share_goes_with_each_address() -> None:
    assert all("?s=share_1.a%26b" in html for html in drawn(PICTURE, FILM, SOUND, PAPER, share="share_1.a&b"))


def test_no_name_becomes_markup() -> None:
    evil = '"><script>alert(1)</script>'
    for html in drawn(*({**part, "name": evil} for part in (PICTURE, FILM, SOUND, PAPER))):
        assert "<script>" not in html
        assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (12_345, "12 KB"), (1_449_999, "1.4 MB")]
)
def test_sizes_are_said_as_people_say_them(count: int, said: str) -> None:
    assert attachments.size(count) == said


def waiting() -> AppTest:
    """A page with two files that could not be sent."""

    def page() -> None:
        import streamlit as st

        from pages.ui import attachments

        if st.button("fail", key="fail"):
            attachments.keep("conv_1", [("a [b].png", b"1"), ("c.txt", b"22")])
        attachments.draw_kept("conv_1")
        if st.button("send", key="send"):
            st.text(repr(attachments.take_kept("conv_1")))

    app = AppTest.from_function(page).run()
    assert len(app.caption) == 0
    app.button(key="fail").click().run()
    assert not app.exception
    return app


def test_files_that_were_not_sent_wait_for_the_next_question() -> None:
    app = waiting()
    assert [line.value.split(" · ")[0] for line in app.caption] == [
        ":material/attach_file: a \\[b\\]\\.png",
        ":material/attach_file: c\\.txt",
    ]
    app.button(key="send").click().run()
    assert app.text[0].value == "[('a [b].png', b'1'), ('c.txt', b'22')]"
    assert len(app.run().caption) == 0


def test_a_file_that_waits_can_be_taken_back() -> None:
    app = waiting()
    app.button(key="remove_kept-0").click().run()
    assert len(app.caption) == 1
    app.button(key="send").click().run()
    assert app.text[0].value == "[('c.txt', b'22')]"
