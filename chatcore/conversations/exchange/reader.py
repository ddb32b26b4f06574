"""Reading an export file, conversation by conversation, without ever holding all of it.

Which product wrote it shows in its structure, not in its name. The JSON is parsed in small pieces, so that other
threads go on; what one conversation may hold is limited, and so is what a ZIP may unpack to.
"""

import codecs
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any, Final

import ijson

from chatcore.conversations.exchange import chatgpt, json_form, open_webui
from chatcore.conversations.exchange.depth import Depth
from chatcore.conversations.exchange.values import ImportedConversation, Pairs
from chatcore.errors import InvalidInput

NOT_OURS: Final = "This is no export of Chatcore, ChatGPT or Open WebUI."
NO_CONVERSATIONS: Final = "There are no conversations in this file."
_BROKEN_ZIP: Final = (
    "This ZIP file is damaged or was cut off. Download it again, or unpack it and choose its JSON file."
)
_TOO_MUCH: Final = "This ZIP file unpacks to more than can be imported."

MOST_UNPACKED: Final = 2 * 2**30
_MOST_VALUES: Final = 5_000_000  # of one conversation: numbers, texts, objects
_MOST_ENTRIES: Final = 100_000  # of a ZIP
_MOST_ATTACHED: Final = 25 * 2**20
_PIECE: Final = 32 * 1024
_LONGEST_PIECE: Final = 4 * 2**20
_GIVE_UP_AFTER: Final = 20  # unknown objects before the first conversation
_SNIFFED: Final = 100_000
_LISTS: Final = ("conversations", "chats")
_ONE: Final = ("mapping", "chat", "history", "messages")
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_CONVERSATIONS: Final = re.compile(r"conversations(-\d+)?\.json")


class Broken(Exception):
    """The JSON ends early or is damaged; what was read before is whole."""


class Reader:
    """The conversations of one file. `fraction`: how much of it has been read. `unknown`: objects in it that are no
    conversations. `broken`: it ended early, or was damaged.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        """`file`: open for reading, seekable, of `size` bytes; the caller closes it."""
        self.unknown = 0
        self.found = 0
        self.broken = False
        self._file = file
        self._whole = max(size, 1)
        self._read = 0
        self._values = 0

    @property
    def fraction(self) -> float:
        return min(self._read / self._whole, 1.0)

    def __iter__(self) -> Iterator[ImportedConversation]:
        """Raises `InvalidInput` where it is no export, or none that can be read."""
        self._file.seek(0)
        if self._file.read(4) == b"PK\x03\x04":
            yield from self._zip()
        else:
            yield from self._json(self._rewound, lambda _: None)
        if not self.found and not self.broken:
            raise InvalidInput(NOT_OURS if self.unknown else NO_CONVERSATIONS)

    def _rewound(self) -> IO[bytes]:
        self._file.seek(0)
        return self._file

    def _zip(self) -> Iterator[ImportedConversation]:
        try:
            with self._archive() as archive:
                chosen = _chosen(archive)
                self._whole = max(sum(one.file_size for one in chosen), 1)
                if self._whole > MOST_UNPACKED:
                    raise InvalidInput(_TOO_MUCH)
                files = _Attached(archive)
                for one in chosen:
                    if one.flag_bits & 1:
                        raise InvalidInput(
                            "This ZIP file is locked with a password. Unpack it and choose its JSON file."
                        )
                    yield from self._json(lambda one=one: archive.open(one), files.find)  # type: ignore[misc]
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            OSError,
            ValueError,
            RuntimeError,
        ) as error:
            if not self.found:
                raise InvalidInput(_BROKEN_ZIP) from error
            self.broken = True

    def _archive(self) -> zipfile.ZipFile:
        """Its list of entries is read at once, so a made-up one with millions is refused before."""
        self._file.seek(0)
        entries = 0
        while piece := self._file.read(2**20):
            entries += piece.count(b"PK\x01\x02")
        if entries > _MOST_ENTRIES:
            raise InvalidInput(_TOO_MUCH)
        return zipfile.ZipFile(self._file)

    def _json(self, opened: Callable[[], IO[bytes]], find_file: chatgpt.FindFile) -> Iterator[ImportedConversation]:
        try:
            before = self._read
            with _closing(opened()) as stream:
                path = _path(_Text(stream, self._count))
            self._read, self._values = before, 0
            with _closing(opened()) as stream:
                for raw in ijson.items(_Text(stream, self._count), path, map_type=Pairs, buf_size=_PIECE):
                    self._values = 0
                    if (one := self._conversation(raw, find_file)) is not None:
                        yield one
        except (ijson.JSONError, Broken) as error:
            if not self.found and not _looks_like_json(opened):
                raise InvalidInput(NOT_OURS) from error
            self.broken = True

    def _conversation(self, raw: Any, find_file: chatgpt.FindFile) -> ImportedConversation | None:
        one = None
        if isinstance(raw, Mapping):
            if json_form.is_conversation(raw):
                one = json_form.read(raw)
            elif chatgpt.is_conversation(raw):
                one = chatgpt.Conversation(raw, find_file).read()
            elif open_webui.is_conversation(raw):
                one = open_webui.read(raw)
        if one is not None:
            self.found += 1
            return one
        self.unknown += 1
        if not self.found and self.unknown >= _GIVE_UP_AFTER:
            raise InvalidInput(NOT_OURS)
        return None

    def _count(self, size: int, values: int) -> None:
        self._read += size
        self._values += values
        if self._values > _MOST_VALUES:
            raise Broken("a conversation of more values than can be read")


class _Text:
    """A stream of bytes as UTF-8, whatever it was, with what is no text replaced."""

    def __init__(self, stream: IO[bytes], count: Callable[[int, int], None]) -> None:
        self._stream = stream
        self._count = count
        self._size = _PIECE
        self._depth = Depth()
        self._decoder: codecs.IncrementalDecoder | None = None

    def read(self, size: int = _PIECE) -> bytes:
        if size == 0:
            return b""
        piece = self._stream.read(self._size)
        # A text that is still open is read from its beginning with each piece: more at once for a long one.
        self._size = _PIECE if b'"' in piece else min(2 * self._size, _LONGEST_PIECE)
        if self._decoder is None:
            encoding = next((name for mark, name in _BYTE_ORDER_MARKS if piece.startswith(mark)), "utf-8")
            self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._count(len(piece), piece.count(b",") + piece.count(b"[") + piece.count(b"{"))
        text = self._decoder.decode(piece, final=not piece).encode("utf-8", "replace")
        if self._depth.is_too_deep(text):
            raise Broken("nested too deeply to be an export")
        return text


class _Attached:
    """The files beside the JSON of a ZIP, found by the id that their name begins with."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = {PurePosixPath(one.filename).name: one for one in archive.infolist() if not one.is_dir()}
        self._by_id: dict[str, zipfile.ZipInfo] = {}
        for name, one in self._names.items():
            for known in {name, name.rpartition(".")[0], *re.findall(r"^file[-_][0-9A-Za-z]+", name)}:
                self._by_id.setdefault(known, one)

    def find(self, file_id: str) -> tuple[str, Callable[[], bytes | None]] | None:
        entry = self._by_id.get(file_id)
        if entry is None or entry.file_size > _MOST_ATTACHED:
            return None
        return PurePosixPath(entry.filename).name, lambda: self._bytes(entry)

    def _bytes(self, entry: zipfile.ZipInfo) -> bytes | None:
        try:
            with self._archive.open(entry) as file:
                return file.read(_MOST_ATTACHED)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, RuntimeError):
            return None


class _closing:
    """Closes what a ZIP opened; the file itself stays open."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def __enter__(self) -> IO[bytes]:
        return self._stream

    def __exit__(self, *_: object) -> None:
        if isinstance(self._stream, zipfile.ZipExtFile):
            self._stream.close()


def _chosen(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """ChatGPT's own names where they are there, else every JSON file."""
    files = [one for one in archive.infolist() if not one.is_dir() and "__MACOSX" not in one.filename]
    named = [one for one in files if _CONVERSATIONS.fullmatch(PurePosixPath(one.filename).name)]
    found = named or [one for one in files if one.filename.lower().endswith(".json")]
    if not found:
        raise InvalidInput(NOT_OURS)
    return sorted(found, key=lambda one: one.filename)


def _path(stream: _Text) -> str:
    """Where the conversations stand: in an array, in an array inside an object, or the object is one itself."""
    events = ijson.parse(stream, buf_size=_PIECE)
    _, first, _ = next(events)
    if first == "start_array":
        return "item"
    if first != "start_map":
        raise InvalidInput(NOT_OURS)
    for number, (prefix, event, value) in enumerate(events):
        if prefix == "" and event == "map_key":
            if value in _LISTS:
                return f"{value}.item"
            if value in _ONE:
                return ""
        if number > _SNIFFED:
            break
    raise InvalidInput(NOT_OURS)


def _looks_like_json(opened: Callable[[], IO[bytes]]) -> bool:
    """Whether it begins like a list or an object: what is cut off is told apart from what never was an export."""
    try:
        with _closing(opened()) as stream:
            start = _Text(stream, lambda _size, _values: None).read().lstrip()
    except Broken:
        return False
    return re.match(rb'\[\s*(\{|$)|\{\s*("|$)', start) is not None
