"""One change of the weights, or none: decided by the norm of all gradients, the same way at every ZeRO stage.

In: the engine with gradients in it. Out: what the journal keeps of the step, equal on every rank. A step whose loss or
gradient is NaN or inf never reaches the weights; `train.on_nonfinite` says whether it ends the run or is skipped. Which
tower, rank and parameter it was is searched only then, by repeating the step under hooks (`nonfinite`).
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


def apply_gradients(
    engine: Any, config: Config, pairs: int, repeat_step: Callable[[], object], buffers: list[Tensor]
) -> dict[str, float]:
    """Steps the optimizer. `repeat_step` repeats forward and backward pass; `buffers` were copied before them.

    Returns grad_norm, and with on_nonfinite=skip the number of steps skipped. Raises NotFiniteError.
    """
    engine.step()
    if not engine.optimizer.overflow:
        ema.update(engine, config.data.batch)
        return {"grad_norm": float(engine.get_global_grad_norm())} | _skipped(engine, config)
    restore_buffers(engine.module, buffers)
    if config.train.on_nonfinite == "stop":
        where = nonfinite.bad_gradient(engine, repeat_step)
        raise NotFiniteError(f"the gradient is NaN or inf in {_step(config, pairs)}: {where}")
    return _skipped(engine, config)


def reject_loss(
    engine: Any, config: Config, pairs: int, loss: float, forward: Callable[[], object], buffers: list[Tensor]
) -> dict[str, float]:
    """Skips a step whose loss is NaN or inf, before its backward pass; or raises NotFiniteError."""
    restore_buffers(engine.module, buffers)
    if config.train.on_nonfinite == "stop":
        where = nonfinite.bad_features(engine, forward)
        raise NotFiniteError(f"the loss is {loss} in {_step(config, pairs)}: {where}")
    engine.skipped_steps += 1
    return _skipped(engine, config)


def _step(config: Config, pairs: int) -> str:
    advice = "lower optimizer.lr or data.augment, or set train.on_nonfinite=skip"
    return f"step {pairs // config.data.batch + 1}, after {pairs} pairs ({advice})"


def _skipped(engine: Any, config: Config) -> dict[str, float]:
    return {"skipped": engine.skipped_steps} if config.train.on_nonfinite == "skip" else {}


def copy_buffers(module: nn.Module, config: Config) -> list[Tensor]:
    """The buffers before a step that may be skipped: an image with NaN or inf spoils running statistics too."""
    return [b.clone() for b in module.buffers()] if config.train.on_nonfinite == "skip" else []


@torch.no_grad()
def restore_buffers(module: nn.Module, copies: list[Tensor]) -> None:
    """Sets the buffers back to their copies."""
    for buffer, value in zip(module.buffers(), copies, strict=False):
        buffer.copy_(value)


def is_finite(terms: dict[str, float]) -> bool:
    """Whether the loss is neither NaN nor inf."""
    return math.isfinite(terms["loss"])
