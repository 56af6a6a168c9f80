"""Properties of the reference that the formulas promise: padding, single units, useless scores, zero vectors."""

from __future__ import annotations

import math

import pytest
import torch

from sentalign.loss import reference
from sentalign.loss.reference import LossConfig
from tests.loss.cases import distinct_reports, features

PAPER = LossConfig()
CONFIGS = [PAPER, LossConfig(attention="cosine"), LossConfig(attention="cosine", aggregate="sentence")]


@pytest.mark.parametrize("config", CONFIGS)
def test_padding_never_takes_part(config):
    v, g, t, present, q = features()
    noisy = torch.where(present[:, :, None], t, 1e3 * torch.randn_like(t))
    one = reference.four_terms(v, g, t, present, q, config, distinct_reports(present))
    other = reference.four_terms(v, g, noisy, present, q, config, distinct_reports(present))
    torch.testing.assert_close(list(one.values()), list(other.values()))


def test_a_report_of_one_unit_has_a_uniform_attention():
    """Without the [CLS] unit a one-sentence report has p = 1 everywhere (docs/method.md)."""
    v, t = torch.randn(2, 6, 4), torch.randn(2, 1, 4)
    a = reference.paper_attention(v, t, torch.ones(2, 1, dtype=torch.bool), 4.0)
    torch.testing.assert_close(a, torch.full_like(a, 1 / 6))


def test_equal_images_give_the_logarithm_of_the_batch():
    """They say nothing about the report: the cross entropy is log B."""
    v, g, t, present, q = features(batch=4)
    v, g = v[:1].expand(4, -1, -1), g[:1].expand(4, -1)
    terms = reference.four_terms(v, g, t, present, q, PAPER, distinct_reports(present))
    assert float(terms["local_vt"]) == pytest.approx(math.log(4))
    assert float(terms["global_vt"]) == pytest.approx(math.log(4))


def test_a_zero_vector_has_a_finite_gradient():
    v, g, t, present, q = features()
    g[0] = 0
    leaves = [x.requires_grad_() for x in (v, g, t, q)]
    terms = reference.four_terms(v, g, t, present, q, PAPER, distinct_reports(present))
    gradients = torch.autograd.grad(reference.total(terms), leaves)
    assert all(torch.isfinite(x).all() for x in gradients)
