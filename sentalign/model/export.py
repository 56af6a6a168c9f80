"""A trained model as a folder of its own: what localize and evaluate need, nothing of the training data.

In: a run folder. Out: a folder with weights, towers.json, tokenizer and config.yaml, of the same layout, so that
`--run` accepts it too.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sentalign.model import dual
from sentalign.model.pretrained import WeightsError

FILES = (dual.WEIGHTS, dual.TOWERS, "config.yaml", "tokenizer/vocab.txt", "tokenizer/tokenizer_config.json")


def check(run: Path) -> None:
    """Raises WeightsError where a file of a trained model is missing."""
    missing = [name for name in FILES if not (run / name).is_file()]
    if missing:
        raise WeightsError(f"{run} has no {missing[0]}; give the folder of a run that has validated at least once")


def export(run: Path, out: Path) -> str:
    """Copies the model and loads it once to check that it is complete. Raises WeightsError; returns a line to print."""
    check(run)
    if out.exists():
        raise WeightsError(f"{out} exists; give a new folder")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for name in FILES:
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / name, part / name)
    count = sum(p.numel() for p in dual.load(part).parameters())
    part.rename(out)
    return f"{out}: {count:,} parameters, {(out / dual.WEIGHTS).stat().st_size:,} bytes"
