"""What a trial takes of the nodes of a cluster, and how many trials they hold: checked before anything starts.

In: a `Sweep`, and the resources of each node. Out: what Tune reserves for a trial, and one line that says it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.trial.first_step import FirstStep
from sharding.contract import UserError

Node = dict[str, float]
FOLLOWER = {"cpu": 0.0, "gpu": 0.0, "memory": 2.0**20}  # a process that waits; Ray wants it to take something


def node_resources(ray: Any) -> list[Node]:
    """The resources of each node that lives."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def share(sweep: Sweep) -> Node:
    """What one training takes of each of its nodes; all trainings that run at the same time, where it has one node."""
    parts = 1 / sweep.nodes if sweep.nodes > 1 else sweep.parallel_seeds
    return {"CPU": sweep.cpus * parts, "GPU": sweep.gpus * parts}


def held(sweep: Sweep, nodes: list[Node]) -> int:
    """How many trials the empty nodes hold at the same time. A training takes its share of as many different nodes."""
    need = {name: count for name, count in share(sweep).items() if count}
    shares = [min(math.floor(node.get(name, 0) / count + 1e-9) for name, count in need.items()) for node in nodes]
    if sweep.nodes == 1:
        return sum(shares)
    # Of one node a training takes one share: with k trainings at most k shares of a node are used.
    trainings = max(k for k in range(sum(shares) + 1) if sum(min(k, count) for count in shares) >= k * sweep.nodes)
    return trainings // sweep.parallel_seeds


def at_once(sweep: Sweep, nodes: list[Node]) -> int:
    """Trials that run at the same time. Raises UserError where the nodes hold none: Ray would wait forever."""
    if fit := held(sweep, nodes):
        return min(sweep.concurrent, fit)
    count = f" on each of {sweep.nodes} nodes" if sweep.nodes > 1 else " on one node"
    seeds = f", and {sweep.parallel_seeds} trainings run at once" if sweep.nodes > 1 < sweep.parallel_seeds else ""
    raise UserError(
        f"a {'training' if sweep.nodes > 1 else 'trial'} takes {_words(share(sweep))}{count}{seeds}, and the nodes "
        f"have {_shapes(nodes)}; lower {'nodes, ' if sweep.nodes > 1 else ''}cpus, or gpus and ranks, or seeds_at_once"
        f"{', or join a larger cluster (launchers/ray.sh)' if sweep.nodes > 1 else ''}"
    )


def started_at_once(sweep: Sweep, nodes: list[Node]) -> int:
    """Trials that Tune starts: those on one node wait for place themselves, also for that of nodes that join later."""
    return sweep.concurrent if sweep.nodes == 1 else at_once(sweep, nodes)


def in_words(sweep: Sweep, nodes: list[Node]) -> str:
    """One line: where the trials run. Raises UserError as `at_once`."""
    each = f"{_words(share(sweep))} on each of {sweep.nodes} nodes" if sweep.nodes > 1 else _words(share(sweep))
    what = "training" if sweep.nodes > 1 else "trial"
    return f"{at_once(sweep, nodes)} trial(s) at once, each {what} on {each}; the cluster: {_shapes(nodes)}"


def tune_resources(sweep: Sweep, nodes: list[Node], pauses: bool) -> Node:
    """What Tune reserves for the process that follows a trial, and for the trainings in it.

    Ray Train reserves what trainings over several nodes take. `pauses`: more trials wait than may run; their number is
    bounded by what each takes of a node.
    """
    if sweep.nodes > 1:
        return dict(FOLLOWER)
    need = {name.lower(): count for name, count in share(sweep).items()}
    if pauses:
        largest = max(node.get("CPU", 0) for node in nodes)
        need["cpu"] = max(need["cpu"], largest // -(-sweep.concurrent // len(nodes)))
    return need


def memory_in_words(sweep: Sweep, nodes: list[Node], tried: FirstStep) -> str:
    """One line: what the first step took. Raises UserError where the trainings of a node would not fit together."""
    about = f"first step of the base: {tried.seconds:.0f} s"
    if sweep.nodes > 1:  # its processes are elsewhere
        return about
    together = sweep.parallel_seeds * min(at_once(sweep, nodes), max(held(sweep, [node]) for node in nodes))
    needed = f"{_gib(tried.memory)} of memory a training"
    if together * tried.memory > tried.host_memory:
        raise UserError(
            f"{about}, {needed}, and up to {together} trainings at once on a machine of {_gib(tried.host_memory)}; "
            "lower concurrent, seeds_at_once or data.batch, or set train.micro_batch"
        )
    return f"{about}, {needed}, of {_gib(tried.host_memory)}"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _shapes(nodes: list[Node]) -> str:
    counted = Counter(_words(node) for node in nodes)
    return ", ".join(f"{count} x {shape}" if len(nodes) > 1 else shape for shape, count in sorted(counted.items()))


def _words(resources: Node) -> str:
    return f"{resources.get('CPU', 0):g} CPU and {resources.get('GPU', 0):g} GPU"
