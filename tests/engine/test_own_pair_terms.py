"""The terms of own pairs in the loss of a step: which steps have them, and what their weights are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sentalign import config as configuration
from sentalign.engine import step
from sentalign.engine.inputs import prepare
from sentalign.loss.reference import LossConfig
from sentalign.stream.augment import normalize
from tests.engine.test_view_terms import Engine
from tests.multiproc.test_engine import BATCH, SETTINGS, batch


def settings(**loss):
    return configuration.check(SETTINGS | {"loss": {"attention": "cosine", **loss}})


@pytest.mark.parametrize("loss", [{"weight_attraction": 2.0}, {"weight_swapped": 3.0}, {}])
def test_the_loss_is_the_four_terms_and_the_weighted_ones_that_there_are(loss):
    whole = batch(0, slice(None), swapped="weight_swapped" in loss)
    inputs = prepare(whole, normalize(whole.images_BHH), settings(**loss), lambda *_: None, training=True)
    present_bK = inputs.reports.present_bK
    units_MD, swapped_bKD = torch.randn(int(present_bK.sum()), 5), torch.randn(*present_bK.shape, 5)
    values = inputs.own_values(torch.randn(BATCH, 9, 5), units_MD, swapped_bKD, slice(0, BATCH), LossConfig("cosine"))
    assert values.shape == (BATCH, len(loss), present_bK.shape[1])
    terms = inputs.own_terms(values, LossConfig("cosine"))
    assert set(terms) == {name.removeprefix("weight_") for name in loss}
    four = dict.fromkeys(("global_tv", "global_vt", "local_tv", "local_vt"), torch.tensor(1.0))
    expected = 4 + sum(weight * float(terms[name.removeprefix("weight_")]) for name, weight in loss.items())
    assert float(inputs.with_loss(four | terms)["loss"]) == pytest.approx(expected)


def test_the_loss_of_validation_is_that_of_the_four_terms():
    engine, four = Engine(), {"global_tv", "global_vt", "local_tv", "local_vt", "loss"}
    engine.device = torch.device("cpu")
    whole = batch(0, slice(None), swapped=True)
    whole = replace(whole, sentences=[["effusion"] * int(n - 1) for n in (whole.word_counts_BK[:BATCH] > 0).sum(1)])
    trained, plain = (
        step.validate(engine, [whole], settings(weight_attraction=weight, weight_swapped=weight)) for weight in (2.0, 0)
    )
    assert trained == plain
    assert trained.keys() >= four
    assert not trained.keys() & {"attraction", "swapped"}
