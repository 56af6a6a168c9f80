"""Workers on the machines of a Ray cluster: the same work as in `pool`.

In: the address of a cluster whose machines have this package and see the input. Out: `Workers` for `pool.results`. Ray
itself repeats the jobs of a dead machine. Images and salt travel inside the cluster only.
"""

from __future__ import annotations

from typing import Any

from sharding import ray_cluster
from sharding.build.pool import WorkerCrashed
from sharding.build.samples import SampleResult, make_samples
from sharding.build.sentence_tuple import WorkerConfig
from sharding.contract import UserError
from sharding.sources import SourceImage

RETRIES = 3  # of a chunk whose machine or worker died, before its images are tried one by one


class RayWorkers:
    """Workers of a cluster; `count` is its number of CPUs when the build starts."""

    def __init__(self, address: str, config: WorkerConfig) -> None:
        """Joins the cluster; raises UserError if ray is missing or no cluster answers at the address."""
        self._ray = ray = ray_cluster.join(address)
        self.count = int(ray.cluster_resources().get("CPU", 0))
        if self.count == 0:
            self.close()
            raise UserError(f"--ray {address}: the cluster has no CPUs; start its machines with --num-cpus")
        self._config = ray.put(config)
        self._make_samples = ray.remote(num_cpus=1, max_retries=RETRIES)(make_samples)

    def submit(self, images: list[SourceImage]) -> Any:
        return self._make_samples.remote(images, self._config)

    def result(self, job: Any) -> list[SampleResult]:
        try:
            results: list[SampleResult] = self._ray.get(job)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None  # what the work itself raised
        except self._ray.exceptions.RayError:
            raise WorkerCrashed from None
        return results

    def resubmit(self, images: list[SourceImage], job: Any) -> Any:
        return job

    def close(self) -> None:
        self._ray.shutdown()
