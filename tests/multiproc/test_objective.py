"""The loss over the batch of all ranks equals the reference on the whole batch, whatever the number of ranks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.distributed

from sentalign import dist
from sentalign.loss import reference
from sentalign.loss.reference import LossConfig
from sentalign.loss.targets import ReportIds
from tests.loss.cases import CONFIGS, distinct_reports, fast_terms, features, learned_scalars, name, report_ids
from tests.multiproc.ranks import on_ranks, rows_of_rank

BATCH = 8
PLAIN = [LossConfig(), LossConfig("cosine", "sentence")]


def values_and_gradients(four_terms, batch, config, ids):
    """The four terms, and the gradients of a weighted sum by features and temperatures, as numpy."""
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in batch]
    learned = learned_scalars(config, inputs[0].dtype)
    terms = four_terms(*inputs, replace(config, **learned), ids)
    loss = sum(weight * terms[key] for weight, key in zip((0.5, 0.7, 1.1, 1.3), sorted(terms), strict=True))
    leaves = [x for x in inputs if x.requires_grad] + list(learned.values())
    gradients = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
    zeros = [torch.zeros_like(x) if y is None else y for x, y in zip(leaves, gradients, strict=True)]
    return {key: float(value.detach()) for key, value in terms.items()}, [x.numpy() for x in zeros]


def rounded(dtype):
    """The same features in either precision, but for rounding."""
    return [x.to(dtype) if x.is_floating_point() else x for x in features(BATCH)]


def cases(present):
    """Every configuration with repeated reports, and the plain ones with distinct ones."""
    return [(config, report_ids(present)) for config in CONFIGS] + [(c, distinct_reports(present)) for c in PLAIN]


def shares(dtype):
    """For all cases, this rank's terms and the gradients of its own features and of all temperatures."""
    batch, rows = rounded(dtype), rows_of_rank(BATCH)
    return [
        values_and_gradients(fast_terms, [x[rows] for x in batch], config, ReportIds(*[x[rows] for x in ids]))
        for config, ids in cases(batch[3])
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_value_and_gradients_do_not_depend_on_the_ranks(ranks, dtype, tolerance):
    """DeepSpeed averages over ranks: a rank's gradients are W times its share."""
    by_rank = on_ranks(ranks, shares, dtype)
    batch = [x.double() if x.is_floating_point() else x for x in rounded(dtype)]
    for case, (config, ids) in enumerate(cases(batch[3])):
        values, exact = values_and_gradients(reference.four_terms, batch, config, ids)
        for rank in by_rank:
            assert rank[case][0] == pytest.approx(values, rel=10 * tolerance), name(config)
        per_rank = [[torch.from_numpy(x).double() / ranks for x in rank[case][1]] for rank in by_rank]
        gradients = [torch.cat(parts) for parts in zip(*(p[:4] for p in per_rank), strict=True)]
        gradients += [torch.stack(parts).sum(0) for parts in zip(*(p[4:] for p in per_rank), strict=True)]
        largest = max(abs(x).max() for x in exact)
        for fast, slow in zip(gradients, exact, strict=True):
            worst = float((fast - torch.from_numpy(slow)).abs().max())
            assert worst <= tolerance * max(abs(slow).max(), 1e-3 * largest), (name(config), worst)


def sent(width, batch):
    """Bytes that a step passes to each collective: those it sends, or receives over all ranks."""
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
    whole = features(batch, 3, 6, width, torch.float32)
    local = [x[rows_of_rank(batch)].clone().requires_grad_(x.is_floating_point()) for x in whole]
    found = []
    for regions in (3, 50):
        counted.clear()
        local[0] = torch.randn(batch // dist.ranks(), regions, width, requires_grad=True)
        ids = ReportIds(*[x[rows_of_rank(batch)] for x in distinct_reports(whole[3])])
        reference.total(fast_terms(*local, LossConfig(), ids)).backward()
        found.append(dict(counted))
    return found, int(whole[3].sum())


@pytest.mark.parametrize(("ranks", "batch"), [(2, 16), (4, 16), (4, 256)])
def test_only_text_vectors_and_sums_are_sent(ranks, batch):
    """At most 1.1 times the text vectors and their gradients, and O(B) of the rest; nothing of regions."""
    width = 256
    for (few_regions, many_regions), units in on_ranks(ranks, sent, width, batch):
        assert few_regions == many_regions
        texts = 2 * 4 * width * (units + batch)
        ids_and_sums = 8 * batch * (2 + 3 * 6) + 4 * batch * 8 + 64  # of the reports, and of columns
        assert texts <= sum(few_regions.values()) <= 1.1 * texts + ids_and_sums


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
    by_rank = on_ranks(2, ragged)
    for case, sizes in enumerate([[1, 7], [20, 20], [40, 39], [0, 3], [4, 0]]):
        whole = [(torch.arange(n * 2.0).view(n, 2) + 100 * rank).tolist() for rank, n in enumerate(sizes)]
        first = 0
        for rank, n in enumerate(sizes):
            everyone, gradient = by_rank[rank][case]
            assert everyone == whole[0] + whole[1]
            assert gradient == [[3.0 * row] * 2 for row in range(first, first + n)]  # weights 1 and 2 of the two ranks
            first += n


def means():
    tensors = [torch.full((3,), float(dist.rank())), torch.full((2, 2), 10.0 * dist.rank())]
    dist.mean_in_place(tensors)
    values = dist.of_all_ranks([dist.rank() / 3, 2**40 + dist.rank()])
    return [t.tolist() for t in tensors], dist.broadcast_object({"sent by": dist.rank()}), values


def test_means_and_messages():
    for tensors, message, values in on_ranks(2, means):
        assert tensors == [[0.5] * 3, [[5.0] * 2] * 2]
        assert message == {"sent by": 0}
        assert values == [[0.0, 2**40], [1 / 3, 2**40 + 1]]
