"""The words and the environment of DeepSpeed's launcher."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from sentalign.launch import ranks
from sharding.contract import UserError


def test_command_in_full():
    assert ranks.command("c.yaml", ["train.epochs=1", "run=a b"], 2, port=4321) == [
        *(sys.executable, "-m", "deepspeed.launcher.runner", "--quiet", "--no_local_rank"),
        *("--num_gpus", "2", "--master_port", "4321"),
        *("--module", "sentalign.train", "c.yaml", "train.epochs=1", "run=a b"),
    ]


def test_a_port_of_its_own():
    words = ranks.command("c.yaml", [], 1)
    assert 1024 <= int(words[words.index("--master_port") + 1]) < 65536


def test_free_port_can_be_bound():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ranks.free_port()))


def test_environment_of_ranks_on_cpu():
    given = {"PATH": "/bin"}
    cores = os.cpu_count() or 1
    assert ranks.environment(given, 1, 0) == given | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": str(cores)}
    assert ranks.environment(given, 10 * cores, 0)["OMP_NUM_THREADS"] == "1"
    assert given == {"PATH": "/bin"}


def test_what_the_user_set_stays():
    given = {"DS_ACCELERATOR": "xpu", "OMP_NUM_THREADS": "3"}
    assert ranks.environment(given, 2, 0) == given


def test_environment_on_gpus_is_the_given_one():
    assert ranks.environment({"PATH": "/bin"}, 2, 2) == {"PATH": "/bin"}


TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
    "SLURM_JOB_ID": "12345", "SLURM_STEP_ID": "2", "SLURM_STEP_NODELIST": "gpu[07-08]",
}  # fmt: skip
OPENMPI = {
    "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4", "MASTER_ADDR": "10.0.0.1",
}  # fmt: skip


def test_ranks_of_torchrun_and_deepspeed():
    assert ranks.ranks_of_environment(TORCHRUN | {"GROUP_RANK": "1"}) == TORCHRUN | {"NODE_RANK": "1"}
    assert ranks.ranks_of_environment(TORCHRUN | {"CROSS_RANK": "2"})["NODE_RANK"] == "2"


def test_ranks_of_slurm():
    assert ranks.ranks_of_environment(SLURM | {"PATH": "/bin"}) == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "NODE_RANK": "1", "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "22347",
    }  # fmt: skip
    assert ranks.ranks_of_environment(SLURM | {"MASTER_ADDR": "10.1.1.1", "MASTER_PORT": "7"}).items() >= {
        "MASTER_ADDR": "10.1.1.1", "MASTER_PORT": "7",
    }.items()  # fmt: skip


def test_a_batch_script_of_slurm_is_no_step():
    batch = {name: SLURM[name] for name in ("SLURM_PROCID", "SLURM_JOB_ID")} | {"SLURM_NTASKS": "8"}
    assert ranks.ranks_of_environment(batch)["WORLD_SIZE"] == "1"


def test_ranks_of_openmpi():
    assert ranks.ranks_of_environment(OPENMPI) == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
    }  # fmt: skip


def test_torchruns_own_words_come_before_the_schedulers():
    assert ranks.ranks_of_environment(SLURM | OPENMPI | TORCHRUN)["MASTER_PORT"] == "4000"


def test_alone_is_rank_0_of_1():
    assert ranks.ranks_of_environment({"PATH": "/bin"}) == {
        "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }  # fmt: skip


def test_where_rank_0_is_must_be_known():
    with pytest.raises(UserError, match="8 ranks and no MASTER_ADDR; set it to the address of the first host"):
        ranks.ranks_of_environment({name: OPENMPI[name] for name in OPENMPI if name != "MASTER_ADDR"})


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("gpu07", "gpu07"),
        ("gpu07,gpu08", "gpu07"),
        ("rack1-n[07-09,12],login", "rack1-n07"),
        ("n[1-2]-x[3,4],q", "n1-x3"),
    ],
)
def test_first_host_of_a_slurm_list(hosts, first):
    assert ranks.first_host(hosts) == first
