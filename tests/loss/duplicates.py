"""A batch of reports that repeat each other in every way, and what differs between the project's losses and the oracle.

The reports go the way of training: samples are collated to a batch, whose hashes and tags the losses are made of.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from itertools import product
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch

import sentalign.loss.objective
import sentalign.loss.reference
import sentalign.loss.targets
import sentalign.stream.batch
from sentalign.stream.read.fetch import DecodedSample
from sentalign.tokenizer import Row
from tests.loss import oracle
from tests.loss.oracle import Report

NONE, NEGATED, UNCERTAIN = frozenset(), frozenset({"negated"}), frozenset({"uncertain"})
REPORTS = [
    Report("s1", ("a", "b", "c"), (1, 0), (NONE, UNCERTAIN, NONE)),  # c is stored and not drawn
    Report("s1", ("d",), (0,), (NONE,)),  # the same study, another text
    Report("s2", ("a", "b", "c"), (2, None, 1), (NONE, UNCERTAIN, NONE)),  # another patient, the same text
    Report("s3", ("c", "e"), (0,), (NONE, NONE)),  # shares the sentence c, of which the first has drawn nothing
    Report("s4", ("b", "a", "c"), (0, 1), (UNCERTAIN, NONE, NONE)),  # the same sentences in another order
    Report("s5"),  # no sentence
    Report("s6"),  # no sentence either: not the same text
    Report("s7", ("f",), (0,), (NEGATED,)),  # no weight at all where negated sentences have none
    Report("s8", ("g", "h", "a"), (0, 1, 2), (UNCERTAIN, NEGATED | UNCERTAIN, UNCERTAIN)),
]
UNITS, REGIONS, WIDTH = 4, 3, 5
LEARNED = ("t1", "t2", "t3", "tau", "tau_contrast", "bias_global", "bias_local")
TAG_WEIGHTS = {
    "none": {},
    "tags": {"negated": 0.0, "uncertain": 0.5},
    "without [CLS]": {"negated": 0.25, "uncertain": 0.5},  # and w_CLS = 0: a pair may be left with no unit
}


@dataclass(frozen=True)
class Options:
    """One combination of all options of the loss, with the temperatures as leaves for autograd."""

    attention: str
    aggregate: str
    objective: str
    targets: str
    sentence_twins: str
    weights: str
    t1: torch.Tensor
    t2: torch.Tensor
    t3: torch.Tensor
    tau: torch.Tensor
    tau_contrast: torch.Tensor
    bias_global: torch.Tensor
    bias_local: torch.Tensor

    def __str__(self) -> str:
        kinds = (self.attention, self.aggregate, self.objective, self.targets, self.sentence_twins, self.weights)
        return "-".join(kinds)


SCALARS = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (3.0, 2.0, 4.0, 0.3, 0.2, -2.0, -3.0)]
COMBINATIONS = [
    Options(attention, aggregate, *kinds, *SCALARS)
    for (attention, aggregate), *kinds in product(
        (("paper", "lse"), ("cosine", "lse"), ("cosine", "sentence")),
        ("softmax", "sigmoid"), ("own", "multi", "mask"), ("keep", "drop", "soft"), TAG_WEIGHTS,
    )
]  # fmt: skip


class Project(NamedTuple):
    """The modules under test: the real ones, or a mutated copy."""

    batch: ModuleType = sentalign.stream.batch
    targets: ModuleType = sentalign.loss.targets
    reference: ModuleType = sentalign.loss.reference
    objective: ModuleType = sentalign.loss.objective


@cache
def features():
    """v, g, t, q as leaves."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((REGIONS, WIDTH), (WIDTH,), (UNITS, WIDTH), (WIDTH,))
    return [
        torch.randn(len(REPORTS), *size, dtype=torch.float64, generator=generator).requires_grad_() for size in sizes
    ]


@cache
def cosines(attention):
    """The oracle's unit scores, computed once for each attention."""
    v, _, t, _ = features()
    return oracle.unit_cosines(v, t, REPORTS, next(x for x in COMBINATIONS if x.attention == attention))


@cache
def expected(options):
    """The oracle's terms."""
    weights = [oracle.unit_weights(report, TAG_WEIGHTS[options.weights]) for report in REPORTS]
    if options.weights == "without [CLS]":
        weights = [unit | {0: 0.0} for unit in weights]
    _, g, t, q = features()
    return oracle.four_terms(cosines(options.attention), t, g, q, REPORTS, weights, options)


def gradients(terms, leaves):
    """The gradients of a weighted sum of the terms, so that none hides behind another."""
    loss = sum(weight * terms[name].sum() for weight, name in zip((0.5, 0.7, 1.1, 1.3), sorted(terms), strict=True))
    found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if gradient is None else gradient for x, gradient in zip(leaves, found, strict=True)]


def report_ids(project, options):
    """What the losses know of REPORTS, and which units are present, by way of a collated batch."""
    samples, rows = [], []
    for number, report in enumerate(REPORTS):
        hashes = tuple(hashlib.sha256(text.encode()).hexdigest() for text in report.sentences)
        grey = np.zeros((1, 1), np.uint8)
        samples.append(DecodedSample(str(number), grey, report.sentences, report.tags, hashes, "", report.study))
        rows.append(Row([0, 0], [-1, -1], [0 if n is None else 1 for n in report.drawn], [False] * 2))
    drawn = [[n or 0 for n in report.drawn] for report in REPORTS]
    padding = project.batch.Padding(2, UNITS, 0)
    batch = project.batch.collate(samples, rows, drawn, [0] * len(REPORTS), padding)
    bits = {1 << project.batch.TAGS.index(tag): w for tag, w in TAG_WEIGHTS[options.weights].items()}
    present = batch.word_counts_BK > 0
    weight = project.targets.unit_weights(batch.tags_BK, present, bits)
    if options.weights == "without [CLS]":
        weight[:, 0] = 0
    hashes = (batch.sentence_hash_BS, batch.unit_hash_BK)
    return project.targets.ReportIds(batch.study_B, batch.report_B, *hashes, weight), present


def computed(project, path, options):
    """The terms of the reference or of the fast path, and the leaves that they are functions of."""
    ids, present = report_ids(project, options)
    v, g, t, q = (x.detach().clone().requires_grad_() for x in features())
    learned = [x.detach().clone()[None].requires_grad_() for x in SCALARS]
    config = project.reference.LossConfig(
        **{name: getattr(options, name) for name in ("attention", "aggregate", "objective", "targets")},
        sentence_twins=options.sentence_twins, **dict(zip(LEARNED, learned, strict=True)),
    )  # fmt: skip
    if path == "fast path":
        reports = project.objective.gather_report_ids(present, ids)
        terms = project.objective.four_terms(v, g, t[present], q, config, reports)
    else:
        terms = project.reference.four_terms(v, g, t, present, q, config, ids)
    return terms, [v, g, t, q, *learned]


def difference(project, path, options, with_gradients=True, tolerance=1e-11):
    """The first term or gradient that is not the oracle's, as text; "" where all are."""
    (terms, leaves), exact = computed(project, path, options), expected(options)
    pairs = {f"value of {name}": (terms[name], exact[name]) for name in exact}
    if with_gradients:
        names = [f"gradient of {name}" for name in ("v", "g", "t", "q", *LEARNED)]
        both = gradients(terms, leaves), gradients(exact, [*features(), *SCALARS])
        pairs |= dict(zip(names, zip(*both, strict=True), strict=True))
    for name, (one, other) in pairs.items():
        worst = float((one - other.view_as(one)).detach().abs().max())
        if not worst <= tolerance * max(1, float(other.detach().abs().max())):  # so that NaN is a difference
            return f"{path}, {options}: {name}"
    return ""
