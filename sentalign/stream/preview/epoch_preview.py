"""What an epoch will look like before a run: its length, what it leaves out, what it reads, who meets whom.

In: the configuration and the manifests; no shard is opened. Out: a tree of numbers that is printed as JSON, or as
tables by `cli`. The rates themselves are defined in `duplicate_rates`, the requests in `io_cost`.
"""

# N samples, P batches, B lanes, S batches that are looked at
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from sentalign.config import Config, rank_share
from sentalign.stream.order import plan
from sentalign.stream.order.limit_duplicates import bounded, surplus
from sentalign.stream.order.mixture import Mixture
from sentalign.stream.preview.duplicate_rates import Alike, rates
from sentalign.stream.preview.io_cost import Reads, reads
from sharding.contract import UserError

SAMPLED = 1 << 15  # samples of each batch size that are looked at, in whole batches
FEWEST = 8  # batches that are looked at, however large they are
USUAL = (64, 128, 256, 512, 1024)  # batch sizes that are shown beside the run's own

Tree = dict[str, Any]
Tell = Callable[[float], None]


def outlook(config: Config, batches: Sequence[int], epochs: int, ranks: int, tell: Tell = lambda share: None) -> Tree:
    """The whole report; `batches` empty: the run's own batch and the usual sizes that fit.

    The rates are means over the first `epochs` epochs. `tell` hears the share that is done. Raises UserError for
    settings or data with which the run could not start, and for a batch that the data cannot fill.
    """
    rank_share(config.data.batch, ranks)
    bare = config.data.model_copy(update={"cache": None})  # nothing is kept, so no folder is made
    mixture = Mixture(bare, config.data.train_split, config.seed)
    sizes = list(batches) or [size for size in sorted({*USUAL, config.data.batch}) if _fits(mixture, size)]
    for size in (config.data.batch, *sizes):
        _check(mixture, size)
    known, collisions = Alike.of(mixture), []
    for done, size in enumerate(sizes):
        tell(done / len(sizes))
        collisions.append(_collisions(mixture, known, size, epochs))
    return {
        "split": config.data.train_split,
        "seed": config.seed,
        "batch": config.data.batch,
        "block": config.data.block,
        "max_duplicates": config.data.max_duplicates,
        "duplicate_keys": list(config.data.duplicate_keys),
        "epoch": {"batches": mixture.epoch_batches, "pairs": mixture.epoch_batches * config.data.batch},
        "data_sets": [_data_set(mixture, number) for number in range(len(mixture.parts))],
        "reads": _reads(mixture, ranks) | {"whole_shards": _whole(mixture) if config.data.cache else None},
        "collisions": collisions,
    }


def _fits(mixture: Mixture, size: int) -> bool:
    return len(mixture.parts) <= size and mixture.under(batch=size).whole()


def _check(mixture: Mixture, size: int) -> None:
    """Raises UserError where a data set cannot fill its lanes of a batch once."""
    other = mixture.under(batch=size)
    for part, lanes in zip(other.parts, other.lanes, strict=True):
        if len(part) < len(lanes):
            raise UserError(
                f"split {part.split!r} of {part.url} has {len(part)} samples with text, a batch of {size} takes "
                f"{len(lanes)} of them; choose a smaller batch"
            )


def _data_set(mixture: Mixture, number: int) -> Tree:
    """The account of one data set: its samples = those of an epoch of its own + those left out, by reason."""
    part, lanes = mixture.parts[number], len(mixture.lanes[number])
    batches = plan.batches_per_epoch(len(part), lanes)
    return {
        "url": part.url,
        "samples": sum(part.split_sizes.values()),
        "used": batches * lanes,
        "dropped": {
            "other splits": sum(count for split, count in part.split_sizes.items() if split != part.split),
            "without text": part.without_text,
            "less than a batch": len(part) - batches * lanes,
        },
        "lanes": lanes,
        "batches": batches,
        "passes": mixture.epoch_batches / batches,
    }


def _reads(mixture: Mixture, ranks: int) -> Tree:
    """The first epoch's requests, in all and by worker; amplification: bytes read for a byte of picture or text.

    A restart fetches again what was fetched and not yet used: at most the read-ahead of each worker or, where that is
    less, the blocks that its lanes stand in, and one block more.
    """
    made = _by_lane(mixture)
    workers = ranks * max(1, mixture.data.workers)
    shares = [
        plan.share(plan.share(range(mixture.data.batch), rank, ranks), worker, max(1, mixture.data.workers))
        for rank in range(ranks)
        for worker in range(max(1, mixture.data.workers))
    ]
    requests, sizes = ([int(values[share].sum()) for share in shares] for values in (made.requests_B, made.bytes_B))
    block = mixture.data.block * int(made.bytes_B.sum()) // (mixture.epoch_batches * mixture.data.batch)
    again = sum(max(int(mixture.data.prefetch_mb * 2**20), len(share) * block) + block for share in shares)
    return {
        "local": mixture.local,
        "requests": sum(requests),
        "bytes": sum(sizes),
        "amplification": sum(sizes) / max(1, int(made.useful_B.sum())),
        "ranks": ranks,
        "workers": workers,
        "requests_of_a_worker": [min(requests), max(requests)],
        "bytes_of_a_worker": [min(sizes), max(sizes)],
        "bytes_again_after_a_restart": 0 if mixture.local else min(again, sum(sizes)),
    }


def _whole(mixture: Mixture) -> int:
    """Bytes of all remote shards, each once."""
    return sum(part.shard_bytes for part in mixture.parts if not part.local)


def _by_lane(mixture: Mixture) -> Reads:
    """An epoch of the whole: one of each data set, as often as it passes through it."""
    found = []
    for number, (part, lanes) in enumerate(zip(mixture.parts, mixture.lanes, strict=True)):
        passes = mixture.epoch_batches / plan.batches_per_epoch(len(part), len(lanes))
        one = reads(part, mixture.epoch(number, 0))
        found.append(
            [np.rint(values * passes).astype(np.int64) for values in (one.requests_B, one.bytes_B, one.useful_B)]
        )
    return Reads(*(np.concatenate(values) for values in zip(*found, strict=True)))


def _collisions(mixture: Mixture, known: Alike, size: int, epochs: int) -> Tree:
    """The rates at one batch size, of the plan and of what it is held against."""
    most = mixture.data.max_duplicates
    orders = {"planned": mixture.under(batch=size)}
    if most:
        orders["max_duplicates=0"] = mixture.under(batch=size, max_duplicates=0)
    orders["full shuffle"] = mixture.under(batch=size, max_duplicates=0, block=1)
    steps_S = _steps(epochs * orders["planned"].epoch_batches, size)
    found = {
        name: rates(known, np.stack([order.batch(int(step)) for step in steps_S])) for name, order in orders.items()
    }
    return {
        "batch": size,
        "batches": epochs * orders["planned"].epoch_batches,
        "looked_at": len(steps_S),
        "orders": {name: {kind: asdict(rate) for kind, rate in each.items()} for name, each in found.items()},
        **({"too_many": _too_many(orders["planned"])} if most else {}),
    }


def _steps(count: int, size: int) -> plan.Indices:
    """The batches that are looked at: all, or as many as hold SAMPLED samples, evenly over the epochs."""
    wanted = min(count, max(FEWEST, SAMPLED // size))
    return np.arange(wanted) * count // wanted


def _too_many(mixture: Mixture) -> dict[str, int]:
    """Samples of the first epoch beyond `max_duplicates` of a group in their batch (a data set's lanes of it).

    `unmet` of groups that an even order would bound, `unboundable` of groups too large for any.
    """
    most, unmet, every = mixture.data.max_duplicates, 0, 0
    for number in range(len(mixture.parts)):
        lanes_PB, groups_NG = mixture.epoch(number, 0).lanes_PB, mixture.groups(number)
        every += surplus(lanes_PB, groups_NG, most)
        unmet += surplus(lanes_PB, bounded(groups_NG, most, len(lanes_PB)), most)
    return {"unmet": unmet, "unboundable": every - unmet}
