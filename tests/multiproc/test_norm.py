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


def whole_batch():
    """Not around zero."""
    return 3 + torch.randn(ROWS, 2, 7, 7, generator=torch.Generator().manual_seed(1))


def loss(out_BCHW, weights_B):
    return (weights_B[:, None, None, None] * out_BCHW.sin()).sum()


def synchronised(seen):
    """Output, gradients by the images and summed over ranks by the parameters, and buffers."""
    model = norm.replace(net(), "sync")
    rows = slice(dist.rank() * ROWS // dist.ranks(), (dist.rank() + 1) * ROWS // dist.ranks())
    images = whole_batch()[rows].requires_grad_()
    weights_B = torch.arange(1.0, ROWS + 1)[rows]
    for _ in range(seen):
        out = model(images)
    loss(out, weights_B).backward()
    gradients = [p.grad for p in model.parameters()]
    dist.mean_in_place(gradients)
    parts = [out, images.grad, *(g * dist.ranks() for g in gradients), *model.buffers()]
    return [part.detach().numpy() for part in parts]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_equals_batch_norm_on_the_whole_batch(ranks):
    results = on_ranks(ranks, synchronised, 2)
    plain, images = net(), whole_batch().requires_grad_()
    for _ in range(2):
        out = plain(images)
    loss(out, torch.arange(1.0, ROWS + 1)).backward()
    exact = [out, images.grad, *(p.grad for p in plain.parameters()), *plain.buffers()]
    for index, expected in enumerate(exact):
        parts = [torch.from_numpy(rank[index]) for rank in results]
        values = [torch.cat(parts)] if index < 2 else parts  # rows of each rank; what all ranks share
        for part in values:
            assert float((part - expected).abs().max()) <= 2e-5 * float(expected.abs().max()), index
