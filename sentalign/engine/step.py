"""One training step and one validation pass: batch in, terms out.

In: the engine and a rank's batch. Out: metrics as floats, equal on every rank. Saving and logging are elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sentalign import dist
from sentalign.config import Config
from sentalign.engine import cached_step, loss_scalars, optimizer_step, view_terms
from sentalign.engine.inputs import StepInputs, prepare
from sentalign.loss import objective, retrieval
from sentalign.loss.objective import GlobalReports
from sentalign.model import norm
from sentalign.model.dual import Features
from sentalign.model.image import with_coordinates
from sentalign.stream.augment import augment, is_upside_down, normalize
from sentalign.stream.batch import Batch
from sentalign.stream.views import ViewMaker, has_view
from sentalign.stream.word_units import by_word
from sentalign.word_recall import WordRecall, found_within

DIRECTIONS = ("text_to_image_recall", "image_to_text_recall")  # of retrieval


class PlainStep:
    """One graph over a rank's whole batch."""

    def __init__(self, engine: Any, inputs: StepInputs) -> None:
        self._engine, self._inputs = engine, inputs

    def forward(self) -> dict[str, Tensor]:
        """The terms and their weighted sum, over the batch of all ranks."""
        inputs = self._inputs
        whole = slice(0, len(inputs.images_bCHH))
        inputs.seed_rng()
        features: Features = self._engine(inputs.images_bCHH, inputs.buckets).float()
        with inputs.in_float32():
            config = loss_scalars.loss_config(inputs.config.loss, features.loss_scalars_N)
            units_mD, report_bD, swapped_bKD = inputs.split_texts(features.units_MD, features.report_BD)
            units_MD, report_JD = objective.gather_texts(units_mD, report_bD, inputs.reports)
            vectors = features.regions_BRD, features.image_BD, units_MD, report_JD
            terms = objective.terms_with_texts(*vectors, config, inputs.reports)
            own_bXK = inputs.own_values(features.regions_BRD, units_MD, swapped_bKD, whole, config)
            terms |= inputs.own_terms(own_bXK, config)
        divergence_bVK = view_terms.divergences(self._engine, features.regions_BRD, units_MD, whole, inputs, config)
        with inputs.in_float32():
            return inputs.with_loss(terms | view_terms.terms(divergence_bVK, inputs))

    def backward(self, loss: Tensor) -> None:
        """Leaves the gradients in the engine."""
        self._engine.backward(loss.sum())


def train_step(engine: Any, batch: Batch, config: Config, pairs: int, lr: float) -> dict[str, float]:
    """Forward, backward and one optimizer step. Raises NotFiniteError before a bad step reaches the weights."""
    for group in engine.optimizer.param_groups:
        group["lr"] = lr
    batch = batch.to(engine.device)
    images_B1HH = augment(normalize(batch.images_BHH), batch.keys, config.data.augment, config.seed, batch.epochs)

    # Dropout is a function of (seed, pairs, rank, part): a resumed run, and a second pass, draw the same.
    def seed_rng(*part: str | int) -> None:
        torch.manual_seed(_seed(config.seed, pairs, dist.rank(), *part))

    views = views_of(batch, images_B1HH, config, pairs)
    images_BCHH = some_upside_down(images_B1HH, batch.keys, batch.epochs, config)
    inputs = prepare(in_loss_units(batch, config), images_BCHH, config, seed_rng, views, training=True)
    step = (cached_step.CachedStep if config.train.micro_batch else PlainStep)(engine, inputs)
    buffers = optimizer_step.copy_buffers(engine.module, config)
    terms = step.forward()
    values = _floats(terms)
    if not optimizer_step.is_finite(values):
        return optimizer_step.reject_loss(engine, config, pairs, values["loss"], step.forward, buffers)
    step.backward(terms["loss"])
    applied = optimizer_step.apply_gradients(
        engine, config, pairs, lambda: step.backward(step.forward()["loss"]), buffers
    )
    # Batch norm's running statistics become their mean over ranks, so that every rank holds the saved state.
    dist.mean_in_place(norm.unsynced_buffers(engine.module))
    return values | applied


def some_upside_down(images_B1HH: Tensor, keys: Sequence[str], epochs: Sequence[int], config: Config) -> Tensor:
    """The tower's input: the share `data.upside_down` of the images turned, and their coordinates with them.

    Words of height stay as they are: the anatomy, and the coordinates where there are any, still say where up is.
    """
    share = config.data.upside_down
    if not share:
        return images_B1HH
    turned_B = torch.tensor(is_upside_down(keys, share, config.seed, epochs), device=images_B1HH.device)
    images_BCHH = with_coordinates(images_B1HH) if config.model.image.coordinates else images_B1HH
    return torch.where(turned_B[:, None, None, None], images_BCHH.flip(2), images_BCHH)


def views_of(batch: Batch, images_b1HH: Tensor, config: Config, pairs: int) -> ViewMaker | None:
    """The second views of this rank's images; None where the loss has none, or none yet."""
    if not config.loss.views or pairs < config.loss.view_after_pairs:
        return None
    rows, step = len(batch.keys), pairs // config.data.batch
    chosen = has_view(config.data.batch, config.loss.view_share, dist.rank() * rows, rows, step)
    return ViewMaker(images_b1HH, batch.keys, batch.epochs, chosen, config.seed, config.loss)


@torch.no_grad()
def validate(engine: Any, batches: Iterable[Batch], config: Config) -> dict[str, float]:
    """Means over the validation batches: whole reports, no augmentation, running statistics.

    Of the four terms, and of the label-free metrics (docs/training.md).
    """
    engine.eval()
    values, label_free = [], LabelFree()
    for batch in batches:
        batch = batch.to(engine.device)
        images_b1HH = normalize(batch.images_BHH)
        inputs = prepare(batch, images_b1HH, config, lambda *_: None)
        scores = cached_step.compute_scores(engine, inputs)
        values.append(_floats(_validation_terms(engine, batch, inputs, scores)))
        local_bJK = objective.by_report(scores.local_bM, inputs.reports)
        # Validation has no attraction, so margins are the only values of own pairs.
        label_free.add(batch, local_bJK, scores.own_bXK[:, 0], inputs.reports)
    engine.train()
    if not values:
        return {}
    return {name: sum(terms[name] for terms in values) / len(values) for name in values[0]} | label_free.metrics()


def in_loss_units(batch: Batch, config: Config) -> Batch:
    """The batch with the units that the loss has."""
    return batch if config.loss.units == "sentence" else by_word(batch, config.data.max_tokens)


def _validation_terms(
    engine: Any, batch: Batch, inputs: StepInputs, scores: cached_step.CachedScores
) -> dict[str, Tensor]:
    """The terms of a validation batch; `inputs` and `scores` are those of its sentences."""
    config = inputs.config
    if config.loss.units != "sentence":
        inputs = prepare(in_loss_units(batch, config), inputs.images_bCHH, config, inputs.seed_rng)
        scores = cached_step.compute_scores(engine, inputs)
    # The loss has the four terms only, whichever are trained on: swapped reports are for the margins.
    return cached_step.loss_terms(scores, replace(inputs, swapped=None))


class LabelFree:
    """What the scores of validation batches tell without boxes: two recalls and the margin of the true side.

    They count findings, sentences without any tag. A finding is found if its own image is among the top tenth of the
    batch by the local score; images of which the same sentence is reported do not count against it.
    `retrieval_recall` is that at 1 of a fixed number of candidates, so that batches of other sizes compare: the mean of
    both directions, images of a finding and findings of an image. The margin of a finding that names a side is its
    local score with its own image minus that after the report's sides were exchanged.
    """

    def __init__(self) -> None:
        self._recall = WordRecall()
        self._margins: list[float] = []  # of the sided findings of this rank
        self._retrieved: dict[str, list[float]] = {name: [] for name in DIRECTIONS}  # chance of each finding

    def add(self, batch: Batch, local_bJK: Tensor, margin_bK: Tensor, reports: GlobalReports) -> None:
        """Counts a batch. `local_bJK` are this rank's images with all reports, `margin_bK` own minus swapped ones."""
        finding_bK = reports.present_bK & (batch.tags_BK == 0)
        finding_bK[:, 0] = False  # [CLS]
        above_bK, wrong_bK = retrieval.images_above(local_bJK, reports)
        ranks = (above_bK, wrong_bK), retrieval.sentences_above(local_bJK, finding_bK, reports)
        for name, pair in zip(DIRECTIONS, ranks, strict=True):
            first_bK = retrieval.first_of(retrieval.CANDIDATES, *pair)
            self._retrieved[name] += first_bK[finding_bK & ~first_bK.isnan()].tolist()
        found_bK = (above_bK < found_within(local_bJK.shape[1])).tolist()
        for b, k in finding_bK.nonzero().tolist():
            self._recall.add(batch.sentences[b][k - 1], found_bK[b][k])
        assert batch.negative_BK is not None
        self._margins += margin_bK[batch.negative_BK].tolist()

    def metrics(self) -> dict[str, float]:
        """Over all ranks, the same on each of them; every rank must call it."""
        sums = [float(len(self._margins)), sum(self._margins), float(sum(m > 0 for m in self._margins))]
        sided, margin, preferred = map(sum, zip(*dist.of_all_ranks(sums), strict=True))
        margins = {"side_margin": margin / sided, "side_preferred": preferred / sided} if sided else {}
        return WordRecall.merged(dist.all_objects(self._recall)).metrics() | self._retrieval() | margins

    def _retrieval(self) -> dict[str, float]:
        """Recall of both directions and their mean; empty where batches have too few candidates."""
        sums = [number for values in self._retrieved.values() for number in (float(len(values)), sum(values))]
        totals = [sum(column) for column in zip(*dist.of_all_ranks(sums), strict=True)]
        if not all(totals[::2]):
            return {}
        recalls = [found / asked for asked, found in zip(totals[::2], totals[1::2], strict=True)]
        return dict(zip(DIRECTIONS, recalls, strict=True)) | {"retrieval_recall": sum(recalls) / len(recalls)}


def _floats(terms: dict[str, Tensor]) -> dict[str, float]:
    # One copy to the host for all terms; each `.item()` would wait for the device.
    names, values = list(terms), torch.cat([t.detach().flatten() for t in terms.values()]).tolist()
    return dict(zip(names, values, strict=True))


def _seed(*name: int | str) -> int:
    return int.from_bytes(hashlib.sha256(repr(name).encode()).digest()[:7], "little")
