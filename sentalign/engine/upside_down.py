"""Training images upside down, their coordinates with them (docs/method.md, augmentation).

In: augmented grey images and the names of their samples. Out: the image tower's input, some rows of it turned. Words of
height stay as they are: the anatomy, and the coordinates where there are any, still say where up is.
"""

# B images, H side; C channels: grey, or grey, x and y

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sentalign.config import Config
from sentalign.model.image import with_coordinates
from sentalign.stream.order.plan import short_draws


def turned(images_B1HH: Tensor, keys: Sequence[str], epochs: Sequence[int], config: Config) -> Tensor:
    """The share `data.upside_down` of the images upside down, drawn by (seed, epoch, sample)."""
    share = config.data.upside_down
    if not share:
        return images_B1HH
    drawn = [short_draws(1, "upside down", config.seed, epoch, key)[0] for key, epoch in zip(keys, epochs, strict=True)]
    turned_B = torch.tensor([number < share * 2**64 for number in drawn], device=images_B1HH.device)
    images_BCHH = with_coordinates(images_B1HH) if config.model.image.coordinates else images_B1HH
    return torch.where(turned_B[:, None, None, None], images_BCHH.flip(2), images_BCHH)
