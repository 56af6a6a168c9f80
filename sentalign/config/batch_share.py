"""How a global batch is divided among the ranks: a check of settings against the number of ranks.

In: data.batch and a number of ranks. Out: the pairs of each rank, and how many of them have a second view.
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


def rank_views(batch: int, share: float, ranks: int) -> int:
    """Images of each rank that get a second view. Raises UserError unless there are any and all get the same number."""
    views = round(batch * share)
    if views == 0 or views % ranks:
        low = max(1, views // ranks) * ranks
        raise UserError(
            f"loss.view_share {share:g} of data.batch {batch} is {views} images, which do not divide by {ranks} ranks; "
            f"set loss.view_share={low / batch:g}"
        )
    return views // ranks
