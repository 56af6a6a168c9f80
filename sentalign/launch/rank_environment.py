"""Which rank this process is, from the environment that its launcher made.

In: the variables of torchrun, DeepSpeed, OpenMPI or Slurm. Out: torchrun's variables. How ranks are started:
local_ranks.py and hosts.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sharding.contract import UserError

RANK_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
SINGLE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "NODE_RANK": "0", "MASTER_PORT": "0"}  # a free port


def read(environ: Mapping[str, str]) -> dict[str, str]:
    """torchrun's variables: RANK, WORLD_SIZE, LOCAL_RANK, NODE_RANK, MASTER_ADDR, MASTER_PORT.

    From torchrun's or DeepSpeed's own variables where they are set, else from OpenMPI's or from a Slurm step's (srun);
    a process without any is rank 0 of 1. Variables that are set are kept. Raises UserError where neither a variable
    nor Slurm says where rank 0 is.
    """
    known = {name: environ[name] for name in RANK_NAMES if name in environ}
    if "RANK" in known and "WORLD_SIZE" in known:
        derived = {"LOCAL_RANK": "0", "NODE_RANK": environ.get("GROUP_RANK") or environ.get("CROSS_RANK") or "0"}
    elif "OMPI_COMM_WORLD_RANK" in environ:
        derived = _openmpi(environ)
    elif "SLURM_STEP_NUM_TASKS" in environ and "SLURM_PROCID" in environ:  # only srun sets the first
        derived = _slurm(environ)
    else:
        derived = SINGLE
    variables = {"MASTER_PORT": "29500"} | derived | known
    if variables["WORLD_SIZE"] == "1":
        variables.setdefault("MASTER_ADDR", "127.0.0.1")
    if "MASTER_ADDR" not in variables:
        raise UserError(f"{variables['WORLD_SIZE']} ranks and no MASTER_ADDR; set it to the address of the first host")
    return variables


def _openmpi(environ: Mapping[str, str]) -> dict[str, str]:
    rank = environ["OMPI_COMM_WORLD_RANK"]
    # OpenMPI has no node number; it fills one host after the other.
    node = int(rank) // int(environ["OMPI_COMM_WORLD_LOCAL_SIZE"])
    local, ranks = environ["OMPI_COMM_WORLD_LOCAL_RANK"], environ["OMPI_COMM_WORLD_SIZE"]
    return {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": local, "NODE_RANK": str(node)}


def _slurm(environ: Mapping[str, str]) -> dict[str, str]:
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST", "")
    job = int(environ.get("SLURM_JOB_ID", "0")) + int(environ.get("SLURM_STEP_ID", "0"))
    variables = {
        "RANK": environ["SLURM_PROCID"],
        "WORLD_SIZE": environ["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environ.get("SLURM_LOCALID", "0"),
        "NODE_RANK": environ.get("SLURM_NODEID", "0"),
        "MASTER_PORT": str(20000 + job % 10000),  # another one for each job on a host
    }
    return variables | ({"MASTER_ADDR": first_host(hosts)} if hosts else {})


def first_host(hosts: str) -> str:
    """The first host of a Slurm list such as `rack1-node[07-09,12],login`: `rack1-node07`."""
    # The comma that ends the first name is not one inside brackets.
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", hosts)
    assert first
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0])
