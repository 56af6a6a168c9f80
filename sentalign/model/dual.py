"""Both towers as one module, and its files in a run folder.

In: a batch. Out: `Features`. The run folder keeps model.safetensors beside the two backbone configurations, so that a
trained model loads without a hub, deepspeed or the training data. The losses are elsewhere.
"""

# B images or reports, H W grid, R = H·W regions, K units with padding, M packed units, D width, N loss scalars

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sentalign.model import image, text
from sentalign.model.pretrained import WeightsError
from sentalign.model.text import TextBucket

WEIGHTS, TOWERS = "model.safetensors", "towers.json"


class Features(NamedTuple):
    """The input of the losses, None for a tower that did not run; region r = row · columns + column."""

    regions_BRD: Any = None
    image_BD: Any = None
    units_MD: Any = None  # packed, report by report; the first of each report is [CLS]
    report_BD: Any = None
    loss_scalars_N: Any = None  # in the order of DualEncoder.learned, with the images

    def float(self) -> Features:
        """In float32, whatever the towers' precision."""
        return Features(*(None if part is None else part.float() for part in self))


class DualEncoder(nn.Module):
    """The image and the text tower, and the temperatures and biases that a loss learns beside them."""

    def __init__(
        self, image_tower: image.ImageTower, text_tower: text.TextTower, learned: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.image, self.text = image_tower, text_tower
        self.learned = list(learned or {})
        # One vector: DeepSpeed cannot partition tensors without dimensions.
        self.loss_scalars = nn.Parameter(torch.tensor(list(learned.values()))) if learned else None

    def forward(self, images_B1HW: Tensor | None, buckets: Sequence[TextBucket] = ()) -> Features:
        """Features of images, of the texts of some buckets (zero for the other rows of the batch), or of both."""
        features = Features()
        if images_B1HW is not None:
            regions_BHWD, image_BD = self.image(images_B1HW)
            # A copy: DeepSpeed releases the parameter itself again.
            scalars_N = torch.zeros(0) if self.loss_scalars is None else self.loss_scalars.clone()
            features = Features(regions_BHWD.flatten(1, 2), image_BD, loss_scalars_N=scalars_N)
        if buckets:
            units_MD, report_BD = (sum(parts) for parts in zip(*map(self.text, buckets), strict=True))
            features = features._replace(units_MD=units_MD, report_BD=report_BD)
        return features

    def encode_images(self, images_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """Regions as a map (B, H, W, D) and global vectors (B, D), without gradient."""
        with torch.inference_mode():
            regions_BHWD, image_BD = self.image(images_B1HW)
            return regions_BHWD, image_BD

    def encode_texts(
        self, tokens_BT: Tensor, attention_BT: Tensor, unit_id_BT: Tensor, word_counts_BK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Units (B, K, D), zero where they are absent, and report vectors (B, D), without gradient."""
        present_BK = word_counts_BK > 0
        with torch.inference_mode():
            (bucket,) = text.buckets(tokens_BT, attention_BT, unit_id_BT, word_counts_BK, present_BK)
            units_MD, report_BD = self.text(bucket)
            units_BKD = units_MD.new_zeros(*present_BK.shape, units_MD.shape[1])
            units_BKD[present_BK] = units_MD
        return units_BKD, report_BD

    def describe(self) -> dict[str, object]:
        """What `load` needs beside the weights, as plain JSON."""
        return {
            "image": self.image.backbone.config.to_dict(),
            "text": self.text.bert.config.to_dict(),
            "region_stage": self.image.region_stage,
            "global_stage": self.image.global_stage,
            "width": self.image.to_global.out_features,
            "coordinates": self.image.coordinates,
            "norm": self.image.norms,
            "fused_stages": self.image.fused_stages,
            "last_layers": self.text.last_layers,
            "loss_scalars": self.learned,
        }


def save(folder: Path, described: dict[str, object], state: dict[str, Tensor]) -> None:
    """Writes towers.json and model.safetensors; each by rename, so that no reader sees half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{TOWERS}.part").write_text(json.dumps(described, indent=1), encoding="utf-8")
    save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, folder / f"{WEIGHTS}.part")
    for name in (TOWERS, WEIGHTS):
        (folder / f"{name}.part").replace(folder / name)


def load(folder: Path, device: str = "cpu") -> DualEncoder:
    """The model of a run or export folder, in evaluation mode. Raises WeightsError where it is absent or damaged."""
    if not (folder / WEIGHTS).is_file() or not (folder / TOWERS).is_file():
        raise WeightsError(f"no trained model in {folder}; give the folder of a run that has written {WEIGHTS}")
    try:
        model = _stored(folder)
    except WeightsError:
        raise
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{WEIGHTS} or {TOWERS} in {folder} is damaged ({reason}); copy the folder again") from None
    return model.eval().to(device)


def _stored(folder: Path) -> DualEncoder:
    towers = json.loads((folder / TOWERS).read_text(encoding="utf-8"))
    backbones = {
        tower: transformers.AutoConfig.for_model(towers[tower].pop("model_type"), **towers[tower])
        for tower in ("image", "text")
    }
    towers = {"norm": "batch", "fused_stages": []} | towers  # absent in folders of old runs
    names = ("region_stage", "global_stage", "width", "coordinates", "norm", "fused_stages")
    model = DualEncoder(
        image.from_config(backbones["image"], *(towers[name] for name in names)),
        text.from_config(backbones["text"], towers["last_layers"]),
        dict.fromkeys(towers.get("loss_scalars", []), 0.0),
    )
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model
