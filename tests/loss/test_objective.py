"""The fast path on one rank against the reference, with every option, in value and in every gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.loss import objective, reference, region_sentence, targets
from sentalign.loss.reference import LossConfig
from tests.loss.cases import ALL, features, marks, name

LEARNED = ("t1", "t2", "t3", "tau", "bias_global", "bias_local")


def values_and_gradients(run, given, terms):
    """The four terms, and the gradients of a weighted sum of them by every feature and temperature."""
    inputs = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in given]
    learned = {key: torch.tensor([getattr(terms, key)], dtype=torch.float64, requires_grad=True) for key in LEARNED}
    made = run(*inputs, replace(terms, **learned))
    loss = sum(weight * made[key] for weight, key in zip((0.5, 0.7, 1.1, 1.3), sorted(made), strict=True))
    wanted = [x for x in inputs if x.requires_grad] + list(learned.values())
    return made, torch.autograd.grad(loss.sum(), wanted, allow_unused=True)


def compare(fast, slow, tolerance=1e-11):
    for key in slow[0]:
        torch.testing.assert_close(fast[0][key].reshape(()), slow[0][key].reshape(()), rtol=tolerance, atol=tolerance)
    for one, other in zip(fast[1], slow[1], strict=True):
        zero = torch.zeros(1, dtype=torch.float64)
        torch.testing.assert_close(
            zero if one is None else one, (zero if other is None else other).expand_as(zero if one is None else one),
            rtol=tolerance, atol=tolerance,
        )  # fmt: skip


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("terms", ALL, ids=name)
def test_one_rank_equals_the_reference(terms, weighted):
    given = features()
    said = marks(given[3], weighted=weighted)
    fast = values_and_gradients(
        lambda *x: objective.four_terms(*x, objective.gather_report_ids(given[3], said)), given, terms
    )
    slow = values_and_gradients(lambda *x: reference.four_terms(*x, said), given, terms)
    assert all(gradient is None or gradient.isfinite().all() for gradient in slow[1])
    compare(fast, slow)


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 9), regions=st.integers(1, 12), units=st.integers(1, 6), seed=st.integers(0, 999),
    terms=st.sampled_from(ALL),
)  # fmt: skip
def test_any_shape_equals_the_reference(batch, regions, units, seed, terms):
    given = features(batch, regions, units, 6, seed=seed)
    said = marks(given[3], seed)
    fast = values_and_gradients(
        lambda *x: objective.four_terms(*x, objective.gather_report_ids(given[3], said)), given, terms
    )
    slow = values_and_gradients(lambda *x: reference.four_terms(*x, said), given, terms)
    compare(fast, slow, 1e-9)


@pytest.mark.parametrize("terms", [t for t in ALL if t.objective == "softmax"], ids=name)
def test_without_duplicates_and_weights_every_target_is_the_plain_cross_entropy(terms):
    given = features()
    made = objective.four_terms(*given, terms)
    plain = reference.four_terms(*given, replace(terms, targets="own", sentence_twins="keep"))
    torch.testing.assert_close(list(made.values()), list(plain.values()))


@pytest.mark.parametrize("terms", ALL, ids=name)
def test_order_of_the_batch_does_not_matter(terms):
    given = features()
    said, order = marks(given[3]), torch.randperm(8, generator=torch.Generator().manual_seed(3))
    one = objective.four_terms(*given, terms, objective.gather_report_ids(given[3], said))
    mixed = [x[order] for x in given]
    other = objective.four_terms(
        *mixed, terms, objective.gather_report_ids(mixed[3], targets.ReportIds(*[x[order] for x in said]))
    )
    torch.testing.assert_close(list(one.values()), list(other.values()))


@pytest.mark.parametrize("attention", ["paper", "cosine"])
@pytest.mark.parametrize(("regions", "width"), [(5, 24), (24, 5)], ids=["by Gram matrix", "by c itself"])
@pytest.mark.parametrize("block", [1, 200, 1 << 18])
def test_scores_do_not_depend_on_chunks_and_on_how_lengths_are_found(attention, regions, width, block, monkeypatch):
    monkeypatch.setitem(region_sentence.BLOCK, "cpu", block)
    monkeypatch.setitem(region_sentence.UNITS, "cpu", max(1, block // 40))
    v, _, t, present, _ = (x.requires_grad_(x.is_floating_point()) for x in features(6, regions, 5, width))
    terms = LossConfig(attention, t1=torch.tensor([2.0], dtype=torch.float64, requires_grad=True),
                  tau=torch.tensor([0.5], dtype=torch.float64, requires_grad=True))  # fmt: skip
    assert region_sentence.gram_pays(regions, int(present.sum()), width) == (regions < width)
    reports = objective.gather_report_ids(present)
    packed_bM = region_sentence.unit_scores(v, t[present][reports.order_M], reports.groups, terms)
    fast = packed_bM[:, reports.place_JK.flatten()].view(6, 6, 5).masked_fill(~present, 0)
    slow = reference.unit_scores(v, t, present, terms).masked_fill(~present, 0)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    learned, weights = terms.t1 if attention == "paper" else terms.tau, torch.randn_like(slow)
    for a, b in zip(*(torch.autograd.grad((x * weights).sum(), (v, t, learned)) for x in (fast, slow)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_zero_vectors_have_finite_gradients():
    v, g, t, present, q = features()
    v[0], g[1], t[2, 0], q[3] = 0, 0, 0, 0
    for terms in ALL:
        made, gradients = values_and_gradients(objective.four_terms, (v, g, t, present, q), terms)
        assert all(value.isfinite().all() for value in made.values())
        assert all(x is None or x.isfinite().all() for x in gradients)


def test_a_batch_of_no_weight_costs_nothing_locally():
    given = features()
    said = marks(given[3])._replace(weight_JK=torch.zeros(given[3].shape))
    for terms in ALL:
        made, gradients = values_and_gradients(
            lambda *x: objective.four_terms(*x, objective.gather_report_ids(given[3], said)), given, terms
        )
        assert float(made["local_tv"]) == float(made["local_vt"]) == 0
        assert all(x is None or x.isfinite().all() for x in gradients)


def test_very_sharp_attention_does_not_overflow():
    given = [x.float() if x.is_floating_point() else x for x in features()]
    for terms in (LossConfig("cosine", tau=0.002), LossConfig("paper", t1=80.0)):
        made, gradients = values_and_gradients(objective.four_terms, given, terms)
        assert all(value.isfinite().all() for value in made.values())
        assert all(x is None or x.isfinite().all() for x in gradients)


def saved_bytes(batch, regions, units, width, terms):
    """Bytes that autograd keeps for the backward pass, each storage counted once, the inputs' own included."""
    v, g, t, _, q = features(batch, regions, units, width, torch.float32)
    inputs = [x.requires_grad_() for x in (v, g, t)]
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.setdefault(x.untyped_storage().data_ptr(), x), id):
        present = torch.ones(batch, units, dtype=torch.bool)
        made = objective.four_terms(*inputs, present, q.requires_grad_(), terms)
        assert made["local_tv"].requires_grad
    return sum(x.untyped_storage().nbytes() for x in kept.values())


@pytest.mark.parametrize("terms", [t for t in ALL if t.targets == "multi"], ids=name)
def test_what_is_kept_for_the_backward_pass_grows_with_the_features_and_the_scores_alone(terms):
    """<= a bRD + b MD + c bM floats (here b = B): nothing of the size images x units x regions; R x R where R < D."""
    units = 4
    for batch, regions, width in ((6, 40, 8), (24, 40, 8), (24, 160, 8), (24, 40, 64), (48, 10, 4)):
        scores = batch * batch * units
        bound = 2 * batch * regions * width + 5 * batch * (units + 2) * width + 16 * scores
        assert saved_bytes(batch, regions, units, width, terms) <= 4 * bound + 4096
    assert 16 * scores < scores * 40, "the bound is below images x units x regions"
