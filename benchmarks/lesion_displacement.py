"""Where on the picture a lesion raises the map: maps of one phantom with and without the lesion.

    PYTHONPATH=. python benchmarks/lesion_displacement.py RUN [RUN ...]

Each study is drawn twice by the same random numbers, the second time without one of its lesions. The difference of the
two plain maps of its phrase is the response to that lesion alone, whatever the background is. Printed by kind: medians
of the centroid of the response (above half of its maximum) minus that of what was painted, and of the peak of the plain
map minus the same (of peaks within 24 pixels), in pixels of the network's input; x to the right, y down.
"""

# H W rows and columns of a picture

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from sentalign.localize.predict import Predictor
from sentalign.phantom import lesions, study
from sentalign.phantom.lesions import Lesion
from sentalign.phantom.study import Settings, Study

NEAR = 24  # pixels of the network's input
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8], Lesion, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--studies", type=int, default=150)
    parser.add_argument("--seed", type=int, default=11, help="of the phantoms; no run was trained on these")
    args = parser.parse_args()
    settings = Settings(args.studies, args.seed, 512, None, args.studies, 0)
    pairs = list(with_and_without(settings))
    for run in args.runs:
        report(run, pairs)


def with_and_without(settings: Settings) -> Iterator[Pair]:
    """Every lesion that has a phrase of its own: the picture with it, without it, and the phrase."""
    for number in range(settings.studies):
        whole = study.generate(number, settings)
        for case in whole.cases:
            if len(case.lesions) == 1:
                (lesion,) = case.lesions
                other = without(number, settings, whole.lesions.index(lesion))
                yield grey(whole), grey(other), lesion, case.phrase


def without(number: int, settings: Settings, left_out: int) -> Study:
    """The same study, one of its lesions not painted; all random numbers are drawn as if it were."""
    painted: list[Lesion] = []

    def paint(rng: np.random.Generator, chest: Any, *place: Any) -> Lesion | None:
        before_HW = chest.picture_HW.copy()
        lesion = lesions.paint(rng, chest, *place)
        if lesion is not None:
            if len(painted) == left_out:
                chest.picture_HW[...] = before_HW
            painted.append(lesion)
        return lesion

    with mock.patch.object(study, "paint", paint):
        return study.generate(number, settings)


def grey(drawn: Study) -> NDArray[np.uint8]:
    """The 12-bit picture in 8 bits."""
    return (drawn.image_HW >> 4).astype(np.uint8)


def report(run: Path, pairs: list[Pair]) -> None:
    """Prints a line for each kind."""
    predictor = Predictor.load(run, maps="plain")
    found = defaultdict(list)
    for with_HW, without_HW, lesion, phrase in pairs:
        found[lesion.kind].append(displacements(predictor, with_HW, without_HW, phrase))
    print(f"{run}\n{'kind':16}{'lesions':>8}{'of the response, x y':>26}{'of the peak, x y':>20}{'near':>8}")
    for kind, rows in sorted(found.items()):
        values = np.array(rows)
        near = np.hypot(values[:, 2], values[:, 3]) <= NEAR
        response, peak = np.nanmedian(values[:, :2], axis=0), np.median(values[near, 2:], axis=0)
        print(
            f"{kind:16}{len(values):8}{response[0]:18.1f}{response[1]:8.1f}{peak[0]:12.1f}{peak[1]:8.1f}"
            f"{near.mean():8.2f}"
        )
    sys.stdout.flush()


def displacements(
    predictor: Predictor, with_HW: NDArray[np.uint8], without_HW: NDArray[np.uint8], phrase: str
) -> tuple[float, float, float, float]:
    """x and y of the response's centroid and of the map's peak, from the centroid of the paint, pixels of the input."""
    both = [predictor.image(image_HW) for image_HW in (with_HW, without_HW)]
    scores = [predictor.maps(features, [phrase])[0].plain_HW for features in both]
    rise_HW = np.clip(scores[0] - scores[1], 0, None)
    rise_HW[rise_HW < rise_HW.max() / 2] = 0  # the peak of the response, not what it does to the rest of the map
    paint_HW = np.abs(with_HW.astype(float) - without_HW)
    place = both[0].cells.to_output(np.array([centroid(paint_HW)]))[0]
    highest = np.unravel_index(np.argmax(scores[0]), scores[0].shape)
    # Cell i covers [i, i + 1) strides of the square of the cells.
    response, peak = np.array(centroid(rise_HW)) * predictor.stride, (np.array(highest)[::-1] + 0.5) * predictor.stride
    return *(response - place), *(peak - place)


def centroid(weights_HW: NDArray[np.float64]) -> tuple[float, float]:
    """x and y; pixel i covers [i, i + 1). NaN of nothing."""
    total = weights_HW.sum() or np.nan
    x, y = (float(weights_HW.sum(axis) @ (np.arange(weights_HW.shape[1 - axis]) + 0.5) / total) for axis in (0, 1))
    return x, y


if __name__ == "__main__":
    main()
