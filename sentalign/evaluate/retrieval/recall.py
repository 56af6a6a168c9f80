"""Ranks of both directions → recall at 1, 5 and 10 with intervals, beside chance; a table for the terminal.

In: `Vectors`. Out: the content of retrieval.json:
  pairs, texts, patients    counts; `texts` are the different ones
  image_to_text, text_to_image    each with `recall_at_1`, `recall_at_5`, `recall_at_10` and `median_rank` (1: found
                     first); every recall with `_ci`, its 95% interval by patient, and `_chance`, that of a random order
A query is found at k if fewer than k wrong candidates are above its best right one; candidates of an equal text are
right, every pair is a query and a candidate of its own, so duplicates stay in both.
"""

# N pairs

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from sentalign.evaluate.bootstrap import Bootstrap
from sentalign.evaluate.retrieval.encode import Vectors
from sentalign.evaluate.retrieval.ranks import ranks

AT = (1, 5, 10)
DIRECTIONS = ("image_to_text", "text_to_image")


def measure(vectors: Vectors, device: str = "cpu", replicates: int = 1000, seed: int = 0) -> dict[str, Any]:
    """The content of retrieval.json (see the module's docstring), for at least one pair."""
    pairs = (vectors.images_ND, vectors.reports_ND), (vectors.reports_ND, vectors.images_ND)
    ranks_2N = np.stack([ranks(*pair, vectors.texts_N, device) for pair in pairs])
    return summarise(ranks_2N, vectors, replicates, seed)


def summarise(ranks_2N: NDArray[np.int64], vectors: Vectors, replicates: int = 1000, seed: int = 0) -> dict[str, Any]:
    """`measure` of ranks that are there already, in the order of DIRECTIONS."""
    bootstrap = Bootstrap(vectors.patients, [""] * len(vectors.patients), replicates, seed)
    found = {d: _recall(own_N, vectors.texts_N, bootstrap) for d, own_N in zip(DIRECTIONS, ranks_2N, strict=True)}
    counts = {"texts": len(np.unique(vectors.texts_N)), "patients": len(set(vectors.patients))}
    return {"pairs": len(vectors.patients)} | counts | found


def _recall(ranks_N: NDArray[np.int64], texts_N: NDArray[np.int64], bootstrap: Bootstrap) -> dict[str, Any]:
    recall: dict[str, Any] = {}
    for k in AT:
        estimate, name = bootstrap.pooled((ranks_N < k).astype(float)), f"recall_at_{k}"
        recall |= {name: estimate.mean, f"{name}_ci": [estimate.low, estimate.high]}
        recall[f"{name}_chance"] = float(chance(texts_N, k).mean())
    return recall | {"median_rank": float(np.median(ranks_N)) + 1}


def chance(texts_N: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(N,): how often a random order of the candidates finds each query at k.

    With `right` of N candidates right, the chance that fewer than k wrong ones come before the first right one: 1 less
    the product over i < k of (wrong - i) / (N - i).
    """
    _, numbers_N, counts = np.unique(texts_N, return_inverse=True, return_counts=True)
    candidates, wrong_N = len(texts_N), len(texts_N) - counts[numbers_N]
    missed_N = np.ones(candidates)
    for i in range(min(k, candidates)):
        missed_N *= np.maximum(wrong_N - i, 0) / (candidates - i)
    return 1 - missed_N


def table(measured: dict[str, Any]) -> Table:
    """Recall at each k, in both directions."""
    title = f"{measured['pairs']} pairs, {measured['texts']} texts, {measured['patients']} patients"
    printed = Table(
        box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, title=f"{title} (%, 95% intervals), median rank"
    )
    for name in ("query", *(f"R@{k}" for k in AT), "rank"):
        printed.add_column(name, justify="left" if name == "query" else "right", no_wrap=True)
    for direction in DIRECTIONS:
        recall = measured[direction]
        cells = (_cell(recall, f"recall_at_{k}") for k in AT)
        printed.add_row(direction.replace("_", " "), *cells, f"{recall['median_rank']:g}", style="bold")
    chances = (f"{measured[DIRECTIONS[0]][f'recall_at_{k}_chance']:.2%}".rstrip("%") for k in AT)
    printed.add_row("a random order", *chances, "")
    return printed


def _cell(recall: dict[str, Any], name: str) -> str:
    low, high = recall[f"{name}_ci"]
    return f"{100 * recall[name]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
