"""Time to make the order of a large epoch: resume at 90% and start, with and without `max_duplicates`.

    python benchmarks/stream_plan.py [--samples 200000]

The data set is made up: a manifest of that many samples (patients of 1 to 10, a quarter of the reports from a Zipf-like
pool), whose rows point at one picture in each shard. Times are medians of three, imports done, files in memory.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.stream.order import plan
from sentalign.stream.order.limit_duplicates import limit_duplicates, limitable, surplus
from sentalign.stream.order.plan import StreamState
from sentalign.stream.read.fetch import Shards
from sentalign.stream.read.manifest_index import read_index
from sentalign.tokenizer import SPECIAL, Tokenizer
from sharding.contract import FORMAT_VERSION, MANIFEST_NAME, MANIFEST_SCHEMA, SHARD_NAME, text_hash

PER_SHARD = 2000
BATCH = 128


def write(folder: Path, samples: int) -> None:
    """The shards, of one sample's bytes each, and the manifest."""
    drawn, image = np.random.default_rng(0), io.BytesIO()
    Image.fromarray(drawn.integers(0, 255, (256, 256)).astype(np.uint8)).save(image, "JPEG")
    report = {"sentences": [{"text": "No pneumothorax.", "tags": [], "hash": text_hash("No pneumothorax.")}]}
    members = {"image": image.getvalue(), "json": json.dumps(report).encode()}
    shards = [SHARD_NAME.format(number) for number in range(-(-samples // PER_SHARD))]
    for name in shards:
        (folder / name).write_bytes(b"".join(members.values()))
    patients = np.repeat(np.arange(samples), drawn.integers(1, 11, samples))[:samples]
    columns: dict[str, list[Any]] = {
        "key": [f"k{i:012d}" for i in range(samples)],
        "shard": [shards[i // PER_SHARD] for i in range(samples)],
        "image_member": ["jpg"] * samples,
        "image_likeness": [text_hash(str(i))[:16] for i in range(samples)],
        "patient": [f"p{one:012d}" for one in patients],
        "study": [f"s{i:012d}" for i in range(samples)],
        "split": ["train"] * samples,
        "text_hashes": reports(drawn, samples),
    }
    columns["sentence_count"] = [len(hashes) for hashes in columns["text_hashes"]]
    for member, content in members.items():
        columns[f"{member}_offset"] = [0 if member == "image" else len(members["image"])] * samples
        columns[f"{member}_bytes"] = [len(content)] * samples
        columns[f"{member}_sha256"] = [hashlib.sha256(content).hexdigest()] * samples
    table = pa.table({name: columns.get(name, [None] * samples) for name in MANIFEST_SCHEMA.names}, MANIFEST_SCHEMA)
    described = {name: {"sha256": "0" * 64, "bytes": sum(map(len, members.values()))} for name in shards}
    metadata = {"format_version": FORMAT_VERSION, "settings": {}, "shards": described, "counts": {}}
    pq.write_table(
        table.replace_schema_metadata({key: json.dumps(value) for key, value in metadata.items()}),
        folder / MANIFEST_NAME,
        compression="zstd",
    )


def reports(drawn: np.random.Generator, samples: int) -> list[list[str]]:
    """Sentence hashes: a quarter of the reports are from a pool, the others have a sentence of their own."""
    pool = [text_hash(f"sentence {i}") for i in range(50_000)]
    picked = ((drawn.zipf(1.3, (samples, 6)) - 1) % len(pool)).tolist()
    common, number = drawn.random(samples) < 0.25, ((drawn.zipf(1.5, samples) - 1) % samples).tolist()
    return [
        [pool[j] for j in picked[number[i]]]
        if common[i]
        else [text_hash(f"own {i}"), *(pool[j] for j in picked[i][:4])]
        for i in range(samples)
    ]


def median(run: Callable[[], object]) -> float:
    """Seconds, of three runs."""
    spent = []
    for _ in range(3):
        started = time.perf_counter()
        run()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def resume(url: str, limit: int, workers: int, share: float) -> float:
    """Seconds from building the stream to the first batch at this share of the second epoch."""
    data = Data(shards=url, batch=BATCH, max_duplicates=limit, workers=workers)
    tokenizer = Tokenizer([*SPECIAL, "No", "pneumothorax", "."], cased=True)

    def run() -> None:
        read_index.cache_clear()  # as in a new process
        stream = Stream(data, 0, 0, 1, tokenizer, "train")
        state = StreamState(int((1 + share) * stream.epoch_batches), 0, stream.fingerprint)
        batches = stream.batches(state)
        next(iter(batches))

    return median(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200_000)
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), samples)
        for workers in (0, 2):
            for limit in (0, 1):
                start, late = (resume(folder, limit, workers, share) for share in (0.0, 0.9))
                print(
                    f"workers {workers}, max_duplicates {limit}: first batch at 90% of {samples:,} after {late:.2f} s, "
                    f"{late / start:.2f} times a start's"
                )
        shards = Shards(folder, "train")
    groups_NG, name = shards.duplicate_groups(["text", "patient"]), (shards.fingerprint, 0, 1)
    order = plan.epoch_order(*name, shards.shard_N, 16, BATCH)
    bare = median(lambda: plan.epoch_order(*name, shards.shard_N, 16, BATCH))
    for limit in (1, 2):
        limitable_NG = limitable(groups_NG, limit, len(order.lanes_PB))
        orders = (order, limit_duplicates(order, groups_NG, limit, name))
        before, after = (surplus(one.lanes_PB, limitable_NG, limit) for one in orders)
        spent = median(lambda limit=limit: limit_duplicates(order, groups_NG, limit, name))  # type: ignore[misc]
        print(
            f"max_duplicates {limit}: surplus {before:,} -> {after:,} in {spent:.2f} s, "
            f"{spent / bare:.1f} times the order's"
        )


if __name__ == "__main__":
    main()
