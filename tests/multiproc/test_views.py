"""The consistency of maps between two views, on ranks, at every ZeRO stage, against loops in plain PyTorch."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from sentalign.model import text
from sentalign.stream.augment import normalize
from sentalign.stream.views import CellGrid, ViewMaker, has_view
from tests.multiproc.ranks import on_ranks
from tests.multiproc.test_cached import Case, compare, engines, worst
from tests.multiproc.test_engine import BATCH, batch

GRID = CellGrid(4, 2.0, 8)  # of ConvNeXt's first stage and 32 pixels


def view_loss(model, config, step, ids):
    """The weighted view terms of the whole batch, one sentence at a time, in the precision of the model."""
    from sentalign.engine import loss_scalars

    current = loss_scalars.loss_config(config.loss, model.loss_scalars.detach())
    whole = batch(step, slice(None))
    dtype = next(model.parameters()).dtype
    chosen = [n for n in range(BATCH) if has_view(BATCH, config.loss.view_share, 0, BATCH, step)[n]]
    images, present = normalize(whole.images_BHH).to(dtype), whole.word_counts_BK > 0
    words = whole.tokens_BT, whole.attention_BT, whole.unit_id_BT, whole.word_counts_BK
    features = model(images, text.buckets(*words, present))
    units = iter(features.units_MD)
    sentences = [[next(units) for _ in range(int(count))] for count in present.sum(1)]
    maker = ViewMaker(images, whole.keys, whole.epochs, [True] * BATCH, config.seed, config.loss)
    loss = 0
    for kind, weight in config.loss.views.items():
        terms, weights = 0, 0
        for n in chosen:
            view = maker.make(kind, [n], GRID)
            seen = model(view.images_v1HH).regions_BRD[0]
            first, second = (attention(v, sentences[n], current) for v in (features.regions_BRD[n], seen))
            cells = view.compared_vGG[0].flatten()
            for k in range(1, len(sentences[n])):
                moved = at_places(first[k], view.places_vGG2[0])
                terms = terms + ids.weight_JK[n, k] * js(moved[cells], second[k][cells])
                weights = weights + ids.weight_JK[n, k]
        loss = loss + weight * terms / weights
    return loss


def attention(regions_RD, units, loss):
    """The logarithm of the attention of each unit."""
    if loss.attention == "cosine":
        return [torch.cosine_similarity(regions_RD, unit[None], dim=1) / loss.tau for unit in units]
    dots = torch.stack([regions_RD @ unit for unit in units])
    return list(loss.t1 * dots.softmax(dim=0))


def at_places(map_R, places_GG2):
    """Bilinear interpolation as one matrix: hat functions around the cells."""
    x_R1, y_R1 = ((4 * places_GG2.double().flatten(0, 1) + 3.5).clamp(0, 7)[:, i, None] for i in range(2))
    row, column = torch.arange(64) // 8, torch.arange(64) % 8
    hats_RR = (1 - (x_R1 - column).abs()).clamp(min=0) * (1 - (y_R1 - row).abs()).clamp(min=0)
    return hats_RR @ map_R


def js(first, second):
    p, q = first.softmax(0), second.softmax(0)
    return ((p * (p / ((p + q) / 2)).log()).sum() + (q * (q / ((p + q) / 2)).log()).sum()) / 2


FEW = [Case(0, 0, "views"), Case(1, 2, "views"), Case(2, 0, "views-paper"), Case(2, 1, "views"), Case(3, 0, "views"),
       Case(3, 2, "views-paper")]  # fmt: skip
ALL = [Case(stage, micro, loss) for stage, micro, loss in product(range(4), (0, 1, 2, 4), ("views", "views-paper"))]


@pytest.mark.parametrize(
    ("ranks", "cases"),
    [
        pytest.param(2, FEW[1::2], id="2"),
        pytest.param(2, ALL, id="2-all", marks=pytest.mark.slow),
        pytest.param(1, FEW, id="1", marks=pytest.mark.slow),
        pytest.param(4, FEW, id="4", marks=pytest.mark.slow),
    ],
)
def test_gradients_and_weights_equal_loops_over_the_whole_batch(ranks, cases):
    compare(cases, ranks, view_loss)


@pytest.mark.slow
def test_half_precision_has_the_same_gradients_at_every_stage():
    # In one graph the text tower encodes two buckets. Autocast casts its weights once for both, but at ZeRO 3 once for
    # each, so that sums are rounded elsewhere; without views too.
    for micro, of_texts in ((0, 2e-2), (2, 1e-5)):
        cases = [Case(stage, micro, "views", precision="bfloat16") for stage in range(4)]
        (exact, *_), *others = on_ranks(2, engines, cases)[0]
        for case, (gradients, *_) in zip(cases[1:], others, strict=True):
            for tower, tolerance in (("image", 1e-5), ("text", of_texts)):
                of_tower = {n: g for n, g in exact.items() if g is not None and n.startswith(tower)}
                difference, name = worst(gradients, of_tower)
                assert difference <= tolerance, (case, name, difference)
