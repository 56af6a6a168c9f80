"""Activation checkpointing: layers whose activations are recomputed in the backward pass instead of saved.

In: a model and the names of towers. Out: the same model; values and gradients are unchanged, dropout included.
Evaluation is unchanged, and so is the state of the random number generators after a step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from sentalign.model import norm
from sentalign.model.dual import DualEncoder
from sentalign.model.pretrained import WeightsError


def enable(model: DualEncoder, towers: str) -> None:
    """Checkpoints the layers of `towers`: none, text, image or both. Raises WeightsError for unknown backbones."""
    assert towers in ("none", "text", "image", "both")
    if towers in ("text", "both"):
        _recompute(model.text.bert)
    if towers in ("image", "both"):
        _recompute(model.image.backbone)


def _recompute(backbone: Any) -> None:
    layers = _layers(backbone)
    if not layers:
        raise WeightsError(f"train.recompute: no layers are known in a {backbone.config.model_type}; set it to none")
    for layer in layers:
        # The layer's forward and not its call, so that hooks (ZeRO 3, hidden states) run once.
        layer.forward = partial(_checkpointed, layer, layer.forward)


def _layers(backbone: nn.Module) -> list[nn.Module]:
    """The innermost layers that transformers marks for it; else the blocks in the stages of a ResNet or ConvNeXt."""
    marked = [m for m in backbone.modules() if isinstance(m, GradientCheckpointingLayer)]
    if marked:
        return [m for m in marked if sum(isinstance(inner, GradientCheckpointingLayer) for inner in m.modules()) == 1]
    stages: Any = getattr(getattr(backbone, "encoder", None), "stages", [])
    return [layer for stage in stages for layer in getattr(stage, "layers", [])]


def _checkpointed(layer: nn.Module, forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    if not (layer.training and torch.is_grad_enabled()):
        return forward(*inputs, **named)
    # The second pass over the same rows must not update batch norm's running statistics again.
    return checkpoint(
        forward,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), norm.frozen_running_stats(layer)),
        **named,
    )
