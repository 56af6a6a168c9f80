"""What a step reads of a batch: images, texts in length buckets, and the ids of the reports of all ranks.

In: a rank's batch on its device. Out: `StepInputs`, the same for the plain step, the cached step and validation.
"""

# b images or reports of one rank, C channels, m of a micro-batch, N texts of one rank: reports, then those with
# swapped sides, K units with padding, M packed units, R regions, D width, X values of each own unit

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sentalign.config import Config
from sentalign.loss import objective, own_pairs, reference, side_swap, targets
from sentalign.loss.objective import GlobalReports
from sentalign.loss.reference import LossConfig
from sentalign.loss.side_swap import SwappedReports
from sentalign.loss.targets import ReportIds
from sentalign.model import text
from sentalign.model.text import TextBucket
from sentalign.stream.batch import TAGS, Batch
from sentalign.stream.views import ViewMaker

SeedRng = Callable[..., None]  # seeds the generators for one part of a step, named by its arguments


@dataclass(frozen=True)
class StepInputs:
    """One rank's share of a batch, as towers and losses read it."""

    images_bCHH: Tensor
    buckets: list[TextBucket]
    reports: GlobalReports
    config: Config
    seed_rng: SeedRng
    swapped: SwappedReports | None = None  # in validation, and for training with `loss.weight_swapped`
    views: ViewMaker | None = None  # of the images, for training with `loss.weight_rescale` or `loss.weight_window`
    attraction: bool = False  # for training with `loss.weight_attraction`

    def in_float32(self) -> torch.autocast:
        """The losses run in float32 whatever the towers' precision: logits of 10·cos and sums of exponentials."""
        return torch.autocast(self.images_bCHH.device.type, enabled=False)

    def with_loss(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms and their weighted sum `loss`."""
        weights = self.config.loss.weight_global, self.config.loss.weight_local
        loss = reference.total(terms, *weights)
        for kind, weight in self.config.loss.views.items() if self.views else ():
            loss = loss + weight * terms[kind]
        if self.swapped:
            loss = loss + self.config.loss.weight_swapped * terms["swapped"]
        if self.attraction:
            loss = loss + self.config.loss.weight_attraction * terms["attraction"]
        return terms | {"loss": loss}

    def split_texts(self, units_MD: Tensor, report_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Packed units and vectors of this rank's reports, and the units of the swapped ones: (b, K, D), or none."""
        if self.swapped is None:
            return units_MD, report_ND, units_MD.new_zeros(len(report_ND), 0, units_MD.shape[1])
        return self.swapped.split(units_MD, report_ND)

    def own_values(
        self, regions_mRD: Tensor, units_MD: Tensor, swapped_mKD: Tensor, rows: slice, config: LossConfig
    ) -> Tensor:
        """(m, X, K), of some rows: score margins over swapped units, and distances of the best regions.

        X is how many of the two have a term.
        """
        own_mKD = self.reports.own_units(units_MD, rows)
        values_mXK = regions_mRD.new_zeros(len(regions_mRD), 0, own_mKD.shape[1])
        if self.swapped:
            texts = (own_mKD, self.reports.present_bK[rows]), (swapped_mKD, self.swapped.present_bK[rows])
            own_mK, swapped_mK = (own_pairs.scores(regions_mRD, *units, config) for units in texts)
            values_mXK = torch.cat([values_mXK, (own_mK - swapped_mK)[:, None]], dim=1)
        if self.attraction:
            distance_mK = own_pairs.distances(regions_mRD, own_mKD, self.config.loss.attraction_share)
            values_mXK = torch.cat([values_mXK, distance_mK[:, None]], dim=1)
        return values_mXK

    def own_terms(self, values_bXK: Tensor, config: LossConfig) -> dict[str, Tensor]:
        """The terms of own pairs, those that there are, from `own_values` of all rows."""
        values, terms, weight_bK = list(values_bXK.unbind(1)), {}, self.reports.own.weight_JK
        if self.swapped:
            scale = reference.unit_scale(config)
            terms["swapped"] = side_swap.term(values.pop(0), self.swapped.negative_bK, weight_bK, scale)
        if self.attraction:
            total = targets.sentence_weights(self.reports.gathered.weight_JK).sum()
            weight_bK = targets.sentence_weights(weight_bK)
            terms["attraction"] = own_pairs.mean_over_ranks(values.pop(0), weight_bK, total)
        return terms


def prepare(
    batch: Batch,
    images_bCHH: Tensor,
    config: Config,
    seed_rng: SeedRng,
    views: ViewMaker | None = None,
    training: bool = False,
) -> StepInputs:
    """Gathers the report ids of all ranks; every rank must call it. There is no attraction without `training`."""
    present_NK = batch.word_counts_BK > 0
    present_bK = present_NK[: len(batch.images_BHH)]
    tag_weights = {1 << TAGS.index(tag): weight for tag, weight in config.loss.tag_weights.items()}
    weight_bK = targets.unit_weights(batch.tags_BK, present_bK, tag_weights)
    ids = ReportIds(batch.study_B, batch.report_B, batch.sentence_hash_BS, batch.unit_hash_BK, weight_bK)
    words = (batch.tokens_BT, batch.attention_BT, batch.unit_id_BT, batch.word_counts_BK)
    alone = batch.alone_E3, batch.alone_widths
    buckets = text.buckets(*words, present_NK, batch.order_B, batch.widths, *alone)
    swapped = None
    if batch.swapped_F is not None and batch.negative_BK is not None:
        swapped_present_bK = torch.zeros_like(present_bK).index_copy(0, batch.swapped_F, present_NK[len(present_bK) :])
        swapped = SwappedReports(swapped_present_bK, batch.negative_BK)
    reports = objective.gather_report_ids(present_bK, ids)
    attraction = training and config.loss.weight_attraction > 0
    return StepInputs(images_bCHH, buckets, reports, config, seed_rng, swapped, views, attraction)
