"""What of a run's state DeepSpeed's checkpoint does not hold: the averaged weights and the loss scale.

In: the engine and a checkpoint's folder. Out: one file in it, the same for any number of ranks and ZeRO stage.
`write` writes it; there is none where neither is on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

FILE, AVERAGE, SCALE = "extra.safetensors", "average.", "loss_scale"


def load(folder: Path, engine: Any) -> None:
    """Called by all ranks, each of which reads the file."""
    average, scale = _of(engine)
    if average is None and scale is None:
        return
    found = load_file(folder / FILE)
    if average is not None:
        average.load({name.removeprefix(AVERAGE): value for name, value in found.items()})
    if scale is not None:
        scale.value, scale.clean = found[SCALE][0].item(), int(found[SCALE][1])
        scale.tell(engine)


def state(engine: Any) -> dict[str, Tensor]:
    """By name, in full on rank 0, elsewhere without the average. On all ranks together."""
    average, scale = _of(engine)
    made = {AVERAGE + name: value for name, value in average.state().items()} if average is not None else {}
    if scale is not None:
        made[SCALE] = torch.tensor([scale.value, scale.clean], dtype=torch.float64)
    return made


def _of(engine: Any) -> tuple[Any, Any]:
    return getattr(engine, "average", None), getattr(engine, "loss_scaling", None)
