"""How long the loop waits for a checkpoint, against DeepSpeed's own save_checkpoint, in one run.

    python benchmarks/checkpoint.py [--megabytes 100] [--stage 1] [--rounds 5] [--folder DIR]

One rank on the CPU, Adam, weights of the given size (the optimizer has three times as much). DeepSpeed's save writes
its files without waiting for the disk, without checksums and without model.safetensors; ours does all of these in the
background. Ratios are those of medians over interleaved rounds; training goes on while ours is being written.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sentalign import config as configuration
from sentalign.checkpoint import folders
from sentalign.checkpoint.write import BUSY, WRITTEN, Checkpoints, Progress
from sentalign.engine import build

WIDTH = 1024


class Layers(nn.Sequential):
    """Square layers of as many megabytes in all."""

    def __init__(self, megabytes: int) -> None:
        super().__init__(*[nn.Linear(WIDTH, WIDTH) for _ in range(max(1, megabytes * 2**20 // (4 * WIDTH * WIDTH)))])


def save_weights(folder: Path, weights: dict[str, Tensor]) -> None:
    save_file(weights, folder / "model.safetensors")


def step(engine: build.deepspeed.DeepSpeedEngine) -> float:
    """One training step; its seconds."""
    started = time.perf_counter()
    engine.backward(engine(torch.randn(4, WIDTH)).square().mean())
    engine.step()
    return time.perf_counter() - started


def measured(engine: build.deepspeed.DeepSpeedEngine, folder: Path, number: int) -> dict[str, float]:
    """Seconds of one round: DeepSpeed's save, ours while the loop waits, ours until it is durable, steps meanwhile."""
    found = {"step": statistics.median(step(engine) for _ in range(5))}
    started = time.perf_counter()
    engine.save_checkpoint(str(folder / "plain"), tag="engine", save_latest=False)
    found["plain"] = time.perf_counter() - started
    shutil.rmtree(folder / "plain")
    os.sync()
    saves = Checkpoints(folder / "ours", engine, 1, lambda pairs: None, save_weights)
    started = time.perf_counter()
    saves.save(Progress(number, {}))
    found["ours"] = time.perf_counter() - started
    meanwhile = [step(engine)]
    while saves.phase in (BUSY, WRITTEN):
        meanwhile.append(step(engine))
        saves.advance([saves.phase])
    saves.finish()
    found["durable"] = time.perf_counter() - started
    found["step meanwhile"] = statistics.median(meanwhile)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--stage", type=int, choices=[0, 1, 2, 3], default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where to write; default: the system's temporary folder")
    args = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    os.environ |= {"DS_ACCELERATOR": "cpu", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    build.init_ranks(5)
    tree = {"run": "none", "data": {"shards": "none", "batch": 4}, "train": {"zero_stage": args.stage}}
    engine = build.build(Layers(args.megabytes), configuration.check(tree))  # type: ignore[arg-type]
    step(engine)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        rounds = [measured(engine, Path(folder), number + 1) for number in range(args.rounds)]
        size = sum(p.stat().st_size for p in folders.complete(Path(folder) / "ours")[-1].rglob("*") if p.is_file())
    medians = {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}
    print(f"{args.megabytes} MB of weights, ZeRO {args.stage}, 1 rank, CPU; our checkpoint has {size / 2**20:.0f} MB")
    for name, seconds in medians.items():
        print(f"{name:15} {seconds:7.3f} s, {seconds / medians['plain']:6.2f} times DeepSpeed's save")
    print(f"a step meanwhile takes {medians['step meanwhile'] / medians['step']:.2f} times a step's time")
    build.leave_ranks()


if __name__ == "__main__":
    main()
