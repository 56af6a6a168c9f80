"""The exponential moving average of the weights, which is validated and kept as model.safetensors if it is on.

In: the engine after each step. Out: averaged weights, in the engine while they are validated, and as tensors for a
checkpoint. The average is over pairs, not steps, so that its half-life does not depend on the batch. Buffers (running
statistics) are not averaged. Each rank keeps 1/W of the average at every ZeRO stage; an update needs no communication.
"""

# W ranks, P elements of this rank's share of a parameter

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sentalign import dist


class Average:
    """This rank's share of the averaged weights, float32 beside the weights themselves."""

    def __init__(self, engine: Any, half_life_pairs: float) -> None:
        self.half_life = half_life_pairs
        self.parameters = {name: p for name, p in engine.module.named_parameters() if p.requires_grad}
        self.shares_P = {name: _share(p).clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, pairs: int) -> None:
        """average = d·average + (1 - d)·weights, d = 2^(-pairs / half-life)."""
        shares_P, weights_P = list(self.shares_P.values()), [_share(p) for p in self.parameters.values()]
        torch._foreach_lerp_(shares_P, weights_P, 1 - 0.5 ** (pairs / self.half_life))

    @torch.no_grad()
    def exchange(self) -> None:
        """Swaps average and weights; a second call restores both bit for bit. All ranks call it together."""
        for name, parameter in self.parameters.items():
            weights_P, share_P = _share(parameter).clone(), self.shares_P[name]
            if hasattr(parameter, "ds_tensor"):
                _share(parameter).copy_(share_P)
            if parameter.numel() == _numel(parameter):  # not where ZeRO 3 has partitioned it
                parameter.copy_(_whole(share_P, parameter))
            share_P.copy_(weights_P)

    def state(self) -> dict[str, Tensor]:
        """The whole average by parameter name, in rank 0's host memory; elsewhere empty. All ranks call it together."""
        wholes = ((name, _whole(self.shares_P[name], parameter)) for name, parameter in self.parameters.items())
        return {name: whole.cpu() for name, whole in wholes if dist.rank() == 0}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Loads a whole state, written by any number of ranks at any ZeRO stage; every rank passes all of it."""
        for name, share_P in self.shares_P.items():
            share_P.copy_(_cut(state[name], len(share_P)))


def update(engine: Any, pairs: int) -> None:
    """After a step of `pairs` pairs, if an average is kept."""
    if engine.average is not None:
        engine.average.update(pairs)


@contextmanager
def swapped(engine: Any) -> Iterator[None]:
    """Inside this context the engine holds the averaged weights, if an average is kept."""
    if engine.average is None:
        yield
        return
    engine.average.exchange()
    try:
        yield
    finally:
        engine.average.exchange()


def _numel(parameter: Any) -> int:
    """Size of the whole parameter, also where ZeRO 3 keeps a part of it."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _share(parameter: Any) -> Tensor:
    """This rank's part of the flat weights: under ZeRO 3 its partition, else a view or padded copy."""
    if hasattr(parameter, "ds_tensor"):
        return parameter.ds_tensor.data  # type: ignore[no-any-return]
    return _cut(parameter.data, -(-parameter.numel() // dist.ranks()))


def _cut(whole: Tensor, size: int) -> Tensor:
    part = whole.flatten()[dist.rank() * size : (dist.rank() + 1) * size]
    return part if len(part) == size else torch.nn.functional.pad(part, (0, size - len(part)))


def _whole(share_P: Tensor, parameter: Any) -> Tensor:
    """The parts of all ranks as one tensor of the parameter's shape, on the parameter's device."""
    shape = getattr(parameter, "ds_shape", parameter.shape)
    return dist.gather(share_P.to(parameter.device))[: _numel(parameter)].view(shape)
