"""The torch optimizer of a run, its learning rate, and the checks of DeepSpeed's ZeRO optimizers for ZeRO stage 0.

In: a model and the optimizer's settings. Out: an optimizer that checks the norm of all gradients before it changes a
weight, and sets `overflow` and `_global_grad_norm`, the names that DeepSpeed's engine reads. The learning rate is a
pure function of the image-report pairs seen, so that a resumed run has nothing to restore.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from sentalign.config import Optimizer


def make(model: nn.Module, config: Optimizer) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum, over the parameters that are trained."""
    groups = _groups(model, config)
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)


def _groups(model: nn.Module, config: Optimizer) -> Iterable[Any]:
    trained = [p for p in model.parameters() if p.requires_grad]
    if config.decay_norms:
        return trained
    # Biases, norms and temperatures are the parameters with one axis.
    plain = [p for p in trained if p.ndim <= 1]
    return [{"params": [p for p in trained if p.ndim > 1]}, {"params": plain, "weight_decay": 0.0}]


def lr(settings: Optimizer, pairs: int, epoch_pairs: int, total_pairs: int) -> float:
    """The learning rate of the step that starts after `pairs` pairs.

    Warm-up is linear. `exponential`: lr · decay^epoch, in steps (docs/method.md: x0.9 an epoch). `cosine`: lr to 0.
    """
    if pairs < settings.warmup_pairs:
        return settings.lr * (pairs + 1) / settings.warmup_pairs
    if settings.schedule == "exponential":
        return settings.lr * settings.decay ** (pairs // epoch_pairs)
    if settings.schedule == "cosine":
        share = (pairs - settings.warmup_pairs) / max(1, total_pairs - settings.warmup_pairs)
        return settings.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return settings.lr


def check_gradients(optimizer: Any, clipping: float) -> None:
    """For ZeRO stage 0: measures and clips before each step, and takes no step whose gradient norm is NaN or inf.

    DeepSpeed itself would take it, and does not report the norm. `clipping` is the largest norm, 0 no limit.
    """
    optimizer.overflow, optimizer._global_grad_norm = False, None
    optimizer.register_step_pre_hook(lambda *_: _measure_and_clip(optimizer, clipping))


@torch.no_grad()
def _measure_and_clip(optimizer: Any, clipping: float) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters])
    optimizer._global_grad_norm = norm
    optimizer.overflow = not bool(torch.isfinite(norm))
    if optimizer.overflow:
        for parameter in parameters:
            parameter.grad = None  # a parameter without gradient keeps its value and its optimizer state
    elif clipping:
        nn.utils.clip_grads_with_norm_(parameters, clipping, norm)
