"""How a global batch is divided among the ranks: a check of settings against the number of ranks.

In: data.batch and a number of ranks. Out: the pairs of each rank.
"""

from __future__ import annotations

from sharding.contract import UserError


def rank_share(batch: int, ranks: int) -> int:
    """Image-report pairs of a global batch that each rank gets. Raises UserError unless all get the same number."""
    if batch % ranks:
        low = batch // ranks * ranks
        fitting = f"{low} or {low + ranks}" if low else f"{ranks}"
        raise UserError(
            f"data.batch {batch} does not divide by {ranks} ranks; set data.batch={fitting}, or change the ranks"
        )
    return batch // ranks
