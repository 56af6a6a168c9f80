"""Norm layers of a convolutional backbone: batch norm, or norms that do not depend on how a batch is split.

In: a backbone with `BatchNorm2d` layers and the name of a kind. Out: the same backbone with those layers replaced,
their pretrained values kept. Backbones with other norms (ConvNeXt, ViT) are left alone.
"""

# B images, C channels, H W rows and columns of a map

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sentalign import dist
from sentalign.model.pretrained import WeightsError

KINDS = ("batch", "frozen", "sync", "group")


class FrozenBatchNorm(nn.BatchNorm2d):
    """Batch norm by its loaded running statistics, in training too; scale and shift are trained."""

    def train(self, mode: bool = True) -> FrozenBatchNorm:
        return super().train(False)


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm by the rows of all ranks, on any backend (torch's own needs GPUs). All ranks pass equal shapes."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            normal_BCHW, mean_C, var_C = _Normalize.apply(input.float(), self.eps)
            self._track(mean_C, var_C, dist.ranks() * input.numel() // input.shape[1])
            scaled_BCHW = normal_BCHW * self.weight[:, None, None] + self.bias[:, None, None]
        return scaled_BCHW.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean_C: Tensor, var_C: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(var_C * count / max(1, count - 1), self.momentum)  # as torch: unbiased


class _Normalize(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) over B, H, W of all ranks; arXiv 1502.03167, its gradient summed over all ranks."""

    @staticmethod
    def forward(context: Any, x_BCHW: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        mean_C = x_BCHW.mean(dim=(0, 2, 3))
        dist.mean_in_place([mean_C])
        centred_BCHW = x_BCHW - mean_C[:, None, None]
        var_C = centred_BCHW.square().mean(dim=(0, 2, 3))  # a second message: E[x²] - E[x]² would cancel
        dist.mean_in_place([var_C])
        inverse_C = (var_C + eps).rsqrt()
        normal_BCHW = centred_BCHW.mul_(inverse_C[:, None, None])
        context.save_for_backward(normal_BCHW, inverse_C)
        context.mark_non_differentiable(mean_C, var_C)
        return normal_BCHW, mean_C, var_C

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        normal_BCHW, inverse_C = context.saved_tensors
        grad_BCHW = gradients[0]
        mean_C = grad_BCHW.mean(dim=(0, 2, 3))
        along_C = (grad_BCHW * normal_BCHW).mean(dim=(0, 2, 3))
        dist.mean_in_place([mean_C, along_C])
        centred_BCHW = grad_BCHW - mean_C[:, None, None] - normal_BCHW * along_C[:, None, None]
        return centred_BCHW * inverse_C[:, None, None], None


def replace(backbone: Any, kind: str) -> Any:
    """Replaces the backbone's batch norms in place. Raises WeightsError if it has none."""
    assert kind in KINDS
    if kind == "batch":
        return backbone
    layers = [
        (parent, name, layer)
        for parent in backbone.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    if not layers:
        raise WeightsError(
            f"model.image.norm={kind} replaces batch norm, and a {backbone.config.model_type} has none; set it to batch"
        )
    for parent, name, layer in layers:
        setattr(parent, name, _replaced(layer, kind))
    return backbone


def _replaced(layer: nn.BatchNorm2d, kind: str) -> nn.Module:
    channels = layer.num_features
    if kind == "group":
        # Groups of equal size, 32 where the channels allow it (arXiv 1803.08494).
        norm: nn.Module = nn.GroupNorm(math.gcd(32, channels), channels, layer.eps)
    else:
        norm = (FrozenBatchNorm if kind == "frozen" else SyncBatchNorm)(channels, layer.eps, layer.momentum)
    norm.load_state_dict(layer.state_dict(), strict=kind != "group")
    return norm.train(layer.training)


def unsynced_buffers(model: nn.Module) -> list[Tensor]:
    """The buffers that may differ between ranks after a step: not those of frozen and synchronised norms."""
    synced = {id(b) for m in model.modules() if isinstance(m, FrozenBatchNorm | SyncBatchNorm) for b in m.buffers()}
    return [b for b in model.buffers() if b.is_floating_point() and id(b) not in synced]


@contextmanager
def frozen_running_stats(model: nn.Module) -> Iterator[None]:
    """Inside this context running statistics do not change: for a second forward pass over the same rows."""
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    # Not track_running_stats = False: recomputation must save the same tensors as the first pass.
    before = [(m.momentum, m.num_batches_tracked.clone()) for m in layers if m.num_batches_tracked is not None]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, before, strict=True):
            layer.momentum = momentum
            layer.num_batches_tracked = count
