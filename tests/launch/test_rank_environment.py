"""Rank, ranks and the first host, from the variables of every launcher."""

from __future__ import annotations

import pytest

from sentalign.launch import rank_environment
from sharding.contract import UserError

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
    assert rank_environment.read(TORCHRUN | {"GROUP_RANK": "1"}) == TORCHRUN | {"NODE_RANK": "1"}
    assert rank_environment.read(TORCHRUN | {"CROSS_RANK": "2"})["NODE_RANK"] == "2"


def test_ranks_of_slurm():
    assert rank_environment.read(SLURM | {"PATH": "/bin"}) == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "NODE_RANK": "1", "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "22347",
    }  # fmt: skip
    assert rank_environment.read(SLURM | {"MASTER_ADDR": "10.1.1.1", "MASTER_PORT": "7"}).items() >= {
        "MASTER_ADDR": "10.1.1.1", "MASTER_PORT": "7",
    }.items()  # fmt: skip


def test_a_batch_script_of_slurm_is_no_step():
    batch = {name: SLURM[name] for name in ("SLURM_PROCID", "SLURM_JOB_ID")} | {"SLURM_NTASKS": "8"}
    assert rank_environment.read(batch)["WORLD_SIZE"] == "1"


def test_ranks_of_openmpi():
    assert rank_environment.read(OPENMPI) == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
    }  # fmt: skip


def test_torchruns_variables_take_precedence_over_the_schedulers():
    assert rank_environment.read(SLURM | OPENMPI | TORCHRUN)["MASTER_PORT"] == "4000"


def test_a_process_without_a_launcher_is_rank_0_of_1():
    assert rank_environment.read({"PATH": "/bin"}) == {
        "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }  # fmt: skip


def test_the_address_of_rank_0_is_required():
    with pytest.raises(UserError, match="8 ranks and no MASTER_ADDR; set it to the address of the first host"):
        rank_environment.read({name: OPENMPI[name] for name in OPENMPI if name != "MASTER_ADDR"})


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
    assert rank_environment.first_host(hosts) == first
