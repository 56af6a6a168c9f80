"""The loss over the batch of all ranks equals the reference on the whole batch, whatever the number of ranks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.distributed

from sentalign import dist
from sentalign.loss import objective, reference
from sentalign.loss.reference import LossConfig
from sentalign.loss.targets import ReportIds
from tests.loss.cases import ALL, features, marks, name
from tests.multiproc.ranks import on_ranks

LEARNED = ("t1", "t2", "t3", "tau", "bias_global", "bias_local")
BATCH = 8
PLAIN = [LossConfig(), LossConfig("cosine", "sentence")]


def differentiated(run, given, terms):
    """The four terms, and the gradients of a weighted sum by features and temperatures, as numpy."""
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in given]
    learned = {key: torch.tensor([getattr(terms, key)], dtype=inputs[0].dtype, requires_grad=True) for key in LEARNED}
    made = run(*inputs, replace(terms, **learned))
    loss = sum(weight * made[key] for weight, key in zip((0.5, 0.7, 1.1, 1.3), sorted(made), strict=True))
    wanted = [x for x in inputs if x.requires_grad] + list(learned.values())
    found = torch.autograd.grad(loss.sum(), wanted, allow_unused=True)
    zeros = [torch.zeros_like(x) if y is None else y for x, y in zip(wanted, found, strict=True)]
    return {key: float(value.detach()) for key, value in made.items()}, [x.numpy() for x in zeros]


def rounded(dtype):
    """The same numbers in either precision, but for rounding."""
    return [x.to(dtype) if x.is_floating_point() else x for x in features(BATCH)]


def shares(dtype):
    """For all options, this rank's terms and the gradients of its own features and of all temperatures."""
    given = rounded(dtype)
    rows = slice(dist.rank() * BATCH // dist.ranks(), (dist.rank() + 1) * BATCH // dist.ranks())
    said = marks(given[3])
    own = ReportIds(*[part[rows] for part in said])
    found = []
    for terms in ALL:
        found.append(
            differentiated(
                lambda *x, own=own: objective.four_terms(*x, objective.gather_report_ids(x[3], own)),
                [x[rows] for x in given],
                terms,
            )
        )
    for terms in PLAIN:
        found.append(differentiated(objective.four_terms, [x[rows] for x in given], terms))
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_value_and_gradients_do_not_depend_on_the_ranks(ranks, dtype, tolerance):
    """DeepSpeed averages over ranks: a rank's gradients are W times its share."""
    found = on_ranks(ranks, shares, dtype)
    given = [x.double() if x.is_floating_point() else x for x in rounded(dtype)]
    said = marks(given[3])
    for case, terms in enumerate([*ALL, *PLAIN]):
        values, exact = differentiated(
            lambda *x, terms=terms: reference.four_terms(*x, said if terms in ALL else None), given, terms
        )
        for rank in found:
            assert rank[case][0] == pytest.approx(values, rel=10 * tolerance), name(terms)
        per_rank = [[torch.from_numpy(x).double() / ranks for x in rank[case][1]] for rank in found]
        made = [torch.cat(parts) for parts in zip(*(p[:4] for p in per_rank), strict=True)]
        made += [torch.stack(parts).sum(0) for parts in zip(*(p[4:] for p in per_rank), strict=True)]
        largest = max(abs(x).max() for x in exact)
        for mine, theirs in zip(made, exact, strict=True):
            worst = float((mine - torch.from_numpy(theirs)).abs().max())
            assert worst <= tolerance * max(abs(theirs).max(), 1e-3 * largest), (name(terms), worst)


def sent(width, batch):
    """Bytes that a step hands to collectives, by name: what each gives out or takes in over all ranks."""
    counted = Counter()
    real = {n: getattr(torch.distributed, n) for n in ("all_gather", "broadcast", "reduce", "reduce_scatter_tensor")}
    real["all_reduce"] = torch.distributed.all_reduce

    def size(x):
        return sum(map(size, x)) if isinstance(x, list) else x.numel() * x.element_size()

    def counting(name):
        def call(first, *args, **kwargs):
            counted[name] += size(args[0] if name == "reduce_scatter_tensor" else first)
            return real[name](first, *args, **kwargs)

        return call

    for name_ in real:
        setattr(torch.distributed, name_, counting(name_))
    v, g, t, present, q = features(batch, 3, 6, width, torch.float32)
    rows = slice(dist.rank() * batch // dist.ranks(), (dist.rank() + 1) * batch // dist.ranks())
    local = [x[rows].clone().requires_grad_(x.is_floating_point()) for x in (v, g, t, present, q)]
    found = []
    for regions in (3, 50):
        counted.clear()
        local[0] = torch.randn(batch // dist.ranks(), regions, width, requires_grad=True)
        reports = objective.gather_report_ids(local[3])
        reference.total(objective.four_terms(*local, LossConfig(), reports)).backward()
        found.append(dict(counted))
    return found, int(present.sum())


@pytest.mark.parametrize(("ranks", "batch"), [(2, 16), (4, 16), (4, 256)])
def test_only_text_vectors_and_sums_travel(ranks, batch):
    """At most 1.1 times the text vectors there and their gradients back, and O(B) of the rest; nothing of regions."""
    width = 256
    for found, units in on_ranks(ranks, sent, width, batch):
        assert found[0] == found[1], "regions change nothing"
        texts = 2 * 4 * width * (units + batch)
        numbers = 8 * batch * (2 + 3 * 6) + 4 * batch * 8 + 64  # of `rendezvous`, and sums of columns
        assert sum(found[0].values()) <= 1.1 * texts + numbers
        assert sum(found[0].values()) >= texts


def ragged():
    """Gathers of very uneven, of nearly even and of no rows, with their gradients."""
    found = []
    for sizes in ([1, 7], [20, 20], [40, 39], [0, 3], [4, 0]):
        mine = sizes[dist.rank()]
        local = (torch.arange(mine * 2.0).view(mine, 2) + 100 * dist.rank()).requires_grad_()
        everyone = dist.gather_ragged(local, sizes)
        (everyone * torch.arange(float(len(everyone)))[:, None] * (1 + dist.rank())).sum().backward()
        found.append((everyone.tolist(), local.grad.tolist()))
    return found


def test_ragged_gathers_keep_rank_order_and_sum_gradients():
    made = on_ranks(2, ragged)
    for case, sizes in enumerate([[1, 7], [20, 20], [40, 39], [0, 3], [4, 0]]):
        whole = [(torch.arange(n * 2.0).view(n, 2) + 100 * rank).tolist() for rank, n in enumerate(sizes)]
        first = 0
        for rank, n in enumerate(sizes):
            everyone, gradient = made[rank][case]
            assert everyone == whole[0] + whole[1]
            assert gradient == [[3.0 * row] * 2 for row in range(first, first + n)]  # weights 1 and 2 of the two ranks
            first += n


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
