"""Batches of made-up features and marks: ragged units, reports and sentences that repeat, units of no weight."""

from __future__ import annotations

from itertools import product

import torch

from sentalign.loss.reference import LossConfig
from sentalign.loss.targets import ReportIds

ATTENTIONS = [("paper", "lse"), ("cosine", "lse"), ("cosine", "sentence")]
# Every attention with every objective, every kind of target, with and without twins.
ALL = [
    LossConfig(
        attention, aggregate, objective, targets, twins,
        t1=3.0, t2=2.0, t3=4.0, tau=0.3, bias_global=-2.0, bias_local=-3.0,
    )
    for (attention, aggregate), objective, targets, twins in product(
        ATTENTIONS, ("softmax", "sigmoid"), ("own", "multi", "mask"), ("keep", "drop")
    )
]  # fmt: skip


def name(terms: LossConfig) -> str:
    return f"{terms.attention}-{terms.aggregate}-{terms.objective}-{terms.targets}-{terms.sentence_twins}"


def features(batch=8, regions=9, units=5, width=7, dtype=torch.float64, seed=0):
    """v, g, t, present, q; [CLS] is always there, some reports have no sentence at all."""
    made = torch.Generator().manual_seed(seed)
    v, g, t, q = (
        torch.randn(*shape, dtype=dtype, generator=made)
        for shape in ((batch, regions, width), (batch, width), (batch, units, width), (batch, width))
    )
    counts = torch.randint(1, units + 1, (batch,), generator=made)
    counts[:3] = torch.tensor([1, units, 2])[:batch]
    present = torch.arange(units)[None] < counts[:, None]
    return v, g, t, present, q


def marks(present, seed=0, vocabulary=5, weighted=True):
    """Marks of reports that draw their sentences from a small vocabulary, so that sentences and reports repeat.

    Stored reports say more than the units. Report 4 has no weight, as if all of its tags were to be left out.
    """
    made = torch.Generator().manual_seed(seed)
    batch, units = present.shape
    study = torch.randint(1, max(2, batch - 2), (batch,), generator=made)
    unit = torch.randint(1, vocabulary + 1, (batch, units), generator=made) * present
    unit[:, 0] = 0
    said = torch.cat([unit[:, 1:], torch.randint(0, vocabulary + 1, (batch, 1), generator=made)], dim=1)
    # A hash of an ordered list: 0 for an empty one.
    report = (said * 10 ** torch.arange(said.shape[1])).sum(1)
    if batch > 6:  # twins: reports 5 and 6 are the same, word for word
        said[6], report[6], unit[6] = said[5], report[5], unit[5] * present[6]
    weight = torch.ones(batch, units, dtype=torch.float32)
    if weighted:
        weight = torch.randint(0, 3, (batch, units), generator=made) / 2
        weight[:, 0] = 1.0
        if batch > 4:
            weight[4] = 0
    return ReportIds(study, report, said, unit, weight * present)
