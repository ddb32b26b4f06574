"""`POST /v1/embeddings` in OpenAI's form: texts become vectors, and the call a row of the ledger."""

import asyncio
import base64
from array import array
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chatcore.api.callers import Caller, needs
from chatcore.api.completions import rest, while_connected
from chatcore.api.parts import Parts
from chatcore.api.said import Said, Stateless
from chatcore.turns import EmbeddingAsk

_Text = Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)]


class EmbeddingBody(BaseModel):
    """A request in OpenAI's form. `input`: one text or several; tokens are not taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    input: _Text | Annotated[list[_Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[int | None, Field(ge=1, le=100_000)] = None
    user: str | None = None


class Embedding(BaseModel):
    """A vector: numbers, or base64 of 32-bit floats."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """Vectors in the order of their texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


def router(core: Parts) -> APIRouter:
    """The route."""
    found = APIRouter(tags=["OpenAI"])
    chatter = Depends(needs(core, "chat"))

    @found.post("/v1/embeddings", summary="Make vectors of texts", response_model=Embeddings)
    async def embed(request: Request, body: EmbeddingBody, caller: Annotated[Caller, chatter]) -> Response:
        """By a model whose `model_info.mode` is `embedding`. Limits, budgets and ledger as everywhere."""
        texts = [body.input] if isinstance(body.input, str) else body.input
        ask = EmbeddingAsk(body.model, texts, body.dimensions)
        said = Stateless(await asyncio.to_thread(core.turns.embed, caller.principal, ask), body.model)
        return await while_connected(request, said, _answer(said, plain=body.encoding_format != "base64"))

    return found


async def _answer(said: Said, *, plain: bool) -> Response:
    vectors = await rest(said)
    end = said.end
    assert end is not None, "it was heard to its end"
    data = [
        Embedding(index=index, embedding=_numbers(one.text) if plain else one.text) for index, one in enumerate(vectors)
    ]
    usage = EmbeddingUsage(prompt_tokens=end.spent.prompt_tokens, total_tokens=end.spent.prompt_tokens)
    answer = Embeddings(data=data, model=end.model, usage=usage)
    return JSONResponse(answer.model_dump(), headers=said.headers())


def _numbers(packed: str) -> list[float]:
    numbers = array("f")
    numbers.frombytes(base64.b64decode(packed))
    return numbers.tolist()
