"""The cluster that a search starts: no other host reaches it, and whoever has no token is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from sharding import ray_cluster
from sharding.contract import UserError

START = """
from sharding import ray_cluster
ray = ray_cluster.start()
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""
JOIN = "import sys; from sharding import ray_cluster; print(len(ray_cluster.join(sys.argv[1]).nodes()))"


def own_address():
    """This host's address as others see it; nothing is sent. A host without a network has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("no network but loopback")
        return probe.getsockname()[0]


@pytest.mark.slow
def test_a_cluster_answers_only_who_has_its_token(tmp_path):
    """The token is in the user's home; another user of the host has another home."""
    home, stranger = tmp_path / "home", tmp_path / "stranger"
    for folder in (home, stranger):
        folder.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    here = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # who joins looks for a node of its own address

    def joined(seconds, **settings):
        """What joining prints: the number of nodes. Nothing if it fails, or waits: ray asks again for minutes."""
        command = [sys.executable, "-c", JOIN, address]
        try:
            ended = subprocess.run(
                command, env=clean | here | settings, capture_output=True, text=True, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return ""
        return ended.stdout.strip()

    started = subprocess.Popen(
        [sys.executable, "-c", START],
        env=clean | {"HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = started.stdout.readline().strip()
        assert address.startswith("127.0.0.1:")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((own_address(), int(address.split(":")[1])), timeout=5)
        assert joined(120, HOME=str(home), RAY_AUTH_MODE="token") == "1"
        assert joined(20, HOME=str(stranger), RAY_AUTH_MODE="disabled") == ""
        # `auto` finds it, but by the host's other address, where it does not listen.
        own_address()
        found = [sys.executable, "-c", JOIN, "auto"]
        settings = clean | {"HOME": str(home), "RAY_AUTH_MODE": "token"}
        ended = subprocess.run(found, env=settings, capture_output=True, text=True, timeout=60)
        assert "UserError: --ray auto: no Ray cluster answers" in ended.stderr
    finally:
        started.communicate("\n", timeout=60)


def test_nobody_at_the_address_is_one_line(monkeypatch):
    """At once: ray itself would ask again for minutes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(UserError, match=rf"RAY_ADDRESS=127.0.0.1:{port}: no Ray cluster answers .*refused") as caught:
        ray_cluster.start()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_missing_token_is_one_line(tmp_path):
    """A user without the token, at a cluster that asks for one."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    server = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{server.getsockname()[1]}"
    settings = {"HOME": str(tmp_path), "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token"}
    program = "from sharding import ray_cluster; ray_cluster.start()"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=clean | settings, capture_output=True, text=True, timeout=120
    )
    server.close()
    assert "UserError: Ray asks for the token of its cluster: set RAY_AUTH_TOKEN_PATH" in ended.stderr
