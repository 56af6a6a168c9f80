"""The trained model as a localizer: pictures and sentences → score grids.

In: a run folder, grey pictures, sentences. Out: region features with their geometry, text vectors, score grids. Maps
are made in `heatmap`, boxes in `boxes`.
"""

# B images, N sentences, H W grid, D width, S side of the network input, T positions

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from sentalign import config
from sentalign.localize.heatmap import Array, cells_geometry
from sentalign.model import dual
from sentalign.model.pretrained import WeightsError
from sentalign.tokenizer import Row, Tokenizer
from sharding.contract import UserError
from sharding.pixels import Geometry, letterbox

BATCH = 16


@dataclass(frozen=True)
class ImageFeatures:
    """Region vectors on the grid (H, W, D), and two geometries of the picture's pixels.

    `letterbox` leads to the network's input, over which published protocols stretch the grid. `cells` leads to the
    square of the cells, each centred on its region's receptive field: what a map on the picture must use. After
    training with cosine attention the regions are unit vectors.
    """

    regions_HWD: Tensor
    letterbox: Geometry
    cells: Geometry


@dataclass(frozen=True)
class TextFeatures:
    """Each sentence encoded as a report of its own: its sentence vector and its report vector."""

    sentences_ND: Tensor
    reports_ND: Tensor


class Predictor:
    """A trained model and its tokenizer; the vectors of sentences are cached."""

    def __init__(
        self, model: dual.DualEncoder, tokenizer: Tokenizer, settings: config.Config, device: str = "cpu"
    ) -> None:
        self._model, self._tokenizer, self._data, self._device = model, tokenizer, settings.data, device
        self._grid = model.image.region_grid(settings.data.image_size)
        self._cosine = settings.loss.attention == "cosine"
        self._texts: dict[str, tuple[Tensor, Tensor]] = {}

    @classmethod
    def load(cls, run: Path, device: str = "cpu") -> Self:
        """The model of a run folder. Raises UserError where the folder has none or the device does not exist."""
        if not run.is_dir():
            raise UserError(f"no run folder {run}; give the folder that training wrote (the `run` of its config)")
        try:
            torch.empty(0, device=device)
            model = dual.load(run, device)
            tokenizer = Tokenizer.load(run / "tokenizer")
        except WeightsError as error:
            raise UserError(str(error)) from None
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"cannot load the model on {device}: {str(error).splitlines()[0]}; try --device cpu"
            ) from None
        except (OSError, json.JSONDecodeError):
            raise UserError(
                f"the run folder {run} has no readable tokenizer/; give a run that training finished"
            ) from None
        return cls(model, tokenizer, config.load(run / "config.yaml"), device)

    def image(self, grey_HW: NDArray[np.uint8]) -> ImageFeatures:
        """Features of one grey picture (H, W) uint8, any size."""
        return next(self.images([grey_HW]))

    def images(self, greys: Sequence[NDArray[np.uint8]]) -> Iterator[ImageFeatures]:
        """Features of several pictures, in order, computed in batches of 16."""
        for start in range(0, len(greys), BATCH):
            size, long_side = self._data.image_size, self._data.long_side
            framed = [letterbox(grey_HW, size, long_side) for grey_HW in greys[start : start + BATCH]]
            images_BSS = torch.from_numpy(np.stack([square_SS for square_SS, _ in framed]))
            images_B1SS = (images_BSS.to(self._device).unsqueeze(1).float() / 255 - 0.5) / 0.5
            regions_BHWD, _ = self._model.encode_images(images_B1SS)
            for regions_HWD, (_, geometry) in zip(regions_BHWD.float().cpu(), framed, strict=True):
                cells = cells_geometry(geometry, *self._grid, len(regions_HWD))
                yield ImageFeatures(normalize(regions_HWD, dim=-1) if self._cosine else regions_HWD, geometry, cells)

    def text(self, sentences: Sequence[str]) -> TextFeatures:
        """Sentence and report vectors (N, D), each sentence encoded as a report of its own."""
        missing = [s for s in dict.fromkeys(sentences) if s not in self._texts]
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            rows = [self._tokenizer.encode([sentence], self._data.max_tokens) for sentence in part]
            units_BKD, reports_BD = self._model.encode_texts(*self._pad(rows))
            for sentence, units_KD, report_D in zip(
                part, units_BKD.float().cpu(), reports_BD.float().cpu(), strict=True
            ):
                self._texts[sentence] = (units_KD[1], report_D)
        sentence_D, report_D = zip(*(self._texts[sentence] for sentence in sentences), strict=True)
        return TextFeatures(torch.stack(sentence_D), torch.stack(report_D))

    def clean_grid(self, features: ImageFeatures, sentence_D: Tensor) -> Array:
        """<v_r, t>, or cos(v_r, t) after training with cosine attention, of every region (clean protocol)."""
        if self._cosine:
            sentence_D = normalize(sentence_D, dim=-1)
        return (features.regions_HWD @ sentence_D).double().numpy()

    def paper_grid(self, features: ImageFeatures, report_D: Tensor) -> Array:
        """<v_r, q> of every region with the report vector of the query (paper protocol), (H, W)."""
        return (features.regions_HWD @ report_D).double().numpy()

    def _pad(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows of one sentence each as (tokens_BT, attention_BT, sentence_id_BT, word_counts_BK)."""
        tokens = [torch.tensor(row.tokens) for row in rows]
        tokens_BT = pad_sequence(tokens, batch_first=True, padding_value=self._tokenizer.pad_id)
        ids = [torch.tensor(row.sentence_ids) for row in rows]
        sentence_id_BT = pad_sequence(ids, batch_first=True, padding_value=-1)
        attention_BT = torch.arange(tokens_BT.shape[1]) < torch.tensor([[len(row.tokens)] for row in rows])
        word_counts_BK = torch.tensor([[row.total_words, *row.word_counts] for row in rows], dtype=torch.float32)
        tokens_BT, attention_BT, sentence_id_BT, word_counts_BK = (
            t.to(self._device) for t in (tokens_BT, attention_BT, sentence_id_BT, word_counts_BK)
        )
        return tokens_BT, attention_BT, sentence_id_BT, word_counts_BK
