"""Requests of an epoch, counted from the manifest, against the requests that the read-ahead really makes."""

import numpy as np
import pytest

from sentalign.config import Data
from sentalign.stream.order.mixture import Mixture
from sentalign.stream.preview import io_cost
from sentalign.stream.read.prefetch import Ahead
from sharding.store import bucket


def test_neighbours_are_fetched_together_as_the_stores_do():
    assert io_cost.NEAR == bucket.COALESCE


@pytest.mark.parametrize(("block", "most"), [(1, 0), (4, 0), (16, 0), (4, 1)])
def test_requests_are_those_that_the_read_ahead_makes(make_shards, block, most, monkeypatch):
    mixture = Mixture(Data(shards=make_shards(60), batch=6, block=block, max_duplicates=most), "train", 3)
    shards, fetched = mixture.parts[0], []
    monkeypatch.setattr(shards, "fetch", lambda samples: fetched.append(samples) or [b""] * len(samples))
    ahead = Ahead(mixture, 0)
    for step in range(mixture.epoch_batches):
        for content in ahead.take(step, range(6)):
            content()
    found = io_cost.reads(shards, mixture.epoch(0, 0))
    merged = [merge(shards, samples) for samples in fetched]
    assert found.requests_B.sum() == sum(map(len, merged))
    assert found.bytes_B.sum() == sum(end - begin for spans in merged for begin, end in spans)
    rows = [shards.row(sample) for sample in mixture.epoch(0, 0).lanes_PB.ravel().tolist()]
    assert found.useful_B.sum() == sum(row["image_bytes"] + row["json_bytes"] for row in rows)


def merge(shards, samples):
    """The spans of samples of one shard, near ones as one."""
    rows = sorted((shards.row(sample) for sample in samples), key=lambda row: row["image_offset"])
    spans = []
    for row in rows:
        begin = min(row["image_offset"], row["json_offset"])
        end = max(row["image_offset"] + row["image_bytes"], row["json_offset"] + row["json_bytes"])
        if spans and begin - spans[-1][1] <= io_cost.NEAR:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return spans


def test_larger_blocks_need_fewer_requests(make_shards):
    url = make_shards(60)
    mixtures = [Mixture(Data(shards=url, batch=4, block=block), "train", 0) for block in (1, 4)]
    single, blocks = (io_cost.reads(one.parts[0], one.epoch(0, 0)).requests_B for one in mixtures)
    assert np.all(single >= 12)
    assert blocks.sum() < single.sum() / 2
