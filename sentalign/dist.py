"""Ranks: who am I, how many are we, and how a tensor of every rank becomes one tensor with its gradient.

In: torch.distributed, initialised by the engine (or not: then there is one rank). Out: plain functions. (leaf)
"""

# W ranks, b rows of one rank, B = W·b rows of all

from __future__ import annotations

from typing import TypeVar

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
    def forward(context: torch.autograd.function.FunctionCtx, local: Tensor) -> Tensor:
        everyone = local.new_empty((ranks() * local.shape[0], *local.shape[1:]))
        dist.all_gather(list(everyone.chunk(ranks())), local.contiguous())
        return everyone

    @staticmethod
    def backward(context: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        # all_reduce and a slice, since gloo has no reduce_scatter for every type.
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.chunk(ranks())[rank()]


def gather(local: Tensor) -> Tensor:
    """(b, ...) of each rank -> (W·b, ...), with gradient. Every rank must bring the same shape."""
    return _Gather.apply(local) if ranks() > 1 else local


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


def broadcast_object(value: T) -> T:
    """Rank 0's value, on every rank."""
    if ranks() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]
