"""The duplicate-aware rules: which reports and sentences repeat each other, and which pairs are positive or left out.

In: hashes and tags of the reports of a batch (`ReportIds`). Out: masks of image-report and image-unit pairs and the
weights of units (docs/method.md, duplicate-aware targets). The contrast over the masks is not here.
"""

# I images of one rank (or of all), J reports of all ranks, S sentences of a stored report, K units (k = 0 is [CLS])
# U columns of a contrast: reports, or single units (j, k) in that order

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class ReportIds(NamedTuple):
    """What identifies each report and its sentences: equal integers mean equal texts (64 bits of a sha256)."""

    study_J: Tensor
    report_J: Tensor  # of the ordered sentences of the full stored report, 0 where it has none
    sentence_hash_JS: Tensor  # of each sentence of the full stored report, 0 is padding
    unit_hash_JK: Tensor  # of each unit, 0 for [CLS] and absent units
    weight_JK: Tensor  # float, of each unit in the local terms, 0 for absent units


class PairMask(NamedTuple):
    """Images against columns (reports, or single units): positive pairs, pairs that take part, weights of columns."""

    positive_IU: Tensor
    kept_IU: Tensor
    weight_U: Tensor  # 0: the column takes no part


def same_report(images: ReportIds, reports: ReportIds) -> Tensor:
    """P_ij, (I, J): the same study, or the same ordered sentences (across patients too)."""
    same_study = images.study_J[:, None] == reports.study_J[None]
    same_text = (images.report_J[:, None] == reports.report_J[None]) & (reports.report_J != 0)[None]
    return same_study | same_text


def shared_sentences(images: ReportIds, reports: ReportIds) -> Tensor:
    """(I, J, K): unit k of report j occurs word for word in the full stored report of image i."""
    unit_JK = reports.unit_hash_JK
    shared_IJK = unit_JK.new_zeros((len(images.study_J), *unit_JK.shape), dtype=torch.bool)
    for hash_I in images.sentence_hash_JS.unbind(1):  # one sentence of every image at a time: no (I, S, J, K) in memory
        shared_IJK |= hash_I[:, None, None] == unit_JK[None]
    return shared_IJK & (unit_JK != 0)[None]


def pair_mask(images: ReportIds, reports: ReportIds, own_IJ: Tensor, targets: str) -> PairMask:
    """Image-report pairs under `targets`: own, multi or mask; own_IJ marks each image's own report."""
    same_IJ = same_report(images, reports)
    kept_IJ = own_IJ | ~same_IJ if targets == "mask" else torch.ones_like(own_IJ)
    return PairMask(same_IJ if targets == "multi" else own_IJ, kept_IJ, reports.weight_JK.new_ones(own_IJ.shape[1]))


def pair_weights(images: ReportIds, reports: ReportIds, own_IJ: Tensor, sentence_twins: str) -> Tensor:
    """w_ijk, (I, J, K): the unit's weight; 0 where image or report has no weight at all.

    Under `sentence_twins` = drop, the sentences of another report that the image's own report has too get 0.
    """
    weight_IJK = reports.weight_JK * images.weight_JK.gt(0).any(dim=1)[:, None, None]
    if sentence_twins == "drop":
        weight_IJK = weight_IJK.masked_fill(shared_sentences(images, reports) & ~own_IJ[:, :, None], 0)
    return weight_IJK


def twin_weights(images: ReportIds, reports: ReportIds, positive_IJ: Tensor, likeness_IJK: Tensor) -> Tensor:
    """f_ijk = (1 - s_ijk)^2, (I, J, K), by which a negative counts in the denominators under `sentence_twins` = soft.

    0 where image i's report has the sentence word for word, whatever its vectors; 1 of pairs that are positive.
    """
    weight_IJK = (1 - likeness_IJK).square().masked_fill(shared_sentences(images, reports), 0)
    return weight_IJK.masked_fill(positive_IJ[:, :, None], 1)


def sentence_weights(weight_JK: Tensor) -> Tensor:
    """The weights of units without that of [CLS], which is no sentence."""
    return torch.cat([torch.zeros_like(weight_JK[:, :1]), weight_JK[:, 1:]], dim=1)


def unit_weights(tags_JK: Tensor, present_JK: Tensor, tag_weights: Mapping[int, float]) -> Tensor:
    """w_jk: the smallest of the weights of a sentence's tags (bits of `tags_JK`), 1 without one; 0 where absent.

    w of [CLS] is the largest of its report's sentences, 1 where there is none.
    """
    weight_JK = present_JK.to(torch.float32)
    for bit, weight in tag_weights.items():
        weight_JK = torch.where(tags_JK & bit != 0, weight_JK.clamp(max=weight), weight_JK)
    sentences_JK = weight_JK[:, 1:]
    if sentences_JK.shape[1]:
        weight_JK[:, 0] = torch.where(present_JK[:, 1:].any(dim=1), sentences_JK.amax(dim=1), weight_JK[:, 0])
    return weight_JK
