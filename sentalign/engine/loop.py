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
    loop = _Loop(engine, stream, config, callbacks)
    loop.resume(folder, Evaluation(folder, engine, validation, config, callbacks))
    with stop_request.on_signals() as stop_requested:
        stop = StopAgreement(stop_requested)
        while True:
            loop.validate_if_due(stop)
            loop.save_if_due(stop)
            if stop.agreed or loop.progress.pairs >= loop.total:
                return loop.end()
            loop.step(stop)


class _Loop:
    """The state of a run between two steps, the same on every rank, and what is done with it. Lengths are in pairs."""

    progress: Progress

    def __init__(self, engine: Any, stream: Stream, config: Config, callbacks: LoopCallbacks) -> None:
        self._engine, self._stream, self._config, self._callbacks = engine, stream, config, callbacks
        self._epoch_pairs = stream.epoch_batches * config.data.batch
        self.total = config.train.epochs * self._epoch_pairs
        self._validate_every = config.train.validate_every_pairs or self._epoch_pairs
        self._save_every = config.train.checkpoint_every_pairs or self._validate_every
        self._save_seconds = 60 * config.train.checkpoint_every_minutes or math.inf

    def resume(self, folder: Path, evaluation: Evaluation) -> None:
        """Continues at the newest sound checkpoint, or begins."""
        heartbeat.phase("restore")
        self.progress = restore.restore(folder, self._engine) or Progress(0, self._stream.start().as_dict())
        self._batches = self._stream.batches(StreamState.from_dict(self.progress.stream))
        self._callbacks.start(self.progress.pairs, self.total)
        self._evaluation = evaluation
        self._saves = write.Checkpoints(
            folder,
            self._engine,
            self._config.train.keep_checkpoints,
            self._callbacks.saved,
            lambda part, weights: dual.save(part, self._engine.module.describe(), weights),
        )
        self._saved(self.progress.pairs)

    def _saved(self, pairs: int) -> None:
        self._saved_at, self._saved_pairs, self._clock_expired = time.monotonic(), pairs, False

    def _is_due(self, every: int) -> bool:
        return _due(self.progress.pairs, self._config.data.batch, every, self.total)

    def validate_if_due(self, stop: StopAgreement) -> None:
        """Validates, unless the run stops or these weights were validated."""
        pairs = self.progress.pairs
        if not stop.agreed and pairs != self.progress.validated and self._is_due(self._validate_every):
            heartbeat.phase("validate", pairs)
            with ema.swapped(self._engine):  # the weights that are validated are those that are kept
                self.progress = self._evaluation.run(self.progress, stop)

    def save_if_due(self, stop: StopAgreement) -> None:
        """Begins a checkpoint: by pairs, by time, or because the run stops."""
        due = stop.agreed or self._clock_expired or self._is_due(self._save_every)
        if due and self.progress.pairs > self._saved_pairs:
            heartbeat.phase("save", self.progress.pairs)
            self._saves.save(self.progress)
            self._saved(self.progress.pairs)

    def end(self) -> Progress:
        """Waits for the last checkpoint."""
        pairs = self.progress.pairs
        heartbeat.phase("save", pairs)
        self._saves.finish()
        heartbeat.phase("end", pairs)
        if pairs < self.total or self.progress.validated != pairs:
            self._callbacks.stopped(pairs)
        return self.progress

    def step(self, stop: StopAgreement) -> None:
        """Trains one batch and logs it."""
        heartbeat.phase("data", self.progress.pairs)
        started = time.perf_counter()
        rows, state = next(self._batches)
        waited = time.perf_counter() - started
        heartbeat.phase("step")
        lr = optimizer.lr(self._config.optimizer, self.progress.pairs, self._epoch_pairs, self.total)
        terms = train_step(self._engine, rows, self._config, self.progress.pairs, lr)
        pairs = state.step * self._config.data.batch
        self.progress = replace(self.progress, pairs=pairs, stream=state.as_dict())
        seconds = time.perf_counter() - started
        heartbeat.step_took(seconds)
        speed = {"lr": lr, "pairs_per_second": self._config.data.batch / seconds}
        self._agree(stop, waited / seconds, rows.replaced, terms | speed)

    def _agree(self, stop: StopAgreement, waited: float, replaced: int, metrics: Metrics) -> None:
        """Logs the step; its one message carries all that the ranks must know of each other."""
        expired = time.monotonic() - self._saved_at >= self._save_seconds
        mine = [waited, replaced, stop.requested(), expired, self._saves.phase]
        waits, damaged, stops, expirations, phases = zip(*dist.of_all_ranks(mine), strict=True)
        self._callbacks.step(self.progress.pairs, metrics | _stream_metrics(waits, damaged))
        if any(damaged):
            self.progress = replace(self.progress, replaced=self.progress.replaced + int(sum(damaged)))
            self._stream.check_damage(
                self.progress.replaced, "see the warnings of all ranks, and `sentalign shard verify`"
            )
        stop.agreed, self._clock_expired = any(stops), bool(expirations[0])  # rank 0's clock
        self._saves.advance([int(phase) for phase in phases])


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
        self.requested, self.agreed = requested, False

    def agree(self) -> bool:
        """Exchanges the requests in one small message; all ranks call it at the same point."""
        self.agreed = any(flag for (flag,) in dist.of_all_ranks([self.requested()]))
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
