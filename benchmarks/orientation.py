"""The test of orientation (`sharding.pixels.checks.orientation`): its coefficients and its error rates.

In: a folder with the real X-rays (cxr_notes/ with metadata.csv, dicom/chest/). Out: printed error rates, by
cross-validation over patients, on the pictures as they are and on pictures that were cropped, framed, tilted and
windowed at random; with --phantoms, on phantoms too. With --write, the coefficients of a fit on all of them.

    python benchmarks/orientation.py [FOLDER] [--phantoms FOLDER] [--write]
"""

# N pictures, K = 8 ways to turn and invert, S side of the thumbnail, F = S * S
from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize

from sharding import pixels
from sharding.contract import Rejected
from sharding.pixels.checks import orientation
from sharding.pixels.picture import Grey, resize

FOLDS, CHANGED_TO_FIT, CHANGED_TO_TEST = 5, 8, 10
SIDE = 128  # of the pictures that are changed at random
PENALTY = 1e-3
REPEATS = 200

Floats = NDArray[np.float64]


def real(folder: Path) -> tuple[list[Grey], list[str]]:
    """The chest X-rays, all of which stand upright, and whose they are."""
    with (folder / "cxr_notes" / "metadata.csv").open(newline="") as file:
        patients = {row["filename"]: row["patientid"] for row in csv.DictReader(file)}
    paths = [*sorted((folder / "cxr_notes").rglob("*.*")), *sorted((folder / "dicom" / "chest").iterdir())]
    paths = [path for path in paths if path.suffix != ".csv"]
    return _pictures(paths), [patients.get(path.name, path.name) for path in paths]


def _pictures(paths: list[Path]) -> list[Grey]:
    return [pixels.read(path.read_bytes(), path.name).grey_HW for path in paths]


def changed(grey_HW: Grey, random: np.random.Generator) -> Grey:
    """Tilted by up to 12 degrees, cropped by up to 12% a side, framed, with another gamma and window."""
    image = Image.fromarray(resize(grey_HW, SIDE, SIDE))
    if random.random() < 0.5:
        image = image.rotate(random.uniform(-12, 12), Image.Resampling.BILINEAR)
    top, bottom, left, right = random.integers(0, SIDE // 8, 4)
    part_HW = np.asarray(image)[top : SIDE - bottom, left : SIDE - right]
    if random.random() < 0.5:
        frame = [tuple(random.integers(0, SIDE // 5, 2)) for _ in range(2)]
        part_HW = np.pad(part_HW, frame, constant_values=int(random.choice([0, 0, 0, 255])))
    share_HW = (part_HW / 255) ** random.uniform(0.6, 1.6)
    if random.random() < 0.3:
        low, high = np.percentile(share_HW, [random.uniform(0, 20), random.uniform(80, 100)])
        share_HW = np.clip((share_HW - low) / (high - low + 1e-6), 0, 1)
    return (share_HW * 255).astype(np.uint8)


def ways(grey_HW: Grey) -> Floats:
    """The thumbnail in all ways (K, F), each averaged with its mirror image: a heart on the right is no fault."""
    thumbnail_SS = orientation.thumbnail(grey_HW)
    turned = [sign * np.rot90(thumbnail_SS, quarters) for sign in (1, -1) for quarters in range(4)]
    return np.array([(one_SS + one_SS[:, ::-1]).ravel() / 2 for one_SS in turned])


def fit(ways_NKF: Floats) -> Floats:
    """Coefficients (F,) of the likeliest softmax over the ways, in which each picture's own is the first."""

    def loss(weights_F: Floats) -> tuple[float, Floats]:
        scores_NK = ways_NKF @ weights_F
        scores_NK = scores_NK - scores_NK.max(1, keepdims=True)
        shares_NK = np.exp(scores_NK) / np.exp(scores_NK).sum(1, keepdims=True)
        slope_F = np.einsum("nk,nkf->f", shares_NK, ways_NKF) - ways_NKF[:, 0].sum(0)
        value = -np.log(shares_NK[:, 0]).mean() + PENALTY * (weights_F @ weights_F) / 2
        return value, slope_F / len(ways_NKF) + PENALTY * weights_F

    start_F = np.zeros(ways_NKF.shape[2])
    return np.asarray(minimize(loss, start_F, jac=True, method="L-BFGS-B", options={"maxiter": 800}).x)


def cross_validated(pictures: list[Grey], patients: list[str]) -> tuple[Floats, Floats]:
    """Scores of pictures as they are (N, K) and changed (N * CHANGED_TO_TEST, K), by fits without their patients."""
    random = np.random.default_rng(1)
    names = np.unique(patients)
    random.shuffle(names)
    fold_N = np.array([list(names).index(patient) % FOLDS for patient in patients])
    own = [ways(picture) for picture in pictures]
    to_fit = [[ways(changed(picture, random)) for _ in range(CHANGED_TO_FIT)] for picture in pictures]
    to_test = [[ways(changed(picture, random)) for _ in range(CHANGED_TO_TEST)] for picture in pictures]
    plain, hard = np.zeros((len(own), 8)), np.zeros((len(own), CHANGED_TO_TEST, 8))
    for fold in range(FOLDS):
        rest = np.flatnonzero(fold_N != fold)
        weights_F = fit(np.array([one for index in rest for one in (own[index], *to_fit[index])]))
        for index in np.flatnonzero(fold_N == fold):
            plain[index], hard[index] = own[index] @ weights_F, np.array(to_test[index]) @ weights_F
    return plain, hard.reshape(-1, 8)


def fitted(pictures: list[Grey]) -> Floats:
    """Coefficients (S, S) of a fit on all pictures."""
    random = np.random.default_rng(2)
    examples = [[ways(one), *(ways(changed(one, random)) for _ in range(CHANGED_TO_FIT))] for one in pictures]
    side = orientation.SIDE
    return fit(np.array([way for example in examples for way in example])).reshape(side, side)


def report(name: str, scores_NK: Floats) -> None:
    """False alarms, and for each way in which the pictures may be changed how many are noticed, and rightly named."""
    best_N, first_N = scores_NK.max(1), scores_NK.argmax(1) == 0
    print(f"{name} ({len(scores_NK)} pictures)")
    alarm_N = best_N - scores_NK[:, 0] > orientation.MARGIN
    print(f"  as they are: noticed {alarm_N.mean():.2%}")
    for way in range(1, 8):
        # A picture that was changed so has its former scores in another order.
        noticed_N = best_N - scores_NK[:, way] > orientation.MARGIN
        print(f"  {orientation.LOOKS[way]}: noticed {noticed_N.mean():.1%}, named {(noticed_N & first_N).mean():.1%}")


def cost(picture: Grey) -> None:
    best = float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        orientation.looks(picture)
        best = min(best, time.perf_counter() - started)
    print(f"{best * 1e3:.2f} ms for {picture.shape[0]} x {picture.shape[1]} pixels")


def others(folder: Path) -> None:
    """What is said of the pictures that are no upright chest."""
    for path in sorted([*(folder / "dicom" / "xray_other").iterdir(), *(folder / "dicom" / "syntax").iterdir()]):
        try:
            print(f"  {path.name}: {orientation.looks(pixels.read(path.read_bytes()).grey_HW)}")
        except Rejected:
            continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--phantoms", type=Path)
    parser.add_argument("--write", action="store_true")
    values = parser.parse_args()
    pictures, patients = real(values.folder)
    plain_NK, changed_NK = cross_validated(pictures, patients)
    report(f"real X-rays of {len(set(patients))} patients", plain_NK)
    report("the same, cropped, framed, tilted and windowed at random", changed_NK)
    if values.write:
        target = Path(orientation.__file__).with_name("orientation.csv")
        np.savetxt(target, fitted(pictures), fmt="%.3f", delimiter=",")
        orientation.coefficients.cache_clear()
    if values.phantoms:
        phantoms = _pictures(sorted(values.phantoms.rglob("*.dcm")))
        thumbnails = map(orientation.thumbnail, phantoms)
        report("phantoms", np.array([orientation.scores(one, orientation.coefficients()) for one in thumbnails]))
    others(values.folder)
    cost(resize(pictures[0], 1024, 1024))


if __name__ == "__main__":
    main()
