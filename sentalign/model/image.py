"""The image tower: region vectors and one global vector of an image.

In: float images of [-1, 1]. Out: regions of one or several backbone stages and the pooled vector of another, in the
common width
(docs/method.md: paper mode, image side). Any transformers vision backbone works; a ResNet has stages, a ViT layers.
"""

# B images, C channels, H W rows and columns (of the image, then of the stage), R = H·W regions, D common width

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PretrainedConfig

from sentalign.model import norm, resample
from sentalign.model.pretrained import WeightsError, backbone_config, fetch, load
from sentalign.model.receptive_field import RegionGrid, region_grid, stage_grids


class ImageTower(nn.Module):
    """Backbone, 1x1 convolution without bias to the regions, average pool and linear to the global vector."""

    def __init__(
        self,
        backbone: Any,
        region_stage: str,
        global_stage: str,
        width: int,
        coordinates: bool = False,
        norms: str = "batch",
        fused_stages: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if coordinates and backbone.config.num_channels != 3:
            raise WeightsError("model.image.coordinates needs a backbone of num_channels: 3 (grey, x, y)")
        self.backbone: Any = norm.replace(backbone, norms)
        self.region_stage, self.global_stage = region_stage, global_stage
        self.coordinates, self.norms, self.fused_stages = coordinates, norms, list(fused_stages)
        channels = dict(zip(backbone.out_features, backbone.channels, strict=True))
        self.to_regions = nn.Conv2d(channels[region_stage], width, kernel_size=1, bias=False)
        self.to_global = nn.Linear(channels[global_stage], width)
        # Their sum is one 1x1 convolution of all maps, of the same parameters.
        self.fused_to_regions = nn.ModuleList(nn.Conv2d(channels[s], width, 1, bias=False) for s in self.fused_stages)
        self._weights: dict[tuple[int, torch.device, torch.dtype], list[Tensor]] = {}

    def forward(self, images_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """Regions as a map (B, H, W, D) and global vectors (B, D); of grey images, or of `with_coordinates`."""
        axes: list[list[Tensor]] = [[], []]
        if self.fused_stages:
            axes = [self._axis_weights(side, images_B1HW) for side in images_B1HW.shape[2:]]
        images_BCHW = self._channels(images_B1HW)
        # Convolutions keep the layout of their input; this one is up to 1.3 times as fast on CPU.
        images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
        maps = dict(zip(self.backbone.out_features, self.backbone(images_BCHW).feature_maps, strict=True))
        regions_BDHW = self.to_regions(maps[self.region_stage])
        for stage, to_regions, rows, columns in zip(self.fused_stages, self.fused_to_regions, *axes, strict=True):
            regions_BDHW = regions_BDHW + to_regions(resample.resample(maps[stage], rows, columns))
        return regions_BDHW.permute(0, 2, 3, 1), self.to_global(maps[self.global_stage].mean(dim=(2, 3)))

    def region_grid(self, size: int) -> RegionGrid:
        """Where the regions of a (size, size) input lie on its pixels."""
        return region_grid(self.backbone, self.region_stage, size)

    # A compiler must not follow the probe of the backbone; before all layers, it does not split their graph.
    @torch.compiler.disable
    def _axis_weights(self, side: int, like: Tensor) -> list[Tensor]:
        """The weights that bring rows or columns of each fused stage to the region grid, of an input of that side."""
        key = (side, like.device, like.dtype)
        if key not in self._weights:
            with torch.inference_mode(mode=False):  # they are kept for training too
                grids = stage_grids(self.backbone, side)
                pairs = [(*grids[self.region_stage], *grids[stage]) for stage in self.fused_stages]
                self._weights[key] = [resample.weights(*pair).to(like) for pair in pairs]
        return self._weights[key]

    def _channels(self, images_B1HW: Tensor) -> Tensor:
        """Grey repeated for every channel of the backbone; or grey, x and y, unless the images have these already."""
        if not self.coordinates:
            return images_B1HW.expand(-1, self.backbone.config.num_channels, -1, -1)
        return images_B1HW if images_B1HW.shape[1] > 1 else with_coordinates(images_B1HW)


def with_coordinates(images_B1HW: Tensor) -> Tensor:
    """Grey, x and y, each in [-1, 1]: (B, 3, H, W).

    A small receptive field keeps a map on its lesion, but cannot tell left from right: coordinates can (CoordConv,
    arXiv 1807.03247).
    """
    y_H, x_W = (torch.linspace(-1, 1, n).to(images_B1HW) for n in images_B1HW.shape[2:])
    return torch.cat([images_B1HW, x_W.expand_as(images_B1HW), y_H[:, None].expand_as(images_B1HW)], dim=1)


def build(
    weights: str | None,
    settings: dict[str, Any],
    region_stage: str,
    global_stage: str,
    width: int,
    coordinates: bool = False,
    norms: str = "batch",
    fused_stages: Sequence[str] = (),
) -> ImageTower:
    """The tower with pretrained (`weights`) or random backbone. Raises WeightsError."""
    if weights is not None:
        config = fetch(lambda: transformers.AutoConfig.from_pretrained(weights), weights, "model.image.weights")
    else:
        config = backbone_config(settings, "resnet")
    stages = _stages(config, region_stage, global_stage, *fused_stages)
    backbone_class = _backbone_class(config)
    if weights is None:
        config.set_output_features_output_indices(out_features=stages, out_indices=None)
        backbone = _symmetric(backbone_class(config))
    else:
        # Not through AutoBackbone, which takes a local folder for a hub name.
        backbone = load(backbone_class, weights, "model.image.weights", out_features=stages)
    return ImageTower(backbone, region_stage, global_stage, width, coordinates, norms, fused_stages)


@torch.no_grad()
def _symmetric(backbone: Any) -> Any:
    """Makes every kernel of a new backbone point-symmetric, at the same variance.

    No loss ties a region to the centre of its receptive field: from asymmetric kernels, training drifts to maps that
    are displaced by up to a cell, differently in each run. Symmetric kernels start at the centre.
    """
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1 and module.stride < module.kernel_size:
            module.weight.copy_((module.weight + module.weight.flip(-1, -2)) / 2**0.5)
    return backbone


def from_config(
    config: PretrainedConfig,
    region_stage: str,
    global_stage: str,
    width: int,
    coordinates: bool,
    norms: str,
    fused_stages: Sequence[str],
) -> ImageTower:
    """The tower without weights, from the backbone configuration that a run folder keeps."""
    backbone = _backbone_class(config)(config)
    return ImageTower(backbone, region_stage, global_stage, width, coordinates, norms, fused_stages)


def _stages(config: PretrainedConfig, *stages: str) -> list[str]:
    names = list(getattr(config, "stage_names", []) or [])
    unknown = [stage for stage in stages if stage not in names]
    if unknown:
        raise WeightsError(
            f"model.image: a {config.model_type} has no {unknown[0]}; it has {', '.join(names) or 'none'}"
        )
    return sorted(set(stages), key=names.index)


def _backbone_class(config: PretrainedConfig) -> type[Any]:
    mapping: Any = transformers.AutoBackbone._model_mapping
    if type(config) not in mapping:
        raise WeightsError(f"model.image: {config.model_type} is not a vision backbone of transformers")
    backbone_class: type[Any] = mapping[type(config)]
    return backbone_class
