"""The cached contrastive step: the gradient of a batch that does not fit into memory (METHOD: cached contrastive step).

In: the engine, a rank's batch, and how many pairs fit. Out: the terms; gradients stand in the engine as after one
backward pass over everything. Region maps are made twice and never kept:

1. without graph, texts, then images micro-batch by micro-batch; only vectors and rows of scores stay;
2. the loss over the batch of all ranks, and its gradient by those scores;
3. with graph and the same random state, images micro-batch by micro-batch, then texts piece by piece.
"""

# b pairs of this rank, m of them at once, J reports of all ranks, M units of all ranks, K units with padding, D width

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sentalign.config import Config
from sentalign.engine import loss_scalars
from sentalign.loss import objective, reference, region_sentence
from sentalign.loss.objective import GlobalReports
from sentalign.model import norm
from sentalign.stream.batch import Batch

Seeded = Callable[..., None]  # seeds the generators for one piece of work, by its name


@dataclass
class Kept:
    """What pass 1 leaves: vectors of texts and rows of scores, as leaves of new graphs.

    `gathered` are the texts of all ranks once more, as functions of those of this rank.
    """

    units_bKD: Tensor
    report_bD: Tensor
    gathered: tuple[Tensor, Tensor]
    units_MD: Tensor
    report_JD: Tensor
    local_bM: Tensor
    global_bJ: Tensor
    loss_scalars_N: Tensor


def forward(
    engine: Any, batch: Batch, images_b1HH: Tensor, reports: GlobalReports, config: Config, seeded: Seeded
) -> tuple[Kept, dict[str, Tensor]]:
    """Passes 1 and 2 without their gradients: what stays of the towers' work, and the terms as functions of it."""
    with norm.frozen_running_stats(engine.module):  # pass 3 will see the same pictures again
        kept = scores(engine, batch, images_b1HH, reports, config, seeded)
    return kept, terms_of(kept, reports, config)


def backward(
    engine: Any,
    batch: Batch,
    images_b1HH: Tensor,
    reports: GlobalReports,
    config: Config,
    seeded: Seeded,
    kept: Kept,
    loss: Tensor,
) -> None:
    """The gradient of the loss by the scores, and pass 3; the engine, which steps next, then holds that by weights."""
    rows, pieces = _micro_batches(len(images_b1HH), config.train.micro_batch), _pieces(batch)
    loss.sum().backward()
    with _one_reduction(engine, len(rows) + len(pieces)) as before:
        for number, part in enumerate(rows):
            before()
            _image_pass(engine, images_b1HH[part], part, number, kept, reports, config, seeded)
        # The gather's backward pass brings each rank what all images want of its texts.
        assert kept.units_MD.grad is not None
        assert kept.report_JD.grad is not None
        torch.autograd.backward(kept.gathered, [kept.units_MD.grad, kept.report_JD.grad])
        for number, (piece, width) in enumerate(pieces):
            before()
            _text_pass(engine, batch, piece, width, number, kept, seeded)


@torch.no_grad()
def scores(
    engine: Any, batch: Batch, images_b1HH: Tensor, reports: GlobalReports, config: Config, seeded: Seeded
) -> Kept:
    """Pass 1."""
    units_bKD, report_bD = (_leaf(part) for part in _texts(engine, batch, seeded))
    with torch.enable_grad():
        gathered = objective.gather_texts(units_bKD, report_bD, reports)
    units_MD, report_JD = (_leaf(part) for part in gathered)
    found = []
    for number, part in enumerate(_micro_batches(len(images_b1HH), config.train.micro_batch)):
        seeded("images", number)
        found.append(_scores(engine, images_b1HH[part], units_MD, report_JD, reports, config))
    local_bM, global_bJ = (_leaf(torch.cat([rows[i] for rows in found])) for i in range(2))
    return Kept(units_bKD, report_bD, gathered, units_MD, report_JD, local_bM, global_bJ, _leaf(found[0][2]))


def _scores(
    engine: Any, images_m1HH: Tensor, units_MD: Tensor, report_JD: Tensor, reports: GlobalReports, config: Config
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of scores with single units, (m, M), and with reports, (m, J), and the learned numbers."""
    regions_mRD, image_mD, loss_scalars_N = engine(images_m1HH)
    with _in_float32(images_m1HH):
        kind = loss_scalars.terms(config.loss, loss_scalars_N)
        local_mM = region_sentence.unit_scores(regions_mRD.float(), units_MD, reports.groups, kind)
        return local_mM, objective.image_scores(image_mD.float(), report_JD), loss_scalars_N.float()


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_()


def terms_of(kept: Kept, reports: GlobalReports, config: Config) -> dict[str, Tensor]:
    """Pass 2: the four terms and their weighted sum, as functions of the leaves."""
    with _in_float32(kept.local_bM):
        kind = loss_scalars.terms(config.loss, kept.loss_scalars_N)
        terms = objective.contrast_terms(kept.local_bM, kept.global_bJ, reports, kind)
        return terms | {"loss": reference.total(terms, config.loss.weight_global, config.loss.weight_local)}


def _image_pass(
    engine: Any,
    images_m1HH: Tensor,
    part: slice,
    number: int,
    kept: Kept,
    reports: GlobalReports,
    config: Config,
    seeded: Seeded,
) -> None:
    """Pass 3 of some images: the gradient of <dL/dscores, scores> is theirs, and that of the gathered texts."""
    seeded("images", number)
    local_mM, global_mJ, loss_scalars_N = _scores(engine, images_m1HH, kept.units_MD, kept.report_JD, reports, config)
    wanted = _product(kept.local_bM, local_mM, part) + _product(kept.global_bJ, global_mJ, part)
    if number == 0 and kept.loss_scalars_N.grad is not None:  # of the contrast; once for the whole batch
        wanted = wanted + (kept.loss_scalars_N.grad * loss_scalars_N).sum()
    engine.backward(wanted)


def _text_pass(engine: Any, batch: Batch, piece: Tensor, width: int, number: int, kept: Kept, seeded: Seeded) -> None:
    """Pass 3 of some texts."""
    seeded("texts", number)
    units_mKD, report_mD = _text(engine, batch, piece, width)
    engine.backward(_product(kept.units_bKD, units_mKD, piece) + _product(kept.report_bD, report_mD, piece))


def _product(leaf: Tensor, again: Tensor, part: slice | Tensor) -> Tensor:
    """<dL/dx, x> over some rows; its gradient is that of the loss by way of x."""
    assert leaf.grad is not None
    return (leaf.grad[part] * again).sum()


def _texts(engine: Any, batch: Batch, seeded: Seeded) -> tuple[Tensor, Tensor]:
    """The vectors of all texts of this rank, made piece by piece, in the order of the batch."""
    pieces, found = _pieces(batch), []
    for number, (piece, width) in enumerate(pieces):
        seeded("texts", number)
        found.append(_text(engine, batch, piece, width))
    back_b = torch.cat([piece for piece, _ in pieces]).argsort()
    units_bKD, report_bD = (torch.cat(parts)[back_b] for parts in zip(*found, strict=True))
    return units_bKD, report_bD


def _text(engine: Any, batch: Batch, piece: Tensor, width: int) -> tuple[Tensor, Tensor]:
    positions = (part[piece, :width] for part in (batch.tokens_BT, batch.attention_BT, batch.sentence_id_BT))
    units_mKD, _, report_mD = engine(None, *positions, batch.word_counts_BK[piece])
    return units_mKD.float(), report_mD.float()


def _micro_batches(count: int, most: int) -> list[slice]:
    """Equal pieces of at most `most` rows, or all of them; the same number on every rank, so that ranks go in step."""
    pieces = -(-count // most) if most else 1
    cuts = [count * i // pieces for i in range(pieces + 1)]
    return [slice(begin, end) for begin, end in itertools.pairwise(cuts)]


def _pieces(batch: Batch) -> list[tuple[Tensor, int]]:
    """The length buckets: rows, and the positions that they need."""
    return list(zip(batch.order_B.tensor_split(len(batch.widths)), batch.widths, strict=True))


def _in_float32(of: Tensor) -> torch.autocast:
    return torch.autocast(of.device.type, enabled=False)


@contextlib.contextmanager
def _one_reduction(engine: Any, backwards: int) -> Iterator[Callable[[], None]]:
    """Gradients are summed over the backward passes and travel once; call what is given before each of them."""
    done = 0

    def tell_of_last() -> None:
        nonlocal done
        done += 1
        engine.set_gradient_accumulation_boundary(done == backwards)

    if engine.zero_optimization_stage() == 0:
        yield tell_of_last
    else:
        with engine.coalesce_grad_reduction():
            yield lambda: None
