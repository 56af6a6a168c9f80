"""Workers on the machines of a Ray cluster: the same work as in `pool`, and the shards are written there too.

In: the address of a cluster whose machines have this package and see the input. Out: `Workers` for `pool.results`. Only
what became of each image and its ledger rows come to this process; the samples stay where they were made, until one of
the machines writes their shard (`remote`). Ray itself repeats the jobs of a dead machine. Images and salt travel inside
the cluster only.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from sharding import ray_cluster
from sharding.build.cluster import remote
from sharding.build.pool import WorkerCrashed
from sharding.build.samples import EncodedSample, SampleReference, SampleResult
from sharding.build.sentence_tuple import WorkerConfig
from sharding.build.writer import Destination, WrittenShard, write_here
from sharding.contract import UserError
from sharding.sources import SourceImage

RETRIES = 3  # of a job whose machine or worker died; the images of a chunk are tried one by one after that
CORES_PER_WRITER = 8  # of the cluster; a shard is written in a hundredth of the time that its samples take
VISIBLE = 60.0  # seconds until a network file system shows this machine what another one has written


@dataclass(frozen=True)
class _Chunk:
    """The outcomes, the samples and the machine of one job."""

    outcomes: Any
    samples: Any
    node: Any


class RayWorkers:
    """Workers of a cluster; `count` is its number of CPUs when the build starts."""

    def __init__(self, address: str, config: WorkerConfig) -> None:
        """Joins the cluster; raises UserError if ray is missing or no cluster answers at the address."""
        self._ray = ray = ray_cluster.join(address)
        self.count = int(ray.cluster_resources().get("CPU", 0))
        if self.count == 0:
            self.close()
            raise UserError(f"--ray {address}: the cluster has no CPUs; start its machines with --num-cpus")
        self.writing = 1 + self.count // CORES_PER_WRITER
        self._config = ray.put(config)
        self._make = ray.remote(num_cpus=1, max_retries=RETRIES, num_returns=3)(remote.make_chunk)
        self._write = ray.remote(num_cpus=1, max_retries=RETRIES)(remote.write_shard)
        self._shared: bool | None = None

    def submit(self, images: list[SourceImage]) -> _Chunk:
        return _Chunk(*self._make.remote(images, self._config))

    def result(self, job: _Chunk) -> list[SampleResult]:
        outcomes, node = self._get([job.outcomes, job.node])
        return [
            outcome if outcome.reason else replace(outcome, sample=SampleReference(job.samples, place, node))
            for place, outcome in enumerate(outcomes)
        ]

    def resubmit(self, images: list[SourceImage], job: _Chunk) -> _Chunk:
        return job

    def write(
        self,
        destination: Destination,
        samples: Iterable[EncodedSample | SampleReference],
        replacing: Callable[[], None],
    ) -> Callable[[], tuple[WrittenShard, pa.Table]]:
        """Lets a machine that made some of the samples write the shard, or this one if the others cannot."""
        if not self._is_shared(destination):
            written = write_here(destination, self._fetched(samples), replacing)
            return lambda: written
        parts, nodes = self._parts(samples)
        replacing()
        near = [ray_cluster.near(node) for node, _ in nodes.most_common(1)]
        options = {"scheduling_strategy": near[0]} if near else {}
        job = self._write.options(**options).remote(destination.store.url, destination.name, parts)
        return lambda: self._written(destination, job)

    def close(self) -> None:
        self._ray.shutdown()

    def _parts(
        self, samples: Iterable[EncodedSample | SampleReference]
    ) -> tuple[list[tuple[Any, list[int]]], Counter[str]]:
        """The samples in order, as runs of places in the results of jobs; and how many each machine has made."""
        parts: list[tuple[Any, list[int]]] = []
        nodes: Counter[str] = Counter()
        for sample in samples:
            if isinstance(sample, EncodedSample):  # kept from an earlier build
                parts.append((self._ray.put([sample]), [0]))
                continue
            if not parts or parts[-1][0] != sample.chunk:
                parts.append((sample.chunk, []))
            parts[-1][1].append(sample.place)
            nodes[sample.node] += 1
        return parts, nodes

    def _fetched(self, samples: Iterable[EncodedSample | SampleReference]) -> Iterator[EncodedSample]:
        chunk, content = None, []
        for sample in samples:
            if isinstance(sample, EncodedSample):
                yield sample
                continue
            if sample.chunk != chunk:
                chunk, content = sample.chunk, self._get(sample.chunk)
            yield content[sample.place]

    def _written(self, destination: Destination, job: Any) -> tuple[WrittenShard, pa.Table]:
        try:
            shard, rows = self._get(job)
        except WorkerCrashed:
            raise UserError(
                f"{destination.name} cannot be written: workers of the cluster or its machines died too often; free "
                "memory there and run the same command again"
            ) from None
        deadline = time.monotonic() + VISIBLE
        while destination.store.size(destination.name) != shard.bytes:
            if time.monotonic() > deadline:
                raise UserError(
                    f"{destination.name} was written by another machine and cannot be seen here; give --out a folder "
                    "that all machines share, or a URL"
                )
            time.sleep(1)
        return shard, rows

    def _is_shared(self, destination: Destination) -> bool:
        """Whether all machines can write to the output; asked once."""
        if self._shared is None:
            probe = self._ray.remote(num_cpus=0, max_retries=RETRIES)(remote.can_write)
            self._shared = remote.is_shared(
                destination.store,
                ray_cluster.nodes_with_cpus(),
                lambda node, *arguments: probe.options(scheduling_strategy=ray_cluster.near(node)).remote(*arguments),
                self._get,
            )
            if not self._shared:
                print(
                    "note: not every machine of the cluster can write to --out, so this one writes all shards",
                    file=sys.stderr,
                )
        return self._shared

    def _get(self, job: Any) -> Any:
        try:
            return self._ray.get(job)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, self._ray.exceptions.RayError):
                raise WorkerCrashed from None
            raise error.cause from None  # what the work itself raised
        except self._ray.exceptions.RayError:
            raise WorkerCrashed from None
