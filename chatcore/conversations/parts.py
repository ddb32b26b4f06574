"""The parts that a message is made of, each with its limits. They are stored as plain JSON in exactly these shapes.

Stored, imported and model-made parts are read by `parse`: what is not valid is None, and never half right.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from chatcore.conversations.part_components import (
    COMPONENTS,
    Count,
    LongText,
    Name,
    Number,
    PartModel,
    Words,
    component_text,
    exact,
    joined,
)

RUNNABLE: Final = frozenset({"python", "py"})
Cell = str | bool | int | float | None
_Cell = Annotated[Words | bool | Number | None, BeforeValidator(exact)]


class TextPart(PartModel):
    type: Literal["text"] = "text"
    text: LongText


class MarkdownPart(PartModel):
    type: Literal["markdown"] = "markdown"
    text: LongText


class ReasoningPart(PartModel):
    """What a model thought before it answered. `duration_ms`: milliseconds, None where nobody measured."""

    type: Literal["reasoning"] = "reasoning"
    text: LongText
    duration_ms: Count | None = None


class ToolCallPart(PartModel):
    """A call of a tool. `arguments`: JSON as the model wrote it, which may be broken. `round`: of which request of its
    turn, and `at`: how many characters of the reply were said before it; None where it is no turn's of ours."""

    type: Literal["tool_call"] = "tool_call"
    id: Name = ""
    name: Name
    arguments: LongText = ""
    state: Literal["pending", "success", "error"] = "pending"
    result: LongText | None = None
    duration_ms: Count | None = None
    round: Count | None = None
    at: Count | None = None


class ErrorPart(PartModel):
    """Why a reply failed. `message`: a sentence for a person. `retry_after`: seconds."""

    type: Literal["error"] = "error"
    code: Name = ""
    message: Words
    retryable: bool = True
    provider: Name = ""
    retry_after: Number | None = None


class Series(PartModel):
    name: Name
    values: Annotated[list[Number | None], Field(max_length=1_000)]


class ChartPart(PartModel):
    """A chart: each series has one value for each `x`. A pie has one series, and `x` names its slices."""

    type: Literal["chart"] = "chart"
    chart: Literal["line", "bar", "pie", "scatter"]
    title: Name = ""
    x: Annotated[list[Name | Number], Field(min_length=1, max_length=1_000)]
    series: Annotated[list[Series], Field(min_length=1, max_length=12)]
    x_label: Name = ""
    y_label: Name = ""

    @model_validator(mode="after")
    def _fits(self) -> "ChartPart":
        if any(len(series.values) != len(self.x) for series in self.series):
            raise ValueError("each series needs one value for each x")
        if self.chart == "pie":
            values = self.series[0].values
            if len(self.series) > 1 or len(values) > 30 or any(value is None or value < 0 for value in values):
                raise ValueError("a pie is one series of at most 30 values, none below zero")
        return self


class TablePart(PartModel):
    type: Literal["table"] = "table"
    title: Name = ""
    columns: Annotated[list[Name], Field(min_length=1, max_length=30)]
    rows: Annotated[list[list[_Cell]], Field(max_length=1_000)]

    @model_validator(mode="after")
    def _fits(self) -> "TablePart":
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("each row needs one cell for each column")
        return self


class ComponentPart(PartModel):
    """One of `COMPONENTS`, with the props that its model allows."""

    type: Literal["component"] = "component"
    name: Name
    props: SerializeAsAny[PartModel]

    @field_validator("props", mode="before")
    @classmethod
    def _of_its_kind(cls, props: object, info: ValidationInfo) -> PartModel:
        model = COMPONENTS.get(info.data.get("name", ""))
        if model is None:
            raise ValueError("there is no such component")
        return model.model_validate(props)


class CodePart(PartModel):
    """Code by itself. `runnable`: it may be run where running code is switched on, so its language is in `RUNNABLE`."""

    type: Literal["code"] = "code"
    language: Annotated[str, StringConstraints(max_length=40)] = ""
    code: LongText
    runnable: bool = False

    @model_validator(mode="after")
    def _can_run(self) -> "CodePart":
        if self.runnable and self.language not in RUNNABLE:
            raise ValueError("this language cannot be run")
        return self


class MediaPart(PartModel):
    """An attachment to look at or listen to. `size`: bytes; `width`, `height`: pixels."""

    type: Literal["media"] = "media"
    media: Literal["image", "audio", "video"]
    attachment_id: Name
    name: Name
    media_type: Name
    size: Count
    width: Count | None = None
    height: Count | None = None
    seconds: Number | None = None


class FilePart(PartModel):
    """An attachment to read. `size`: bytes; `characters`: of its text."""

    type: Literal["file"] = "file"
    kind: Literal["pdf", "text"]
    attachment_id: Name
    name: Name
    media_type: Name
    size: Count
    pages: Count | None = None
    characters: Count | None = None


class Citation(PartModel):
    """A passage that a reply may rest on, under the `number` by which the reply names it. `passage_id`: of the
    knowledge base. `place`: where in the document, as people say it."""

    number: Count
    passage_id: Name
    title: Name
    place: Name = ""
    text: Words


class CitationsPart(PartModel):
    type: Literal["citations"] = "citations"
    items: Annotated[list[Citation], Field(min_length=1, max_length=50)]


Part = (
    TextPart | MarkdownPart | ReasoningPart | ToolCallPart | ErrorPart | ChartPart | TablePart | ComponentPart
    | CodePart | MediaPart | FilePart | CitationsPart
)  # fmt: skip
_PARTS: Final[TypeAdapter[Part]] = TypeAdapter(Annotated[Part, Field(discriminator="type")])


def parse(raw: object) -> Part | None:
    """The part that `raw`, a mapping, is; None where it is of no known kind, or breaks that kind's limits."""
    try:
        return _PARTS.validate_python(dict(raw) if isinstance(raw, Mapping) else raw)
    except ValidationError:
        return None


def plain_text(part: Part) -> str:
    """The part as text, for copying, for finding, and for people who cannot see it. Rows are divided by tabs."""
    match part:
        case TextPart() | MarkdownPart() | ReasoningPart():
            return part.text
        case ToolCallPart():
            return joined(f"{part.name} {part.arguments}".rstrip(), part.result)
        case ErrorPart():
            return part.message
        case ChartPart():
            columns, rows = table_of(part)
            return joined(part.title, _tabbed(columns), *map(_tabbed, rows))
        case TablePart():
            return joined(part.title, _tabbed(part.columns), *map(_tabbed, part.rows))
        case ComponentPart():
            return component_text(part.props)
        case CodePart():
            return part.code
        case MediaPart() | FilePart():
            return part.name
        case CitationsPart():
            return joined(*(joined(f"[{one.number}] {one.title} {one.place}".rstrip(), one.text) for one in part.items))


def table_of(chart: ChartPart) -> tuple[list[str], list[list[Cell]]]:
    """A chart's figures as columns and rows: `x` first, then a column for each series."""
    columns = [chart.x_label or "x", *(series.name for series in chart.series)]
    rows: list[list[Cell]] = [
        [x, *values] for x, *values in zip(chart.x, *(series.values for series in chart.series), strict=True)
    ]
    return columns, rows


def _tabbed(cells: "list[str] | list[Cell]") -> str:
    return "\t".join("" if cell is None else " ".join(str(cell).split()) for cell in cells)
