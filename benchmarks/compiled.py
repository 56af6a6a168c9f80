"""Whether torch.compile pays: each tower and the local loss, as they are and compiled, forward and backward.

    PYTHONPATH=. python benchmarks/compiled.py [--batch 16] [--rounds 5]

In one process and interleaved, so that other load affects both equally: medians, and the seconds of compiling.
Towers are ResNet-50 at 224 px and BERT of base width (4 of its 12 layers) over 64 positions, in training mode; the
local loss is that of `region_loss`: 19 x 19 regions, six sentences and [CLS], width 768.
"""

# B images or reports, K units, D width
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from region_loss import REGIONS, UNITS, WIDTH, ours
from torch import Tensor, nn

from sentalign.loss.reference import LossConfig
from sentalign.model import image, text

VISION = {"model_type": "resnet", "num_channels": 3}  # transformers' default is ResNet-50
BERT = {"num_hidden_layers": 4}


def tower_of_images(batch: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    tower = image.build(None, VISION, "stage3", "stage4", 768)
    return tower, (torch.randn(batch, 1, 224, 224),)


def tower_of_texts(batch: int) -> tuple[nn.Module, tuple[text.TextBucket, ...]]:
    tower = text.build(None, BERT, 30000, 4)
    tokens_BT = torch.randint(5, 30000, (batch, 64))
    unit_id_BT = (torch.arange(64) // 10).expand(batch, 64)
    words_BK = torch.full((batch, 8), 8.0)
    attention_BT = torch.ones(batch, 64, dtype=torch.bool)
    return tower, tuple(text.buckets(tokens_BT, attention_BT, unit_id_BT, words_BK, words_BK > 0))


def local_loss(batch: int) -> tuple[Callable[..., object], tuple[Tensor, ...]]:
    present_BK = torch.ones(batch, UNITS, dtype=torch.bool)
    sizes = ((batch, REGIONS, WIDTH), (batch, UNITS, WIDTH))
    inputs = tuple((torch.randn(size) / WIDTH**0.25).requires_grad_() for size in sizes)
    return lambda v_BRD, t_BKD: ours(v_BRD, t_BKD, present_BK, LossConfig()), inputs


def seconds(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def compare(name: str, call: Callable[..., object], inputs: tuple[Any, ...], rounds: int) -> None:
    """Prints the medians of `call` on `inputs`, plain and compiled, their ratio, and the time of the first call."""

    def step(function: Callable[..., object]) -> Callable[[], None]:
        return lambda: _loss(function(*inputs)).backward()

    plain, compiled = step(call), step(torch.compile(call))
    plain()
    first = seconds(compiled)
    pairs = [(seconds(plain), seconds(compiled)) for _ in range(rounds)]
    before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{name:12} {before:8.3f} s   compiled {after:8.3f} s   {after / before:5.2f}   compiling {first:6.1f} s")


def _loss(output: Any) -> Tensor:
    parts = [output] if isinstance(output, Tensor) else output
    return sum((part.float().square().mean() for part in parts), torch.zeros(()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    compare("image tower", *tower_of_images(args.batch), args.rounds)
    compare("text tower", *tower_of_texts(args.batch), args.rounds)
    compare("local loss", *local_loss(args.batch), args.rounds)


if __name__ == "__main__":
    main()
