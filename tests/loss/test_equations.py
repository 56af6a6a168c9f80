"""The terms against loops written straight from the formulas of METHOD, in value and in every gradient."""

from __future__ import annotations

import math

import pytest
import torch

from sentalign.loss import reference
from sentalign.loss.reference import LossConfig

PAPER = LossConfig(t1=4.0, t2=5.0, t3=10.0)
ALL = [
    PAPER,
    LossConfig(t1=2.0, t2=10.0, t3=5.0),
    LossConfig(attention="cosine", tau=0.2),
    LossConfig(attention="cosine", aggregate="sentence", tau=0.1),
]


def features(batch=5, regions=6, units=4, width=7, dtype=torch.float64, seed=0):
    """v, g, t, present, q with ragged units; [CLS] is always there, one report has no sentence at all."""
    torch.manual_seed(seed)
    v, g, t, q = (
        torch.randn(*s, dtype=dtype)
        for s in ((batch, regions, width), (batch, width), (batch, units, width), (batch, width))
    )
    counts = torch.tensor([1, units, 2, 3, 2][:batch])
    present = torch.arange(units)[None] < counts[:, None]
    return [x.requires_grad_() for x in (v, g, t)] + [present, q.requires_grad_()]


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def cos(x, y):
    return dot(x, y) / torch.clamp(torch.sqrt(dot(x, x)) * torch.sqrt(dot(y, y)), min=1e-8)


def softmax(values):
    top = max(float(value) for value in values)
    powers = [torch.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


def cross_entropy(row, target):
    """-log softmax(row)[target], entry by entry."""
    top = max(float(value) for value in row)
    return torch.log(sum(torch.exp(value - top) for value in row)) + top - row[target]


def mean(values):
    return sum(values) / len(values)


def looped_paper(v, g, t, present, q, terms):
    """The paper mode, one scalar at a time."""
    batch = range(len(v))
    score = [[None for _ in batch] for _ in batch]
    for i in batch:
        for j in batch:
            units = [t[j][k] for k in range(t.shape[1]) if present[j, k]]
            e = [[dot(region, unit) for unit in units] for region in v[i]]
            p = [softmax(row) for row in e]
            powers = []
            for k, unit in enumerate(units):
                a = softmax([terms.t1 * p[r][k] for r in range(len(v[i]))])
                c = [sum(a[r] * v[i][r][d] for r in range(len(v[i]))) for d in range(v.shape[2])]
                powers.append(torch.exp(terms.t2 * cos(c, unit)))
            score[i][j] = terms.t3 * torch.log(sum(powers))
    globals_ = [[terms.t3 * cos(g[i], q[j]) for j in batch] for i in batch]
    return {
        "local_tv": mean([cross_entropy(score[i], i) for i in batch]),
        "local_vt": mean([cross_entropy([score[i][j] for i in batch], j) for j in batch]),
        "global_tv": mean([cross_entropy(globals_[i], i) for i in batch]),
        "global_vt": mean([cross_entropy([globals_[i][j] for i in batch], j) for j in batch]),
    }


def looped_sentences(v, g, t, present, q, terms):
    """Cosine attention, one contrast a unit."""
    batch = range(len(v))
    unit_of = [(j, k) for j in batch for k in range(t.shape[1]) if present[j, k]]
    score = {}
    for i in batch:
        u = [[x / torch.sqrt(dot(region, region)) for x in region] for region in v[i]]
        for j, k in unit_of:
            length = torch.sqrt(dot(t[j][k], t[j][k]))
            s = [x / length for x in t[j][k]]
            a = softmax([dot(region, s) / terms.tau for region in u])
            c = [sum(a[r] * u[r][d] for r in range(len(u))) for d in range(len(s))]
            score[i, j, k] = cos(c, s) / terms.tau
    rows = [[score[i, j, k] for j, k in unit_of] for i in batch]
    own = [[n for n, (j, _) in enumerate(unit_of) if j == i] for i in batch]
    globals_ = [[terms.t3 * cos(g[i], q[j]) for j in batch] for i in batch]
    return {
        "local_tv": mean([mean([cross_entropy(rows[i], n) for n in own[i]]) for i in batch]),
        "local_vt": mean([cross_entropy([score[i, j, k] for i in batch], j) for j, k in unit_of]),
        "global_tv": mean([cross_entropy(globals_[i], i) for i in batch]),
        "global_vt": mean([cross_entropy([globals_[i][j] for i in batch], j) for j in batch]),
    }


def gradients(value, inputs):
    return torch.autograd.grad(value, [x for x in inputs if x.requires_grad])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    ("terms", "looped"), [(PAPER, looped_paper), (ALL[1], looped_paper), (ALL[3], looped_sentences)]
)
def test_terms_and_gradients_equal_the_loops(terms, looped, dtype, tolerance):
    exact = features()
    said = looped(*exact, terms)
    given = [x.detach().to(dtype).requires_grad_() if x.is_floating_point() else x for x in exact]
    made = reference.four_terms(*given, terms)
    for name in said:
        assert abs(float(made[name] - said[name])) <= tolerance * max(1, abs(float(said[name]))), name
    for fast, slow in zip(
        gradients(reference.total(made, 0.7, 1.3), given),
        gradients(reference.total(said, 0.7, 1.3), exact),
        strict=True,
    ):
        assert (fast - slow).abs().max() <= tolerance * max(1, float(slow.abs().max()))


@pytest.mark.parametrize("terms", ALL)
def test_padding_never_takes_part(terms):
    v, g, t, present, q = features()
    noisy = torch.where(present[:, :, None], t, 1e3 * torch.randn_like(t))
    one, other = reference.four_terms(v, g, t, present, q, terms), reference.four_terms(v, g, noisy, present, q, terms)
    torch.testing.assert_close(list(one.values()), list(other.values()))


def test_a_report_of_one_unit_looks_everywhere_alike():
    """Without the [CLS] unit a one-sentence report has p = 1 everywhere (METHOD)."""
    v, t = torch.randn(2, 6, 4), torch.randn(2, 1, 4)
    a = reference.paper_attention(v, t, torch.ones(2, 1, dtype=torch.bool), 4.0)
    torch.testing.assert_close(a, torch.full_like(a, 1 / 6))


def test_scores_of_no_use_give_the_logarithm_of_the_batch():
    """Equal images say nothing about the report: the cross entropy is log B."""
    v, g, t, present, q = features(batch=4)
    v, g = v[:1].expand(4, -1, -1), g[:1].expand(4, -1)
    made = reference.four_terms(v, g, t, present, q, PAPER)
    assert float(made["local_vt"]) == pytest.approx(math.log(4))
    assert float(made["global_vt"]) == pytest.approx(math.log(4))


def test_a_zero_vector_has_a_finite_gradient():
    v, g, t, present, q = features()
    with torch.no_grad():
        g[0] = 0
    found = gradients(reference.total(reference.four_terms(v, g, t, present, q, PAPER)), (v, g, t, q))
    assert all(torch.isfinite(x).all() for x in found)
