"""Both towers as one module, and how it lies in a run folder.

In: a batch. Out: `Features`. The run folder keeps model.safetensors beside the two backbone configurations, so that a
trained model loads without a hub, deepspeed or the training data. The losses are elsewhere.
"""

# B images or reports, H W grid, R = H·W regions, K units, D width, N numbers

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sentalign.model import image, text
from sentalign.model.pretrained import WeightsError

WEIGHTS, TOWERS = "model.safetensors", "towers.json"


class Features(NamedTuple):
    """What the losses see; region r = row · columns + column."""

    regions_BRD: Tensor
    image_BD: Tensor
    units_BKD: Tensor
    units_BK: Tensor  # bool: unit is there; column 0 is [CLS]
    report_BD: Tensor
    loss_scalars_N: Tensor  # of the loss, in the order of Dual.learns


class DualEncoder(nn.Module):
    """The image and the text tower, and the numbers that a loss learns beside them."""

    def __init__(
        self, image_tower: image.ImageTower, text_tower: text.TextTower, numbers: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.image, self.text = image_tower, text_tower
        self.learns = list(numbers or {})
        # One vector: a tensor without dimensions is more than DeepSpeed can take.
        self.numbers = nn.Parameter(torch.tensor(list(numbers.values()))) if numbers else None

    def forward(self, images_B1HW: Tensor | None, *words: Any) -> tuple[Tensor, ...]:
        """`Features` as a plain tuple, which DeepSpeed's hooks can walk; those of images or texts alone, if not both.

        `words` are tokens_BT, attention_BT, sentence_id_BT, word_counts_BK and, for texts in length buckets, order_B
        and widths. The numbers come with the images.
        """
        if images_B1HW is None:
            return self.texts(*words)
        return *self.images(images_B1HW), *(self.texts(*words) if words else ()), self.learned()

    def images(self, images_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """Regions (B, R, D) and global vectors (B, D)."""
        regions_BDHW, image_BD = self.image(images_B1HW)
        return regions_BDHW.flatten(2).transpose(1, 2), image_BD

    def texts(
        self,
        tokens_BT: Tensor,
        attention_BT: Tensor,
        sentence_id_BT: Tensor,
        word_counts_BK: Tensor,
        order_B: Tensor | None = None,
        widths: Sequence[int] = (),
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Units (B, K, D), which of them are there, and report vectors (B, D)."""
        words = (tokens_BT, attention_BT, sentence_id_BT, word_counts_BK)
        if order_B is None or len(widths) < 2:
            units_BKD, report_BD = self.text(*words)
        else:
            units_BKD, report_BD = text.in_buckets(self.text, *words, order_B, widths)
        return units_BKD, word_counts_BK > 0, report_BD

    def learned(self) -> Tensor:
        """The numbers, (N,), in the order of `learns`."""
        # A copy: DeepSpeed takes the parameter itself away again.
        return torch.zeros(0) if self.numbers is None else self.numbers.clone()

    def encode_images(self, images_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """Regions as a map (B, H, W, D) and global vectors (B, D), without gradient."""
        with torch.inference_mode():
            regions_BDHW, image_BD = self.image(images_B1HW)
        return regions_BDHW.permute(0, 2, 3, 1), image_BD

    def encode_texts(
        self, tokens_BT: Tensor, attention_BT: Tensor, sentence_id_BT: Tensor, word_counts_BK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Units (B, K, D) and report vectors (B, D), without gradient."""
        with torch.inference_mode():
            return self.text(tokens_BT, attention_BT, sentence_id_BT, word_counts_BK)

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
            "last_layers": self.text.last_layers,
            "numbers": self.learns,
        }


def save(folder: Path, described: dict[str, object], state: dict[str, Tensor]) -> None:
    """Writes towers.json and model.safetensors; each by rename, so that a reader never meets half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{TOWERS}.part").write_text(json.dumps(described, indent=1), encoding="utf-8")
    save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, folder / f"{WEIGHTS}.part")
    for name in (TOWERS, WEIGHTS):
        (folder / f"{name}.part").replace(folder / name)


def load(folder: Path, device: str = "cpu") -> DualEncoder:
    """The model of a run or export folder, in evaluation mode. Raises WeightsError where there is none."""
    if not (folder / WEIGHTS).is_file() or not (folder / TOWERS).is_file():
        raise WeightsError(f"no trained model in {folder}; give the folder of a run that has written {WEIGHTS}")
    said = json.loads((folder / TOWERS).read_text(encoding="utf-8"))
    configs = {}
    for tower in ("image", "text"):
        kind = said[tower].pop("model_type")
        configs[tower] = transformers.AutoConfig.for_model(kind, **said[tower])
    model = DualEncoder(
        image.from_config(
            configs["image"],
            said["region_stage"],
            said["global_stage"],
            said["width"],
            said["coordinates"],
            said.get("norm", "batch"),  # folders of the time before there was a choice
        ),
        text.from_config(configs["text"], said["last_layers"]),
        dict.fromkeys(said.get("numbers", []), 0.0),
    )
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.eval().to(device)
