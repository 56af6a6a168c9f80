"""The loss over the batch of all ranks equals the reference on the whole batch, whatever the number of ranks."""

from __future__ import annotations

import pytest
import torch

from sentalign import dist
from sentalign.loss import objective, reference
from sentalign.loss.reference import Terms
from tests.multiproc.ranks import on_ranks

BATCH, REGIONS, UNITS, WIDTH = 8, 5, 4, 6
KINDS = [Terms(), Terms(attention="cosine", tau=0.2), Terms(attention="cosine", aggregate="sentence")]


def whole(dtype=torch.float64):
    torch.manual_seed(7)
    v, g = torch.randn(BATCH, REGIONS, WIDTH, dtype=dtype), torch.randn(BATCH, WIDTH, dtype=dtype)
    t, q = torch.randn(BATCH, UNITS, WIDTH, dtype=dtype), torch.randn(BATCH, WIDTH, dtype=dtype)
    present = torch.arange(UNITS)[None] < torch.tensor([1, 4, 2, 3, 1, 2, 4, 3])[:, None]
    return v, g, t, present, q


def share_of_the_gradient(terms):
    """This rank's loss and the gradients of its own features, over ranks: DeepSpeed takes the mean, so 1/W."""
    rows = slice(dist.rank() * BATCH // dist.ranks(), (dist.rank() + 1) * BATCH // dist.ranks())
    local = [x[rows].clone().requires_grad_(x.is_floating_point()) for x in whole()]
    loss = reference.total(objective.four_terms(*local, terms), 0.8, 1.2)
    loss.backward()
    return float(loss), [(x.grad / dist.ranks()).numpy() for x in local if x.requires_grad]


@pytest.mark.parametrize("terms", KINDS, ids=lambda terms: f"{terms.attention}-{terms.aggregate}")
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_value_and_gradients_do_not_depend_on_the_ranks(ranks, terms):
    given = [x.clone().requires_grad_(x.is_floating_point()) for x in whole()]
    said = reference.total(reference.four_terms(*given, terms), 0.8, 1.2)
    said.backward()
    found = on_ranks(ranks, share_of_the_gradient, terms)
    assert all(value == pytest.approx(float(said), rel=1e-12) for value, _ in found)
    for number, exact in enumerate(x.grad for x in given if x.requires_grad):
        made = torch.cat([torch.from_numpy(gradients[number]) for _, gradients in found])
        torch.testing.assert_close(made, exact, rtol=1e-10, atol=1e-12)


def means():
    tensors = [torch.full((3,), float(dist.rank())), torch.full((2, 2), 10.0 * dist.rank())]
    dist.mean_in_place(tensors)
    numbers = dist.of_all_ranks([dist.rank() / 3, 2**40 + dist.rank()])
    return [t.tolist() for t in tensors], dist.broadcast_object({"said by": dist.rank()}), numbers


def test_means_and_messages():
    for tensors, message, numbers in on_ranks(2, means):
        assert tensors == [[0.5] * 3, [[5.0] * 2] * 2]
        assert message == {"said by": 0}
        assert numbers == [[0.0, 2**40], [1 / 3, 2**40 + 1]]
