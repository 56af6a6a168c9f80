"""Memory and time of ranking a large split, beside the bare products of its vectors.

    PYTHONPATH=. python benchmarks/retrieval.py [--pairs 100000] [--width 768] [--queries 2000]

Random unit vectors stand for the images and reports of a split, one text in ten twice. All vectors are held, as in
`sentalign evaluate retrieval`, but only the first `--queries` are ranked, in both directions; the time for all grows in
proportion. Printed: peak memory of the process, seconds for all pairs, and the ratio to the bare products of the same
blocks, the mean of several rounds in turn.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from sentalign.evaluate.retrieval import recall
from sentalign.evaluate.retrieval.encode import Vectors
from sentalign.evaluate.retrieval.ranks import BLOCK, ranks

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--queries", type=int, default=2_000)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    images_ND, reports_ND = (unit(rng, args.pairs, args.width) for _ in range(2))
    texts_N = np.where(np.arange(args.pairs) % 10 == 9, np.arange(args.pairs) - 1, np.arange(args.pairs))
    some = images_ND[: args.queries]

    def products() -> None:
        for start in range(0, args.queries, BLOCK):
            torch.from_numpy(some[start : start + BLOCK]) @ torch.from_numpy(reports_ND).T

    whole, bare = [], []
    for _ in range(ROUNDS):
        whole.append(seconds(lambda: ranks(some, reports_ND, texts_N)))
        bare.append(seconds(products))
    # The summary of all ranks, without computing them: its bootstrap is the rest of the memory.
    patients = [str(n // 2) for n in range(args.pairs)]
    recall.summarise(rng.integers(0, 1000, (2, args.pairs)), Vectors(images_ND, reports_ND, texts_N, patients))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    all_pairs = 2 * np.mean(whole) * args.pairs / args.queries
    print(f"{args.pairs} pairs of width {args.width}: peak {peak:.2f} GiB, {all_pairs:.0f} s for both directions")
    print(f"ranks take {np.mean(whole) / np.mean(bare):.2f} times the bare products")


def unit(rng: np.random.Generator, pairs: int, width: int) -> np.ndarray:
    vectors_ND = rng.standard_normal((pairs, width), dtype=np.float32)
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
