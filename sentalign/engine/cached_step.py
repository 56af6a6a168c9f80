"""The cached contrastive step: the gradient of a batch that does not fit into memory (docs/method.md, same title).

In: the engine and `StepInputs`. Out: the terms; the engine then holds the gradients of one backward pass over
everything. Region maps are computed twice and never kept:

1. without graph, texts, then images micro-batch by micro-batch; only vectors and rows of scores stay;
2. the loss over the batch of all ranks, and its gradient by those scores;
3. with graph and the same random state, images micro-batch by micro-batch, then texts bucket by bucket.
"""

# b pairs of this rank, m of a micro-batch, V kinds of view, X values of each own unit, J reports of all ranks, K units
# with padding, M packed units of all ranks, N loss scalars

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sentalign.engine import loss_scalars, view_terms
from sentalign.engine.inputs import StepInputs
from sentalign.loss import objective, region_sentence
from sentalign.model import norm
from sentalign.model.dual import Features


@dataclass(frozen=True)
class CachedScores:
    """What pass 1 keeps, as leaves of new graphs: text vectors of this rank and of all, and rows of scores."""

    texts: Features
    gathered: tuple[Tensor, ...]  # the next three as functions of `texts`
    units_MD: Tensor
    report_JD: Tensor
    swapped_bKD: Tensor
    local_bM: Tensor
    global_bJ: Tensor
    own_bXK: Tensor
    divergence_bVK: Tensor
    loss_scalars_N: Tensor


class CachedStep:
    """Forward is passes 1 and 2 without their gradients, backward the rest."""

    def __init__(self, engine: Any, inputs: StepInputs) -> None:
        self._engine, self._inputs = engine, inputs

    def forward(self) -> dict[str, Tensor]:
        """The terms and their weighted sum, as functions of the cached scores."""
        with norm.frozen_running_stats(self._engine.module):  # pass 3 sees the same images again
            self._scores = compute_scores(self._engine, self._inputs)
        return loss_terms(self._scores, self._inputs)

    def backward(self, loss: Tensor) -> None:
        """The gradient of the loss by the scores, and pass 3."""
        loss.sum().backward()
        micro_batches = _micro_batches(self._inputs)
        with _one_reduction(self._engine, len(micro_batches) + len(self._inputs.buckets)) as before_backward:
            for number, rows in enumerate(micro_batches):
                before_backward()
                self._image_pass(number, rows)
            # The gather's backward pass sums the gradients of each rank's texts over the images of all ranks.
            leaves = self._scores.units_MD, self._scores.report_JD, self._scores.swapped_bKD
            used = [number for number, leaf in enumerate(leaves) if leaf.grad is not None]
            gradients = [leaves[number].grad for number in used]
            torch.autograd.backward([self._scores.gathered[number] for number in used], gradients)
            for number in range(len(self._inputs.buckets)):
                before_backward()
                self._text_pass(number)

    def _image_pass(self, number: int, rows: slice) -> None:
        """The gradient of <dL/dscores, scores> by a micro-batch of images, and by the gathered texts."""
        scores = self._scores
        texts = scores.units_MD, scores.report_JD, scores.swapped_bKD
        local_mM, global_mJ, own_mXK, divergence_mVK, loss_scalars_N = _score(
            self._engine, number, rows, *texts, self._inputs
        )
        product = _product(scores.local_bM, local_mM, rows) + _product(scores.global_bJ, global_mJ, rows)
        if scores.own_bXK.grad is not None:
            product = product + _product(scores.own_bXK, own_mXK, rows)
        if scores.divergence_bVK.grad is not None:
            product = product + _product(scores.divergence_bVK, divergence_mVK, rows)
        if number == 0 and scores.loss_scalars_N.grad is not None:  # of the contrast, once for the whole batch
            product = product + _product(scores.loss_scalars_N, loss_scalars_N)
        self._engine.backward(product)

    def _text_pass(self, number: int) -> None:
        """The gradient by a bucket of texts."""
        again, texts = _encode(self._engine, number, self._inputs), self._scores.texts
        self._engine.backward(_product(texts.units_MD, again.units_MD) + _product(texts.report_BD, again.report_BD))


@torch.no_grad()
def compute_scores(engine: Any, inputs: StepInputs) -> CachedScores:
    """Pass 1."""
    texts, gathered = _gathered_texts(engine, inputs)
    units_MD, report_JD, swapped_bKD = map(_leaf, gathered)
    scores = [
        _score(engine, number, rows, units_MD, report_JD, swapped_bKD, inputs)
        for number, rows in enumerate(_micro_batches(inputs))
    ]
    rows_of_scores = [torch.cat([one[i] for one in scores]) for i in range(4)]
    return CachedScores(texts, gathered, units_MD, report_JD, swapped_bKD, *map(_leaf, (*rows_of_scores, scores[0][4])))


def _gathered_texts(engine: Any, inputs: StepInputs) -> tuple[Features, tuple[Tensor, Tensor, Tensor]]:
    """This rank's texts, as leaves, and functions of them: those of all ranks, and this rank's swapped units."""
    buckets = [_encode(engine, number, inputs) for number in range(len(inputs.buckets))]
    # Each bucket is zero outside its own reports.
    units_ND, report_ND = _leaf(sum(f.units_MD for f in buckets)), _leaf(sum(f.report_BD for f in buckets))
    with torch.enable_grad():
        units_mD, report_bD, swapped_bKD = inputs.split_texts(units_ND, report_ND)
        gathered = (*objective.gather_texts(units_mD, report_bD, inputs.reports), swapped_bKD)
    return Features(units_MD=units_ND, report_BD=report_ND), gathered


def loss_terms(scores: CachedScores, inputs: StepInputs) -> dict[str, Tensor]:
    """Pass 2: the terms and their weighted sum, as functions of the leaves."""
    with inputs.in_float32():
        config = loss_scalars.loss_config(inputs.config.loss, scores.loss_scalars_N)
        terms = objective.contrast_terms(scores.local_bM, scores.global_bJ, scores.units_MD, inputs.reports, config)
        terms |= inputs.own_terms(scores.own_bXK, config)
        return inputs.with_loss(terms | view_terms.terms(scores.divergence_bVK, inputs))


def _encode(engine: Any, number: int, inputs: StepInputs) -> Features:
    """The texts of a bucket."""
    inputs.seed_rng("texts", number)
    return engine(None, inputs.buckets[number : number + 1]).float()  # type: ignore[no-any-return]


def _score(
    engine: Any,
    number: int,
    rows: slice,
    units_MD: Tensor,
    report_JD: Tensor,
    swapped_bKD: Tensor,
    inputs: StepInputs,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A micro-batch's rows of scores with single units, (m, M), and with reports, (m, J); (m, X, K) values of own
    pairs, (m, V, K) divergences between the views of an image, and the loss scalars.
    """
    inputs.seed_rng("images", number)
    features: Features = engine(inputs.images_bCHH[rows]).float()
    with inputs.in_float32():
        config = loss_scalars.loss_config(inputs.config.loss, features.loss_scalars_N)
        local_mM = region_sentence.unit_scores(features.regions_BRD, units_MD, inputs.reports.groups, config)
        global_mJ = objective.image_scores(features.image_BD, report_JD)
        own_mXK = inputs.own_values(features.regions_BRD, units_MD, swapped_bKD[rows], rows, config)
    divergence_mVK = view_terms.divergences(engine, features.regions_BRD, units_MD, rows, inputs, config)
    return local_mM, global_mJ, own_mXK, divergence_mVK, features.loss_scalars_N


def _leaf(value: Any) -> Any:
    return value.detach().requires_grad_()


def _product(leaf: Tensor, again: Tensor, rows: slice = slice(None)) -> Tensor:
    """<dL/dx, x> over some rows; its gradient is that of the loss through x."""
    assert leaf.grad is not None
    return (leaf.grad[rows] * again).sum()


def _micro_batches(inputs: StepInputs) -> list[slice]:
    """Equal parts of at most `train.micro_batch` rows, or one; equally many on each rank, as collectives require."""
    count, limit = len(inputs.images_bCHH), inputs.config.train.micro_batch
    parts = -(-count // limit) if limit else 1
    return [slice(begin, end) for begin, end in itertools.pairwise(count * i // parts for i in range(parts + 1))]


@contextlib.contextmanager
def _one_reduction(engine: Any, backward_passes: int) -> Iterator[Callable[[], None]]:
    """Gradients are summed over the backward passes and reduced once; call the yielded function before each pass."""
    numbers = itertools.count(1)
    if engine.zero_optimization_stage() == 0:
        yield lambda: engine.set_gradient_accumulation_boundary(next(numbers) == backward_passes)
    else:
        with engine.coalesce_grad_reduction():
            yield lambda: None
