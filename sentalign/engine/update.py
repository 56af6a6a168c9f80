"""One change of the weights, or none: by the norm of all gradients, at every ZeRO stage alike.

In: the engine with gradients in it. Out: what the journal says of the step, equal on every rank. A step whose gradients
are no numbers never reaches the weights; whether it ends the run or is left out is `train.on_nonfinite`. Which tower,
rank and parameter it was is looked for only then, by doing the step's work again under hooks (`nonfinite`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sentalign.config import Config
from sentalign.engine import ema, nonfinite
from sentalign.engine.nonfinite import NotFiniteError

START, GROW_AFTER = 2.0**16, 2000  # as torch.amp.GradScaler


class LossScale:
    """What keeps float16 gradients from underflow: a factor, halved by a step that overflows, doubled after many clean.

    Its own, since torch_autocast of DeepSpeed 0.19.8 clips gradients before its scaler divides them, and at ZeRO 1 to 3
    never lowers the scale of a step that it skips.
    """

    def __init__(self) -> None:
        self.value, self.clean = START, 0

    def tell(self, engine: Any) -> None:
        """The engine multiplies losses by it and divides gradients, before it looks at their norm."""
        engine.optimizer.override_loss_scale(self.value)

    def after(self, engine: Any, overflow: bool) -> bool:
        """Adapts; whether the overflow may be the scale's doing."""
        may_be = overflow and self.value > 1.0
        self.clean = 0 if overflow else self.clean + 1
        if may_be:
            self.value /= 2
        elif self.clean == GROW_AFTER:
            self.value, self.clean = self.value * 2, 0
        self.tell(engine)
        return may_be


def take(engine: Any, config: Config, pairs: int, again: Callable[[], object], kept: list[Tensor]) -> dict[str, float]:
    """Steps. `again` repeats the step's forward and backward pass; `kept` is what `remember` gave before them.

    Returns grad_norm, and where they can occur loss_scale and the number of steps skipped. Raises NotFiniteError.
    """
    engine.step()
    overflow = bool(engine.optimizer.overflow)
    if overflow:
        put_back(engine.module, kept)
    scaled_too_far = engine.loss_scaling is not None and engine.loss_scaling.after(engine, overflow)
    if not overflow:
        ema.update(engine, config.data.batch)
        return {"grad_norm": float(engine.get_global_grad_norm())} | _account(engine, config)
    if config.train.on_nonfinite == "stop" and not scaled_too_far:
        raise NotFiniteError(f"the gradient of the step {_at(config, pairs)} {nonfinite.bad_gradient(engine, again)}")
    return _account(engine, config)


def bad_loss(
    engine: Any, config: Config, pairs: int, value: float, forward: Callable[[], object], kept: list[Tensor]
) -> dict[str, float]:
    """Leaves a step out whose loss is no number, before its backward pass; or raises NotFiniteError."""
    put_back(engine.module, kept)
    if config.train.on_nonfinite == "stop":
        where = nonfinite.bad_features(engine, forward)
        raise NotFiniteError(f"loss is {value} in the step {_at(config, pairs)}: {where}")
    engine.skipped_steps += 1
    return _account(engine, config)


def _at(config: Config, pairs: int) -> str:
    advice = "lower optimizer.lr or data.augment, or set train.on_nonfinite=skip"
    return f"number {pairs // config.data.batch + 1}, after {pairs} pairs ({advice})"


def _account(engine: Any, config: Config) -> dict[str, float]:
    said: dict[str, float] = {}
    if engine.loss_scaling is not None:
        said["loss_scale"] = engine.loss_scaling.value
    if engine.loss_scaling is not None or config.train.on_nonfinite == "skip":
        said["skipped"] = engine.skipped_steps
    return said


def remember(module: nn.Module, config: Config) -> list[Tensor]:
    """The buffers before a step that may be left out: a picture that is no number spoils running statistics too."""
    return [b.clone() for b in module.buffers()] if config.train.on_nonfinite == "skip" else []


@torch.no_grad()
def put_back(module: nn.Module, kept: list[Tensor]) -> None:
    """The buffers as they were."""
    for buffer, value in zip(module.buffers(), kept, strict=False):
        buffer.copy_(value)


def is_finite(values: dict[str, float]) -> bool:
    """Whether the loss is a number."""
    return math.isfinite(values["loss"])
