"""Swapped sentences as negatives: reference and fast path against the oracle, in value and in every gradient."""

from __future__ import annotations

import importlib

import pytest
import torch

from sentalign.loss import own_pairs, own_pairs_reference, reference, side_swap
from sentalign.loss.reference import LossConfig
from tests.loss import oracle
from tests.loss.cases import ATTENTIONS, features, learned_scalars

SWAPPED_ROWS = [1, 3, 4, 6]  # of 5, 4, 5 and 3 units
CONFIGS = [LossConfig(*kinds, t1=3.0, t2=2.0, t3=4.0, tau=0.3, tau_contrast=0.2) for kinds in ATTENTIONS]


def batch():
    """v, t, present, the swapped reports' vectors and present units, and the weights of negatives (0: none).

    Row 3 has a sentence less in its swapped report, row 4 no negative that counts, the others no swapped report.
    """
    v, _, t, present, _ = features()
    generator = torch.Generator().manual_seed(5)
    swapped = torch.randn(t.shape, dtype=t.dtype, generator=generator)
    there = torch.zeros_like(present).index_copy(0, torch.tensor(SWAPPED_ROWS), present[SWAPPED_ROWS])
    there[3, 1] = False
    weight = torch.rand(present.shape, dtype=t.dtype, generator=generator) * (present & there)
    weight[:, 0] = weight[4] = 0
    return v, t, present, swapped * there[:, :, None], there, weight


def by_reference(v, t, present, swapped, there, weight, config):
    return own_pairs_reference.swapped_term(v, t, present, swapped, there, weight, config)


def by_fast_path(
    v, t, present, swapped, there, weight, config, side_swap=side_swap, own_pairs=own_pairs, reference=reference
):
    """As a step does it: packed texts are split, units that are no negative have a weight of their own."""
    reports = side_swap.SwappedReports(there, weight > 0)
    packed, vectors = torch.cat([t[present], swapped[there]]), torch.arange(len(v) + int(there.any(1).sum()))
    own, kept, swapped_bKD = reports.split(packed, vectors)
    assert kept.tolist() == list(range(len(v)))
    own_bKD = torch.zeros_like(t).masked_scatter(present[:, :, None], own)
    margin = own_pairs.scores(v, own_bKD, present, config) - own_pairs.scores(v, swapped_bKD, there, config)
    return side_swap.term(margin, reports.negative_bK, weight.where(weight > 0, 1), reference.unit_scale(config))


def by_oracle(v, t, present, swapped, there, weight, config):
    reports = [
        [{k: x[i, k] for k in range(x.shape[1]) if units[i, k]} for i in range(len(v))]
        for x, units in ((t, present), (swapped, there))
    ]
    negatives = {(i, k): weight[i, k] for i, k in (weight > 0).nonzero().tolist()}
    return oracle.swapped_term([list(regions) for regions in v], *reports, negatives, config)


def value_and_gradients(term, config, given=None):
    given = given or batch()
    leaves = [given[n].detach().clone().requires_grad_() for n in (0, 1, 3)]
    learned = learned_scalars(config, torch.float64)
    v, t, swapped = leaves
    config = LossConfig(config.attention, config.aggregate, **learned)
    value = term(v, t, given[2], swapped, *given[4:], config).reshape(())
    found = torch.autograd.grad(value, [*leaves, *learned.values()], allow_unused=True) if value.requires_grad else []
    return value, [torch.zeros(()) if x is None else x for x in found]


@pytest.mark.parametrize("term", [by_reference, by_fast_path])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.attention}-{config.aggregate}")
def test_value_and_gradients_equal_the_oracle(config, term):
    (value, gradients), (exact, expected) = value_and_gradients(term, config), value_and_gradients(by_oracle, config)
    torch.testing.assert_close(value, exact, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other.expand_as(one), rtol=1e-10, atol=1e-12)
    assert sum(x.abs().sum() > 0 for x in gradients) == 3 + {"paper": 3, "cosine": 2}[config.attention] + (
        config.attention == "cosine" and config.aggregate == "lse"
    )


@pytest.mark.parametrize("term", [by_reference, by_fast_path])
def test_without_a_negative_the_term_is_zero_and_has_finite_gradients(term):
    v, t, present, swapped, there, weight = batch()
    for config in CONFIGS:
        value, gradients = value_and_gradients(term, config, (v, t, present, swapped, there, weight * 0))
        assert value.item() == 0
        assert all(x.isfinite().all() for x in gradients)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.attention}-{config.aggregate}")
def test_zero_vectors_have_finite_gradients(config):
    v, t, present, swapped, there, weight = batch()
    v[1], swapped[6, 1] = 0, 0
    value, gradients = value_and_gradients(by_fast_path, config, (v, t, present, swapped, there, weight))
    assert value.isfinite()
    assert all(x.isfinite().all() for x in gradients)


def test_a_sentence_that_scores_no_higher_than_its_swapped_one_costs_log_2():
    v, t, present, _, _, weight = batch()
    value, _ = value_and_gradients(by_fast_path, CONFIGS[2], (v, t, present, t * present[:, :, None], present, weight))
    assert value.item() == pytest.approx(torch.tensor(2.0).log().item())


# rule -> module, source, mutated source
MUTANTS = {
    "absent units share in p": ("own_pairs", "e_mKR.masked_fill(~counted_mK[:, :, None], -torch.inf)", "e_mKR"),
    "long regions count more": ("own_pairs", "a_mKR / _lengths(v_mRD) if", "a_mKR if"),
    "the attention has another temperature": ("own_pairs", "else 1 / config.tau", "else 1.0"),
    "the swapped sentence is the true one": ("side_swap", "F.softplus(-scale", "F.softplus(scale"),
    "scores are no logits": ("side_swap", "-scale * margin_bK", "-margin_bK"),
    "every unit is a negative": ("side_swap", ".to(margin_bK) * negative_bK", ".to(margin_bK)"),
    "weights are ignored": ("side_swap", "(losses_bK * weight_bK)", "(losses_bK * negative_bK)"),
    "the term is a sum": ("side_swap", "return loss / weight.clamp(min=EPSILON)", "return loss"),
    "swapped units come first": ("side_swap", "own, swapped = units_MD.split([len(units_MD) - count, count])",
                                 "swapped, own = units_MD.split([count, len(units_MD) - count])"),
    "single units have the logits of reports": ("reference", 'if config.aggregate == "lse":\n        return config.t2',
                                                "if True:\n        return config.t2"),
}  # fmt: skip


@pytest.mark.parametrize("rule", MUTANTS)
def test_the_oracle_kills_the_mutant(rule, copied):
    project = copied(*MUTANTS[rule])
    package = project.reference.__name__.rpartition(".")[0]
    mutants = {name: importlib.import_module(f"{package}.{name}") for name in ("side_swap", "own_pairs", "reference")}

    def mutated(*given):
        return by_fast_path(*given, **mutants)

    pairs = [(value_and_gradients(mutated, x)[0], value_and_gradients(by_oracle, x)[0]) for x in CONFIGS]
    assert any(abs(one.item() - other.item()) > 1e-6 for one, other in pairs)
