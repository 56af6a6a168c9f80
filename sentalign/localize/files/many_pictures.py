"""Many pictures and sentences → overlays, boxes and one table, going on where a stopped run was.

In: locations of pictures, sentences, a predictor. Out: a folder for each picture (its overlays, grids and boxes.json),
and the files of `results`. A file that is no sound picture is reported, and the rest is done. Folders have numbers: the
name of a file may name a patient, and stands in results.jsonl and results.csv alone.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentalign.localize.files.decode import decoded
from sentalign.localize.files.failed import FailedPictureError
from sentalign.localize.files.one_picture import write_picture
from sentalign.localize.files.priority import after_the_model
from sentalign.localize.files.results import Line, Results
from sentalign.localize.predict import BATCH, ImageFeatures, Predictor, SentenceMap
from sharding.pixels import Picture

if TYPE_CHECKING:
    from sentalign.localize.dicom_out.write import DicomOut

WRITERS = 2  # threads that draw and compress while the model works: most of that is done without Python's lock
WAITING = 8  # pictures that wait for them, with their maps
Task = tuple[Picture, "DicomOut | None"]
DicomOf = Callable[[str, Picture], "DicomOut | None"]


def localize_all(
    predictor: Predictor,
    images: Sequence[str],
    sentences: Sequence[str],
    out: Path,
    results: Results,
    workers: int,
    progress: Callable[[int], None],
    dicom_of: DicomOf = lambda image, picture: None,
) -> int:
    """Localizes what `results` has not; the number of images that failed. `progress` gets the images done.

    `dicom_of` says which DICOM objects of an image are written; an image for which it raises FailedPictureError fails.
    """
    todo = [image for image in images if image not in results.done]
    progress(len(images) - len(todo))
    failed = 0
    with ThreadPoolExecutor(WRITERS, initializer=after_the_model) as writers:

        def started() -> Iterator[Future[Line]]:
            """The line of each picture, as soon as its maps are made and its files are being written."""
            for batch in _batches(zip(todo, decoded(todo, workers), strict=True)):
                tasks = [(image, _task(image, picture, dicom_of)) for image, picture in batch]
                features = predictor.images([task[0].grey_HW for _, task in tasks if not isinstance(task, str)])
                for image, task in tasks:
                    if isinstance(task, str):
                        yield _done({"image": image, "failed": task})
                    else:
                        own = next(features)
                        maps = predictor.maps_later(own, sentences)
                        written = task[0], replace(own, trace=None), sentences, maps
                        folder = results.folder_of(image)
                        yield writers.submit(_write, image, folder, predictor, *written, out / folder, False, task[1])

        for line in _in_order(started()):
            failed += "failed" in line
            results.add(line)
            progress(1)
    results.write_table(images)
    return failed


def _in_order(lines: Iterator[Future[Line]]) -> Iterator[Line]:
    waiting: deque[Future[Line]] = deque()
    for line in lines:
        waiting.append(line)
        if len(waiting) > WAITING:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _done(line: Line) -> Future[Line]:
    future: Future[Line] = Future()
    future.set_result(line)
    return future


def _write(
    image: str,
    folder: str,
    predictor: Predictor,
    picture: Picture,
    features: ImageFeatures,
    sentences: Sequence[str],
    maps: Callable[[], list[SentenceMap]],
    *arguments: Any,
) -> Line:
    try:
        content = write_picture(predictor, picture, features, sentences, maps(), *arguments)
        return {"image": image, "folder": folder, "sentences": content["sentences"]}
    except FailedPictureError as error:
        return {"image": image, "failed": str(error)}


def _task(image: str, picture: Picture | str, dicom_of: DicomOf) -> Task | str:
    """What is to be done with a picture, or why there is nothing to do."""
    try:
        return picture if isinstance(picture, str) else (picture, dicom_of(image, picture))
    except FailedPictureError as error:
        return str(error)


def _batches(pictures: Iterator[tuple[str, Picture | str]]) -> Iterator[list[tuple[str, Picture | str]]]:
    while batch := list(itertools.islice(pictures, BATCH)):
        yield batch
