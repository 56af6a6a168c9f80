"""Checkpoints: what a run needs to go on after it was stopped or killed, written so that half of one never counts.

In: the engine and where the stream stands. Out: checkpoints/pairs-000012800/ with DeepSpeed's files, model.safetensors
(weights and buffers in full, loaded without deepspeed), state.json, and index.json, written last, with size and sha256
of all of them. The loop waits for a copy in memory only (host_copy.py); files, sums and the folder's name are made in
the background. Reading is read.py. Random state is not stored: dropout is a function of (seed, pairs, rank).
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import deepspeed
import torch
from safetensors.torch import save_file
from torch import Tensor

from sentalign import dist
from sentalign.checkpoint import ema_state, index
from sentalign.checkpoint.host_copy import copied, copied_files
from sentalign.model import dual
from sharding.contract import UserError

log = logging.getLogger(__name__)
FOLDER, TAG, STATE = "checkpoints", "engine", "state.json"
OF_RANK_0 = (dual.WEIGHTS, dual.TOWERS, STATE, ema_state.FILE)
# What a rank says of its part in the checkpoint that is being written; the loop tells it to all ranks at every step.
IDLE, BUSY, WRITTEN, DONE, FAILED = range(5)


@dataclass(frozen=True)
class Progress:
    """Where a run stands: pairs seen, the stream's state, and the best validation so far."""

    pairs: int
    stream: dict[str, Any]
    best: float | None = None
    best_pairs: int = 0
    validated: int = -1  # pairs at the last validation


class Checkpoints:
    """The checkpoints that a run writes, one at a time. Every method but `phase` is called by all ranks alike.

    Each rank's thread writes its own files; when the ranks have told each other that all are there, rank 0's thread
    makes index and name and removes what is too old. A failure (a full disk) is a warning, and the next save tries
    again; two in a row, or one of the last save, end the run with one line.
    """

    def __init__(self, run: Path, engine: Any, keep: int, saved: Callable[[int], None]) -> None:
        """`saved` is told the pairs of each checkpoint once it is durable."""
        self._run, self._engine, self._keep, self._saved = run, engine, keep, saved
        self._pairs: int | None = None  # of the checkpoint that is being written
        self._work: _Work | None = None
        self._complaints: list[str] = []  # of the failures since the last success

    @property
    def phase(self) -> int:
        """What the other ranks must know of this rank's background work; goes into `heard`."""
        return self._work.phase if self._work else IDLE

    def save(self, progress: Progress) -> None:
        """Copies the state, and leaves the rest to the background. Waits for the save before. Raises UserError."""
        self.wait()
        self._pairs, part = progress.pairs, _part(self._run, progress.pairs)
        if complaint := dist.broadcast_object(_prepared(part) if dist.rank() == 0 else None):
            self._failed(complaint)
            return
        files = copied_files(self._engine, part, TAG)
        weights, rest = whole_state(self._engine), copied(ema_state.state(self._engine))
        state = asdict(progress) | {"ranks": dist.ranks(), "zero_stage": self._engine.zero_optimization_stage()}
        described = self._engine.module.describe() if dist.rank() == 0 else {}

        def write() -> None:
            for path, value in files.items():
                torch.save(value, path)
            if dist.rank() == 0:
                dual.save(part, described, weights)
                (part / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
                if rest:
                    save_file(rest, part / ema_state.FILE)
            own = [part / name for name in OF_RANK_0 if (part / name).is_file()] if dist.rank() == 0 else []
            index.note(part, dist.rank(), [*files, *own])

        self._work = _Work(write, WRITTEN)

    def heard(self, phases: list[int]) -> None:
        """Goes on by what all ranks have said of their `phase`. Raises UserError after two failures in a row."""
        if self._pairs is None:
            return
        if FAILED in phases:
            told = dist.broadcast_object(self._work.complaint if self._work else "", phases.index(FAILED))
            self._failed(told)
        elif phases[0] == DONE:
            self._complaints = []
            pairs, self._pairs, self._work = self._pairs, None, None
            self._saved(pairs)
        elif dist.rank() == 0 and set(phases) == {WRITTEN}:
            self._work = _Work(self._publish, DONE)

    def wait(self) -> None:
        """Returns when nothing is being written. Raises UserError after two failures in a row."""
        while self._pairs is not None:
            if self._work:
                self._work.join()
            self.heard([int(phase) for (phase,) in dist.of_all_ranks([self.phase])])

    def finish(self) -> None:
        """Waits for the last save. Raises UserError where it failed."""
        self.wait()
        if self._complaints:
            raise UserError(self._complaints[-1])

    def _publish(self) -> None:
        assert self._pairs is not None
        part = _part(self._run, self._pairs)
        index.close(part, dist.ranks())
        final = part.with_suffix("")
        shutil.rmtree(final, ignore_errors=True)  # one of the same pairs stands here only if it was not sound
        part.rename(final)
        index.durable(final.parent)
        retain(self._run, self._pairs, self._keep)

    def _failed(self, complaint: str) -> None:
        pairs, self._pairs, self._work = self._pairs, None, None
        self._complaints.append(
            f"the checkpoint of {pairs} pairs was not written: {complaint}; mend that, and the same command goes on "
            "from the one before"
        )
        if dist.rank() == 0:
            shutil.rmtree(_part(self._run, pairs or 0), ignore_errors=True)
        if len(self._complaints) > 1:
            raise UserError(self._complaints[-1])
        if dist.rank() == 0:
            log.warning("warning: %s; the next save tries again", self._complaints[-1])


class _Work:
    """A function in a thread of its own, and what has become of it."""

    def __init__(self, function: Callable[[], None], after: int) -> None:
        self.phase, self.complaint, self._after = BUSY, "", after
        self._thread = threading.Thread(target=self._run, args=(function,), name="checkpoint")
        self._thread.start()

    def _run(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:  # whatever it was, the loop must hear of it
            self.complaint, self.phase = f"{type(error).__name__}: {' '.join(str(error).split())}", FAILED
        else:
            self.phase = self._after

    def join(self) -> None:
        self._thread.join()


def complete(run: Path) -> list[Path]:
    """The run's checkpoints under their final names, oldest first; whether they are sound is not looked at."""
    return sorted(p for p in (run / FOLDER).glob("pairs-*") if p.is_dir() and not p.suffix)


def retain(run: Path, newest: int, keep: int) -> None:
    """Removes all but the newest `keep` whole checkpoints up to `newest` pairs, and what killed runs left half done.

    What counts more pairs than the newest was not sound when the run was continued from before it.
    """
    last = _part(run, newest).with_suffix("")
    whole = [folder for folder in complete(run) if folder <= last and index.looks_whole(folder)]
    every = set((run / FOLDER).glob("pairs-*"))
    for folder in [p for p in every if p.suffix]:
        shutil.rmtree(folder, ignore_errors=True)
    for folder in {p for p in every if not p.suffix} - set(whole[-keep:]):
        # Under another name first: a kill in the middle leaves nothing that looks like a checkpoint.
        shutil.rmtree(folder.rename(folder.with_suffix(".gone")), ignore_errors=True)


def whole_state(engine: Any) -> dict[str, Tensor]:
    """Parameters and buffers in full on rank 0 (under ZeRO 3 each rank holds a part); elsewhere an empty dict."""
    module = engine.module
    with deepspeed.zero.GatheredParameters(list(module.parameters()), enabled=engine.zero_optimization_stage() == 3):
        if dist.rank() != 0:
            return {}
        return {name: value.detach().to("cpu", copy=True) for name, value in module.state_dict().items()}


def _part(run: Path, pairs: int) -> Path:
    return run / FOLDER / f"pairs-{pairs:012d}.part"


def _prepared(part: Path) -> str | None:
    """Makes an empty folder for all ranks to write to; what went wrong, if anything did."""
    try:
        shutil.rmtree(part, ignore_errors=True)
        (part / TAG).mkdir(parents=True)
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return None
