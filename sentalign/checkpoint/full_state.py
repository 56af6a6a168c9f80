"""The full tensors of a run, read from DeepSpeed's engine and written back, for any number of ranks and ZeRO stage.

In: an engine; or a function that returns a tensor by name. Out: weights (parameters and buffers) on rank 0's host; and
on each rank's host the optimizer state of every W-th trained parameter, W ranks, so that memory and files are split.
Float32 AdamW: 4 bytes per parameter on rank 0 (8 with the moving average), and 8 / W on every rank. Files: write.py.

Every parameter is assembled alone, by `deepspeed.utils.safe_get_full_*`. Exact, with one exception: the sum over
ranks at ZeRO 1 and 2 returns +0 for -0, which no later step can distinguish.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import deepspeed
import deepspeed.utils
import torch
from torch import Tensor

from sentalign import dist

# Keys of a parameter's state beside the optimizer's exp_avg and exp_avg_sq, or momentum_buffer: the moving average of
# the weights, and Adam's step counter, which alone has no axes and stays on the host.
AVERAGE, STEP = "average", "step"


def weights(engine: Any) -> dict[str, Tensor]:
    """Parameters and buffers on rank 0's host, an empty dict elsewhere. Collective."""
    found = {}
    for name, value in engine.module.state_dict(keep_vars=True).items():
        with deepspeed.zero.GatheredParameters([value]):  # does nothing below ZeRO 3
            if dist.rank() == 0:
                found[name] = _host_copy(value)
    return found


def optimizer_state(engine: Any) -> dict[str, Tensor]:
    """This rank's share, as PARAMETER/KEY; the moving average, if there is one, is on rank 0. Collective."""
    found = {}
    _link(engine)
    for number, (name, parameter) in enumerate(_trained(engine)):
        for key, value in _state_of(engine, parameter):
            if number % dist.ranks() == dist.rank():
                found[f"{name}/{key}"] = _host_copy(value)
    average = engine.average.state() if getattr(engine, "average", None) else {}
    return found | {f"{name}/{AVERAGE}": value for name, value in average.items()}


@torch.no_grad()
def load(engine: Any, names: Collection[str], read: Callable[[str], Tensor]) -> None:
    """Sets weights and optimizer state to the tensors of `names`, which are those of all ranks. Collective."""
    for name, value in engine.module.state_dict(keep_vars=True).items():
        whole = read(name)
        with deepspeed.zero.GatheredParameters([value], modifier_rank=0):
            value.copy_(whole)
        if value.requires_grad:
            _set(value, whole, None)
    if average := getattr(engine, "average", None):
        average.load({name: read(f"{name}/{AVERAGE}") for name, _ in _trained(engine)})
    keys = {name.rpartition("/")[2] for name in names if "/" in name} - {AVERAGE}
    stored = {f"{name}/{key}": (parameter, key) for name, parameter in _trained(engine) for key in sorted(keys)}
    _load_optimizer(engine, {name: stored[name] for name in stored if name in names}, read)


def _load_optimizer(engine: Any, stored: dict[str, tuple[Any, str]], read: Callable[[str], Tensor]) -> None:
    """`stored`: parameter and key of each tensor."""
    if engine.zero_optimization_stage() == 0:
        for name, (parameter, key) in stored.items():
            value = read(name)
            engine.optimizer.state[parameter][key] = value if key == STEP else value.to(parameter.device)
        return
    if stored:
        # Stage 0 counts steps per parameter; one that had no gradient yet has moments of 0, and none is stored.
        steps = [read(name) for name, (_, key) in stored.items() if key == STEP]
        _allocate(engine, {key for _, key in stored.values()} - {STEP}, max(steps, default=None))
    for name, (parameter, key) in stored.items():
        if key != STEP:
            _set(parameter, read(name), key)


def _allocate(engine: Any, keys: set[str], step: Tensor | None) -> None:
    """Creates the state that ZeRO's optimizer would only have after its first step."""
    zero = engine.optimizer
    partitioned = engine.zero_optimization_stage() == 3
    for flat in zero.fp32_partitioned_groups_flat if partitioned else zero.single_partition_of_fp32_groups:
        zero.optimizer.state[flat] = {key: torch.zeros_like(flat) for key in keys}
        if step is not None:
            zero.optimizer.state[flat][STEP] = step.clone()
    _link(engine)


def _link(engine: Any) -> None:
    """Makes the state known to safe_get and safe_set at ZeRO 1 and 2.

    DeepSpeed does it after the first step of the first parameter group, when the other groups have no state yet.
    """
    if engine.zero_optimization_stage() in (1, 2):
        zero = engine.optimizer
        for parameters, flat in zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True):
            deepspeed.utils.lazy_init_hp_params_optimizer_state(parameters, flat, zero.optimizer.state)


def _state_of(engine: Any, parameter: Any) -> Iterator[tuple[str, Tensor]]:
    """Key and tensor of a parameter's optimizer state; nothing before the first step."""
    if engine.zero_optimization_stage() == 0:
        yield from engine.optimizer.state.get(parameter, {}).items()
        return
    flat_state: dict[str, Tensor] = next(iter(engine.optimizer.optimizer.state.values()), {})
    for key, value in sorted(flat_state.items()):  # the same order on all ranks: each key is a collective
        yield key, value if key == STEP else deepspeed.utils.safe_get_full_optimizer_state(parameter, key)


def _set(parameter: Any, whole: Tensor, key: str | None) -> None:
    """Sets ZeRO's float32 weight, or a key of its optimizer state; at stage 0 the parameter is all there is."""
    if not hasattr(parameter, "ds_tensor"):
        if key:
            deepspeed.utils.safe_set_full_optimizer_state(parameter, whole, key)
        else:
            deepspeed.utils.safe_set_full_fp32_param(parameter, whole)
        return
    # At ZeRO 3 safe_set_full_* fails for a size that the number of ranks does not divide: each rank sets its own part.
    size = parameter.ds_tensor.numel()
    part = whole.flatten()[dist.rank() * size : (dist.rank() + 1) * size]
    part = torch.nn.functional.pad(part, (0, size - len(part)))
    if key:
        deepspeed.utils.safe_set_local_optimizer_state(parameter, part, key)
    else:
        deepspeed.utils.safe_set_local_fp32_param(parameter, part)


def _trained(engine: Any) -> list[tuple[str, Any]]:
    return [(name, p) for name, p in engine.module.named_parameters() if p.requires_grad]


def _host_copy(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True)
