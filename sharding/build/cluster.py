"""Workers on the machines of a Ray cluster: the same work as in `pool`, and the only importer of ray in this package.

In: the address of a cluster whose machines have this package and see the input. Out: `Workers` for `pool.results`. Ray
itself repeats the jobs of a dead machine. Images and salt travel inside the cluster only.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from typing import Any

from sharding.build.pool import WorkerCrashed
from sharding.build.samples import SampleResult, make_samples
from sharding.build.sentence_tuple import WorkerConfig
from sharding.contract import UserError
from sharding.sources import SourceImage

RETRIES = 3  # of a chunk whose machine or worker died, before its images are tried one by one


def _check_reachable(address: str) -> None:
    """Raises OSError if nothing listens at HOST:PORT: ray itself would wait for minutes."""
    match = re.fullmatch(r"(?:ray://)?\[?([^\]]+?)\]?:(\d+)", address)
    if match:
        socket.create_connection((match.group(1), int(match.group(2))), timeout=10).close()


class RayWorkers:
    """Workers of a cluster; `count` is its number of CPUs when the build starts."""

    def __init__(self, address: str, config: WorkerConfig) -> None:
        """Joins the cluster; raises UserError if ray is missing or no cluster answers at the address."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise UserError("--ray needs ray; install it with pip install 'sentalign[cluster]'") from None
        self._ray = ray
        try:
            _check_reachable(address)
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # ray raises nearly any type here
            cause = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"--ray {address}: no Ray cluster answers ({cause}); start one with `ray start --head`"
            ) from None
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
