"""How many trials a cluster holds, against trying; what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.sweep.search import placement
from sentalign.sweep.spec import sweep_file
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.trial.first_step import FirstStep
from sharding.contract import UserError

Write = Callable[..., Path]


def sweep(**changed: Any) -> Sweep:
    return Sweep.model_validate({"base": "b", "out": "o", "space": {"loss.tau": {"uniform": [0.1, 0.3]}}, **changed})


def most(nodes: list[list[float]], cpus: float, gpus: float, count: int) -> int:
    """Trainings that fit on `count` different nodes each, by trying all ways."""
    fits = [place for place, (cpu, gpu) in enumerate(nodes) if cpu >= cpus and gpu >= gpus]
    best = 0
    for places in combinations(fits, count):
        rest = [[cpu - cpus, gpu - gpus] if place in places else [cpu, gpu] for place, (cpu, gpu) in enumerate(nodes)]
        best = max(best, 1 + most(rest, cpus, gpus, count))
    return best


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=4),
    st.integers(2, 3),
    st.integers(1, 2),
    st.sampled_from([0, 1]),
)
def test_a_cluster_holds_as_many_trainings_as_can_be_placed(nodes, count, cpus, gpus):
    asked = sweep(nodes=count, ranks=count, cpus=cpus * count, gpus=gpus * count)
    shapes = [{"CPU": float(cpu), "GPU": float(gpu)} for cpu, gpu in nodes]
    assert placement.held(asked, shapes) == most([list(node) for node in nodes], cpus, gpus, count)


def test_starts_that_run_at_once_share_the_nodes() -> None:
    nodes = [{"CPU": 4.0}] * 4
    assert placement.held(sweep(nodes=2, ranks=2, cpus=4, seeds=2, seeds_at_once=2), nodes) == 2
    assert placement.held(sweep(nodes=2, ranks=2, cpus=4, seeds=3, seeds_at_once=3), nodes) == 1
    assert placement.held(sweep(cpus=2, seeds=2, seeds_at_once=2), nodes) == 4
    assert placement.held(sweep(cpus=0.1), [{"CPU": 1.0}]) == 10


def test_fewer_trials_run_than_are_asked_for_where_no_more_fit() -> None:
    asked = sweep(nodes=2, ranks=4, cpus=4, concurrent=4)
    nodes = [{"CPU": 2.0}] * 5 + [{}]
    assert placement.at_once(asked, nodes) == 2
    assert placement.in_words(asked, nodes) == (
        "2 trial(s) at once, each training on 2 CPU and 0 GPU on each of 2 nodes; "
        "the cluster: 1 x 0 CPU and 0 GPU, 5 x 2 CPU and 0 GPU"
    )
    one = sweep(cpus=2, concurrent=2)
    expected = "1 trial(s) at once, each trial on 2 CPU and 0 GPU; the cluster: 2 CPU and 0 GPU"
    assert placement.in_words(one, nodes[:1]) == expected


def test_trials_on_one_node_may_wait_for_nodes_that_join_later() -> None:
    assert placement.started_at_once(sweep(cpus=2, concurrent=4), [{"CPU": 2.0}]) == 4
    assert placement.started_at_once(sweep(nodes=2, ranks=2, cpus=4, concurrent=4), [{"CPU": 2.0}] * 5) == 2


def test_what_fits_nowhere_is_refused(sweep_path: Write) -> None:
    large = sweep_file.load(sweep_path(cpus=4, seeds=2, seeds_at_once=2))
    with pytest.raises(UserError, match="takes 8 CPU and 0 GPU on one node, and the nodes have 2 x 2 CPU and 0 GPU"):
        placement.at_once(large, [{"CPU": 2.0}, {"CPU": 2.0}])
    placement.at_once(large, [{"CPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}])
    large = sweep_file.load(sweep_path(gpus=2, ranks=2))
    with pytest.raises(UserError, match="lower cpus, or gpus and ranks"):
        placement.at_once(large, [{"CPU": 64.0, "GPU": 1.0}] * 2)
    spread = sweep_file.load(sweep_path(nodes=3, ranks=3, cpus=3))
    with pytest.raises(UserError, match=r"takes 1 CPU and 0 GPU on each of 3 nodes, .*lower nodes, cpus"):
        placement.at_once(spread, [{"CPU": 8.0}] * 2)
    placement.at_once(spread, [{"CPU": 1.0}] * 3)


def test_settings_that_do_not_go_with_several_nodes(sweep_path: Write) -> None:
    with pytest.raises(UserError, match="ranks 3 must be a multiple of nodes 2"):
        sweep_file.load(sweep_path(nodes=2, ranks=3))
    for kind in ("hyperband", "pbt"):
        with pytest.raises(UserError, match=f"scheduler {kind} pauses trials"):
            sweep_file.load(sweep_path(nodes=2, ranks=2, scheduler={"kind": kind}))


def test_trainings_that_need_more_memory_than_there_is_are_refused() -> None:
    tried = FirstStep(seconds=20.4, memory=3 * 2**30, host_memory=8 * 2**30)
    nodes = [{"CPU": 2.0}] * 3
    assert placement.memory_in_words(sweep(concurrent=6), nodes, tried) == (
        "first step of the base: 20 s, 3.0 GiB of memory a training, of 8.0 GiB"
    )
    with pytest.raises(UserError, match=r"up to 4 trainings at once on a machine of 8.0 GiB; lower concurrent, seeds"):
        placement.memory_in_words(sweep(cpus=0.5, concurrent=4), nodes, tried)
    two = sweep(seeds=2, seeds_at_once=2, cpus=0.5, concurrent=2)
    with pytest.raises(UserError, match="up to 4 trainings"):
        placement.memory_in_words(two, nodes, tried)
    assert "memory" not in placement.memory_in_words(sweep(nodes=2, ranks=2, cpus=2), nodes, tried)


def test_tune_reserves_what_a_trial_takes() -> None:
    nodes = [{"CPU": 8.0}] * 2
    assert placement.tune_resources(sweep(cpus=2), nodes, pauses=False) == {"cpu": 2, "gpu": 0}
    assert placement.tune_resources(sweep(cpus=1, concurrent=4), nodes, pauses=True) == {"cpu": 4, "gpu": 0}
    spread = placement.tune_resources(sweep(nodes=2, ranks=2, cpus=16), nodes, pauses=False)
    assert (spread["cpu"], spread["gpu"]) == (0, 0)
