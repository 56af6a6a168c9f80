"""Many pictures and sentences → overlays, boxes and one table, going on where a stopped run was.

In: locations of pictures, sentences, a predictor. Out: a folder for each picture (its overlays, grids and boxes.json),
and the files of `results`. A file that is no sound picture is reported, and the rest is done. Folders have numbers: the
name of a file may name a patient, and stands in results.jsonl and results.csv alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sentalign.localize.files.decode import decoded
from sentalign.localize.files.failed import FailedPictureError
from sentalign.localize.files.one_picture import localize_picture
from sentalign.localize.files.results import Line, Results
from sentalign.localize.predict import BATCH, Predictor
from sharding.pixels import Picture

if TYPE_CHECKING:
    from sentalign.localize.dicom_out.write import DicomOut

Task = tuple[Picture, "DicomOut | None"]


def localize_all(
    predictor: Predictor,
    images: Sequence[str],
    sentences: Sequence[str],
    out: Path,
    results: Results,
    workers: int,
    progress: Callable[[int], None],
    dicom_of: Callable[[str, Picture], DicomOut | None] = lambda image, picture: None,
) -> int:
    """Localizes what `results` has not; the number of images that failed. `progress` gets the images done.

    `dicom_of` says which DICOM objects of an image are written; an image for which it raises FailedPictureError fails.
    """
    todo = [image for image in images if image not in results.done]
    progress(len(images) - len(todo))
    numbers, failed = itertools.count(results.last_folder + 1), 0
    for batch in _batches(zip(todo, decoded(todo, workers), strict=True)):
        tasks = {image: _task(image, picture, dicom_of) for image, picture in batch}
        sound = [picture for picture, _ in (task for task in tasks.values() if not isinstance(task, str))]
        features = predictor.images([picture.grey_HW for picture in sound])
        for image, task in tasks.items():
            line: Line = {"image": image, "failed": task}
            if not isinstance(task, str):
                folder = f"{next(numbers):06d}"
                picture, dicom = task
                own = next(features)
                try:
                    content = localize_picture(predictor, picture, own, sentences, out / folder, False, dicom)
                    line = {"image": image, "folder": folder, "sentences": content["sentences"]}
                except FailedPictureError as error:
                    line = {"image": image, "failed": str(error)}
            failed += "failed" in line
            results.add(line)
            progress(1)
    results.write_table(images)
    return failed


def _task(image: str, picture: Picture | str, dicom_of: Callable[[str, Picture], DicomOut | None]) -> Task | str:
    """What is to be done with a picture, or why there is nothing to do."""
    try:
        return picture if isinstance(picture, str) else (picture, dicom_of(image, picture))
    except FailedPictureError as error:
        return str(error)


def _batches(pictures: Iterator[tuple[str, Picture | str]]) -> Iterator[list[tuple[str, Picture | str]]]:
    while batch := list(itertools.islice(pictures, BATCH)):
        yield batch
