"""Which figure of a validation, needing no box, chooses the checkpoint whose maps point best?

    PYTHONPATH=. python benchmarks/checkpoint_choice.py RUN [RUN ...] --data PHANTOMS

Each RUN was trained with `train.keep_checkpoints=99`, so that it has a checkpoint of every validation; PHANTOMS is what
`sentalign phantom` wrote. For every figure: its rank correlation with pointing over the checkpoints of a run, and the
pointing of the checkpoint that it chooses. Maps are the plain ones, and pointing is that of all test cases.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from sentalign.evaluate.datasets import ms_cxr
from sentalign.evaluate.datasets.case import Case
from sentalign.evaluate.predict_cases import fit_target, read_picture
from sentalign.evaluate.scoring.protocols import hit
from sentalign.localize.maps import heatmap
from sentalign.localize.predict import Predictor
from sentalign.track import journal

# Name in the journal: the sign that makes larger better.
FIGURES = {"loss": -1, "recall": 1, "side_margin": 1, "side_preferred": 1, "attribution_length": -1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", required=True, type=Path)
    args = parser.parse_args()
    cases = [case for case in ms_cxr.read(args.data) if case.image is not None]
    for run in args.runs:
        report(run, validations(run), cases)


def report(run: Path, figures: dict[int, dict[str, float]], cases: Sequence[Case]) -> None:
    """Prints one line a checkpoint, then one line a figure."""
    by_pairs = {int(folder.name.split("-")[1]): folder for folder in sorted((run / "checkpoints").glob("pairs-*"))}
    kept = [pairs for pairs in by_pairs if pairs in figures]
    pointing = {pairs: points_right(run, by_pairs[pairs], cases) for pairs in kept}
    print(f"{run}\n   pairs " + " ".join(f"{name:>18}" for name in FIGURES) + "   pointing")
    for pairs in kept:
        values = " ".join(f"{figures[pairs].get(name, np.nan):18.3f}" for name in FIGURES)
        print(f"{pairs:8} {values}   {pointing[pairs]:8.3f}")
    print(f"the best checkpoint points at {max(pointing.values()):.3f}")
    for name, sign in FIGURES.items():
        known = [pairs for pairs in kept if name in figures[pairs]]
        chosen = max(known, key=lambda pairs: sign * figures[pairs][name])
        correlation = stats.spearmanr([sign * figures[p][name] for p in known], [pointing[p] for p in known])[0]
        print(
            f"{name:>18}: chooses {chosen}, which points at {pointing[chosen]:.3f}; rank correlation {correlation:.2f}"
        )


def validations(run: Path) -> dict[int, dict[str, float]]:
    """The figures of every validation, by the pairs trained so far."""
    found: dict[int, dict[str, float]] = {}
    for entry in journal.read(run):
        if entry["kind"] in ("validation", "attribution"):
            found.setdefault(entry["pairs"], {}).update({k: v for k, v in entry.items() if k in FIGURES})
    return found


def points_right(run: Path, checkpoint: Path, cases: Sequence[Case]) -> float:
    """The share of the cases whose plain map of this checkpoint has its peak in a box."""
    with tempfile.TemporaryDirectory() as place:
        for name, source in (("config.yaml", run), ("tokenizer", run), ("towers.json", run)):
            (Path(place) / name).symlink_to((source / name).resolve())
        (Path(place) / "model.safetensors").symlink_to((checkpoint / "model.safetensors").resolve())
        predictor = Predictor.load(Path(place), maps="plain")
    right = []
    for case in cases:
        picture = read_picture(case)
        fitted = picture and fit_target(case, picture)
        if not picture or not fitted:
            continue
        features = predictor.image(picture.grey_HW)
        (one,) = predictor.maps(features, [case.phrase])
        peak = heatmap.peak(one.grid_HW, picture.geometry.then(features.cells))
        right.append(hit(peak, fitted.target))
    return float(np.mean(right))


if __name__ == "__main__":
    main()
