"""What each lever of localization costs: processor time of a step, its batch included, against the step without any.

    PYTHONPATH=. python benchmarks/levers.py configs/phantom-cpu.yaml data.shards=SHARDS      (shards: see `make demo`)

One rank in one process, one step of each in turn: medians of the ratios to the plain step beside it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sentalign import config as configuration
from sentalign import train
from sentalign.engine import build
from sentalign.engine.step import train_step

STEPS = 12
PLAIN = ["data.mirror=0", "model.image.fused_stages=[]", "data.length_buckets=1"]
VIEWS = ["loss.view_share=0.5"]
# Settings beside those of PLAIN; the configuration itself has all of its own.
LEVERS: dict[str, list[str]] = {
    "plain": PLAIN,
    "mirrored images": [*PLAIN, "data.mirror=0.5"],
    "a second stage in the regions": [*PLAIN, "model.image.fused_stages=[stage1]"],
    "length buckets": [*PLAIN, "data.length_buckets=4"],
    "learned temperatures": [*PLAIN, "loss.tau_contrast=0.12", "loss.learn=[tau, tau_contrast, t3]"],
    "side-swapped negatives": [*PLAIN, "loss.weight_swapped=1"],
    "rescale consistency": [*PLAIN, *VIEWS, "loss.weight_rescale=1"],
    "own-window consistency": [*PLAIN, *VIEWS, "loss.weight_window=1"],
    "both consistencies": [*PLAIN, *VIEWS, "loss.weight_rescale=1", "loss.weight_window=1"],
    "soft duplicates": [*PLAIN, "loss.sentence_twins=soft"],
    "attraction": [*PLAIN, "loss.weight_attraction=0.2"],
    "the configuration": [],
}


def main() -> None:
    ranks = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29599"}
    os.environ |= ranks
    build.init_ranks(1)
    with tempfile.TemporaryDirectory() as folder:
        steps = {name: step_of(sys.argv[1], [*own, *sys.argv[2:]], Path(folder)) for name, own in LEVERS.items()}
        spent: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(STEPS):
            for name, step in steps.items():
                started = time.process_time()
                step()
                spent[name].append(time.process_time() - started)
    build.leave_ranks()
    for name, seconds in spent.items():
        print(f"{name:30} {statistics.median(seconds):7.2f} s   {ratio(seconds, spent['plain']):5.2f}")


def ratio(seconds: Sequence[float], plain: Sequence[float]) -> float:
    """The first step of each is left out: it allocates."""
    return statistics.median(own / other for own, other in zip(seconds[1:], plain[1:], strict=True))


def step_of(path: str, overrides: list[str], folder: Path) -> Callable[[], None]:
    """A function that trains the next batch."""
    config = configuration.load(path, [f"run={folder}", "data.workers=0", *overrides])
    tokenizer = train.tokenizer_of(folder, config)
    torch.manual_seed(config.seed)
    engine = build.build(train.model_of(config, len(tokenizer.vocabulary)), config)
    stream, _ = train.streams_of(config, tokenizer)
    batches = stream.batches(stream.start())

    def step() -> None:
        batch, _ = next(batches)
        train_step(engine, batch, config, 0, config.optimizer.lr)

    return step


if __name__ == "__main__":
    main()
