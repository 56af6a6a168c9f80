"""Which reports say the same, and what that makes of a pair: partner, stranger, or left out.

In: what is known of the reports of a batch (`ReportIds`). Out: masks of image-report and image-unit pairs, as METHOD
defines them ("Where a larger true batch and better targets lead", 1). What is done with the masks is in `reference`.
"""

# I images of one rank (or of all), J reports of all ranks, S sentences of a stored report, K units (k = 0 is [CLS])

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class ReportIds(NamedTuple):
    """What is known of each report; equal numbers mean equal things (64 bits of a sha256).

    study_J; report_J, the ordered hashes of the full stored report, 0 where it has no sentence; sentence_hash_JS, the
    hash of each sentence of the full stored report, 0 for padding; unit_hash_JK, the hash of each unit, 0 for [CLS]
    and absent ones; weight_JK, how much a unit counts in the local terms (float, 0 for absent ones).
    """

    study_J: Tensor
    report_J: Tensor
    sentence_hash_JS: Tensor
    unit_hash_JK: Tensor
    weight_JK: Tensor


def plain(present_JK: Tensor, first: int = 0) -> ReportIds:
    """Marks of reports of which nothing is known: each is alone in what it says, and all its units count alike.

    `first` is the number of the first of them among the reports of all ranks.
    """
    own_J = first + torch.arange(1, len(present_JK) + 1, device=present_JK.device)
    none_JK = torch.zeros_like(present_JK, dtype=torch.int64)
    return ReportIds(own_J, own_J, none_JK[:, :0], none_JK, present_JK.float())


def alike(images: ReportIds, reports: ReportIds) -> Tensor:
    """P_ij, (I, J): the same study, or the same ordered sentences (across patients too)."""
    same_study = images.study_J[:, None] == reports.study_J[None]
    same_text = (images.report_J[:, None] == reports.report_J[None]) & (reports.report_J != 0)[None]
    return same_study | same_text


def twins(images: ReportIds, reports: ReportIds) -> Tensor:
    """(I, J, K): unit k of report j stands word for word in the full stored report of image i."""
    found = torch.zeros(
        (len(images.sentence_hash_JS), *reports.unit_hash_JK.shape),
        dtype=torch.bool,
        device=reports.unit_hash_JK.device,
    )
    for said_I in images.sentence_hash_JS.unbind(1):  # one sentence of every image at a time: no (I, S, J, K) in memory
        found |= said_I[:, None, None] == reports.unit_hash_JK[None]
    return found & (reports.unit_hash_JK != 0)[None]


def weights(tags_JK: Tensor, present_JK: Tensor, tag_weights: Mapping[int, float]) -> Tensor:
    """w_jk: the smallest of the weights of a sentence's tags (bits of `tags_JK`), 1 without one; 0 where absent.

    w of [CLS] is the largest of its report's sentences, 1 where there is none (METHOD: sentence weights from tags).
    """
    made_JK = present_JK.to(torch.float32)
    for bit, weight in tag_weights.items():
        made_JK = torch.where(tags_JK & bit != 0, made_JK.clamp(max=weight), made_JK)
    sentences_JK, there_JK = made_JK[:, 1:], present_JK[:, 1:]
    if sentences_JK.shape[1]:
        made_JK[:, 0] = torch.where(there_JK.any(dim=1), sentences_JK.amax(dim=1), made_JK[:, 0])
    return made_JK
