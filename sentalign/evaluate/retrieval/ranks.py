"""Vectors of queries and of candidates → the rank of the best right candidate of each query.

In: vectors (N, D) and the number of each pair's text. Out: ranks (N,), 0 the first. Shares of them are in `recall`.
"""

# N pairs, B queries of a block, D width

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 256  # queries that are scored at once: 220 MB for 100,000 candidates


def ranks(
    queries_ND: NDArray[np.float32],
    candidates_ND: NDArray[np.float32],
    texts_N: NDArray[np.int64],
    device: str = "cpu",
    block: int = BLOCK,
) -> NDArray[np.int64]:
    """(N,): how many wrong candidates score at least as high with each query as its best right one; 0 is found first.

    Fewer queries than candidates are those of the first pairs.

    Query and candidate are right for each other where their texts are equal, so duplicates never count as wrong. A tie
    counts as above, and so does NaN: vectors that are all equal find nothing. `block` queries are scored at once, which
    takes about 9 N bytes each.
    """
    all_ND, all_N = torch.from_numpy(candidates_ND).to(device), torch.from_numpy(texts_N).to(device)
    # Not a list of small results: each would split the memory of a block that is freed, and no later block would fit.
    found_N = torch.empty(len(queries_ND), dtype=torch.int64)
    for start in range(0, len(queries_ND), block):
        queries_BD = torch.from_numpy(queries_ND[start : start + block]).to(device)
        scores_BN = queries_BD @ all_ND.T
        right_BN = all_N[start : start + len(queries_BD), None] == all_N
        best_B1 = scores_BN.masked_fill(~right_BN, -torch.inf).amax(dim=1, keepdim=True)
        found_N[start : start + block] = (~(scores_BN < best_B1) & ~right_BN).sum(dim=1)
    return found_N.numpy()
