"""The newest sound checkpoint → the engine, by any number of ranks.

In: a run folder. Out: `Progress`, and the engine as it was. All ranks agree on the checkpoint: each reads a share of
the files, and one bad file is enough to pass over to the checkpoint before. Nothing is unpickled before its sum has
been found right. ZeRO's stages 1 to 3 under another number of ranks take the way of reshard.py.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import deepspeed
import torch
from safetensors.torch import load_file

from sentalign import dist
from sentalign.checkpoint import ema_state, index, reshard, write
from sentalign.checkpoint.write import STATE, TAG, Progress
from sentalign.model import dual
from sharding.contract import UserError

log = logging.getLogger(__name__)


def restore(run: Path, engine: Any) -> Progress | None:
    """Loads the newest sound checkpoint into the engine; None where the run has none at all. Raises UserError."""
    found = newest_sound(run)
    if found is None:
        return None
    folder, said = found
    ranks, stage = said.pop("ranks"), said.pop("zero_stage")
    if stage != engine.zero_optimization_stage():
        raise UserError(f"{folder} is of train.zero_stage={stage}; set it back, or set another run=")
    if stage and ranks != dist.ranks():
        reshard.load(folder, engine, ranks)
    else:
        path, _ = engine.load_checkpoint(str(folder), tag=TAG)
        assert path, f"DeepSpeed loaded nothing from {folder}"
    load_rest(folder, engine)
    ema_state.load(folder, engine)
    return Progress(**said)


def newest_sound(run: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint whose files are as its index says, and its state.json; the same on all ranks.

    Each one that is passed over is one line of warning. Raises UserError where there are some and none is sound.
    """
    folders = dist.broadcast_object(write.complete(run) if dist.rank() == 0 else [])
    complaints = []
    for folder in reversed(folders):
        complaint = _agreed_complaint(folder)
        state = _state(folder) if not complaint and dist.rank() == 0 else complaint
        state = dist.broadcast_object(state)
        if isinstance(state, dict):
            return folder, state
        complaints.append(f"{folder.name}: {state}")
        if dist.rank() == 0:
            log.warning("warning: checkpoint %s is passed over: %s", folder, state)
    if complaints:
        raise UserError(
            f"no checkpoint of {run} is sound ({complaints[0]}); put a copy back, or start anew with another run="
        )
    return None


def _agreed_complaint(folder: Path) -> str | None:
    """What the first rank that found something wrong says; the ranks share the files out, the largest first."""
    sums = dist.broadcast_object(index.read(folder) if dist.rank() == 0 else {})
    if isinstance(sums, str):
        return sums
    names = sorted(sums, key=lambda name: (-sums[name]["bytes"], name))[dist.rank() :: dist.ranks()]
    complaint = next((said for name in names if (said := index.complaint(folder, name, sums[name]))), None)
    bad = [rank for rank, (found,) in enumerate(dist.of_all_ranks([float(complaint is not None)])) if found]
    return dist.broadcast_object(complaint, bad[0]) if bad else None


def _state(folder: Path) -> dict[str, Any] | str:
    """state.json, or what is wrong with it."""
    try:
        said = json.loads((folder / STATE).read_text(encoding="utf-8"))
        Progress(**{name: value for name, value in said.items() if name not in ("ranks", "zero_stage")})
        return {"ranks": said["ranks"], "zero_stage": said["zero_stage"]} | said
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{STATE} cannot be read ({' '.join(str(error).split())})"


@torch.no_grad()
def load_rest(folder: Path, engine: Any) -> None:
    """Buffers (batch norm's statistics) and frozen parameters, which DeepSpeed's own loading may leave as they were."""
    module = engine.module
    frozen = {name: value for name, value in module.named_parameters() if not value.requires_grad}
    state = load_file(folder / dual.WEIGHTS)
    for name, value in module.named_buffers():
        if name in state:  # not the buffers that are never saved
            value.copy_(state[name])
    # Under ZeRO 3 the ranks hold parts; what rank 0 writes into the whole is shared out again.
    split = engine.zero_optimization_stage() == 3
    with deepspeed.zero.GatheredParameters(list(frozen.values()), modifier_rank=0, enabled=split and bool(frozen)):
        for name, value in frozen.items():
            if not split or dist.rank() == 0:
                value.copy_(state[name])
