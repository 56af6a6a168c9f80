"""The learned scalars of the loss: temperatures and biases.

In: the loss settings. Out: the raw parameters that the model holds, and the `LossConfig` of their values. A temperature
is learned by its logarithm, so that it stays positive; a bias as it is. A `tau_contrast` of null starts at tau.
"""

# N learned scalars

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from torch import Tensor

from sentalign.config import Loss
from sentalign.loss.reference import LossConfig


def initial_values(settings: Loss) -> dict[str, float]:
    """The raw value of each learned scalar at the start of a run."""
    start = settings.model_dump()
    start["tau_contrast"] = start["tau_contrast"] or start["tau"]
    return {n: start[n] if n.startswith("bias") else math.log(start[n]) for n in settings.learn}


def loss_config(settings: Loss, loss_scalars_N: Tensor) -> LossConfig:
    """The settings with the learned scalars in place; `loss_scalars_N` are raw, in the order of `settings.learn`."""
    values: dict[str, Any] = {field.name: getattr(settings, field.name) for field in fields(LossConfig)}
    for name, raw in zip(settings.learn, loss_scalars_N.split(1) if settings.learn else (), strict=True):
        values[name] = raw if name.startswith("bias") else raw.exp()
    return LossConfig(**values)
