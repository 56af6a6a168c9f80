"""The rendezvous in real processes: all ranks join, or the missing ones are named in bounded time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from sentalign.launch import rendezvous
from sentalign.launch.local_ranks import free_port

SCRIPT = """
import os, sys
from datetime import timedelta
from sentalign.launch import rendezvous
from sharding.contract import UserError
import torch.distributed as dist
rendezvous.REPORT_SECONDS = 0.5
try:
    rendezvous.wait_for_all_ranks(os.environ, timedelta(seconds=float(sys.argv[1])))
    if len(sys.argv) > 2:
        dist.init_process_group("gloo")  # on the same port
        dist.barrier()
        dist.destroy_process_group()
except UserError as error:
    sys.exit(f"error: {error}")
"""


def start(rank: int, ranks: int, port: int, *words: str) -> subprocess.Popen[str]:
    variables = {"RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    command = [sys.executable, "-c", SCRIPT, *words]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> tuple[int, str]:
    return (process.communicate(timeout=60)[1], process.returncode)[::-1]


def test_all_join_and_the_group_is_made_on_the_same_port():
    port = free_port()
    for process in [start(rank, 2, port, "40", "group") for rank in (1, 0)]:
        code, text = result(process)
        assert code == 0, text


def test_one_rank_needs_no_rendezvous():
    assert result(start(0, 1, 1, "1")) == (0, "")


def test_missing_ranks_are_named():
    port = free_port()
    code, text = result(start(0, 4, port, "2"))
    assert code == 1
    *waiting, last = text.splitlines()
    assert waiting
    assert set(waiting) == {"waiting: 1 of 4 ranks joined; missing: ranks 1, 2, 3"}
    assert last.startswith("error: 1 of 4 ranks joined; missing: ranks 1, 2, 3; see the output of their hosts")


def test_without_rank_0_the_others_name_its_address():
    port = free_port()
    code, text = result(start(1, 2, port, "2"))
    assert code == 1
    [line] = [line for line in text.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: rank 1 did not reach rank 0 at 127.0.0.1:{port} within 2 s; ")


def test_a_port_in_use_is_reported():
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, text = result(start(0, 2, port, "5"))
    assert code == 1
    assert f"error: rank 0 cannot listen at port {port} (it is in use); give another --master_port" in text


@pytest.mark.parametrize(
    ("ranks", "listed"), [([3], "rank 3"), (list(range(10)), "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 2 more")]
)
def test_long_lists_are_cut(ranks, listed):
    assert rendezvous._listed(ranks) == listed
