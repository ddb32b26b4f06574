"""The components that a message can hold, each with its props, and what all parts are built of."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from chatcore.conversations.text import clean

_MOST_INTEGER: Final = 2**53  # beyond it browsers round

Name = Annotated[str, StringConstraints(max_length=300), AfterValidator(clean)]
Words = Annotated[str, StringConstraints(max_length=5_000), AfterValidator(clean)]
LongText = Annotated[str, StringConstraints(max_length=10_000_000), AfterValidator(clean)]
Integer = Annotated[int, Field(ge=-_MOST_INTEGER, le=_MOST_INTEGER)]
Number = Integer | Annotated[float, Field(ge=-1e300, le=1e300)]
Count = Annotated[int, Field(ge=0, le=_MOST_INTEGER)]


def exact(value: object) -> object:
    """An integer that a browser would round becomes text."""
    return str(value) if isinstance(value, int) and abs(value) > _MOST_INTEGER else value


Figure = Annotated[Name | Number, BeforeValidator(exact)]


class PartModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Metric(PartModel):
    label: Name
    value: Figure
    delta: Figure | None = None


class Metrics(PartModel):
    items: Annotated[list[Metric], Field(min_length=1, max_length=12)]


class Callout(PartModel):
    kind: Literal["info", "success", "warning", "error"] = "info"
    title: Name = ""
    text: Words


class Step(PartModel):
    title: Name
    text: Words = ""
    done: bool = False


class Steps(PartModel):
    items: Annotated[list[Step], Field(min_length=1, max_length=50)]


class Progress(PartModel):
    """`value`: from 0 to 1."""

    label: Name
    value: Annotated[float, Field(ge=0, le=1)]


class Event(PartModel):
    when: Name
    title: Name
    text: Words = ""


class Timeline(PartModel):
    items: Annotated[list[Event], Field(min_length=1, max_length=50)]


class KeyValue(PartModel):
    key: Name
    value: Annotated[Words | Number, BeforeValidator(exact)]


class KeyValues(PartModel):
    items: Annotated[list[KeyValue], Field(min_length=1, max_length=50)]


COMPONENTS: Final[Mapping[str, type[PartModel]]] = {
    "metric": Metric,
    "metrics": Metrics,
    "callout": Callout,
    "steps": Steps,
    "progress": Progress,
    "timeline": Timeline,
    "key_values": KeyValues,
}


def component_text(props: PartModel) -> str:
    match props:
        case Metric():
            return f"{props.label}: {props.value}" + (f" ({props.delta})" if props.delta is not None else "")
        case Metrics():
            return joined(*map(component_text, props.items))
        case Callout():
            return joined(props.title, props.text)
        case Steps():
            return joined(*(joined(f"[{'x' if step.done else ' '}] {step.title}", step.text) for step in props.items))
        case Progress():
            return f"{props.label}: {props.value:.0%}"
        case Timeline():
            return joined(*(joined(f"{event.when}: {event.title}", event.text) for event in props.items))
        case KeyValues():
            return joined(*(f"{item.key}: {item.value}" for item in props.items))
    return ""


def joined(*lines: str | None) -> str:
    return "\n".join(line for line in lines if line)
