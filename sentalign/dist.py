"""Ranks: this rank's number, the world size, and collectives that carry gradients.

In: torch.distributed, initialised by the engine (or not: then there is one rank). Out: plain functions.
"""

# W ranks, b rows of one rank, B = W·b rows of all

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def rank() -> int:
    """This process's rank, 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Waits for every rank."""
    if dist.is_initialized():
        dist.barrier()


class _GatherRagged(torch.autograd.Function):
    """All ranks' rows, sizes[r] of rank r. The backward pass sums over ranks: each rank's loss may use every row."""

    @staticmethod
    def forward(context: Any, local: Tensor, sizes: list[int]) -> Tensor:
        context.sizes = sizes
        if _even_enough(sizes):
            everyone = local.new_empty(ranks(), max(sizes), *local.shape[1:])
            dist.all_gather(list(everyone.unbind()), _padded(local, max(sizes)))
            return torch.cat([part[:n] for part, n in zip(everyone, sizes, strict=True)])
        parts = [local.new_empty(n, *local.shape[1:]) for n in sizes]
        parts[rank()] = local.contiguous()
        # gloo gathers equal sizes only, and padding would be sent too: each rank broadcasts its rows.
        for work in [dist.broadcast(part, source, async_op=True) for source, part in enumerate(parts) if len(part)]:
            work.wait()
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        parts = [part.clone() for part in gradients[0].split(context.sizes)]
        if _even_enough(context.sizes):
            padded = torch.cat([_padded(part, max(context.sizes)) for part in parts])
            own = padded.new_empty(max(context.sizes), *padded.shape[1:])
            dist.reduce_scatter_tensor(own, padded)
            return own[: context.sizes[rank()]], None
        for work in [dist.reduce(part, target, async_op=True) for target, part in enumerate(parts) if len(part)]:
            work.wait()
        return parts[rank()], None


def gather(local: Tensor) -> Tensor:
    """(b, ...) of each rank -> (W·b, ...), with gradient. Every rank must bring the same shape."""
    return gather_ragged(local, [len(local)] * ranks())


def gather_ragged(local: Tensor, sizes: list[int]) -> Tensor:
    """(n, ...) of each rank, n = sizes[rank] -> (sum of sizes, ...), with gradient."""
    assert len(local) == sizes[rank()]
    return _GatherRagged.apply(local, sizes) if ranks() > 1 else local


def _even_enough(sizes: list[int]) -> bool:
    """Whether padding to the longest adds less than a twentieth to what is sent."""
    return max(sizes) * len(sizes) <= 1.05 * sum(sizes)


def _padded(rows: Tensor, count: int) -> Tensor:
    return torch.nn.functional.pad(rows, (*[0, 0] * (rows.dim() - 1), 0, count - len(rows))).contiguous()


class _AllReduceSum(torch.autograd.Function):
    """The sum over ranks. All ranks compute the same loss from it; W times its gradient undoes the mean over ranks."""

    @staticmethod
    def forward(context: Any, local: Tensor) -> Tensor:
        everyone = local.clone()
        dist.all_reduce(everyone)
        return everyone

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * ranks()


def all_reduce_sum(local: Tensor) -> Tensor:
    """The sum over ranks, for a loss that every rank computes from it and whose gradients are averaged over ranks."""
    return _AllReduceSum.apply(local) if ranks() > 1 else local


def all_reduce_max(local: Tensor) -> Tensor:
    """The maximum over ranks, without gradient."""
    everyone = local.contiguous().clone()
    if ranks() > 1:
        dist.all_reduce(everyone, dist.ReduceOp.MAX)
    return everyone


def mean_in_place(tensors: list[Tensor]) -> None:
    """Each tensor becomes its mean over ranks, in one message."""
    if ranks() == 1 or not tensors:
        return
    flat = torch.cat([t.detach().flatten().float() for t in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, (flat / ranks()).split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def of_all_ranks(values: list[float]) -> list[list[float]]:
    """The values of every rank, in rank order; all bring as many. One small message, float64."""
    if ranks() == 1:
        return [values]
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else "cpu"
    local = torch.tensor([values], dtype=torch.float64, device=device)
    return gather(local).tolist()


def broadcast_object(value: T, source: int = 0) -> T:
    """The value of rank `source`, on every rank."""
    if ranks() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=source)
    return box[0]


def all_objects(value: T) -> list[T]:
    """The value of every rank, in rank order."""
    if ranks() == 1:
        return [value]
    values: list[Any] = [None] * ranks()
    dist.all_gather_object(values, value)
    return values
