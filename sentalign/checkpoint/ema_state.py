"""The averaged weights in a checkpoint, which DeepSpeed's own files do not hold.

In: the engine and a checkpoint's folder. Out: one file in it, the same for any number of ranks and ZeRO stage.
`write` writes it; there is none where `train.ema_pairs` is 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

FILE, AVERAGE = "extra.safetensors", "average."


def load(folder: Path, engine: Any) -> None:
    """Called by all ranks, each of which reads the file."""
    if (average := getattr(engine, "average", None)) is not None:
        tensors = load_file(folder / FILE)
        average.load({name.removeprefix(AVERAGE): value for name, value in tensors.items()})


def state(engine: Any) -> dict[str, Tensor]:
    """By name, in full on rank 0, elsewhere empty. On all ranks together."""
    average = getattr(engine, "average", None)
    return {} if average is None else {AVERAGE + name: value for name, value in average.state().items()}
