"""Batches of random features and report ids: ragged units, reports and sentences that repeat, units without weight."""

from __future__ import annotations

from itertools import product

import torch

from sentalign.loss import objective
from sentalign.loss.reference import LossConfig
from sentalign.loss.targets import ReportIds

ATTENTIONS = [("paper", "lse"), ("cosine", "lse"), ("cosine", "sentence")]
# Every attention with every objective and every kind of target, shared sentences kept and dropped; some soft ones.
CONFIGS = [
    LossConfig(
        attention, aggregate, objective_, targets, sentence_twins,
        t1=3.0, t2=2.0, t3=4.0, tau=0.3, tau_contrast=0.2, bias_global=-2.0, bias_local=-3.0,
    )
    for (attention, aggregate), (objective_, targets, sentence_twins) in product(
        ATTENTIONS,
        [
            *product(("softmax", "sigmoid"), ("own", "multi", "mask"), ("keep", "drop")),
            ("softmax", "own", "soft"), ("softmax", "multi", "soft"), ("sigmoid", "multi", "soft"),
        ],
    )
]  # fmt: skip
LEARNED = ("t1", "t2", "t3", "tau", "tau_contrast", "bias_global", "bias_local")


def name(config: LossConfig) -> str:
    kinds = (config.attention, config.aggregate, config.objective, config.targets, config.sentence_twins)
    return "-".join(kinds)


def learned_scalars(config, dtype):
    """Leaves of all temperatures and biases that the configuration has."""
    values = {key: getattr(config, key) for key in LEARNED}
    return {key: torch.tensor([x], dtype=dtype, requires_grad=True) for key, x in values.items() if x is not None}


def features(batch=8, regions=9, units=5, width=7, dtype=torch.float64, seed=0):
    """v, g, t, present, q; [CLS] is always present, some reports have no sentence at all."""
    generator = torch.Generator().manual_seed(seed)
    v, g, t, q = (
        torch.randn(*shape, dtype=dtype, generator=generator)
        for shape in ((batch, regions, width), (batch, width), (batch, units, width), (batch, width))
    )
    counts = torch.randint(1, units + 1, (batch,), generator=generator)
    counts[:3] = torch.tensor([1, units, 2])[:batch]
    present = torch.arange(units)[None] < counts[:, None]
    return v, g, t, present, q


def report_ids(present, seed=0, vocabulary=5, weighted=True):
    """Ids of reports that draw their sentences from a small vocabulary, so that sentences and reports repeat.

    Stored reports have sentences beside the units. Report 4 has no weight, as if all of its tags had weight 0.
    """
    generator = torch.Generator().manual_seed(seed)
    batch, units = present.shape
    study = torch.randint(1, max(2, batch - 2), (batch,), generator=generator)
    unit = torch.randint(1, vocabulary + 1, (batch, units), generator=generator) * present
    unit[:, 0] = 0
    extra = torch.randint(0, vocabulary + 1, (batch, 1), generator=generator)
    sentences = torch.cat([unit[:, 1:], extra], dim=1)
    # A hash of an ordered list: 0 for an empty one.
    report = (sentences * 10 ** torch.arange(sentences.shape[1])).sum(1)
    if batch > 6:  # reports 5 and 6 have the same text
        sentences[6], report[6], unit[6] = sentences[5], report[5], unit[5] * present[6]
    weight = torch.ones(batch, units, dtype=torch.float32)
    if weighted:
        weight = torch.randint(0, 3, (batch, units), generator=generator) / 2
        weight[:, 0] = 1.0
        if batch > 4:
            weight[4] = 0
    return ReportIds(study, report, sentences, unit, weight * present)


def distinct_reports(present):
    """Ids of reports that repeat nothing, with weights of 1."""
    own, none = torch.arange(1, len(present) + 1), torch.zeros_like(present, dtype=torch.int64)
    return ReportIds(own, own, none[:, :0], none, present.float())


def fast_terms(v, g, t, present, q, config, ids):
    """The fast path, with the arguments of `reference.four_terms`."""
    return objective.four_terms(v, g, t[present], q, config, objective.gather_report_ids(present, ids))
