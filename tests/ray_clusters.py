"""A Ray cluster of two nodes on this machine, and the token that all clusters of the tests ask for."""

from __future__ import annotations

import os
import secrets

import pytest

# A process keeps the mode of its first cluster, and ray's default depends on whether a token was ever made on this
# machine. So all clusters of the tests ask for a token, as `sharding.ray_cluster.start` does, and for the same one.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


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
