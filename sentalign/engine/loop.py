"""The loop, in one order: validate, save, stop?, one step, log.

In: engine, stream, configuration, and callables for what a run tells the world. Out: a finished run. Everything is
counted in image-report pairs; to resume, run the same command again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from sentalign import dist
from sentalign.config import Config
from sentalign.engine import checkpoint, schedule, watch
from sentalign.engine.checkpoint import Progress
from sentalign.engine.step import train_step, validate
from sentalign.model import dual
from sentalign.stream.dataset import Stream
from sentalign.stream.plan import StreamState

Numbers = dict[str, float]


class Tell(Protocol):
    """Whom the loop tells, on every rank, with the pairs seen so far."""

    def start(self, pairs: int, total: int) -> None: ...
    def step(self, pairs: int, numbers: Numbers) -> None: ...
    def validation(self, pairs: int, numbers: Numbers) -> None: ...
    def best(self, pairs: int, value: float | None) -> None: ...
    def saved(self, pairs: int) -> None: ...


def run(folder: Path, engine: Any, stream: Stream, validation: Stream | None, config: Config, tell: Tell) -> Progress:
    """Trains to the end of the last epoch, from the newest checkpoint on where there is one.

    The best checkpoint is the one of lowest validation loss (the weighted sum of the four terms over the whole
    validation split); of equal ones the earliest. Its weights are model.safetensors. Without a validation split the
    last weights are kept.
    """
    batch, epoch_pairs = config.data.batch, stream.epoch_batches * config.data.batch
    total = config.train.epochs * epoch_pairs
    validate_every = config.train.validate_every_pairs or epoch_pairs
    save_every = config.train.checkpoint_every_pairs or validate_every
    watch.phase("restore")
    progress = checkpoint.restore(folder, engine) or Progress(0, stream.start().as_dict())
    batches = stream.batches(StreamState.from_dict(progress.stream))
    resumed_at = progress.pairs
    tell.start(progress.pairs, total)
    while True:
        if progress.pairs != progress.validated and _due(progress.pairs, batch, validate_every, total):
            watch.phase("validate", progress.pairs)
            progress = _validated(folder, engine, validation, config, tell, progress)
        if progress.pairs > resumed_at and _due(progress.pairs, batch, save_every, total):
            watch.phase("save", progress.pairs)
            checkpoint.save(folder, engine, progress, config.train.keep_checkpoints)
            tell.saved(progress.pairs)
        if progress.pairs >= total:
            watch.phase("end", progress.pairs)
            return progress
        watch.phase("data", progress.pairs)
        started = time.perf_counter()
        rows, state = next(batches)
        waited = time.perf_counter() - started
        rate = schedule.rate(config.optimizer, progress.pairs, epoch_pairs, total)
        watch.phase("step")
        terms = train_step(engine, rows, config, progress.pairs, rate)
        progress = replace(progress, pairs=progress.pairs + batch, stream=state.as_dict())
        seconds = time.perf_counter() - started
        watch.stepped(seconds)
        speed = {"rate": rate, "pairs_per_second": batch / seconds}
        tell.step(progress.pairs, terms | speed | _data(waited / seconds, rows.replaced))


def _data(wait: float, replaced: int) -> Numbers:
    """What the stream cost the step: the largest share of it that a rank waited for data, which rank that was, and how
    many rows of the global batch stand for one that cannot be read. One slow rank holds up all of them.
    """
    everyone = dist.of_all_ranks([wait, replaced])
    slowest = max(range(len(everyone)), key=lambda rank: everyone[rank][0])
    return {
        "data_wait": everyone[slowest][0],
        "data_wait_rank": slowest,
        "replaced": int(sum(found for _, found in everyone)),
    }


def _due(pairs: int, batch: int, every: int, total: int) -> bool:
    """Whether the last step crossed a multiple of `every`, or is the last one."""
    return pairs > 0 and (pairs // every > (pairs - batch) // every or pairs >= total)


def _validated(
    folder: Path, engine: Any, validation: Stream | None, config: Config, tell: Tell, progress: Progress
) -> Progress:
    """The validation, and the best weights where it is the best so far."""
    progress = replace(progress, validated=progress.pairs)
    terms = validate(engine, watch.each(validation.validation_batches()), config) if validation else {}
    if terms:
        tell.validation(progress.pairs, terms)
    if terms and progress.best is not None and terms["loss"] >= progress.best:
        return progress
    state = checkpoint.whole_state(engine)
    if dist.rank() == 0:
        dual.save(folder, engine.module.describe(), state)
    tell.best(progress.pairs, terms.get("loss"))
    return replace(progress, best=terms.get("loss"), best_pairs=progress.pairs)
