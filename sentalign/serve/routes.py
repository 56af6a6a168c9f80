"""What can be asked: pictures, findings, segmentations and examples, all below /api/.

In: HTTP requests. Out: JSON, and bytes of values and files. Uploads are request bodies, not forms, which would be
spooled to disk. Who may ask is decided in `access`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from sentalign.localize.files import inputs
from sentalign.serve import answers
from sentalign.serve.decoders import Decoders
from sentalign.serve.examples import Example, examples
from sentalign.serve.finder import Finder
from sentalign.serve.open_pictures import Finding, OpenPicture, OpenPictures
from sentalign.serve.refused import RefusedError
from sharding.contract import UserError

UPLOAD_SECONDS = 120.0
MOST_SEGMENTS = 32
BINARY, DICOM, PNG = "application/octet-stream", "application/dicom", "image/png"


@dataclass(frozen=True)
class State:
    """What all requests share."""

    opened: OpenPictures
    finder: Finder
    decoders: Decoders
    most_bytes: int


def _state(request: Request) -> State:
    state: State = request.app.state.shared
    return state


Shared = Annotated[State, Depends(_state)]
Sentence = Annotated[str, Field(max_length=500)]


class Asked(BaseModel):
    """A sentence to look for."""

    sentence: Sentence


class Segments(BaseModel):
    """Sentences of one segmentation, and the part of each map's range above which a pixel belongs to it."""

    sentences: Annotated[list[Sentence], Field(min_length=1, max_length=MOST_SEGMENTS)]
    level: float = Field(gt=0, lt=1)


router = APIRouter(prefix="/api")


@router.get("/about")
async def about(state: Shared) -> dict[str, Any]:
    """The default threshold and the largest upload."""
    return answers.about(state.finder.predictor, state.most_bytes)


@router.post("/pictures", status_code=201)
async def open_picture(request: Request, state: Shared) -> dict[str, Any]:
    """Opens the file that is the request's body."""
    data = await _body(request, state.most_bytes)
    picture = OpenPicture(await state.decoders.decode(data), data)
    return answers.opened(state.opened.add(picture), picture)


@router.get("/pictures/{name}/values")
async def values(name: str, state: Shared) -> Response:
    """16-bit little-endian values of the pixels that are shown, row by row."""
    return Response(state.opened.get(name).deep.values_HW.astype("<u2").tobytes(), media_type=BINARY)


@router.post("/pictures/{name}/findings")
async def find(name: str, asked: Asked, state: Shared) -> dict[str, Any]:
    """Where a sentence is true."""
    [finding] = await _found(state, state.opened.get(name), [asked.sentence])
    return await asyncio.to_thread(answers.found, finding)


@router.post("/pictures/{name}/segmentation")
async def segmentation(name: str, asked: Segments, state: Shared) -> Response:
    """A DICOM SEG with a segment for each sentence."""
    picture = state.opened.get(name)
    findings = await _found(state, picture, asked.sentences)
    made = await asyncio.to_thread(answers.segmentation, picture, findings, asked.level)
    return Response(made, media_type=DICOM)


@router.post("/pictures/{name}/close", status_code=204)
async def close(name: str, state: Shared) -> None:
    """Forgets a picture."""
    state.opened.close(name)


@router.get("/examples")
async def list_examples() -> list[dict[str, Any]]:
    """The sentences of each example."""
    return [{"sentences": one.sentences} for one in await asyncio.to_thread(examples)]


@router.get("/examples/{number}/thumbnail")
async def thumbnail(number: int) -> Response:
    """A small PNG."""
    return Response((await _example(number)).thumbnail, media_type=PNG)


@router.get("/examples/{number}/file")
async def example_file(number: int) -> Response:
    """The DICOM file."""
    return Response((await _example(number)).data, media_type=DICOM)


async def _found(state: State, picture: OpenPicture, sentences: Sequence[str]) -> list[Finding]:
    checked = list(dict.fromkeys(map(_checked, sentences)))
    for sentence in checked:
        if sentence not in picture.findings:
            picture.keep(sentence, await state.finder.find(picture, sentence))
    return [picture.findings[sentence] for sentence in checked]


async def _body(request: Request, most_bytes: int) -> bytes:
    """The body of an upload. Raises RefusedError where it is too large or too slow."""
    too_large = RefusedError(413, f"the file is larger than {most_bytes / 1e6:g} MB (--max-upload-mb)")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most_bytes:
                    raise too_large
    except TimeoutError:
        raise RefusedError(408, f"the upload took longer than {UPLOAD_SECONDS:.0f} seconds") from None
    return bytes(body)


def _checked(sentence: str) -> str:
    """The sentence with single spaces. Raises RefusedError where it has no letter."""
    spaced = inputs.spaced(sentence)
    try:
        inputs.check([spaced])
    except UserError as error:
        raise RefusedError(422, str(error)) from None
    return spaced


async def _example(number: int) -> Example:
    made = await asyncio.to_thread(examples)
    if not 0 <= number < len(made):
        raise RefusedError(404, "no such example")
    return made[number]
