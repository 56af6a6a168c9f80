"""The region-sentence scores against the published loop over reports and against bare matrix products, in one run.

    python benchmarks/region_loss.py [--batch 64] [--attention paper] [--rounds 3] [--only ours]

19 x 19 regions, six sentences a report besides [CLS], width 768, forward and backward on the CPU. The loop computes the
formulas of docs/method.md for one report at a time: every image's attention to its units, c_k formed, one column of Z a
report; `published` is the same with the copies that published code makes for each report. The bare products are the
minimum: scores, Gram matrices and a'G, each with the backward products that autograd would take for it. Each runs in a
process of its own for its peak memory; ratios are those of medians over interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sentalign.loss import objective, reference
from sentalign.loss.reference import LossConfig
from sentalign.loss.targets import ReportIds

REGIONS, UNITS, WIDTH = 361, 7, 768


def ours(v_BRD: Tensor, t_BKD: Tensor, present_BK: Tensor, config: LossConfig) -> Tensor:
    g_BD = v_BRD.detach().mean(dim=1)
    own_B, none_BK = torch.arange(1, 1 + len(g_BD)), torch.zeros_like(present_BK, dtype=torch.int64)
    ids = ReportIds(own_B, own_B, none_BK[:, :0], none_BK, present_BK.float())
    reports = objective.gather_report_ids(present_BK, ids)
    terms = objective.four_terms(v_BRD, g_BD, t_BKD[present_BK], g_BD, config, reports)
    return terms["local_tv"] + terms["local_vt"]


def loop(v_BRD: Tensor, t_BKD: Tensor, present_BK: Tensor, config: LossConfig) -> Tensor:
    """The formulas for one report at a time, nothing recomputed and nothing copied."""
    columns = []
    for t_KD, present_K in zip(t_BKD, present_BK, strict=True):
        t_1KD = t_KD[present_K][None]
        scores_B1K = reference.unit_scores(v_BRD, t_1KD, torch.ones(t_1KD.shape[:2], dtype=torch.bool), config)
        columns.append(config.t3 * (config.t2 * scores_B1K[:, 0]).logsumexp(dim=1))
    return cross_entropies(columns)


def published(v_BRD: Tensor, t_BKD: Tensor, present_BK: Tensor, config: LossConfig) -> Tensor:
    """The same in the layout of published code: maps channels first as a convolution returns them, transposed for every
    report, whose units are repeated for every image. Paper attention only."""
    maps_BDR, columns = v_BRD.transpose(1, 2).contiguous(), []
    for t_KD, present_K in zip(t_BKD, present_BK, strict=True):
        units_BDn = t_KD[present_K].T.repeat(len(maps_BDR), 1, 1)
        e_BRn = maps_BDR.transpose(1, 2).contiguous() @ units_BDn
        a_BRn = (config.t1 * e_BRn.softmax(dim=2)).transpose(1, 2).contiguous().softmax(dim=2).transpose(1, 2)
        scores_Bn = torch.nn.functional.cosine_similarity(maps_BDR @ a_BRn.contiguous(), units_BDn, dim=1)
        columns.append(config.t3 * (config.t2 * scores_Bn).logsumexp(dim=1))
    return cross_entropies(columns)


def cross_entropies(columns: list[Tensor]) -> Tensor:
    z_BB, own_B = torch.stack(columns, dim=1), torch.arange(len(columns))
    return torch.nn.functional.cross_entropy(z_BB, own_B) + torch.nn.functional.cross_entropy(z_BB.T, own_B)


def bare(v_BRD: Tensor, t_BKD: Tensor, *_: object) -> Tensor:
    """The matrix products alone, with their backward passes; results of one serve as gradients of another."""
    t_MD = t_BKD.detach().flatten(0, 1)
    total = torch.zeros(())
    with torch.no_grad():
        for v_RD in v_BRD:
            e_MR, gram_RR = t_MD @ v_RD.T, v_RD @ v_RD.T
            ag_MR = e_MR @ gram_RR
            _ = e_MR @ v_RD, e_MR.T @ t_MD  # of scores: by t, by v
            _ = ag_MR @ gram_RR, e_MR.T @ ag_MR  # of a'G: by a, by G
            total += (gram_RR @ v_RD + gram_RR.T @ v_RD)[0, 0]  # of G = V V': by v
    return total.requires_grad_()


KINDS: dict[str, Callable[..., Tensor]] = {"ours": ours, "loop": loop, "published": published, "bare": bare}


def measure(kind: str, batch: int, attention: str) -> dict[str, float]:
    """Seconds of forward and backward after a small warm-up, and the peak of the memory beyond the inputs in GB."""
    torch.manual_seed(0)
    config = LossConfig(attention)  # type: ignore[arg-type]
    present_BK = torch.ones(batch, UNITS, dtype=torch.bool)
    v_BRD = (torch.randn(batch, REGIONS, WIDTH) / WIDTH**0.25).requires_grad_()
    t_BKD = (torch.randn(batch, UNITS, WIDTH) / WIDTH**0.25).requires_grad_()
    KINDS[kind](v_BRD[:2], t_BKD[:2], present_BK[:2], config).backward()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    loss = KINDS[kind](v_BRD, t_BKD, present_BK, config)
    loss.backward()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "extra_gb": (peak - before) / 2**20, "peak_gb": peak / 2**20, "loss": loss.item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--attention", choices=["paper", "cosine"], default="paper")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=sorted(KINDS), action="append", help="leave the others out")
    parser.add_argument("--one", choices=sorted(KINDS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.batch, args.attention)))
        return
    kinds = args.only or [kind for kind in KINDS if kind != "published" or args.attention == "paper"]
    command = [sys.executable, __file__, "--batch", str(args.batch), "--attention", args.attention, "--one"]
    runs_of: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(args.rounds):
        for kind in kinds:
            runs_of[kind].append(json.loads(subprocess.run([*command, kind], capture_output=True, check=True).stdout))
    print(f"batch {args.batch}, {REGIONS} regions, {UNITS} units, width {WIDTH}, {args.attention} attention, CPU")
    medians = {k: {n: statistics.median(run[n] for run in runs) for n in runs[0]} for k, runs in runs_of.items()}
    for kind, median in medians.items():
        ratio = f", {median['seconds'] / medians['ours']['seconds']:5.2f} times ours" if "ours" in medians else ""
        print(
            f"{kind:9} {median['seconds']:7.2f} s{ratio}, {median['extra_gb']:5.2f} GB beyond the inputs, "
            f"{median['peak_gb']:5.2f} GB in total, loss {median['loss']:.5f}"
        )


if __name__ == "__main__":
    main()
