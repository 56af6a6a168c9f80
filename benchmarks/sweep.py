"""Does a sweep find its way out of poor settings? From tau .4 and weight_local .1, against the default's own training.

    PYTHONPATH=. python benchmarks/sweep.py OUT [--studies 2460 --seeds 2 3 4 5 --train KEY=VALUE] [trials=12 ...]

Phantoms, shards, the sweep of configs/sweep.yaml from the poor settings; then its best.yaml and phantom-cpu.yaml are
trained from fresh seeds and evaluated on the test split. It prints, for pointing and pixel AP of the seen kinds, both
medians and their difference, which is wanted to be no lower than -.02, and the wall time of the sweep, at most 40
minutes on two cores. What is there already in OUT is not done again. KEY=VALUE behind: settings of the sweep.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sentalign.study.figures import FIGURES

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
POOR = ["loss.tau=0.4", "loss.weight_local=0.1"]
SHOWN = ("pointing", "average_precision")
LARGEST_LOSS, LONGEST_MINUTES = 0.02, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--studies", type=int, default=2460)
    parser.add_argument("--test-studies", type=int, default=160)
    parser.add_argument("--validation-studies", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4, 5], help="not the sweep's own")
    parser.add_argument("--ranks", type=int, default=2, help="of the trainings after the sweep")
    parser.add_argument("--train", action="append", default=[], metavar="KEY=VALUE", help="setting of all trainings")
    args, words = parser.parse_known_args()
    out = args.out.resolve()
    phantoms, shards = data(out, args)
    own = [f"data.shards={shards}", f"validation.boxes={phantoms}", "track.uri=null", *args.train]
    minutes = sweep(out, [*own, *words])
    found = [figures(out, phantoms, "best", out / "sweep" / "best.yaml", s, own[3:], args.ranks) for s in args.seeds]
    default = CONFIGS / "phantom-cpu.yaml"
    usual = [figures(out, phantoms, "default", default, seed, own, args.ranks) for seed in args.seeds]
    report(minutes, found, usual)


def data(out: Path, args: argparse.Namespace) -> tuple[Path, Path]:
    """Phantoms and shards, made once."""
    phantoms, shards = out / "phantoms", out / "shards"
    splits = ["--test-studies", str(args.test_studies), "--validation-studies", str(args.validation_studies)]
    if not phantoms.is_dir():
        sentalign("phantom", str(phantoms), "--studies", str(args.studies), "--seed", "1", *splits)
    if not shards.is_dir():
        sentalign("shard", "build", "mimic-cxr", str(phantoms), "--out", str(shards), "--size", "129")
    return phantoms, shards


def sweep(out: Path, words: list[str]) -> float:
    """Minutes that the sweep took, of its last start where it was interrupted."""
    told = out / "sweep-minutes.json"
    if not told.is_file():
        started = time.monotonic()
        sentalign("tune", str(CONFIGS / "sweep.yaml"), f"out={out}/sweep", *POOR, *words)
        told.write_text(json.dumps((time.monotonic() - started) / 60))
    return float(json.loads(told.read_text()))


def figures(
    out: Path, phantoms: Path, name: str, config: Path, seed: int, words: list[str], ranks: int
) -> dict[str, float]:
    """Trains one configuration from one seed, evaluates it on the test split, and returns SHOWN."""
    folder = out / f"{name}-{seed}"
    if not (folder / "metrics.json").is_file():
        run = [f"run={folder}/run", f"seed={seed}", *words]
        sentalign("train", str(config), "--ranks", str(ranks), *run)
        withheld = ["--withheld", "cavity", "--withheld-phrases", str(phantoms / "phantom.json")]
        target = ["--data", str(phantoms), "--run", f"{folder}/run", "--out", str(folder)]
        sentalign("evaluate", "ms-cxr", *target, *withheld)
    metrics = json.loads((folder / "metrics.json").read_text())
    return {shown: float(FIGURES[shown].read(metrics) or 0.0) for shown in SHOWN}


def report(minutes: float, found: list[dict[str, float]], usual: list[dict[str, float]]) -> None:
    print(f"sweep: {minutes:.1f} min (at most {LONGEST_MINUTES})")
    for shown in SHOWN:
        medians = [statistics.median(one[shown] for one in rows) for rows in (found, usual)]
        singles = " | ".join(" ".join(f"{one[shown]:.3f}" for one in rows) for rows in (found, usual))
        verdict = "reached" if medians[0] >= medians[1] - LARGEST_LOSS else "not reached"
        print(
            f"{shown}: found {medians[0]:.3f}, default {medians[1]:.3f}, difference {medians[0] - medians[1]:+.3f}, "
            f"wanted >= -{LARGEST_LOSS}: {verdict} (by seed: {singles})"
        )


def sentalign(*words: str) -> None:
    """One command; its output goes to stderr, so that stdout has the figures alone."""
    subprocess.run([sys.executable, "-m", "sentalign", *words], stdout=sys.stderr, check=True, env=os.environ)


if __name__ == "__main__":
    main()
