"""What can be asked: pictures, findings, segmentations and examples, all below /api/.

In: HTTP requests. Out: JSON, and bytes of values and files. Uploads are request bodies, not forms, which would be
spooled to disk. Who may ask is decided in `access`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from sentalign.localize.files import inputs
from sentalign.serve import answers
from sentalign.serve.access import RefusedError
from sentalign.serve.decoders import Decoders
from sentalign.serve.examples import Example, examples
from sentalign.serve.finder import Finder
from sentalign.serve.open_pictures import Finding, OpenPicture, OpenPictures
from sentalign.serve.work_queue import WorkQueue
from sharding.contract import UserError

MOST_UPLOADS = 4  # at a time, each up to --max-upload-mb
MOST_SEGMENTS = 32
FORM = f"a sentence has at most 500 letters, a segmentation at most {MOST_SEGMENTS} sentences"
BINARY, DICOM, PNG = "application/octet-stream", "application/dicom", "image/png"


@dataclass
class State:
    """What all requests share."""

    opened: OpenPictures
    finder: Finder
    decoders: Decoders
    most_bytes: int
    segmenter: WorkQueue = field(default_factory=lambda: WorkQueue("segmentation", 8))
    uploads: int = 0

    @contextlib.contextmanager
    def upload(self) -> Iterator[None]:
        """Around an upload and its decoding. Raises RefusedError where too many are on their way."""
        if self.uploads >= MOST_UPLOADS:
            raise RefusedError(503, "too many others are opening files; try again in a moment")
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1


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
    with state.upload():
        data = bytearray()
        try:
            async for part in request.stream():
                data += part
            picture = await asyncio.to_thread(answers.picture, await state.decoders.decode(data), bytes(data))
        finally:
            with contextlib.suppress(BufferError):  # a decoder is still reading it when the server ends
                data.clear()  # what is cut off must not wait for the garbage collector
    return answers.opened(state.opened.add(picture), picture)


@router.get("/pictures/{name}/values")
async def values(name: str, state: Shared) -> Response:
    """16-bit little-endian values of the pixels that are shown, row by row."""
    return Response(answers.values(state.opened.get(name)), media_type=BINARY)


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
    made = await state.segmenter.run(answers.segmentation, picture, findings, asked.level)
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
    found = []
    for sentence in dict.fromkeys(map(_checked, sentences)):
        finding = picture.findings.get(sentence) or await state.finder.find(picture, sentence)
        picture.keep(sentence, finding)
        found.append(finding)
    return found


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
