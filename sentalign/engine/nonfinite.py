"""Where NaN or inf began: the first rank, tower, layer or parameter that has one.

In: the engine and the work of a bad step, to be repeated under hooks on every rank. Out: the end of a sentence, equal
on every rank. Nothing here runs in a normal step, and no value of an image or report is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from sentalign import dist
from sentalign.model import norm


class NotFiniteError(RuntimeError):
    """A loss or gradient is NaN or inf; the message names step, rank and place."""


def bad_features(engine: Any, forward: Callable[[], object]) -> str:
    """The first layer whose output has NaN or inf. `forward` repeats the forward pass."""
    names = [name for name, _ in engine.module.named_modules()]
    first: list[tuple[int, bool]] = []

    def check(index: int, inputs: Any, outputs: Any) -> None:
        if not first and _bad(_tensors(outputs)):
            first.append((index, _bad(_tensors(inputs))))

    hooks = [
        layer.register_forward_hook(lambda _, inputs, outputs, index=index: check(index, inputs, outputs))
        for index, layer in enumerate(engine.module.modules())
    ]
    # Compiled code does not run hooks that were registered after its compilation.
    with torch.no_grad(), norm.frozen_running_stats(engine.module), torch.compiler.set_stance("force_eager"):
        forward()
    _remove(hooks)
    for rank, (index, bad_input) in enumerate(dist.of_all_ranks(list(first[0]) if first else [-1, False])):
        if index >= 0:
            state = "already NaN or inf" if bad_input else "finite"
            return f"rank {rank}, in the {_tower(names[int(index)])}; its input is {state}"
    return "all features are finite, the terms are not"


def bad_gradient(engine: Any, repeat_step: Callable[[], object]) -> str:
    """The first parameter, in the order of the backward pass, whose gradient on one rank has NaN or inf."""
    named = list(engine.module.named_parameters())
    first: list[int] = []

    def check(index: int, gradient: Tensor) -> None:
        if not first and _bad([gradient]):
            first.append(index)

    hooks = [
        parameter.register_hook(lambda gradient, index=index: check(index, gradient))
        for index, (_, parameter) in enumerate(named)
        if parameter.requires_grad
    ]
    with norm.frozen_running_stats(engine.module):
        repeat_step()
    _remove(hooks)
    for rank, (index,) in enumerate(dist.of_all_ranks([first[0] if first else -1])):
        if index >= 0:
            return f"rank {rank}, first in {named[int(index)][0]}"
    return "summed over ranks only, each rank's own is finite in a second try"


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
