"""The words and the environment of DeepSpeed's launcher."""

from __future__ import annotations

import os
import socket
import sys

from sentalign.engine import launch


def test_command_in_full():
    assert launch.command("c.yaml", ["train.epochs=1", "run=a b"], 2, port=4321) == [
        *(sys.executable, "-m", "deepspeed.launcher.runner", "--quiet", "--no_local_rank"),
        *("--num_gpus", "2", "--master_port", "4321"),
        *("--module", "sentalign.train", "c.yaml", "train.epochs=1", "run=a b"),
    ]


def test_a_port_of_its_own():
    words = launch.command("c.yaml", [], 1)
    assert 1024 <= int(words[words.index("--master_port") + 1]) < 65536


def test_free_port_can_be_bound():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", launch.free_port()))


def test_environment_of_ranks_on_cpu():
    given = {"PATH": "/bin"}
    cores = os.cpu_count() or 1
    assert launch.environment(given, 1, 0) == given | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": str(cores)}
    assert launch.environment(given, 10 * cores, 0)["OMP_NUM_THREADS"] == "1"
    assert given == {"PATH": "/bin"}


def test_what_the_user_set_stays():
    given = {"DS_ACCELERATOR": "xpu", "OMP_NUM_THREADS": "3"}
    assert launch.environment(given, 2, 0) == given


def test_environment_on_gpus_is_the_given_one():
    assert launch.environment({"PATH": "/bin"}, 2, 2) == {"PATH": "/bin"}
