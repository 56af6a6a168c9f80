"""Writes checkpoints in the background, so that an interrupted write never counts as one.

In: the engine and the run's progress. Out: checkpoints/pairs-000000012800/ with model.safetensors (weights and buffers
in full, loaded without deepspeed), optimizer/RANK.safetensors (full_state.py: for any number of ranks and ZeRO stage),
state.json, and index.json, written last. The loop waits only for a copy in host memory. Reading: restore.py. Random
state is not stored: dropout is a function of (seed, pairs, rank).
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

from safetensors.torch import save_file
from torch import Tensor

from sentalign import dist
from sentalign.checkpoint import checksums, folders, full_state
from sharding.contract import UserError

log = logging.getLogger(__name__)
FORMAT, OPTIMIZER, STATE = 2, "optimizer", "state.json"
# Of a rank's background task; the loop exchanges them at every step.
IDLE, BUSY, WRITTEN, DONE, FAILED = range(5)


@dataclass(frozen=True)
class Progress:
    """How far a run is: pairs seen, the stream's state, samples replaced so far, and the best validation."""

    pairs: int
    stream: dict[str, Any]
    best: float | None = None
    validated: int = -1  # pairs at the last validation
    replaced: int = 0  # by all ranks; counts against data.damage_budget


class Checkpoints:
    """The checkpoints that a run writes, one at a time. All methods but `phase` are collective.

    Each rank's thread writes its own files; once all ranks know that all are written, rank 0's thread writes the index,
    renames the folder and removes old ones. A failure (a full disk) is a warning, and the next save tries again; two in
    a row, or one of the last save, end the run with one line.
    """

    def __init__(
        self,
        run: Path,
        engine: Any,
        keep: int,
        saved: Callable[[int], None],
        save_weights: Callable[[Path, dict[str, Tensor]], None],
    ) -> None:
        """`saved(pairs)` is called when a checkpoint is durable; `save_weights` writes model files into a folder."""
        self._run, self._engine, self._keep, self._saved, self._save_weights = run, engine, keep, saved, save_weights
        self._pairs: int | None = None  # of the checkpoint that is being written
        self._task: _Task | None = None
        self._failure: str | None = None  # since the last success

    @property
    def phase(self) -> int:
        """The state of this rank's background task; all ranks' states go into `advance`."""
        return self._task.phase if self._task else IDLE

    def save(self, progress: Progress) -> None:
        """Copies the state to host memory and starts writing it. Waits for the save before. Raises UserError."""
        self.wait()
        self._pairs, part = progress.pairs, folders.part_of(self._run, progress.pairs)
        if error := dist.broadcast_object(_new_folder(part) if dist.rank() == 0 else None):
            self._fail(error)
            return
        engine, rank = self._engine, dist.rank()
        weights, optimizer = full_state.weights(engine), full_state.optimizer_state(engine)
        written_by = {"ranks": dist.ranks(), "zero_stage": engine.zero_optimization_stage()}
        state = {"format": FORMAT, "progress": asdict(progress), "skipped_steps": engine.skipped_steps} | written_by

        def write() -> None:
            files = [part / OPTIMIZER / f"{rank:05d}.safetensors"]
            save_file(optimizer, files[0])
            if rank == 0:
                self._save_weights(part, weights)
                (part / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
                files += [p for p in part.iterdir() if p.is_file() and not p.name.startswith(".")]
            checksums.add(part, rank, files)

        self._task = _Task(write, WRITTEN)

    def advance(self, phases: list[int]) -> None:
        """The next part of a save, by the `phase` of all ranks. Raises UserError after two failures in a row."""
        if self._pairs is None:
            return
        if FAILED in phases:
            self._fail(dist.broadcast_object(self._task.error if self._task else "", phases.index(FAILED)))
        elif phases[0] == DONE:
            pairs, self._pairs, self._task, self._failure = self._pairs, None, None, None
            self._saved(pairs)
        elif dist.rank() == 0 and set(phases) == {WRITTEN}:
            self._task = _Task(self._publish, DONE)

    def wait(self) -> None:
        """Returns when nothing is being written. Raises UserError after two failures in a row."""
        while self._pairs is not None:
            if self._task:
                self._task.join()
            self.advance([int(phase) for (phase,) in dist.of_all_ranks([self.phase])])

    def finish(self) -> None:
        """Waits for the last save. Raises UserError if it failed."""
        self.wait()
        if self._failure:
            raise UserError(self._failure)

    def _publish(self) -> None:
        assert self._pairs is not None
        part = folders.part_of(self._run, self._pairs)
        checksums.close(part, dist.ranks())
        folders.publish(part)
        folders.retain(self._run, self._pairs, self._keep)

    def _fail(self, error: str) -> None:
        pairs, self._pairs, self._task = self._pairs or 0, None, None
        again = self._failure is not None
        self._failure = (
            f"the checkpoint of {pairs} pairs was not written: {error}; correct that, and the same command resumes "
            "from the checkpoint before"
        )
        if dist.rank() == 0:
            shutil.rmtree(folders.part_of(self._run, pairs), ignore_errors=True)
        if again:
            raise UserError(self._failure)
        if dist.rank() == 0:
            log.warning("warning: %s; the next save tries again", self._failure)


class _Task:
    """A function in its own thread, and its outcome."""

    def __init__(self, function: Callable[[], None], after: int) -> None:
        self.phase, self.error, self._function, self._after = BUSY, "", function, after
        self._thread = threading.Thread(target=self._run, name="checkpoint")
        self._thread.start()
        self.join = self._thread.join

    def _run(self) -> None:
        try:
            self._function()
        except Exception as error:  # any of them, or the loop would wait for ever
            self.error, self.phase = f"{type(error).__name__}: {' '.join(str(error).split())}", FAILED
        else:
            self.phase = self._after


def _new_folder(part: Path) -> str | None:
    """Makes an empty folder for all ranks to write to; the error, if there is one."""
    try:
        shutil.rmtree(part, ignore_errors=True)
        (part / OPTIMIZER).mkdir(parents=True)
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return None
