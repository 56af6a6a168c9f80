"""The trained model as a localizer: pictures and sentences → score grids.

In: a run folder, grey pictures, sentences. Out: features of pictures with their geometry, and for each sentence its
score grids. Grids become maps on the original pixels in `heatmap`, boxes in `boxes`.
"""

# B images, N sentences, H W grid, D width, S side of the network input

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sentalign import config, sides
from sentalign.localize import boxes
from sentalign.localize.boxes import Localization
from sentalign.localize.maps import register
from sentalign.localize.maps.heatmap import Array, cells_geometry, highest
from sentalign.localize.maps.mirror import Mirror
from sentalign.localize.maps.register import Attention, Evidence, Trace
from sentalign.localize.prompts import prompt
from sentalign.localize.texts import Texts
from sentalign.localize.trained_run import TrainedRun
from sentalign.model import dual
from sentalign.tokenizer import Tokenizer
from sharding.pixels import Geometry, Picture, letterbox

BATCH = 16
# The names of --map, and what they set in the section `maps`.
MAPS: dict[str, dict[str, object]] = {
    "plain": {"mirrored": False, "registered": False, "prompts": ["{}"]},
    "mirrored": {"mirrored": True, "registered": False},
    "registered": {"mirrored": False, "registered": True},
    "both": {"mirrored": True, "registered": True},
}


@dataclass(frozen=True)
class ImageFeatures:
    """Region vectors on the grid (H, W, D), and two geometries of the picture's pixels.

    `letterbox` leads to the network's input, over which published protocols stretch the grid. `cells` leads to the
    square of the cells, each centred on its region's receptive field: what a map on the picture must use. After
    training with cosine attention the regions are unit vectors. `mirrored_HWD` are those of the mirrored picture,
    `trace` leads from the regions back to the pixels; both None where the run's maps do not use them.
    """

    regions_HWD: Tensor
    letterbox: Geometry
    cells: Geometry
    mirrored_HWD: Tensor | None = None
    trace: Trace | None = None


class SentenceMap(NamedTuple):
    """The score grids of one sentence on one picture.

    `grid_HW` is the map by the settings `maps`; registered, it has 4 x 4 sub-cells a cell. `plain_HW` is the score of
    every region with the sentence alone. Both cover the square of `ImageFeatures.cells`. `paper_HW` is the published
    protocol's: every region with the vector of the sentence as a report, stretched over `ImageFeatures.letterbox`.
    `mirrored` says whether the mirrored picture took part: it cannot if the sentence's sides cannot be exchanged.
    """

    grid_HW: Array
    plain_HW: Array
    paper_HW: Array
    mirrored: bool


class Predictor:
    """A trained model and its tokenizer; the vectors of sentences are cached."""

    def __init__(
        self, model: dual.DualEncoder, tokenizer: Tokenizer, settings: config.Config, device: str = "cpu"
    ) -> None:
        self._model, self._data, self._device = model, settings.data, device
        self.settings = settings.maps
        self._grid = model.image.region_grid(settings.data.image_size)
        self._mirror = Mirror.of(self._grid, settings.data.image_size)
        self._cosine = settings.loss.attention == "cosine"
        tau, t1 = (_trained(model, settings.loss, name) for name in ("tau", "t1"))
        self._attention = Attention(tau if self._cosine else None, t1)
        self.text = Texts(model, tokenizer, settings.data.max_tokens, device)

    @classmethod
    def load(cls, run: Path | str, device: str = "cpu", maps: str | None = None) -> Self:
        """The model of a run or export folder; `maps` (a name of MAPS) overrides its settings of the maps.

        Raises UserError where the folder has none or the device does not exist.
        """
        loaded = TrainedRun.load(Path(run), device)
        settings = loaded.settings
        if maps is not None:
            settings = settings.model_copy(update={"maps": settings.maps.model_copy(update=MAPS[maps])})
        return cls(loaded.model, loaded.tokenizer, settings, device)

    def localize(self, picture: Picture, sentences: Sequence[str]) -> list[Localization]:
        """Where each sentence is true on a picture: boxes, peak and score, in pixels of the file it was read from."""
        features = self.image(picture.grey_HW)
        return self.localizations(picture, features, sentences, self.maps(features, sentences))

    def localizations(
        self, picture: Picture, features: ImageFeatures, sentences: Sequence[str], maps: Sequence[SentenceMap]
    ) -> list[Localization]:
        """`localize` of maps that are there already."""
        geometry, level = picture.geometry.then(features.cells), self.settings.level
        return [
            boxes.localize(
                sentence,
                one.grid_HW,
                geometry,
                level,
                one.mirrored,
                highest(one.plain_HW, geometry),
            )
            for sentence, one in zip(sentences, maps, strict=True)
        ]

    def image(self, grey_HW: NDArray[np.uint8]) -> ImageFeatures:
        """Features of one grey picture (H, W) uint8, any size."""
        return next(self.images([grey_HW]))

    def images(self, greys: Sequence[NDArray[np.uint8]]) -> Iterator[ImageFeatures]:
        """Features of several pictures, in order, computed in batches of 16; a trace one by one, as it is asked for."""
        for start in range(0, len(greys), BATCH):
            images_B1SS, frames = self._framed(greys[start : start + BATCH])
            mirrored_BHWD = self._regions(self._mirror.image(images_B1SS)) if self.settings.mirrored else None
            regions_BHWD = None if self.settings.registered else self._regions(images_B1SS)
            for n, geometry in enumerate(frames):
                if regions_BHWD is None:
                    trace = self._trace(images_B1SS[n : n + 1], geometry)
                    regions_HWD = self._scored(trace.regions_1HWD.detach())[0]
                else:
                    trace, regions_HWD = None, regions_BHWD[n]
                cells = cells_geometry(geometry, *self._grid, len(regions_HWD))
                mirrored_HWD = None if mirrored_BHWD is None else mirrored_BHWD[n]
                yield ImageFeatures(regions_HWD, geometry, cells, mirrored_HWD, trace)

    @property
    def stride(self) -> int:
        """Pixels of the network's input from one region to the next."""
        return self._grid.stride

    @property
    def score_scale(self) -> float:
        """What a score is multiplied by before a sigmoid: 1 / tau for cosines, as in the attention, 1 for products."""
        return 1.0 if self._attention.tau is None else 1.0 / self._attention.tau

    def inputs(self, greys: Sequence[NDArray[np.uint8]]) -> Tensor:
        """The network's inputs of some pictures, (B, 1, S, S) in [-1, 1]."""
        return self._framed(greys)[0]

    def attended_scores(self, images_B1SS: Tensor, sentences: Sequence[str]) -> Tensor:
        """The local score of the loss, cos(c, t), of every input and sentence alone: (B, N), with gradient."""
        regions_BHWD, _ = self._model.image(images_B1SS)
        units_N2D = self.text(sentences).units_N2D.to(regions_BHWD)
        return torch.stack([self._attention.scores(v.flatten(0, 1), units_N2D) for v in regions_BHWD.float()])

    def scores(self, greys: Sequence[NDArray[np.uint8]], sentences: Sequence[str]) -> Array:
        """How well each sentence fits each picture as a whole, (B, 2, S) for S sentences: globally and locally.

        The cosine of the global vectors of picture and sentence, and the attended score of its regions (see
        `attended_scores`). Neither is a probability.
        """
        with torch.inference_mode():
            regions_BHWD, image_BD = self._model.image(self.inputs(greys))
            text = self.text(sentences)
            image_BD, report_SD = (normalize(v.float().cpu(), dim=-1) for v in (image_BD, text.reports_ND))
            units_S2D, regions_BRD = text.units_N2D, regions_BHWD.flatten(1, 2).float().cpu()
            local_BS = torch.stack([self._attention.scores(regions_RD, units_S2D) for regions_RD in regions_BRD])
            return torch.stack([image_BD @ report_SD.T, local_BS], dim=1).double().numpy()

    def _framed(self, greys: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, list[Geometry]]:
        framed = [letterbox(grey_HW, self._data.image_size, self._data.long_side) for grey_HW in greys]
        images_BSS = torch.from_numpy(np.stack([square_SS for square_SS, _ in framed]))
        images_B1SS = (images_BSS.to(self._device).unsqueeze(1).float() / 255 - 0.5) / 0.5
        return images_B1SS, [geometry for _, geometry in framed]

    def maps(self, features: ImageFeatures, sentences: Sequence[str]) -> list[SentenceMap]:
        """The grids of each sentence on one picture; a sentence more costs one backward pass if they are registered."""
        return self.maps_later(features, sentences)()

    def maps_later(self, features: ImageFeatures, sentences: Sequence[str]) -> Callable[[], list[SentenceMap]]:
        """`maps` in two parts: the model's passes at once, the rest when the result is called, in any thread.

        What waits for the call holds no graph of the model, which would be most of a picture's memory.
        """
        text, queries_N2D = self.text(sentences), self._queries(sentences)
        plain = [_product(features.regions_HWD, self._unit(sentence_D)) for sentence_D in text.units_N2D[:, 1]]
        paper = [_product(features.regions_HWD, report_D) for report_D in text.reports_ND]
        grids = [_product(features.regions_HWD, units_2D[1]) for units_2D in queries_N2D]
        mirrored = [self._mirrored(features, sentence) for sentence in sentences]
        for n, mirrored_HW in enumerate(mirrored):
            grids[n] = grids[n] if mirrored_HW is None else self._mirror.mean(grids[n], mirrored_HW)
        took_part = [mirrored_HW is not None for mirrored_HW in mirrored]
        trace = features.trace
        evidence = None if trace is None else trace.evidence(self._attention, queries_N2D, np.stack(grids))

        def rest() -> list[SentenceMap]:
            final = grids if evidence is None else self._registered(grids, evidence)
            return [SentenceMap(*parts) for parts in zip(final, plain, paper, took_part, strict=True)]

        return rest

    def _registered(self, grids: Sequence[Array], evidence: Evidence) -> list[Array]:
        evidence_NSS = evidence.smoothed(self._grid.stride)
        return [register.register(*pair, self._grid) for pair in zip(grids, evidence_NSS, strict=True)]

    def _mirrored(self, features: ImageFeatures, sentence: str) -> Array | None:
        """The grid of the mirrored picture with the swapped sentence; None where there is no such sentence."""
        swapped = sides.swap(sentence)
        if features.mirrored_HWD is None or swapped is None:
            return None
        return _product(features.mirrored_HWD, self._queries([swapped])[0, 1])

    def _queries(self, sentences: Sequence[str]) -> Tensor:
        """[CLS] and each sentence, (N, 2, D): the mean over `maps.prompts` of the vectors, for cosines unit vectors."""
        wordings = (self.text([prompt(template, s) for s in sentences]) for template in self.settings.prompts)
        return torch.stack([self._unit(text.units_N2D) for text in wordings]).mean(dim=0)

    def _unit(self, vectors: Tensor) -> Tensor:
        return normalize(vectors, dim=-1) if self._cosine else vectors

    def _regions(self, images_B1SS: Tensor) -> Tensor:
        """What the scores are products with, (B, H, W, D), on the CPU."""
        return self._scored(self._model.encode_images(images_B1SS)[0])

    def _scored(self, regions_BHWD: Tensor) -> Tensor:
        return self._unit(regions_BHWD.float().cpu())

    def _trace(self, image_11SS: Tensor, geometry: Geometry) -> Trace:
        image_11SS = image_11SS.clone().requires_grad_()
        with torch.enable_grad():
            regions_1HWD, _ = self._model.image(image_11SS)
        (left, top), (right, bottom) = geometry.to_output(np.array([[0, 0], [geometry.columns, geometry.rows]])).round()
        inside_SS = np.zeros(image_11SS.shape[2:])
        inside_SS[int(top) : int(bottom), int(left) : int(right)] = 1
        return Trace(image_11SS, regions_1HWD.float(), inside_SS)


def _product(regions_HWD: Tensor, vector_D: Tensor) -> Array:
    return (regions_HWD @ vector_D).double().numpy()


def _trained(model: dual.DualEncoder, loss: config.Loss, name: str) -> float:
    """A temperature of the loss: as set, or as learned (the model holds its logarithm)."""
    if name not in model.learned:
        return float(getattr(loss, name))
    assert model.loss_scalars is not None
    return math.exp(model.loss_scalars[model.learned.index(name)].item())
