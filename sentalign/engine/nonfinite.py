"""Where numbers ended: which rank, tower, layer or parameter was the first with an infinity or no number.

In: the engine and the work of a bad step, to be done again under hooks on every rank. Out: the end of a sentence, equal
on every rank. Nothing here runs while all is well, and no value of a picture or report is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from sentalign import dist
from sentalign.model import norm


class NotFiniteError(RuntimeError):
    """A loss or gradient is no longer a number; the message names step, rank and place."""


def bad_features(engine: Any, forward: Callable[[], object]) -> str:
    """The first layer with a value that is no number. `forward` repeats the forward pass."""
    names = [name for name, _ in engine.module.named_modules()]
    found: list[tuple[int, bool]] = []

    def look(place: int, inputs: Any, made: Any) -> None:
        if not found and _bad(_tensors(made)):
            found.append((place, _bad(_tensors(inputs))))

    hooks = [
        layer.register_forward_hook(lambda _, inputs, made, place=place: look(place, inputs, made))
        for place, layer in enumerate(engine.module.modules())
    ]
    # Compiled code passes hooks over that were not there when it was made.
    with torch.no_grad(), norm.frozen_running_stats(engine.module), torch.compiler.set_stance("force_eager"):
        forward()
    _remove(hooks)
    place, given = found[0] if found else (-1, False)
    for rank, (where, by_input) in enumerate(dist.of_all_ranks([place, given])):
        if where >= 0:
            cause = "what it was given is no number already" if by_input else "what it was given is finite"
            return f"rank {rank} has no number in the {_tower(names[int(where)])}; {cause}"
    return "all features are finite, the terms are not"


def bad_gradient(engine: Any, again: Callable[[], object]) -> str:
    """The first parameter, in the order of the backward pass, whose gradient of one rank is no number."""
    named = list(engine.module.named_parameters())
    found: list[int] = []

    def look(place: int, gradient: Tensor) -> None:
        if not found and _bad([gradient]):
            found.append(place)

    hooks = [
        parameter.register_hook(lambda gradient, place=place: look(place, gradient))
        for place, (_, parameter) in enumerate(named)
        if parameter.requires_grad
    ]
    with norm.frozen_running_stats(engine.module):
        again()
    _remove(hooks)
    for rank, (where,) in enumerate(dist.of_all_ranks([found[0] if found else -1])):
        if where >= 0:
            return f"is no number: rank {rank}, first in {named[int(where)][0]}"
    return "is no number over all ranks, though it is on each of them and at a second try"


def _remove(hooks: Iterable[Any]) -> None:
    for hook in hooks:
        hook.remove()


def _tower(name: str) -> str:
    tower = name.partition(".")[0]
    return f"{tower} tower, first after {name}" if tower in ("image", "text") else name or "model"


def _tensors(values: Any) -> list[Tensor]:
    """The floating tensors in nested outputs of a layer."""
    if isinstance(values, Tensor):
        return [values] if values.is_floating_point() else []
    if isinstance(values, dict):
        values = list(values.values())
    return [t for value in values for t in _tensors(value)] if isinstance(values, list | tuple) else []


def _bad(tensors: list[Tensor]) -> bool:
    return any(not bool(torch.isfinite(t).all()) for t in tensors)
