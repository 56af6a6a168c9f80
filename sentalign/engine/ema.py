"""The exponential moving average of the weights: what is validated and kept as model.safetensors where it is on.

In: the engine after each step. Out: averaged weights, in the engine while they are validated, and as tensors for a
checkpoint. The average is over pairs, not steps, so that its half-life does not depend on the batch. Buffers (running
statistics) are never averaged. Each rank keeps its 1/W of the average at every ZeRO stage; nothing travels in a step.
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
        """Average and weights change places; a second time, all is bit for bit as before. On all ranks together."""
        for name, parameter in self.parameters.items():
            weights_P, share_P = _share(parameter).clone(), self.shares_P[name]
            if hasattr(parameter, "ds_tensor"):
                _share(parameter).copy_(share_P)
            if parameter.numel() == _numel(parameter):  # whole on this rank; not where ZeRO 3 has partitioned it
                parameter.copy_(_whole(share_P, parameter))
            share_P.copy_(weights_P)

    def state(self) -> dict[str, Tensor]:
        """The whole average by parameter name, on rank 0's host; elsewhere an empty dict. On all ranks together."""
        found = {}
        for name, parameter in self.parameters.items():
            whole = _whole(self.shares_P[name], parameter)
            if dist.rank() == 0:
                found[name] = whole.cpu()
        return found

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Takes up a whole state, of any number of ranks and ZeRO stage; every rank is given all of it."""
        for name, share_P in self.shares_P.items():
            share_P.copy_(_cut(state[name], len(share_P)))


def update(engine: Any, pairs: int) -> None:
    """After a step of `pairs` pairs; nothing where no average is kept."""
    if engine.average is not None:
        engine.average.update(pairs)


@contextmanager
def swapped(engine: Any) -> Iterator[None]:
    """Within it the engine holds the averaged weights, if any are kept."""
    if engine.average is None:
        yield
        return
    engine.average.exchange()
    try:
        yield
    finally:
        engine.average.exchange()


def _numel(parameter: Any) -> int:
    """Of the whole parameter, also where ZeRO 3 has left a part."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _share(parameter: Any) -> Tensor:
    """This rank's part of the flat weights: under ZeRO 3 the partition it holds, else a view or padded copy."""
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
