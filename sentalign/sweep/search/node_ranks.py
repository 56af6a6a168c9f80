"""The ranks of one training on one node of a Ray cluster, started by the worker that Ray Train placed there.

In: the command of a rank, and Ray Train's context. Out: the exit of all ranks. Ranks die with the worker. How the
workers are placed: multinode.py.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from sentalign.launch import local_ranks, process_group_guard
from sentalign.sweep.trial.training import LOG_NAME

POLL_SECONDS = 0.5
STOP_NAME = "stop-requested"  # a file in the run folder
RANK_FAILED = "rank {} ended with {}"


def run_node(config: dict[str, Any]) -> None:
    """What Ray Train runs on each node: starts its ranks, and returns when all have ended. Raises RuntimeError."""
    import ray.train

    node, address, port = _rendezvous()
    per_node, nodes = config["ranks"], ray.train.get_context().get_world_size()
    shared = {"WORLD_SIZE": str(per_node * nodes), "NODE_RANK": str(node), "MASTER_ADDR": address, "MASTER_PORT": port}
    shared["LOCAL_WORLD_SIZE"] = str(per_node)
    environment = local_ranks.environment(os.environ, per_node, []) if config["on_cpu"] else dict(os.environ)
    ranks: dict[int, subprocess.Popen[bytes]] = {}
    try:
        with open(Path(config["run"]) / LOG_NAME, "ab") as log:
            for local in range(per_node):
                rank = node * per_node + local
                ranks[rank] = subprocess.Popen(
                    process_group_guard.command(config["command"]),
                    cwd=config["folder"],
                    env=environment | shared | {"RANK": str(rank), "LOCAL_RANK": str(local)},
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        _wait(ranks, Path(config["run"]) / STOP_NAME)
    finally:
        for process in ranks.values():
            process_group_guard.close(process)  # kills what is left
            process.wait()


def _wait(ranks: dict[int, subprocess.Popen[bytes]], stop: Path) -> None:
    """Until all ranks have ended well, or one has not. Passes a stop request on, once."""
    is_told = False
    while True:
        codes = {rank: process.poll() for rank, process in ranks.items()}
        for rank, code in codes.items():
            if code:
                raise RuntimeError(RANK_FAILED.format(rank, code))
        if None not in codes.values():
            return
        if not is_told and stop.exists():
            is_told = True
            for process in ranks.values():
                process_group_guard.terminate(process)
        time.sleep(POLL_SECONDS)


def _rendezvous() -> tuple[int, str, str]:
    """The number of this node, and the address and a free port of the first node."""
    import ray.train
    import ray.util
    from ray.train.collective import broadcast_from_rank_zero

    own = [ray.util.get_node_ip_address(), str(local_ranks.free_port(""))]
    address, port = broadcast_from_rank_zero(own)
    return ray.train.get_context().get_world_rank(), address, port
