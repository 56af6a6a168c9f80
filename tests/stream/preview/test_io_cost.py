"""The I/O cost that `sentalign plan` predicts against the requests that the prefetcher makes to a real S3 server."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentalign.config import Data
from sentalign.stream.preview.io_cost import io_cost
from sentalign.stream.read.open_data import open_mixture
from sentalign.stream.read.prefetch import Prefetcher
from sharding.store import locations
from tests.servers import use_s3

WIDTH = 6


def noise(side):
    """A PNG of about side * side bytes."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("side", [8, 45, 80], ids=["small", "about the gap", "large"])
@pytest.mark.parametrize(("block", "most"), [(1, 0), (4, 0), (16, 0), (4, 1)])
def test_requests_and_bytes_are_those_of_the_store(make_shards, s3, line, monkeypatch, side, block, most):
    """Samples are smaller than, about and larger than the gap between two samples that one request spans."""
    for file in sorted(Path(make_shards(60, image=noise(side))).iterdir()):
        locations.open_store(f"{s3}/set").put(file.name, file.read_bytes())
    use_s3(monkeypatch, line.url)
    mixture = open_mixture(Data(shards=f"{s3}/set", batch=WIDTH, block=block, max_duplicates=most), "train", 3)
    line.sent.clear()
    prefetcher = Prefetcher(mixture, 0, 60)
    for step in range(mixture.epoch_batches):
        for content in prefetcher.take(step, range(WIDTH)):
            content()
    cost, sent = io_cost(mixture.data_sets[0], mixture.epoch(0, 0)), [size for path, size in line.sent]
    assert all(re.search(r"shard-\d{6}\.tar", path) for path, _ in line.sent)
    assert (cost.requests_B.sum(), cost.bytes_B.sum()) == (len(sent), sum(sent))
    order = mixture.epoch(0, 0).lanes_PB.ravel().tolist()
    rows = [mixture.data_sets[0].row(sample) for sample in order]
    assert cost.useful_B.sum() == sum(row["image_bytes"] + row["json_bytes"] for row in rows)


def test_larger_blocks_need_fewer_requests(make_shards):
    url = make_shards(60)
    mixtures = [open_mixture(Data(shards=url, batch=4, block=block), "train", 0) for block in (1, 4)]
    single, blocks = (io_cost(one.data_sets[0], one.epoch(0, 0)).requests_B for one in mixtures)
    assert np.all(single >= 12)
    assert blocks.sum() < single.sum() / 2
