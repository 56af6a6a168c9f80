"""The loop, in one order: validate, save, stop?, one step, log, and hear what the ranks wish.

In: engine, stream, configuration, and callables for what a run tells the world. Out: a finished run. Everything is
counted in image-report pairs; to resume, run the same command again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError
from torch import Tensor

from sentalign import dist
from sentalign.checkpoint import read, write
from sentalign.checkpoint.write import Progress
from sentalign.config import Config
from sentalign.engine import ema, schedule
from sentalign.engine.step import train_step, validate
from sentalign.health import heartbeat
from sentalign.launch import stop_request
from sentalign.model import dual
from sentalign.stream.dataset import Stream
from sentalign.stream.order.plan import StreamState
from sharding.contract import UserError

Numbers = dict[str, float]


class LoopCallbacks(Protocol):
    """Whom the loop tells, on every rank, with the pairs seen so far."""

    def start(self, pairs: int, total: int) -> None: ...
    def step(self, pairs: int, numbers: Numbers) -> None: ...
    def validation(self, pairs: int, numbers: Numbers) -> None: ...
    def best(self, pairs: int, value: float | None) -> None: ...
    def saved(self, pairs: int) -> None: ...
    def stopped(self, pairs: int) -> None: ...


def run(
    folder: Path, engine: Any, stream: Stream, validation: Stream | None, config: Config, tell: LoopCallbacks
) -> Progress:
    """Trains to the end of the last epoch, from the newest sound checkpoint on where there is one.

    SIGTERM or SIGUSR1 to any rank ends it after the running step, with a checkpoint; a validation that is due then is
    left to the run that goes on. Raises UserError.

    The best checkpoint is the one of lowest validation loss (the weighted sum of the four terms over the whole
    validation split); of equal ones the earliest. Its weights are model.safetensors. Without a validation split the
    last weights are kept.
    """
    batch, epoch_pairs = config.data.batch, stream.epoch_batches * config.data.batch
    total = config.train.epochs * epoch_pairs
    validate_every = config.train.validate_every_pairs or epoch_pairs
    save_every = config.train.checkpoint_every_pairs or validate_every
    heartbeat.phase("restore")
    progress = read.restore(folder, engine) or Progress(0, stream.start().as_dict())
    batches = stream.batches(StreamState.from_dict(progress.stream))
    tell.start(progress.pairs, total)
    saves = write.Checkpoints(folder, engine, config.train.keep_checkpoints, tell.saved)
    wishes, replaced = _Wishes(config.train.checkpoint_every_minutes, progress.pairs), 0
    with stop_request.listening() as asked:
        while True:
            last = progress.pairs >= total
            unseen = progress.pairs != progress.validated and (last or not wishes.stop)
            if unseen and _due(progress.pairs, batch, validate_every, total):
                heartbeat.phase("validate", progress.pairs)
                with ema.swapped(engine):  # what is validated is what is kept
                    progress = _validated(folder, engine, validation, config, tell, progress)
            wished = wishes.save or wishes.stop or _due(progress.pairs, batch, save_every, total)
            if wished and progress.pairs > wishes.saved_at:
                heartbeat.phase("save", progress.pairs)
                saves.save(progress)
                wishes.saved(progress.pairs)
            if last or wishes.stop:
                heartbeat.phase("save", progress.pairs)
                saves.finish()
                heartbeat.phase("end", progress.pairs)
                if not last:
                    tell.stopped(progress.pairs)
                return progress
            heartbeat.phase("data", progress.pairs)
            started = time.perf_counter()
            rows, state = next(batches)
            waited = time.perf_counter() - started
            lr = schedule.lr(config.optimizer, progress.pairs, epoch_pairs, total)
            heartbeat.phase("step")
            terms = train_step(engine, rows, config, progress.pairs, lr)
            progress = replace(progress, pairs=progress.pairs + batch, stream=state.as_dict())
            seconds = time.perf_counter() - started
            heartbeat.stepped(seconds)
            speed = {"lr": lr, "pairs_per_second": batch / seconds}
            # One message a step for all that the ranks must agree on.
            everyone = dist.of_all_ranks([waited / seconds, rows.replaced, *wishes.of_this_rank(asked()), saves.phase])
            data = _data([said[:2] for said in everyone])
            tell.step(progress.pairs, terms | speed | data)
            if data["replaced"]:
                replaced += int(data["replaced"])
                stream.bear(replaced, "see the warnings of all ranks, and `sentalign shard verify`")
            wishes.heard([said[2:4] for said in everyone])
            saves.heard([int(said[4]) for said in everyone])


class _Wishes:
    """To stop, and to save out of turn, as the ranks wish it; all of them know the same after each step."""

    def __init__(self, save_every_minutes: float, saved_at: int) -> None:
        self.stop = self.save = False
        self._every = save_every_minutes * 60
        self.saved(saved_at)

    def saved(self, pairs: int) -> None:
        """A checkpoint of so many pairs is there or on its way."""
        self.saved_at, self._saved_time, self.save = pairs, time.monotonic(), False

    def of_this_rank(self, asked: bool) -> tuple[bool, bool]:
        """Whether this rank wishes to stop, and to save. Of the clocks rank 0's alone counts."""
        late = time.monotonic() - self._saved_time >= self._every
        return asked, bool(self._every) and late and dist.rank() == 0

    def heard(self, everyone: list[list[float]]) -> None:
        """The wishes of all ranks."""
        self.stop, self.save = (any(column) for column in zip(*everyone, strict=True))


def _data(everyone: list[list[float]]) -> Numbers:
    """What the stream cost the step, of (share of the time waited, rows replaced) of each rank: the largest share,
    which rank that was, and how many rows of the global batch stand for one that cannot be read. One slow rank holds
    up all of them.
    """
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
    folder: Path, engine: Any, validation: Stream | None, config: Config, tell: LoopCallbacks, progress: Progress
) -> Progress:
    """The validation, and the best weights where it is the best so far."""
    progress = replace(progress, validated=progress.pairs)
    terms = validate(engine, heartbeat.each(validation.validation_batches()), config) if validation else {}
    if terms:
        tell.validation(progress.pairs, terms)
    if terms and progress.best is not None and terms["loss"] >= progress.best:
        return progress
    state = write.whole_state(engine)
    if complaint := dist.broadcast_object(_kept(folder, engine, state) if dist.rank() == 0 else None):
        raise UserError(complaint)
    tell.best(progress.pairs, terms.get("loss"))
    return replace(progress, best=terms.get("loss"), best_pairs=progress.pairs)


def _kept(folder: Path, engine: Any, state: dict[str, Tensor]) -> str | None:
    """Writes the best weights; or why they cannot be written."""
    try:
        dual.save(folder, engine.module.describe(), state)
    except (OSError, SafetensorError) as error:
        return f"cannot write the weights to {folder} ({error}); mend that, and run the same command to go on"
    return None
