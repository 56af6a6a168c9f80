"""Many pictures and sentences → overlays, boxes and one table, going on where a stopped run was.

In: locations of pictures, sentences, a predictor. Out: a folder for each picture (its overlays, grids and boxes.json),
and the files of `results`. A file that is no sound picture is reported, and the rest is done. Folders have numbers: the
name of a file may name a patient, and stands in results.jsonl and results.csv alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sentalign.localize.files.decode import decoded
from sentalign.localize.files.one_picture import localize_picture
from sentalign.localize.files.results import Results
from sentalign.localize.predict import BATCH, Predictor
from sharding.pixels import Picture

Decoded = tuple[str, Picture | str]


def localize_all(
    predictor: Predictor,
    images: Sequence[str],
    sentences: Sequence[str],
    out: Path,
    results: Results,
    workers: int,
    progress: Callable[[int], None],
) -> int:
    """Localizes what `results` has not; the number of images that failed. `progress` gets the images done."""
    todo = [image for image in images if image not in results.done]
    progress(len(images) - len(todo))
    numbers, failed = itertools.count(len(results.done) + 1), 0
    for batch in _batches(zip(todo, decoded(todo, workers), strict=True)):
        pictures = [picture for _, picture in batch if isinstance(picture, Picture)]
        features = predictor.images([picture.grey_HW for picture in pictures])
        for image, picture in batch:
            if isinstance(picture, Picture):
                folder = f"{next(numbers):06d}"
                found = localize_picture(predictor, picture, next(features), sentences, out / folder, full_size=False)
                results.add({"image": image, "folder": folder, "sentences": found["sentences"]})
            else:
                failed += 1
                results.add({"image": image, "failed": picture})
            progress(1)
    results.write_table(images)
    return failed


def _batches(pictures: Iterator[Decoded]) -> Iterator[list[Decoded]]:
    while batch := list(itertools.islice(pictures, BATCH)):
        yield batch
