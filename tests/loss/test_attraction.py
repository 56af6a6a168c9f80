"""Attraction of the best regions: reference and fast path against the oracle, in value and in every gradient."""

from __future__ import annotations

import importlib

import pytest
import torch

from sentalign.loss import own_pairs, own_pairs_reference, targets
from tests.loss import oracle
from tests.loss.cases import features

COUNTS = {0.2: 2, 0.3: 3, 1 / 3: 3, 1.0: 9, 0.01: 1}  # of 9 regions


def batch():
    """v, t, present and weights: absent units and two sentences have none; report 4 has no weight at all."""
    v, _, t, present, _ = features()
    weight = torch.rand(present.shape, generator=torch.Generator().manual_seed(5), dtype=t.dtype) * present
    weight[4], weight[1, 1], weight[6, 1] = 0, 0, 0
    return v, t, present, weight


def by_reference(v, t, weight, share):
    return own_pairs_reference.attraction_term(v, t, weight, share)


def by_fast_path(v, t, weight, share, own_pairs=own_pairs, targets=targets):
    """As a step does it, on one rank."""
    weight = targets.sentence_weights(weight)
    return own_pairs.mean_over_ranks(own_pairs.distances(v, t, share), weight, weight.sum())


def by_oracle(v, t, weight, share):
    weights = {(i, k): weight[i, k] for i, k in (weight > 0).nonzero().tolist() if k > 0}
    return oracle.attraction_term(v, t, weights, COUNTS[share])


def value_and_gradients(term, share, given=None):
    v, t, _, weight = given or batch()
    leaves = [x.detach().clone().requires_grad_() for x in (v, t)]
    value = term(*leaves, weight, share).reshape(())
    return value, torch.autograd.grad(value, leaves, allow_unused=True) if value.requires_grad else []


@pytest.mark.parametrize("term", [by_reference, by_fast_path])
@pytest.mark.parametrize("share", COUNTS)
def test_value_and_gradients_equal_the_oracle(share, term):
    (value, gradients), (exact, expected) = value_and_gradients(term, share), value_and_gradients(by_oracle, share)
    torch.testing.assert_close(value, exact, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
        assert other.abs().max() > 1e-3


@pytest.mark.parametrize("term", [by_reference, by_fast_path])
def test_only_the_best_regions_are_moved_and_towards_the_sentence(term):
    v, t, present, weight = batch()
    gradient = value_and_gradients(term, 0.2, (v, t, present, weight * (torch.arange(5) == 2)))[1][0][1]
    cosines = torch.cosine_similarity(v[1], t[1, 2][None], dim=1)
    moved = torch.cosine_similarity(v[1] - 1e-3 * gradient, t[1, 2][None], dim=1)
    best = cosines.argsort(descending=True)[:2]
    assert set((gradient.abs().sum(1) > 0).nonzero()[:, 0].tolist()) == set(best.tolist())
    assert (moved[best] > cosines[best]).all()


@pytest.mark.parametrize("term", [by_reference, by_fast_path])
def test_without_weights_or_length_values_and_gradients_are_finite(term):
    v, t, present, weight = batch()
    value, gradients = value_and_gradients(term, 0.2, (v, t, present, weight * 0))
    assert value.item() == 0
    assert all(x is None or x.isfinite().all() for x in gradients)
    v[0, 2], t[1, 2] = 0, 0
    value, gradients = value_and_gradients(term, 1.0, (v, t, present, weight))
    assert value.isfinite()
    assert all(x.isfinite().all() for x in gradients)


def test_the_number_of_regions_is_rounded_up_and_not_by_rounding_errors():
    """0.07 x 100 is 7.000000000000001 in floating point."""
    v, t = torch.randn(1, 100, 4, dtype=torch.float64), torch.randn(1, 2, 4, dtype=torch.float64)
    cosines = torch.cosine_similarity(v[0], t[0, 1][None], dim=1).sort(descending=True).values
    for share, count in ((0.07, 7), (0.071, 8), (0.2, 20)):
        expected = 1 - cosines[:count].mean()
        for term in (by_reference, by_fast_path):
            assert float(term(v, t, torch.ones(1, 2), share)) == pytest.approx(float(expected), abs=1e-12)


# rule -> module, source, mutated source
MUTANTS = {
    "the worst regions are attracted": ("own_pairs", "topk(count, dim=2)", "topk(count, dim=2, largest=False)"),
    "all regions are attracted": ("own_pairs", ".topk(count, dim=2).values.mean", ".mean"),
    "the number of regions is rounded down": ("own_pairs", "math.ceil(round(", "int(round("),
    "distances are similarities": ("own_pairs", "return 1 - cosines", "return cosines"),
    "distances are summed over the regions": ("own_pairs", ".values.mean(dim=2)", ".values.sum(dim=2)"),
    "lengths of sentences count": ("own_pairs", "_lengths(v_mRD) / lengths_mK1", "_lengths(v_mRD)"),
    "lengths of regions count": ("own_pairs", "/ _lengths(v_mRD) / lengths_mK1", "/ lengths_mK1"),
    "weights are ignored": ("own_pairs", "(weight_bK * values_bK)", "((weight_bK > 0) * values_bK)"),
    "the term is a sum": ("own_pairs", ".sum()) / total.clamp(min=EPSILON)", ".sum())"),
    "[CLS] is a sentence": ("targets", "torch.cat([torch.zeros_like(weight_JK[:, :1]), weight_JK[:, 1:]], dim=1)",
                            "weight_JK"),
    "by reference: [CLS] is a sentence": ("own_pairs_reference", "weight_BK[:, 1:].to(v_BRD)",
                                          "weight_BK[:, :-1].to(v_BRD)"),
    "by reference: the worst regions are attracted": ("own_pairs_reference", "descending=True", "descending=False"),
    "by reference: the number of regions is rounded down": ("own_pairs_reference", "> share - 1e-9", "> share - 0.1"),
}  # fmt: skip


@pytest.mark.parametrize("rule", MUTANTS)
def test_the_oracle_kills_the_mutant(rule, copied):
    project = copied(*MUTANTS[rule])
    package = project.reference.__name__.rpartition(".")[0]
    own_pairs, specification = (
        importlib.import_module(f"{package}.{name}") for name in ("own_pairs", "own_pairs_reference")
    )

    def mutated(*given):
        if "by reference" in rule:
            return specification.attraction_term(*given)
        return by_fast_path(*given, own_pairs=own_pairs, targets=project.targets)

    pairs = [(value_and_gradients(mutated, x)[0], value_and_gradients(by_oracle, x)[0]) for x in (0.2, 0.3)]
    assert any(abs(one.item() - other.item()) > 1e-6 for one, other in pairs)
