"""A Ray cluster of two nodes on this machine, and the mode in which all clusters of the tests talk."""

from __future__ import annotations

import os

import pytest

# A process keeps the mode of its first cluster, and the default depends on whether a token was ever made on this
# machine: without this, a search after a cluster of another test asks for a token that the process does not send.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")


@pytest.fixture
def ray_cluster(monkeypatch):
    """A head without CPUs and two nodes with one each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()
