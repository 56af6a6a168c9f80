"""The packed region-sentence scores against the padded reference and a plain loop over reports, in one run.

    python benchmarks/local_loss.py [--batch 64]

Prints seconds of forward + backward (the best of three) and the ratio to the packed form; all three give equal values.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sentalign.loss import reference, region_sentence
from sentalign.loss.reference import Terms

REGIONS, UNITS, WIDTH = 256, 12, 128
Scores = Callable[[Tensor, Tensor, Tensor, Terms], Tensor]


def per_report(v_IRD: Tensor, t_JKD: Tensor, present_JK: Tensor, terms: Terms) -> Tensor:
    """The published form: all images against one report at a time."""
    rows = []
    for t_KD, present_K in zip(t_JKD, present_JK, strict=True):
        kept_1KD = t_KD[present_K][None]
        scores_I1K = reference.unit_scores(v_IRD, kept_1KD, torch.ones(kept_1KD.shape[:2], dtype=torch.bool), terms)
        rows.append(torch.nn.functional.pad(scores_I1K, (0, len(t_KD) - kept_1KD.shape[1])))
    return torch.cat(rows, dim=1)


def seconds(scores: Scores, given: tuple[Tensor, Tensor, Tensor], terms: Terms) -> tuple[float, Tensor]:
    """The best of three, and the scores of the units that are there."""
    best, made = float("inf"), torch.empty(0)
    for _ in range(3):
        started = time.perf_counter()
        made = scores(*given, terms).masked_fill(~given[2][None], 0)
        made.square().sum().backward()
        best = min(best, time.perf_counter() - started)
    return best, made.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    batch = parser.parse_args().batch
    torch.manual_seed(0)
    v_IRD = torch.randn(batch, REGIONS, WIDTH, requires_grad=True)
    t_JKD = torch.randn(batch, UNITS, WIDTH, requires_grad=True)
    # As many sentences as reports have: one to all, four on average.
    present_JK = torch.arange(UNITS)[None] < torch.randint(2, 8, (batch, 1))
    print(
        f"batch {batch}, {REGIONS} regions, {int(present_JK.sum())} of {present_JK.numel()} units, width {WIDTH}, CPU"
    )
    for terms in (Terms(), Terms(attention="cosine")):
        base, exact = seconds(region_sentence.unit_scores, (v_IRD, t_JKD, present_JK), terms)
        print(f"{terms.attention:7} packed     {base:7.3f} s")
        for name, scores in (("padded", reference.unit_scores), ("per report", per_report)):
            spent, made = seconds(scores, (v_IRD, t_JKD, present_JK), terms)
            torch.testing.assert_close(made, exact, rtol=1e-4, atol=1e-4)
            print(f"{terms.attention:7} {name:10} {spent:7.3f} s  {spent / base:5.1f} times the packed form")


if __name__ == "__main__":
    main()
