"""Synchronised batch norm: two ranks with losses of their own equal torch's batch norm on all rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sentalign import dist
from sentalign.model import norm
from tests.multiproc.ranks import on_ranks

ROWS = 4


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 6, 3, bias=False), nn.BatchNorm2d(6)
    ).train()


def pictures():
    """Not around zero."""
    return 3 + torch.randn(ROWS, 2, 7, 7, generator=torch.Generator().manual_seed(1))


def loss(out_BCHW, weights_B):
    return (weights_B[:, None, None, None] * out_BCHW.sin()).sum()


def synchronised(seen):
    """Output, gradients by the pictures and summed over ranks by the parameters, and buffers."""
    made = norm.replace(net(), "sync")
    rows = slice(dist.rank() * ROWS // dist.ranks(), (dist.rank() + 1) * ROWS // dist.ranks())
    given = pictures()[rows].requires_grad_()
    weights_B = torch.arange(1.0, ROWS + 1)[rows]
    for _ in range(seen):
        out = made(given)
    loss(out, weights_B).backward()
    gradients = [p.grad for p in made.parameters()]
    dist.mean_in_place(gradients)
    parts = [out, given.grad, *(g * dist.ranks() for g in gradients), *made.buffers()]
    return [part.detach().numpy() for part in parts]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_equals_batch_norm_on_the_whole_batch(ranks):
    found = on_ranks(ranks, synchronised, 2)
    plain, given = net(), pictures().requires_grad_()
    for _ in range(2):
        out = plain(given)
    loss(out, torch.arange(1.0, ROWS + 1)).backward()
    exact = [out, given.grad, *(p.grad for p in plain.parameters()), *plain.buffers()]
    for place, said in enumerate(exact):
        parts = [torch.from_numpy(rank[place]) for rank in found]
        made = [torch.cat(parts)] if place < 2 else parts  # rows of each rank; what all ranks share
        for part in made:
            assert float((part - said).abs().max()) <= 2e-5 * float(said.abs().max()), place
