"""Learned temperatures start at their settings."""

from __future__ import annotations

import math

import pytest
import torch

from sentalign.config import Loss
from sentalign.engine import loss_scalars


@pytest.mark.parametrize(("tau_contrast", "start"), [(None, 0.2), (0.4, 0.4)])
def test_the_temperature_of_the_contrast_starts_at_that_of_the_attention_unless_it_is_set(tau_contrast, start):
    learn = ["tau", "tau_contrast", "bias_local"]
    settings = Loss(
        attention="cosine", aggregate="sentence", objective="sigmoid", tau=0.2, tau_contrast=tau_contrast, learn=learn
    )
    raw = loss_scalars.initial_values(settings)
    assert raw == {"tau": math.log(0.2), "tau_contrast": math.log(start), "bias_local": settings.bias_local}
    config = loss_scalars.loss_config(settings, torch.tensor(list(raw.values()), dtype=torch.float64))
    assert (float(config.tau), float(config.tau_contrast)) == pytest.approx((0.2, start))
    assert float(config.bias_local) == settings.bias_local
