"""Orders that were written down once: a run that is resumed by a newer version must see the same batches.

`golden_orders.json` holds digests of orders for made-up data sets of `FakeDataSet`. A test that fails here means that
the order has changed, and with it every run that is under way.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sentalign.stream.order import plan
from sentalign.stream.order.mixture import Mixture, OrderOptions
from sentalign.stream.read.duplicate_keys import duplicate_groups

GOLDEN = json.loads((Path(__file__).parent / "golden_orders.json").read_text(encoding="utf-8"))


def digest(*arrays):
    found = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array, np.int64)
        found.update(json.dumps(array.shape).encode())
        found.update(array.astype("<i8").tobytes())
    return found.hexdigest()


class FakeDataSet:
    """Neighbours share a study or patient; a text in a hundred is in every seventh sample, one in eleven is empty."""

    def __init__(self, name, samples, per_shard):
        i = np.arange(samples)
        self.fingerprint, self.shard_N = hashlib.sha256(name.encode()).hexdigest(), i // per_shard
        texts = [f"t{k}" if k % 11 else None for k in np.where(i % 7 == 0, i // 70, i + 1000)]
        self.columns = {
            "text": pa.array([[text] if text else [] for text in texts], pa.list_(pa.string())),
            "patient": pa.array([f"p{k}" for k in i // 3]),
            "study": pa.array([f"s{k}" for k in i // 2]),
        }

    def __len__(self):
        return len(self.shard_N)

    def duplicate_groups(self, keys):
        return duplicate_groups([self.columns[key] for key in keys])


@pytest.mark.parametrize("case", GOLDEN["epoch_order"], ids=str)
def test_order_of_an_epoch(case):
    shard_N = np.arange(case["samples"]) // case["per_shard"]
    fingerprint = hashlib.sha256(case["name"].encode()).hexdigest()
    order = plan.epoch_order(fingerprint, case["seed"], case["epoch"], shard_N, case["block"], case["batch"])
    assert digest(order.lanes_PB, order.block_N, order.dropped) == case["sha256"]


@pytest.mark.parametrize("case", GOLDEN["mixture"], ids=lambda case: f"{len(case['sets'])}-{case['seed']}")
def test_batches_of_a_mixture(case):
    """Batches, the samples of some lanes, and the rest of a block, over a bit more than two epochs."""
    batch = case["batch"]
    options = OrderOptions(batch, case["block"], case["max_duplicates"], tuple(case["duplicate_keys"]))
    data_sets = [FakeDataSet(name, samples, per_shard) for name, samples, per_shard, _ in case["sets"]]
    one = Mixture(data_sets, [weight for *_, weight in case["sets"]], case["seed"], options)
    assert (one.fingerprint, one.epoch_batches) == (case["fingerprint"], case["epoch_batches"])
    assert [[lanes.start, lanes.stop] for lanes in one.lanes] == case["lanes"]
    steps = range(2 * one.epoch_batches + 3)
    assert digest(np.stack([one.batch(step) for step in steps])) == case["batches_sha256"]
    refs = [
        [(ref.data_set, ref.index, ref.epoch) for ref in one.samples(step, range(batch // 4, batch - 3))]
        for step in steps
    ]
    assert digest(np.array(refs)) == case["samples_sha256"]
    rests = [one.rest_of_block(step, lane) for step in steps[::3] for lane in (0, batch - 1)]
    assert digest(np.array([v for number, rest in rests for v in (number, len(rest), *rest)])) == case["blocks_sha256"]
