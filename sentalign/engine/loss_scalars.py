"""The numbers of the loss that are learned: temperatures and biases.

In: the loss settings. Out: the raw parameters that the model holds, and the `LossConfig` that are made of them. A
temperature is learned by its logarithm, so that it stays above zero; a bias as it is.
"""

# N learned numbers

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor

from sentalign.config import Loss
from sentalign.loss.reference import LossConfig

FIXED = ("t1", "t2", "t3", "tau", "bias_global", "bias_local")


def start(settings: Loss) -> dict[str, float]:
    """The raw value of each learned number at the start of a run."""
    return {n: getattr(settings, n) if n.startswith("bias") else math.log(getattr(settings, n)) for n in settings.learn}


def terms(settings: Loss, loss_scalars_N: Tensor) -> LossConfig:
    """What the loss is told; `loss_scalars_N` are the raw values in the order of `settings.learn`."""
    values: dict[str, Any] = {name: getattr(settings, name) for name in FIXED}
    for place, name in enumerate(settings.learn):
        raw = loss_scalars_N[place : place + 1]
        values[name] = raw if name.startswith("bias") else raw.exp()
    kind = (settings.attention, settings.aggregate, settings.objective, settings.targets, settings.sentence_twins)
    return replace(LossConfig(*kind), **values)
