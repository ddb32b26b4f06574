"""What all schemas of the API have in common: camelCase outside, snake_case inside, nothing that nobody knows."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An id: ours, or one that a program made."""


class Schema(BaseModel):
    """A body that is sent to us. A field that is not in it is refused by its name."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )


class Answer(BaseModel):
    """A body that we send."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, extra="forbid", frozen=True
    )
