"""The training loss over the batch of ALL ranks, without moving a region map.

In: one rank's features, and what is known of its reports. Out: the four terms of the whole batch, the same on every
rank. Regions stay on their rank; the vectors of the texts are gathered, each rank scores its images against all
reports, and of the columns of scores only sums travel (METHOD: the exact large-batch local loss). The equations are
`reference`'s.
"""

# b images or reports of one rank, J reports of all ranks, R regions, K units with padding, M units that are there,
# m of them this rank's, D width

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sentalign import dist
from sentalign.loss import contrast, reference, region_sentence, targets
from sentalign.loss.reference import EPSILON, LossConfig
from sentalign.loss.targets import ReportIds


@dataclass(frozen=True)
class GlobalReports:
    """What every rank knows of the reports of all ranks, before there are features.

    `own` are this rank's marks, `marks` those of all (but for `sentence_hash_JS`, which stay on their rank). The
    packed units of all ranks, in rank order, are taken in the order `order_M`, so that reports of equally many units
    lie together: `groups` counts them. place_JK is where unit k of report j has come to lie, 0 where it is absent.
    own_bJ tells report j that is image i's own.
    """

    own: ReportIds
    own_bJ: Tensor
    marks: ReportIds
    present_bK: Tensor
    sizes: list[int]
    order_M: Tensor
    groups: list[tuple[int, int]]
    place_JK: Tensor


def gather_report_ids(present_bK: Tensor, marks: ReportIds | None = None) -> GlobalReports:
    """Brings together what is known of the reports; every rank must bring as many, with one K."""
    marks = marks or targets.plain(present_bK, dist.rank() * len(present_bK))
    # One message: numbers, hashes and weights as 64-bit integers.
    weight_bK = marks.weight_JK.double().view(torch.int64)
    columns = [marks.study_J[:, None], marks.report_J[:, None], marks.unit_hash_JK, weight_bK, present_bK.long()]
    everyone = dist.gather(torch.cat(columns, dim=1)).split([1, 1, *[present_bK.shape[1]] * 3], dim=1)
    study_J1, report_J1, unit_hash_JK, weight_JK, present_JK = (part.contiguous() for part in everyone)
    said = ReportIds(
        study_J1[:, 0], report_J1[:, 0], marks.sentence_hash_JS[:0], unit_hash_JK, weight_JK.view(torch.float64).float()
    )
    first, count = dist.rank() * len(present_bK), len(present_JK)
    own_bJ = torch.eye(count, dtype=torch.bool, device=present_bK.device)[first : first + len(present_bK)]
    return GlobalReports(marks, own_bJ, said, present_bK, *_layout(present_JK.bool()))


def _layout(present_JK: Tensor) -> tuple[list[int], Tensor, list[tuple[int, int]], Tensor]:
    """Packed units of each rank, their order by group, the groups, and the places of the units in that order."""
    counts_J = present_JK.sum(dim=1)
    first_J = counts_J.cumsum(0) - counts_J
    by_count_J = counts_J.argsort(stable=True)
    report_M = by_count_J.repeat_interleave(counts_J[by_count_J])
    sorted_first_J = torch.empty_like(first_J)
    sorted_first_J[by_count_J] = counts_J[by_count_J].cumsum(0) - counts_J[by_count_J]
    within_M = torch.arange(len(report_M), device=report_M.device) - sorted_first_J[report_M]
    place_JK = (sorted_first_J[:, None] + present_JK.cumsum(dim=1) - 1).masked_fill(~present_JK, 0)
    # The only wait for the device: sizes of messages and of chunks are the host's business.
    counts, sizes = counts_J.tolist(), counts_J.view(dist.ranks(), -1).sum(dim=1).tolist()
    groups = [(counts.count(n), n) for n in sorted(set(counts)) if n]
    return sizes, first_J[report_M] + within_M, groups, place_JK


def four_terms(
    regions_bRD: Tensor,
    image_bD: Tensor,
    units_bKD: Tensor,
    present_bK: Tensor,
    report_bD: Tensor,
    terms: LossConfig,
    reports: GlobalReports | None = None,
) -> dict[str, Tensor]:
    """As `reference.four_terms` on the whole batch; every rank must bring equal shapes.

    Each rank's gradients are W times its share of the gradient of the loss that is returned, so that the mean over
    ranks, which DeepSpeed takes, is that gradient.
    """
    reports = reports or gather_report_ids(present_bK)
    units_MD, report_JD = gather_texts(units_bKD, report_bD, reports)
    local_bM = region_sentence.unit_scores(regions_bRD, units_MD, reports.groups, terms)
    return contrast_terms(local_bM, image_scores(image_bD, report_JD), reports, terms)


def gather_texts(units_bKD: Tensor, report_bD: Tensor, reports: GlobalReports) -> tuple[Tensor, Tensor]:
    """The units of all ranks by group, (M, D), and the report vectors, (J, D). No padding travels."""
    units_mD = units_bKD[reports.present_bK]
    return dist.gather_ragged(units_mD, reports.sizes)[reports.order_M], dist.gather(report_bD)


def image_scores(image_bD: Tensor, report_JD: Tensor) -> Tensor:
    """cos(g_i, q_j) as `reference.image_report_scores`, by one matrix product."""
    lengths_bJ = image_bD.norm(dim=1)[:, None] * report_JD.norm(dim=1)[None]
    return image_bD @ report_JD.T / lengths_bJ.clamp(min=EPSILON)


def contrast_terms(local_bM: Tensor, global_bJ: Tensor, reports: GlobalReports, terms: LossConfig) -> dict[str, Tensor]:
    """The four terms from this rank's rows of scores: cosines with single units, by group, and with reports."""
    own, marks, own_bJ = reports.own, reports.marks, reports.own_bJ
    alike_bJ = targets.alike(own, marks)
    # (b, M) -> (b, J, K)
    units_bJK = local_bM[:, reports.place_JK.flatten()].view(len(local_bM), *reports.place_JK.shape)
    scores_bU, there_bU = reference.local_scores(units_bJK, own_bJ, targets.twins(own, marks), marks, terms)
    valid_b, valid_J = (said.weight_JK.gt(0).any(dim=1) for said in (own, marks))
    of = reference.pairs(alike_bJ, own_bJ, valid_b, valid_J, terms)
    of = (reference.of_units(of, marks) if terms.aggregate == "sentence" else of).among(there_bU)
    local = contrast.both_ways(scores_bU, of, terms, terms.bias_local)
    of = reference.pairs(alike_bJ, own_bJ, torch.ones_like(valid_b), torch.ones_like(valid_J), terms)
    whole = contrast.both_ways(terms.t3 * global_bJ, of, terms, terms.bias_global)
    return {"local_tv": local[0], "local_vt": local[1], "global_tv": whole[0], "global_vt": whole[1]}
