"""Whether torch.compile pays: each tower and the local loss, as they are and compiled, forward and backward.

    PYTHONPATH=. python benchmarks/compiled.py [--batch 16] [--rounds 5]

In one process and interleaved, so that a noisy neighbour meets both alike: medians, and the seconds of compiling.
Towers are ResNet-50 at 224 px and BERT of base width (4 of its 12 layers) over 64 positions, in training mode; the
local loss is that of `region_loss`: 19 x 19 regions, six sentences and [CLS], width 768.
"""

# B images or reports, K units, D width
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

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


def tower_of_texts(batch: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    tower = text.build(None, BERT, 30000, 4)
    tokens_BT = torch.randint(5, 30000, (batch, 64))
    sentence_id_BT = (torch.arange(64) // 10).expand(batch, 64)
    word_counts_BK = torch.full((batch, 8), 8.0)
    return tower, (tokens_BT, torch.ones(batch, 64, dtype=torch.bool), sentence_id_BT, word_counts_BK)


def local_loss(batch: int) -> tuple[Callable[..., object], tuple[Tensor, ...]]:
    there_BK = torch.ones(batch, UNITS, dtype=torch.bool)
    sizes = ((batch, REGIONS, WIDTH), (batch, UNITS, WIDTH))
    given = tuple((torch.randn(size) / WIDTH**0.25).requires_grad_() for size in sizes)
    return lambda v_BRD, t_BKD: ours(v_BRD, t_BKD, there_BK, LossConfig()), given


def seconds(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def compare(name: str, call: Callable[..., object], given: tuple[Tensor, ...], rounds: int) -> None:
    """Prints the medians of `call` on `given`, its first use compiled, and their ratio."""

    def step(function: Callable[..., object]) -> Callable[[], None]:
        return lambda: _loss(function(*given)).backward()

    plain, compiled = step(call), step(torch.compile(call))
    plain()
    first = seconds(compiled)
    pairs = [(seconds(plain), seconds(compiled)) for _ in range(rounds)]
    before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{name:12} {before:8.3f} s   compiled {after:8.3f} s   {after / before:5.2f}   compiling {first:6.1f} s")


def _loss(made: object) -> Tensor:
    parts = [made] if isinstance(made, Tensor) else [part for part in made if part.is_floating_point()]  # type: ignore[attr-defined]
    return sum((part.float().square().mean() for part in parts), torch.zeros(()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    said = parser.parse_args()
    torch.manual_seed(0)
    compare("image tower", *tower_of_images(said.batch), said.rounds)
    compare("text tower", *tower_of_texts(said.batch), said.rounds)
    compare("local loss", *local_loss(said.batch), said.rounds)


if __name__ == "__main__":
    main()
