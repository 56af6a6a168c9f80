"""What the second views of `loss.weight_rescale` and `loss.weight_window` cost: processor time of a step, against none.

    PYTHONPATH=. python benchmarks/views.py CONFIG [key=value ...]      (needs shards: see `make demo`)

One rank in one process, the same batches for all, interleaved: medians of their ratios to the plain step.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from sentalign import config as configuration
from sentalign import train
from sentalign.config import Config
from sentalign.engine import build
from sentalign.engine.step import train_step

STEPS = 9
KINDS = {"plain": [], "rescale": ["rescale"], "window": ["window"], "both": ["rescale", "window"]}


def main() -> None:
    os.environ |= {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29599",
    }
    build.init_ranks(1)
    with tempfile.TemporaryDirectory() as folder:
        spent = measure(sys.argv[1], sys.argv[2:], Path(folder))
    build.leave_ranks()
    for name, seconds in spent.items():
        ratios = [own / plain for own, plain in zip(seconds, spent["plain"], strict=True)][1:]
        print(f"{name:8} {statistics.median(seconds):7.2f} s   {statistics.median(ratios):5.2f}")


def measure(path: str, overrides: list[str], folder: Path) -> dict[str, list[float]]:
    """Processor seconds of each step, by kind of view."""
    engines: dict[str, tuple[Any, Config]] = {}
    for name, kinds in KINDS.items():
        weights = [f"loss.weight_{kind}={int(kind in kinds)}" for kind in ("rescale", "window")]
        config = configuration.load(path, [f"run={folder}", "data.workers=0", *weights, *overrides])
        tokenizer = train.tokenizer_of(folder, config)
        torch.manual_seed(config.seed)
        engines[name] = build.build(train.model_of(config, len(tokenizer.vocabulary)), config), config
    stream, _ = train.streams_of(config, tokenizer)
    spent: dict[str, list[float]] = {name: [] for name in engines}
    for number, (batch, _) in zip(range(STEPS), stream.batches(stream.start()), strict=False):
        for name, (engine, config) in engines.items():
            started = time.process_time()
            train_step(engine, batch, config, number * config.data.batch, config.optimizer.lr)
            spent[name].append(time.process_time() - started)
    return spent


if __name__ == "__main__":
    main()
