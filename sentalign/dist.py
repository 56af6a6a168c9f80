"""Ranks: who am I, how many are we, and how a tensor of every rank becomes one tensor with its gradient.

In: torch.distributed, initialised by the engine (or not: then there is one rank). Out: plain functions. (leaf)
"""

# W ranks, b rows of one rank, B = W·b rows of all

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def rank() -> int:
    """This process's number, 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Waits for every rank."""
    if dist.is_initialized():
        dist.barrier()


class _Gather(torch.autograd.Function):
    """All ranks' rows, in rank order. The backward pass sums over ranks: each rank's loss may use every row."""

    @staticmethod
    def forward(context: Any, local: Tensor) -> Tensor:
        everyone = local.new_empty((ranks() * local.shape[0], *local.shape[1:]))
        dist.all_gather(list(everyone.chunk(ranks())), local.contiguous())
        return everyone

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        everyone = gradients[0].contiguous()
        own = everyone.new_empty((len(everyone) // ranks(), *everyone.shape[1:]))
        dist.reduce_scatter_tensor(own, everyone)
        return own


def gather(local: Tensor) -> Tensor:
    """(b, ...) of each rank -> (W·b, ...), with gradient. Every rank must bring the same shape."""
    return _Gather.apply(local) if ranks() > 1 else local


class _GatherRagged(torch.autograd.Function):
    """All ranks' rows, of which each has as many as `sizes` says; the backward pass sums over ranks."""

    @staticmethod
    def forward(context: Any, local: Tensor, sizes: list[int]) -> Tensor:
        context.sizes = sizes
        parts = [
            local.contiguous() if r == rank() else local.new_empty(n, *local.shape[1:]) for r, n in enumerate(sizes)
        ]
        if _even_enough(sizes):
            most = max(sizes)
            everyone = local.new_empty(ranks(), most, *local.shape[1:])
            dist.all_gather(list(everyone.unbind()), _padded(local, most))
            return torch.cat([part[:n] for part, n in zip(everyone, sizes, strict=True)])
        # gloo gathers equal sizes only, and padding would be sent too: each rank tells its rows to all.
        _wait([dist.broadcast(part, source, async_op=True) for source, part in enumerate(parts) if len(part)])
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        parts = [part.clone() for part in gradients[0].split(context.sizes)]
        if _even_enough(context.sizes):
            padded = torch.cat([_padded(part, max(context.sizes)) for part in parts])
            own = padded.new_empty(max(context.sizes), *padded.shape[1:])
            dist.reduce_scatter_tensor(own, padded)
            return own[: context.sizes[rank()]], None
        _wait([dist.reduce(part, target, async_op=True) for target, part in enumerate(parts) if len(part)])
        return parts[rank()], None


def gather_ragged(local: Tensor, sizes: list[int]) -> Tensor:
    """(n, ...) of each rank, n = sizes[rank] -> (sum of sizes, ...), with gradient."""
    assert len(local) == sizes[rank()]
    return _GatherRagged.apply(local, sizes) if ranks() > 1 else local


def _even_enough(sizes: list[int]) -> bool:
    """Whether padding to the longest adds less than a twentieth to what is sent."""
    return max(sizes) * len(sizes) <= 1.05 * sum(sizes)


def _padded(rows: Tensor, count: int) -> Tensor:
    return torch.nn.functional.pad(rows, (*[0, 0] * (rows.dim() - 1), 0, count - len(rows))).contiguous()


def _wait(works: list[Any]) -> None:
    for work in works:
        work.wait()


class _Total(torch.autograd.Function):
    """The sum over ranks. All go on with it alike, and W times its gradient makes up for the mean over ranks."""

    @staticmethod
    def forward(context: Any, local: Tensor) -> Tensor:
        everyone = local.clone()
        dist.all_reduce(everyone)
        return everyone

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * ranks()


def total(local: Tensor) -> Tensor:
    """The sum over ranks, for a loss that every rank computes from it and whose gradients are averaged over ranks."""
    return _Total.apply(local) if ranks() > 1 else local


def largest(local: Tensor) -> Tensor:
    """The maximum over ranks, without gradient."""
    if ranks() == 1:
        return local
    everyone = local.contiguous().clone()
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


def of_all_ranks(numbers: list[float]) -> list[list[float]]:
    """The numbers of every rank, in rank order; all bring as many. One small message, float64."""
    if ranks() == 1:
        return [numbers]
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else "cpu"
    local = torch.tensor(numbers, dtype=torch.float64, device=device)
    everyone = local.new_empty((ranks(), len(numbers)))
    dist.all_gather(list(everyone.unbind()), local)
    return everyone.tolist()


def broadcast_object(value: T, source: int = 0) -> T:
    """The value of rank `source`, on every rank."""
    if ranks() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=source)
    return box[0]
