"""What DeepSpeed would write to the disk, as copies in the host's memory, so that training can go on at once.

In: the engine. Out: {path: value to save}, of this rank. DeepSpeed asks an exchangeable writer for every file of a
checkpoint; here that writer copies instead. Nothing is written (write.py). DeepSpeed 0.19.8 has two faster writers
of its own, which do not serve: the fast one wants pinned memory, the decoupled one hands live tensors to a process and
waits for it before the next step, and neither can load what it saved of ZeRO's state (weights only).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointCommitInfo, CheckpointEngine
from torch import Tensor


class Copier(CheckpointEngine):
    """DeepSpeed's writer, but into memory: `taken` has what it was given. It reads as DeepSpeed's own does."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "Copier"
        self.taken: dict[Path, Any] = {}

    def create(self, info: CheckpointCommitInfo) -> None:
        self.taken = {}

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """The folder is made by whoever writes."""

    def save(self, state_dict: Any, path: str) -> None:
        self.taken[Path(path)] = copied(state_dict)

    def load(self, path: str, map_location: Any = None) -> Any:
        return torch.load(path, map_location=map_location, weights_only=False)

    def commit(self, info: CheckpointCommitInfo) -> bool:
        return True


def copied_files(engine: Any, folder: Path, tag: str) -> dict[Path, Any]:
    """This rank's files of a checkpoint in `folder`/`tag`, copied out of the engine; all ranks call it together."""
    copier, writer, script = Copier(), engine.checkpoint_engine, engine._copy_recovery_script
    engine.checkpoint_engine = copier
    # Of all that DeepSpeed does to save, this alone would touch the disk: a script whose work model.safetensors does.
    engine._copy_recovery_script = lambda save_path: None
    try:
        engine.save_checkpoint(str(folder), tag=tag, save_latest=False)
    finally:
        engine.checkpoint_engine, engine._copy_recovery_script = writer, script
    return copier.taken


def copied(value: Any) -> Any:
    """A deep copy whose tensors lie in the host's memory and share nothing with the original."""
    # deepcopy looks its argument up before it copies: tensors are found copied already, on the host.
    memo = {id(tensor): tensor.detach().to("cpu", copy=True) for tensor in _tensors(value)}
    return copy.deepcopy(value, memo)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)
