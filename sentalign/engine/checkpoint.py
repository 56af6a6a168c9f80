"""Checkpoints: what a run needs to go on after it was killed, written so that half of one is never taken for whole.

In: the engine and where the stream stands. Out: checkpoints/pairs-000012800/ with DeepSpeed's files and state.json.
A checkpoint is written beside its place and renamed; only a folder with its final name counts.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import deepspeed
from torch import Tensor

from sentalign import dist
from sentalign.engine import extra
from sharding.contract import UserError

FOLDER, TAG, STATE = "checkpoints", "engine", "state.json"


@dataclass(frozen=True)
class Progress:
    """Where a run stands: pairs seen, the stream's state, and the best validation so far."""

    pairs: int
    stream: dict[str, Any]
    best: float | None = None
    best_pairs: int = 0
    validated: int = -1  # pairs at the last validation


def save(run: Path, engine: Any, progress: Progress, keep: int) -> Path:
    """Writes a checkpoint from all ranks, then removes all but the newest `keep`."""
    final = run / FOLDER / f"pairs-{progress.pairs:012d}"
    part = final.with_name(final.name + ".part")
    if dist.rank() == 0:
        shutil.rmtree(part, ignore_errors=True)
    dist.barrier()
    engine.save_checkpoint(str(part), tag=TAG, save_latest=False)
    extra.save(part, engine)
    dist.barrier()
    if dist.rank() == 0:
        said = asdict(progress) | {"ranks": dist.ranks()}
        (part / STATE).write_text(json.dumps(said, indent=1), encoding="utf-8")
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
        for old in complete(run)[:-keep]:
            shutil.rmtree(old)
    dist.barrier()
    return final


def complete(run: Path) -> list[Path]:
    """The run's whole checkpoints, oldest first."""
    return sorted(p for p in (run / FOLDER).glob("pairs-*") if p.suffix != ".part" and (p / STATE).is_file())


def restore(run: Path, engine: Any) -> Progress | None:
    """Loads the newest checkpoint into the engine; None where the run has none. Raises UserError."""
    found = complete(run)
    if not found:
        return None
    said = json.loads((found[-1] / STATE).read_text(encoding="utf-8"))
    ranks = said.pop("ranks")
    if ranks != dist.ranks():
        raise UserError(f"{run} was trained by {ranks} ranks, this is {dist.ranks()}; start it with {ranks} ranks")
    engine.load_checkpoint(str(found[-1]), tag=TAG)
    extra.load(found[-1], engine)
    return Progress(**said)


def whole_state(engine: Any) -> dict[str, Tensor]:
    """Parameters and buffers in full on rank 0 (under ZeRO 3 each rank holds a part); elsewhere an empty dict."""
    module = engine.module
    with deepspeed.zero.GatheredParameters(list(module.parameters()), enabled=engine.zero_optimization_stage() == 3):
        if dist.rank() != 0:
            return {}
        return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
