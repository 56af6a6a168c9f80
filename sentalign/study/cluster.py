"""The trainings of a study on the machines of a Ray cluster.

In: chains of steps. Out: the number of each chain that ended. All machines must see the study's folder under one path.
The address `local` is a cluster of this machine alone: as many trainings at once as it has cores for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sentalign.study.run import Jobs, Step, execute_all
from sharding import ray_cluster
from sharding.contract import UserError

LOCAL = "local"


def on_cluster(address: str, ranks: int, gpus: int) -> Jobs:
    """As `run.one_after_another`, with as many chains at once as the cluster has room for.

    A chain takes `ranks` CPUs and `gpus` GPUs. Raises UserError where no cluster answers or a step failed.
    """

    def run(waiting: Sequence[Sequence[Step]]) -> Iterator[int]:
        ray = ray_cluster.start() if address == LOCAL else ray_cluster.join(address)
        try:
            task = ray.remote(num_cpus=ranks, num_gpus=gpus, max_retries=2)(execute_all)
            numbers: dict[Any, int] = {task.remote(list(steps)): number for number, steps in enumerate(waiting)}
            while numbers:
                (done, *_), _ = ray.wait(list(numbers), num_returns=1)
                number = numbers.pop(done)
                try:
                    ray.get(done)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None  # what the step itself raised
                except ray.exceptions.RayError as error:
                    raise UserError(f"{waiting[number][0].name}: {str(error).splitlines()[0]}") from None
                yield number
        finally:
            ray.shutdown()

    return run
