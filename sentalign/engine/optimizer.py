"""The torch optimizer of a run, and at ZeRO stage 0 what DeepSpeed's ZeRO optimizers do around theirs.

In: a model and the optimizer's settings. Out: an optimizer whose step looks at the norm of all gradients before it
moves a weight, and tells `overflow`, `_global_grad_norm` and `loss_scale` by the names that DeepSpeed's engine asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sentalign.config import Optimizer


def make(model: nn.Module, said: Optimizer) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum, over the parameters that are trained."""
    groups = _groups(model, said)
    if said.kind == "sgd":
        return torch.optim.SGD(groups, lr=said.lr, momentum=said.momentum, weight_decay=said.weight_decay)
    return torch.optim.AdamW(groups, lr=said.lr, betas=said.betas, weight_decay=said.weight_decay)


def _groups(model: nn.Module, said: Optimizer) -> Iterable[Any]:
    trained = [p for p in model.parameters() if p.requires_grad]
    if said.decay_norms:
        return trained
    # Biases, norms and temperatures are what has one axis.
    plain = [p for p in trained if p.ndim <= 1]
    return [{"params": [p for p in trained if p.ndim > 1]}, {"params": plain, "weight_decay": 0.0}]


def guard(optimizer: Any, clipping: float) -> None:
    """For ZeRO stage 0: unscales, measures and clips before each step, and takes no step by a norm that is no number.

    DeepSpeed itself would take it, and say nothing of the norm. `clipping` is the largest norm, 0 no limit.
    """
    optimizer.overflow, optimizer._global_grad_norm, optimizer.loss_scale = False, None, 1.0

    def override_loss_scale(scale: float) -> None:
        optimizer.loss_scale = scale

    optimizer.override_loss_scale = override_loss_scale
    optimizer.register_step_pre_hook(lambda *_: _look(optimizer, clipping))


@torch.no_grad()
def _look(optimizer: Any, clipping: float) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    gradients: list[Tensor] = [p.grad for p in parameters]
    if optimizer.loss_scale != 1.0:
        torch._foreach_mul_(gradients, 1.0 / optimizer.loss_scale)
    norm = nn.utils.get_total_norm(gradients)
    optimizer._global_grad_norm = norm
    optimizer.overflow = not bool(torch.isfinite(norm))
    if optimizer.overflow:
        for parameter in parameters:
            parameter.grad = None  # what has no gradient is not moved, and its state neither
    elif clipping:
        nn.utils.clip_grads_with_norm_(parameters, clipping, norm)


class StageZeroScaler:
    """Stands where DeepSpeed keeps torch's gradient scaler at stage 0, which it would not count skipped steps of."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def scale(self, loss: Tensor) -> Tensor:
        return loss * self._optimizer.loss_scale

    def step(self, optimizer: Any) -> None:
        optimizer.step()

    def update(self) -> None:
        """The scale is set by `update.LossScale`."""
