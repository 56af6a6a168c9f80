"""The fast path on one rank against the reference, with every option, in value and in every gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.loss import objective, reference, region_sentence, targets
from sentalign.loss.reference import LossConfig
from tests.loss.cases import CONFIGS, distinct_reports, fast_terms, features, learned_scalars, name, report_ids


def values_and_gradients(four_terms, batch, config, ids=None):
    """The four terms, and the gradients of a weighted sum of them by every feature and temperature."""
    inputs = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in batch]
    learned = learned_scalars(config, torch.float64)
    terms = four_terms(*inputs, replace(config, **learned), ids or distinct_reports(batch[3]))
    loss = sum(weight * terms[key] for weight, key in zip((0.5, 0.7, 1.1, 1.3), sorted(terms), strict=True))
    leaves = [x for x in inputs if x.requires_grad] + list(learned.values())
    return terms, torch.autograd.grad(loss.sum(), leaves, allow_unused=True)


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
@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_one_rank_equals_the_reference(config, weighted):
    batch = features()
    ids = report_ids(batch[3], weighted=weighted)
    fast, slow = (values_and_gradients(path, batch, config, ids) for path in (fast_terms, reference.four_terms))
    assert all(gradient is None or gradient.isfinite().all() for gradient in slow[1])
    compare(fast, slow)


@settings(max_examples=30)
@given(
    batch=st.integers(1, 9), regions=st.integers(1, 12), units=st.integers(1, 6), seed=st.integers(0, 999),
    config=st.sampled_from(CONFIGS),
)  # fmt: skip
def test_any_shape_equals_the_reference(batch, regions, units, seed, config):
    inputs = features(batch, regions, units, 6, seed=seed)
    ids = report_ids(inputs[3], seed)
    fast, slow = (values_and_gradients(path, inputs, config, ids) for path in (fast_terms, reference.four_terms))
    compare(fast, slow, 1e-9)


@pytest.mark.parametrize(
    "config", [c for c in CONFIGS if c.objective == "softmax" and c.sentence_twins != "soft"], ids=name
)
def test_without_duplicates_and_weights_every_target_is_the_plain_cross_entropy(config):
    batch = features()
    ids = distinct_reports(batch[3])
    terms = fast_terms(*batch, config, ids)
    plain = reference.four_terms(*batch, replace(config, targets="own", sentence_twins="keep"), ids)
    torch.testing.assert_close(list(terms.values()), list(plain.values()))


@pytest.mark.parametrize("path", [fast_terms, reference.four_terms])
@pytest.mark.parametrize("config", [c for c in CONFIGS if c.targets == "own"], ids=name)
def test_soft_twins_are_dropped_where_vectors_are_equal_and_kept_where_they_are_orthogonal(config, path):
    """One-hot sentences: a cosine of 1 leaves out what equal words do, one of 0 leaves all as it is."""
    v, g, _, present, q = features(width=40)
    ids = report_ids(present, weighted=False)
    ids = ids._replace(sentence_hash_JS=ids.unit_hash_JK[:, 1:])
    one_hot = torch.eye(40, dtype=torch.float64)

    def terms(twins, t, ids):
        return torch.stack(list(path(v, g, t, present, q, replace(config, sentence_twins=twins), ids).values()))

    equal, without_words = one_hot[ids.unit_hash_JK], ids._replace(unit_hash_JK=ids.unit_hash_JK * 0)
    torch.testing.assert_close(terms("soft", equal, without_words), terms("drop", equal, ids), rtol=1e-12, atol=1e-12)
    assert (terms("drop", equal, ids) - terms("keep", equal, ids)).abs().max() > 1e-3
    orthogonal, distinct = one_hot.view(8, 5, 40), distinct_reports(present)
    torch.testing.assert_close(terms("soft", orthogonal, distinct), terms("keep", orthogonal, distinct))


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_order_of_the_batch_does_not_matter(config):
    batch = features()
    ids, order = report_ids(batch[3]), torch.randperm(8, generator=torch.Generator().manual_seed(3))
    one = fast_terms(*batch, config, ids)
    other = fast_terms(*[x[order] for x in batch], config, targets.ReportIds(*[x[order] for x in ids]))
    torch.testing.assert_close(list(one.values()), list(other.values()))


@pytest.mark.parametrize("path", [fast_terms, reference.four_terms])
def test_without_a_temperature_of_its_own_the_contrast_has_that_of_the_attention(path):
    batch, config = features(), next(c for c in CONFIGS if c.aggregate == "sentence")
    ids = report_ids(batch[3])
    shared = values_and_gradients(path, batch, replace(config, tau_contrast=None), ids)
    equal = values_and_gradients(path, batch, replace(config, tau_contrast=config.tau), ids)
    assert all(torch.equal(shared[0][key], equal[0][key]) for key in equal[0])
    *features_, t1, t2, t3, tau, tau_contrast, bias_global, bias_local = equal[1]
    summed = [*features_, t1, t2, t3, tau + tau_contrast, bias_global, bias_local]
    for one, other in zip(shared[1], summed, strict=True):
        assert one is other is None or torch.allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("attention", ["paper", "cosine"])
@pytest.mark.parametrize(("regions", "width"), [(5, 24), (24, 5)], ids=["by Gram matrix", "by c itself"])
@pytest.mark.parametrize("block", [1, 200, 1 << 18])
def test_scores_depend_neither_on_chunks_nor_on_the_gram_matrix(attention, regions, width, block, monkeypatch):
    monkeypatch.setitem(region_sentence.BLOCK, "cpu", block)
    monkeypatch.setitem(region_sentence.UNITS, "cpu", max(1, block // 40))
    v, _, t, present, _ = (x.requires_grad_(x.is_floating_point()) for x in features(6, regions, 5, width))
    config = LossConfig(attention, t1=torch.tensor([2.0], dtype=torch.float64, requires_grad=True),
                  tau=torch.tensor([0.5], dtype=torch.float64, requires_grad=True))  # fmt: skip
    assert region_sentence.gram_pays(regions, int(present.sum()), width) == (regions < width)
    reports = objective.gather_report_ids(present, distinct_reports(present))
    packed_bM = region_sentence.unit_scores(v, t[present][reports.order_M], reports.groups, config)
    fast = packed_bM[:, reports.place_JK.flatten()].view(6, 6, 5).masked_fill(~present, 0)
    slow = reference.unit_scores(v, t, present, config).masked_fill(~present, 0)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    learned, weights = config.t1 if attention == "paper" else config.tau, torch.randn_like(slow)
    for a, b in zip(*(torch.autograd.grad((x * weights).sum(), (v, t, learned)) for x in (fast, slow)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_zero_vectors_have_finite_gradients():
    v, g, t, present, q = features()
    v[0], g[1], t[2, 0], q[3] = 0, 0, 0, 0
    for config in CONFIGS:
        assert_finite(*values_and_gradients(fast_terms, (v, g, t, present, q), config))


def assert_finite(terms, gradients):
    assert all(value.isfinite().all() for value in terms.values())
    assert all(x is None or x.isfinite().all() for x in gradients)


def test_a_batch_without_weight_has_no_local_loss():
    batch = features()
    ids = report_ids(batch[3])._replace(weight_JK=torch.zeros(batch[3].shape))
    for config in CONFIGS:
        terms, gradients = values_and_gradients(fast_terms, batch, config, ids)
        assert terms["local_tv"].item() == terms["local_vt"].item() == 0
        assert_finite(terms, gradients)


def test_very_sharp_attention_does_not_overflow():
    batch = [x.float() if x.is_floating_point() else x for x in features()]
    for config in (LossConfig("cosine", tau=0.002), LossConfig("paper", t1=80.0)):
        assert_finite(*values_and_gradients(fast_terms, batch, config))


def saved_bytes(batch, regions, units, width, config):
    """Bytes that autograd keeps for the backward pass, each storage counted once, the inputs' own included."""
    v, g, t, _, q = features(batch, regions, units, width, torch.float32)
    inputs = [x.requires_grad_() for x in (v, g, t)]
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.setdefault(x.untyped_storage().data_ptr(), x), id):
        present = torch.ones(batch, units, dtype=torch.bool)
        terms = fast_terms(*inputs, present, q.requires_grad_(), config, distinct_reports(present))
        assert terms["local_tv"].requires_grad
    return sum(x.untyped_storage().nbytes() for x in kept.values())


@pytest.mark.parametrize("config", [c for c in CONFIGS if c.targets == "multi"], ids=name)
def test_memory_for_the_backward_pass_grows_with_the_features_and_the_scores_alone(config):
    """<= a bRD + b MD + c bM floats (here b = B): nothing of the size images x units x regions; R x R where R < D."""
    units = 4
    for batch, regions, width in ((6, 40, 8), (24, 40, 8), (24, 160, 8), (24, 40, 64), (48, 10, 4)):
        scores = batch * batch * units
        bound = 2 * batch * regions * width + 5 * batch * (units + 2) * width + 16 * scores
        assert saved_bytes(batch, regions, units, width, config) <= 4 * bound + 4096
    assert 16 * scores < scores * 40, "the bound is below images x units x regions"
