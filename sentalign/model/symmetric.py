"""Kernels that are their own upside-down images, for as long as they are trained.

In: a new convolutional backbone. Out: the same one, whose convolutions treat above and below alike. Parameters keep
their names and shapes.

No loss ties a region to the centre of what it sees. Mirrored images tie it left and right; up and down, kernels learn
to look below their centre, and every map lies too high (docs/localization.md). With such kernels, and without the
coordinate y among the input's channels, the regions of an upside-down picture are those of the picture, upside down.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sentalign.model.pretrained import WeightsError


class VerticallySymmetricConv2d(nn.Conv2d):
    """A convolution by the mean of its kernel and of that upside down: either has half of the gradient."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, (self.weight + self.weight.flip(-2)) / 2, self.bias)


def replace(backbone: Any) -> Any:
    """Replaces the overlapping convolutions in place, at the same mean square. Raises WeightsError if it has none."""
    layers = [layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d) and overlaps(layer)]
    if not layers:
        raise WeightsError(
            f"model.image.vertical_symmetry is for convolutions, and a {backbone.config.model_type} has none that "
            "overlap; leave it out"
        )
    for layer in layers:
        layer.__class__ = VerticallySymmetricConv2d
        with torch.no_grad():
            mean = (layer.weight + layer.weight.flip(-2)) / 2
            layer.weight.copy_(mean * layer.weight.square().mean().sqrt() / mean.square().mean().sqrt())
    return backbone


def overlaps(layer: nn.Conv2d) -> bool:
    """Whether neighbouring outputs see the same pixels; those of patches do not."""
    return max(layer.kernel_size) > 1 and layer.stride < layer.kernel_size
