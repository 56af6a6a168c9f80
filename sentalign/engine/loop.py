"""The training loop, in a fixed order: validate, save, stop?, one step, log.

In: engine, streams, config, and the callbacks of the run's logger. Out: a finished or stopped run. Everything is
counted in image-report pairs; to resume, run the same command again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError
from torch import Tensor

from sentalign import dist
from sentalign.checkpoint import full_state, restore, write
from sentalign.checkpoint.write import Progress
from sentalign.config import Config
from sentalign.engine import ema, optimizer
from sentalign.engine.step import train_step, validate
from sentalign.health import heartbeat
from sentalign.launch import stop_request
from sentalign.model import dual
from sentalign.stream.batch import Batch
from sentalign.stream.dataset import Stream
from sentalign.stream.order.plan import StreamState
from sharding.contract import UserError

log = logging.getLogger(__name__)
Metrics = dict[str, float]
Weights = dict[str, Tensor]


class LoopCallbacks(Protocol):
    """Receives what the loop does, on every rank, with the pairs seen so far; `weights` are empty but on rank 0."""

    def start(self, pairs: int, total: int) -> None: ...
    def step(self, pairs: int, metrics: Metrics) -> None: ...
    def validation(self, pairs: int, metrics: Metrics, weights: Weights) -> None: ...
    def best(self, pairs: int, loss: float | None, weights: Weights) -> None: ...
    def saved(self, pairs: int) -> None: ...
    def stopped(self, pairs: int) -> None: ...


class _Silent(LoopCallbacks):
    """Its methods do nothing."""


SILENT: LoopCallbacks = _Silent()  # type: ignore[abstract]  # of the ranks that report nothing


def run(
    folder: Path, engine: Any, stream: Stream, validation: Stream | None, config: Config, callbacks: LoopCallbacks
) -> Progress:
    """Trains to the end of the last epoch, from the newest sound checkpoint on if there is one. Raises UserError.

    SIGTERM or SIGUSR1 to any rank stops it with a checkpoint, after the running step or between two batches of a
    validation; a validation that is due then, or was left early, runs when the run is resumed.
    """
    # Lengths, in pairs.
    batch, epoch_pairs = config.data.batch, stream.epoch_batches * config.data.batch
    total = config.train.epochs * epoch_pairs
    validate_every = config.train.validate_every_pairs or epoch_pairs
    save_every = config.train.checkpoint_every_pairs or validate_every

    # Resume.
    heartbeat.phase("restore")
    progress = restore.restore(folder, engine) or Progress(0, stream.start().as_dict())
    batches = stream.batches(StreamState.from_dict(progress.stream))
    callbacks.start(progress.pairs, total)
    evaluation = Evaluation(folder, engine, validation, config, callbacks)
    saves = write.Checkpoints(
        folder,
        engine,
        config.train.keep_checkpoints,
        callbacks.saved,
        lambda part, weights: dual.save(part, engine.module.describe(), weights),
    )
    save_seconds = 60 * config.train.checkpoint_every_minutes or math.inf
    saved_at, saved_pairs, clock_expired = time.monotonic(), progress.pairs, False

    with stop_request.on_signals() as stop_requested:
        stop = StopAgreement(stop_requested)
        while True:
            # Validate.
            unvalidated = progress.pairs != progress.validated and _due(progress.pairs, batch, validate_every, total)
            if unvalidated and not stop.agreed:
                heartbeat.phase("validate", progress.pairs)
                with ema.swapped(engine):  # the weights that are validated are those that are kept
                    progress = evaluation.run(progress, stop)

            # Save.
            save_due = stop.agreed or clock_expired or _due(progress.pairs, batch, save_every, total)
            if save_due and progress.pairs > saved_pairs:
                heartbeat.phase("save", progress.pairs)
                saves.save(progress)
                saved_at, saved_pairs, clock_expired = time.monotonic(), progress.pairs, False

            # Stop?
            if stop.agreed or progress.pairs >= total:
                heartbeat.phase("save", progress.pairs)
                saves.finish()
                heartbeat.phase("end", progress.pairs)
                if progress.pairs < total or progress.validated != progress.pairs:
                    callbacks.stopped(progress.pairs)
                return progress

            # One step.
            heartbeat.phase("data", progress.pairs)
            started = time.perf_counter()
            rows, state = next(batches)
            waited = time.perf_counter() - started
            heartbeat.phase("step")
            lr = optimizer.lr(config.optimizer, progress.pairs, epoch_pairs, total)
            terms = train_step(engine, rows, config, progress.pairs, lr)
            progress = replace(progress, pairs=state.step * batch, stream=state.as_dict())
            seconds = time.perf_counter() - started
            heartbeat.step_took(seconds)

            # Log, and agree: one message carries all that the ranks must know of each other.
            expired = time.monotonic() - saved_at >= save_seconds
            mine = [waited / seconds, rows.replaced, stop_requested(), expired, saves.phase]
            waits, damaged, stops, expirations, phases = zip(*dist.of_all_ranks(mine), strict=True)
            speed = {"lr": lr, "pairs_per_second": batch / seconds}
            callbacks.step(progress.pairs, terms | speed | _stream_metrics(waits, damaged))
            if any(damaged):
                progress = replace(progress, replaced=progress.replaced + int(sum(damaged)))
                stream.check_damage(progress.replaced, "see the warnings of all ranks, and `sentalign shard verify`")
            stop.agreed, clock_expired = any(stops), bool(expirations[0])  # rank 0's clock
            saves.advance([int(phase) for phase in phases])


def _due(pairs: int, batch: int, every: int, total: int) -> bool:
    """Whether the last step crossed a multiple of `every` pairs, or was the last one."""
    return pairs > 0 and (pairs // every > (pairs - batch) // every or pairs >= total)


def _stream_metrics(waits: Sequence[float], damaged: Sequence[float]) -> Metrics:
    """The largest share of the step that a rank waited for data, which rank that was (one slow rank delays all), and
    how many rows of the global batch replace a damaged one.
    """
    slowest = max(range(len(waits)), key=waits.__getitem__)
    return {"data_wait": waits[slowest], "data_wait_rank": slowest, "replaced": int(sum(damaged))}


class StopAgreement:
    """Whether the run stops, the same on all ranks: any rank's stop request counts for all."""

    def __init__(self, requested: Callable[[], bool]) -> None:
        """`requested`: whether this rank received SIGTERM or SIGUSR1."""
        self._requested, self.agreed = requested, False

    def agree(self) -> bool:
        """Exchanges the requests in one small message; all ranks call it at the same point."""
        self.agreed = any(flag for (flag,) in dist.of_all_ranks([self._requested()]))
        return self.agreed

    def until_agreed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, up to the first one before which any rank has a stop request."""
        for batch in batches:
            if self.agree():
                return
            yield batch


@dataclass(frozen=True)
class Evaluation:
    """Validation of a run, and the best weights: those of the lowest validation loss, of equal ones the earliest.

    The loss is the weighted sum of the four terms over the whole validation split; one that is NaN or inf is never the
    best. Without a validation split the last weights are kept. They are model.safetensors in `folder`.
    """

    folder: Path
    engine: Any
    stream: Stream | None
    config: Config
    callbacks: LoopCallbacks

    def run(self, progress: Progress, stop: StopAgreement) -> Progress:
        """Validates, and writes the weights if they are the best. Unchanged `progress`: a stop request came first."""
        terms: Metrics = {}
        if self.stream:
            batches = stop.until_agreed(heartbeat.ticking(self.stream.validation_batches()))
            terms = validate(self.engine, batches, self.config)
            if stop.agreed:
                return progress
        weights = full_state.weights(self.engine)
        if self.stream or self.config.validation.boxes:
            self.callbacks.validation(progress.pairs, terms, weights)
        progress = replace(progress, validated=progress.pairs)
        if _is_best(terms.get("loss"), progress):
            progress = self._keep(progress, terms.get("loss"), weights)
        stop.agree()
        return progress

    def _keep(self, progress: Progress, loss: float | None, weights: Weights) -> Progress:
        """Writes the weights. Raises UserError on all ranks where rank 0 cannot."""
        if failure := dist.broadcast_object(self._written(weights) if dist.rank() == 0 else None):
            raise UserError(failure)
        self.callbacks.best(progress.pairs, loss, weights)
        return replace(progress, best=loss)

    def _written(self, weights: Weights) -> str | None:
        try:
            dual.save(self.folder, self.engine.module.describe(), weights)
        except (OSError, SafetensorError) as error:
            return f"cannot write the weights to {self.folder} ({error}); correct that, and run the same command again"
        return None


def _is_best(loss: float | None, progress: Progress) -> bool:
    if loss is None:
        return True
    if not math.isfinite(loss):
        if dist.rank() == 0:
            message = "warning: the validation loss after %d pairs is %s; these weights are not kept as the best"
            log.warning(message, progress.pairs, loss)
        return False
    return progress.best is None or loss < progress.best or not math.isfinite(progress.best)
