"""Grey pictures → the network's input, with random changes that depend on the seed, the epoch and the sample.

In: uint8 pictures on any device. Out: float pictures in [-1, 1]. Nothing here mirrors a picture: left and right are
words of the reports, so `mirror` changes both before they are a batch.
"""

# B images, H side; 1 channel
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from sentalign.config import Augment
from sentalign.stream.order.plan import short_draws


def normalize(images_BHH: Tensor) -> Tensor:
    """uint8 (B, H, H) as float32 (B, 1, H, H): (x / 255 - 0.5) / 0.5 (docs/method.md)."""
    return images_BHH.unsqueeze(1).float().div_(127.5).sub_(1.0)


def augment(images_B1HH: Tensor, keys: Sequence[str], strengths: Augment, seed: int, epochs: Sequence[int]) -> Tensor:
    """Normalised images shifted, scaled, rotated about their centre and changed in contrast and brightness.

    Pixels from outside of the image are black. Each change is uniform within its strength: shift as a share of the
    side, scale 1 +- scale, angle in radians, contrast 1 +- contrast about mid-grey, brightness as a share of the grey
    range. With all strengths zero the images are returned unchanged.
    """
    uniform_B6 = _uniform(keys, seed, epochs)
    if strengths.shift or strengths.scale or strengths.rotate:
        images_B1HH = warp(images_B1HH, *_motion(uniform_B6, strengths))
    if strengths.contrast or strengths.brightness:
        change_B2 = torch.from_numpy(uniform_B6[:, 4:] * (strengths.contrast, strengths.brightness)).to(images_B1HH)
        contrast_B111, brightness_B111 = (change_B2[:, i, None, None, None] for i in range(2))
        # The range [-1, 1] is 2 wide, hence the factor of the brightness.
        images_B1HH = (images_B1HH * (1 + contrast_B111)).add_(2 * brightness_B111).clamp_(-1, 1)
    return images_B1HH


def is_upside_down(keys: Sequence[str], share: float, seed: int, epochs: Sequence[int]) -> list[bool]:
    """Which samples are among the `share` that is turned upside down in their epoch: of (seed, epoch, key) alone."""
    drawn = [short_draws(1, "upside down", seed, epoch, key)[0] for key, epoch in zip(keys, epochs, strict=True)]
    return [number < share * 2**64 for number in drawn]


def _uniform(keys: Sequence[str], seed: int, epochs: Sequence[int]) -> NDArray[np.float64]:
    """Six numbers in [-1, 1) for each sample: shift x, shift y, scale, angle, contrast, brightness."""
    drawn = [short_draws(6, "augment", seed, epoch, key) for key, epoch in zip(keys, epochs, strict=True)]
    raw_B6 = np.array(drawn, np.uint64)
    return (raw_B6 >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1


def _motion(uniform_B6: NDArray[np.float64], strengths: Augment) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scaled rotation (B, 2, 2) about the centre, and the shift (B, 2) in sides of the image; x comes before y."""
    factor_B = 1 + strengths.scale * uniform_B6[:, 2]
    angle_B = strengths.rotate * uniform_B6[:, 3]
    cos_B, sin_B = factor_B * np.cos(angle_B), factor_B * np.sin(angle_B)
    # (4, B) -> (B, 2, 2)
    linear_B22 = np.array([cos_B, -sin_B, sin_B, cos_B]).T.reshape(-1, 2, 2)
    return linear_B22, strengths.shift * uniform_B6[:, :2]


def warp(images_B1HH: Tensor, linear_B22: NDArray[np.float64], shift_B2: NDArray[np.float64]) -> Tensor:
    """The moved images. The grid is of the output's pixels, so it takes the inverse of the motion."""
    inverse_B22 = np.linalg.inv(linear_B22)
    # Grid coordinates are -1 .. 1 over the side, from edge to edge: half a side is their unit.
    inverse_B23 = np.concatenate([inverse_B22, -inverse_B22 @ (2 * shift_B2)[:, :, None]], axis=2)
    grid_BHH2 = affine_grid(torch.from_numpy(inverse_B23).to(images_B1HH), list(images_B1HH.shape), align_corners=False)
    # grid_sample pads with 0; black is -1.
    return grid_sample(images_B1HH + 1, grid_BHH2, align_corners=False).sub_(1)
