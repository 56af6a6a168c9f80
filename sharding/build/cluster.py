"""Workers on the machines of a Ray cluster: the same work as in `pool`, and the only importer of ray here.

In: the address of a cluster whose machines have this package and see the input. Out: `Workers` for `pool.outcomes`. A
dead machine's studies are made again by Ray itself. Studies and salt travel inside the cluster only.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from typing import Any

from sharding.build.pool import Crashed
from sharding.build.tuples import Outcome, Recipe, make_all
from sharding.contract import UserError
from sharding.sources import SourceImage

RETRIES = 3  # of a chunk whose machine or worker died, before its studies are tried one by one


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: ray itself would wait for minutes."""
    place = re.fullmatch(r"(?:ray://)?\[?([^\]]+?)\]?:(\d+)", address)
    if place:
        socket.create_connection((place.group(1), int(place.group(2))), timeout=10).close()


class RayWorkers:
    """Workers of a cluster; `count` is its number of CPUs when the build starts."""

    def __init__(self, address: str, recipe: Recipe) -> None:
        """Joins the cluster; raises UserError where ray is missing or nothing answers at the address."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise UserError("--ray needs ray; install it with pip install 'sentalign[cluster]'") from None
        self._ray = ray
        try:
            _knock(address)
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # ray raises nearly any type here
            cause = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"--ray {address}: no Ray cluster answers ({cause}); start one with `ray start --head`"
            ) from None
        self.count = int(ray.cluster_resources().get("CPU", 0))
        if self.count == 0:
            self.close()
            raise UserError(f"--ray {address}: the cluster has no CPU to offer; start its machines with --num-cpus")
        self._recipe = ray.put(recipe)
        self._make = ray.remote(num_cpus=1, max_retries=RETRIES)(make_all)

    def submit(self, studies: list[SourceImage]) -> Any:
        return self._make.remote(studies, self._recipe)

    def result(self, job: Any) -> list[Outcome]:
        lost = (self._ray.exceptions.RayError,)
        try:
            made: list[Outcome] = self._ray.get(job)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None  # what the work itself raised
        except lost:
            raise Crashed from None
        return made

    def again(self, studies: list[SourceImage], job: Any) -> Any:
        return job

    def close(self) -> None:
        self._ray.shutdown()
