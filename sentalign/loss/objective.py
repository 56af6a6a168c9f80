"""The training loss over the batch of ALL ranks, without sending a region map.

In: one rank's features, and the ids of its reports. Out: the four terms of the whole batch, the same on every rank.
Regions stay on their rank; text vectors are gathered, each rank scores its images against all reports, and of the
columns of scores only sums are reduced (docs/method.md, the exact large-batch local loss). The equations are
`reference`'s.
"""

# b images or reports of one rank, J reports of all ranks, R regions, K units with padding, m units of one rank without
# padding, M of all ranks, D width

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign import dist
from sentalign.loss import contrast, reference, region_sentence
from sentalign.loss.reference import EPSILON, LossConfig, PairScores
from sentalign.loss.targets import ReportIds


@dataclass(frozen=True)
class GlobalReports:
    """What every rank knows of the reports of all ranks, before there are features.

    `gathered` has the ids of all ranks' reports without `sentence_hash_JS`, which stay on their rank in `own`. own_bJ
    marks each image's own report. Packed units of all ranks, sizes[rank] of each rank, are sorted by order_M, so that
    reports with equally many units are neighbours: `groups` are (reports, units of each). place_JK is the sorted
    position of unit k of report j, 0 where it is absent. present_bK marks the units of this rank's reports.
    """

    own: ReportIds
    present_bK: Tensor
    gathered: ReportIds
    own_bJ: Tensor
    sizes: list[int]
    order_M: Tensor
    groups: list[tuple[int, int]]
    place_JK: Tensor

    def own_units(self, units_MD: Tensor, rows: slice | list[int]) -> Tensor:
        """The units of the reports of some of this rank's rows, (., K, D), of the units of all ranks."""
        return units_MD[self.place_JK.chunk(dist.ranks())[dist.rank()][rows]]


def gather_report_ids(present_bK: Tensor, ids: ReportIds) -> GlobalReports:
    """Gathers the ids of all ranks' reports; every rank must bring as many reports, with one K."""
    # One message: ids, hashes and weights as 64-bit integers.
    weight_bK = ids.weight_JK.double().view(torch.int64)
    columns = [ids.study_J[:, None], ids.report_J[:, None], ids.unit_hash_JK, weight_bK, present_bK.long()]
    parts = dist.gather(torch.cat(columns, dim=1)).split([1, 1, *[present_bK.shape[1]] * 3], dim=1)
    study_J1, report_J1, unit_hash_JK, weight_JK, present_JK = (part.contiguous() for part in parts)
    weight_JK = weight_JK.view(torch.float64).float()
    gathered = ReportIds(study_J1[:, 0], report_J1[:, 0], ids.sentence_hash_JS[:0], unit_hash_JK, weight_JK)
    own_bJ = torch.eye(len(study_J1), dtype=torch.bool, device=present_bK.device).chunk(dist.ranks())[dist.rank()]
    return GlobalReports(ids, present_bK, gathered, own_bJ, *_layout(present_JK.bool()))


def _layout(present_JK: Tensor) -> tuple[list[int], Tensor, list[tuple[int, int]], Tensor]:
    """Units of each rank, their order by the number of units of their report, the groups, and the sorted positions."""
    counts_J = present_JK.sum(dim=1)
    order_M = counts_J.repeat_interleave(counts_J).argsort(stable=True)
    place_JK = torch.zeros_like(present_JK, dtype=torch.int64).masked_scatter(present_JK, order_M.argsort())
    # Waits for the device: the host needs the sizes of messages and of chunks.
    counts, sizes = counts_J.tolist(), counts_J.view(dist.ranks(), -1).sum(dim=1).tolist()
    return sizes, order_M, [(counts.count(n), n) for n in sorted(set(counts)) if n], place_JK


def four_terms(
    regions_bRD: Tensor,
    image_bD: Tensor,
    units_mD: Tensor,
    report_bD: Tensor,
    config: LossConfig,
    reports: GlobalReports,
) -> dict[str, Tensor]:
    """As `reference.four_terms` on the whole batch, from packed units; every rank must bring as many rows.

    Each rank's gradients are W times its share of the gradient of the returned loss, so that the mean over ranks, which
    DeepSpeed takes, is that gradient.
    """
    return terms_with_texts(regions_bRD, image_bD, *gather_texts(units_mD, report_bD, reports), config, reports)


def terms_with_texts(
    regions_bRD: Tensor,
    image_bD: Tensor,
    units_MD: Tensor,
    report_JD: Tensor,
    config: LossConfig,
    reports: GlobalReports,
) -> dict[str, Tensor]:
    """`four_terms` with the texts of all ranks."""
    local_bM = region_sentence.unit_scores(regions_bRD, units_MD, reports.groups, config)
    return contrast_terms(local_bM, image_scores(image_bD, report_JD), units_MD, reports, config)


def gather_texts(units_mD: Tensor, report_bD: Tensor, reports: GlobalReports) -> tuple[Tensor, Tensor]:
    """The units of all ranks sorted by group, (M, D), and the report vectors, (J, D). No padding is sent."""
    return dist.gather_ragged(units_mD, reports.sizes)[reports.order_M], dist.gather(report_bD)


def image_scores(image_bD: Tensor, report_JD: Tensor) -> Tensor:
    """cos(g_i, q_j) by one matrix product."""
    lengths_bJ = image_bD.norm(dim=1)[:, None] * report_JD.norm(dim=1)[None]
    return image_bD @ report_JD.T / lengths_bJ.clamp(min=EPSILON)


def contrast_terms(
    local_bM: Tensor, global_bJ: Tensor, units_MD: Tensor, reports: GlobalReports, config: LossConfig
) -> dict[str, Tensor]:
    """The four terms from this rank's rows of scores: cosines with single units, sorted by group, and with reports."""
    scores = PairScores(by_report(local_bM, reports), global_bJ, reports.own, reports.gathered, reports.own_bJ)
    if config.sentence_twins == "soft":
        scores = scores._replace(likeness_IJK=by_report(sentence_likeness(units_MD, reports), reports))
    return reference.contrast_terms(scores, config, contrast.contrast)


@torch.no_grad()
def sentence_likeness(units_MD: Tensor, reports: GlobalReports) -> Tensor:
    """`reference.sentence_likeness` of this rank's images and packed units, (b, M); a sentence of each image at a time.

    No (b, K, M) in memory, and no collective: every rank has the units of all.
    """
    s_MD = F.normalize(units_MD, dim=1, eps=EPSILON)
    s_bKD = reports.own_units(s_MD, slice(None)) * (reports.own.weight_JK > 0)[:, :, None]
    likeness_bM = s_MD.new_zeros(len(s_bKD), len(s_MD))
    for s_bD in s_bKD.unbind(1)[1:]:
        torch.maximum(likeness_bM, s_bD @ s_MD.T, out=likeness_bM)
    return likeness_bM.clamp_(max=1).index_fill_(1, reports.place_JK[:, 0], 0)  # [CLS] is no sentence


def by_report(local_bM: Tensor, reports: GlobalReports) -> Tensor:
    """Scores with packed units, sorted by group, (b, M), as (b, J, K); the first unit's where a unit is absent."""
    return local_bM[:, reports.place_JK.flatten()].view(len(local_bM), *reports.place_JK.shape)
