"""A preview of an epoch: its length, what it leaves out, what it reads, and the duplicates in its batches.

In: the configuration and the manifests; no shard is opened. Out: a tree of numbers, which `cli` prints as JSON or as
tables. The rates are defined in `duplicate_rates`, the requests in `io_cost`.
"""

# N samples, P batches, B lanes, S sampled batches
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from sentalign.config import Config, Data, rank_share
from sentalign.stream.order import plan
from sentalign.stream.order.limit_duplicates import limitable, surplus
from sentalign.stream.order.mixture import Mixture
from sentalign.stream.preview.duplicate_rates import DuplicateKeys, rates
from sentalign.stream.preview.io_cost import IoCost, io_cost
from sentalign.stream.read.fetch import Shards
from sentalign.stream.read.open_data import open_mixture
from sharding.contract import UserError

SAMPLED = 1 << 15  # samples of each batch size that the rates are taken from, in whole batches
MIN_BATCHES = 8  # that the rates are taken from, however large they are
USUAL = (64, 128, 256, 512, 1024)  # batch sizes that are shown with the run's own

Tree = dict[str, Any]
ShardMixture = Mixture[Shards]
Progress = Callable[[float], None]  # called with the share that is done


def preview(
    config: Config, batches: Sequence[int], epochs: int, ranks: int, progress: Progress = lambda share: None
) -> Tree:
    """The whole report; `batches` empty: the run's own batch and the usual sizes that fit.

    The rates are means over the first `epochs` epochs. Raises UserError for settings or data with which the run could
    not start, and for a batch that the data cannot fill.
    """
    data = config.data
    rank_share(data.batch, ranks)
    # Nothing is cached, so no folder is made.
    mixture = open_mixture(data.model_copy(update={"cache": None}), data.train_split, config.seed)
    sizes = list(batches) or [size for size in sorted({*USUAL, data.batch}) if _fits(mixture, size)]
    for size in (data.batch, *sizes):
        _check(mixture, size)
    keys, collisions = DuplicateKeys.of(mixture), []
    for done, size in enumerate(sizes):
        progress(done / len(sizes))
        collisions.append(_collisions(mixture, keys, size, epochs))
    return {
        "split": data.train_split,
        "seed": config.seed,
        "batch": data.batch,
        "block": data.block,
        "max_duplicates": data.max_duplicates,
        "duplicate_keys": list(data.duplicate_keys),
        "epoch": {"batches": mixture.epoch_batches, "pairs": mixture.epoch_batches * data.batch},
        "data_sets": [_data_set(mixture, number) for number in range(len(mixture.data_sets))],
        "reads": _reads(mixture, data, ranks),
        "collisions": collisions,
    }


def _fits(mixture: ShardMixture, size: int) -> bool:
    return len(mixture.data_sets) <= size and mixture.with_options(batch=size).fills_batches()


def _check(mixture: ShardMixture, size: int) -> None:
    """Raises UserError where a data set cannot fill its lanes of a batch once."""
    for shards, lanes in zip(mixture.data_sets, mixture.with_options(batch=size).lanes, strict=True):
        if len(shards) < len(lanes):
            raise UserError(
                f"split {shards.split!r} of {shards.url} has {len(shards)} samples with text, a batch of {size} takes "
                f"{len(lanes)} of them; choose a smaller batch"
            )


def _data_set(mixture: ShardMixture, number: int) -> Tree:
    """The account of one data set: its samples = those of an epoch of its own + those left out, by reason."""
    shards, lanes, batches = mixture.data_sets[number], len(mixture.lanes[number]), mixture.batches[number]
    return {
        "url": shards.url,
        "samples": sum(shards.split_sizes.values()),
        "used": batches * lanes,
        "dropped": {
            "other splits": sum(shards.split_sizes.values()) - shards.split_sizes[shards.split],
            "without text": shards.without_text,
            "less than a batch": len(shards) - batches * lanes,
        },
        "lanes": lanes,
        "batches": batches,
        "passes": mixture.epoch_batches / batches,
    }


def _reads(mixture: ShardMixture, data: Data, ranks: int) -> Tree:
    """The first epoch's requests, in all and by worker; amplification: bytes read for a byte of picture or text.

    A restart fetches again what was prefetched and not used: at most the prefetch budget of each worker or, where that
    is less, the current blocks of its lanes, and one block more.
    """
    cost = _cost_of_epoch(mixture)
    workers = max(1, data.workers)
    rank_lanes = [plan.share(range(data.batch), rank, ranks) for rank in range(ranks)]
    shares = [plan.share(lanes, worker, workers) for lanes in rank_lanes for worker in range(workers)]
    requests, sizes = ([int(values[share].sum()) for share in shares] for values in (cost.requests_B, cost.bytes_B))
    block = data.block * int(cost.bytes_B.sum()) // (mixture.epoch_batches * data.batch)
    again = sum(max(int(data.prefetch_mb * 2**20), len(share) * block) + block for share in shares)
    local = all(shards.local for shards in mixture.data_sets)
    whole = sum(shards.shard_bytes for shards in mixture.data_sets if not shards.local)
    return {
        "local": local,
        "requests": sum(requests),
        "bytes": sum(sizes),
        "amplification": sum(sizes) / max(1, int(cost.useful_B.sum())),
        "ranks": ranks,
        "workers": ranks * workers,
        "requests_of_a_worker": [min(requests), max(requests)],
        "bytes_of_a_worker": [min(sizes), max(sizes)],
        "bytes_again_after_a_restart": 0 if local else min(again, sum(sizes)),
        "whole_shards": whole if data.cache else None,
    }


def _cost_of_epoch(mixture: ShardMixture) -> IoCost:
    """An epoch of the mixture: the first epoch of each data set, times how often it is repeated."""
    costs = []
    for number, (shards, batches) in enumerate(zip(mixture.data_sets, mixture.batches, strict=True)):
        cost, passes = io_cost(shards, mixture.epoch(number, 0)), mixture.epoch_batches / batches
        counts = (cost.requests_B, cost.bytes_B, cost.useful_B)
        costs.append([np.rint(values_B * passes).astype(np.int64) for values_B in counts])
    return IoCost(*(np.concatenate(values) for values in zip(*costs, strict=True)))


def _collisions(mixture: ShardMixture, keys: DuplicateKeys, size: int, epochs: int) -> Tree:
    """The rates at one batch size, for the run's order and those that it is compared with."""
    limited = mixture.options.max_duplicates > 0
    orders = {"planned": mixture.with_options(batch=size)}
    if limited:
        orders["max_duplicates=0"] = mixture.with_options(batch=size, max_duplicates=0)
    orders["full shuffle"] = mixture.with_options(batch=size, max_duplicates=0, block=1)
    batches = epochs * orders["planned"].epoch_batches
    steps = _sampled_steps(batches, size).tolist()
    by_order = {name: rates(keys, np.stack([order.batch(step) for step in steps])) for name, order in orders.items()}
    return {
        "batch": size,
        "batches": batches,
        "sampled": len(steps),
        "orders": {name: {kind: asdict(rate) for kind, rate in kinds.items()} for name, kinds in by_order.items()},
        **({"too_many": _too_many(orders["planned"])} if limited else {}),
    }


def _sampled_steps(batches: int, size: int) -> plan.Indices:
    """The batches that the rates are taken from: all, or as many as hold SAMPLED samples, evenly over the epochs."""
    count = min(batches, max(MIN_BATCHES, SAMPLED // size))
    return np.arange(count) * batches // count


def _too_many(mixture: ShardMixture) -> dict[str, int]:
    """Samples of the first epoch beyond `max_duplicates` of a group in their batch (a data set's lanes of it).

    `unmet`: of groups that an even order would limit, `unboundable`: of groups that are too large for any order.
    """
    limit, unmet, total = mixture.options.max_duplicates, 0, 0
    for number, shards in enumerate(mixture.data_sets):
        lanes_PB, groups_NG = mixture.epoch(number, 0).lanes_PB, shards.duplicate_groups(mixture.options.duplicate_keys)
        total += surplus(lanes_PB, groups_NG, limit)
        unmet += surplus(lanes_PB, limitable(groups_NG, limit, len(lanes_PB)), limit)
    return {"unmet": unmet, "unboundable": total - unmet}
