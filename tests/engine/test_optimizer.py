"""Optimizers of a run, and the gradient check of ZeRO stage 0 by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sentalign.config import Optimizer
from sentalign.engine import optimizer


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(2, 2), nn.LayerNorm(2)
        self.temperature = nn.Parameter(torch.tensor([1.0]))
        self.frozen = nn.Parameter(torch.ones(3, 3), requires_grad=False)


def test_adam_is_the_papers_by_default():
    model = Model()
    steps = optimizer.make(model, Optimizer())
    assert type(steps) is torch.optim.AdamW
    (group,) = steps.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (2e-5, (0.5, 0.999), 1e-6)
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters() if p is not model.frozen]


def test_no_decay_of_biases_norms_and_temperatures():
    model = Model()
    decayed, plain = optimizer.make(model, Optimizer(weight_decay=0.1, decay_norms=False)).param_groups
    assert [id(p) for p in decayed["params"]] == [id(model.layer.weight)]
    assert {id(p) for p in plain["params"]} == {
        id(p) for p in (model.temperature, model.layer.bias, model.norm.weight, model.norm.bias)
    }
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def checked(clipping, lr=1.0):
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    steps = torch.optim.SGD(parameters, lr, momentum=0.5)
    optimizer.check_gradients(steps, clipping)
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    return steps, parameters


def test_clips_by_the_norm_of_all_gradients():
    steps, parameters = checked(1.0)
    steps.step()
    assert float(steps._global_grad_norm) == 5.0
    torch.testing.assert_close(torch.cat([p.detach() for p in parameters]), torch.tensor([-0.6, 0.0, -0.8]))


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("clipping", [0.0, 1.0])
def test_takes_no_step_by_nan_or_inf(bad, clipping):
    steps, parameters = checked(clipping)
    steps.step()
    before, momentum = [p.detach().clone() for p in parameters], steps.state[parameters[1]]["momentum_buffer"].clone()
    parameters[0].grad, parameters[1].grad = torch.tensor([bad, 0.0]), torch.tensor([4.0])
    steps.step()
    assert steps.overflow
    assert all(torch.equal(p, b) for p, b in zip(parameters, before, strict=True))
    assert torch.equal(steps.state[parameters[1]]["momentum_buffer"], momentum)
    parameters[0].grad, parameters[1].grad = torch.tensor([1.0, 0.0]), torch.tensor([4.0])
    steps.step()
    assert not steps.overflow
