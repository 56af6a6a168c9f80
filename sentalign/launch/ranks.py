"""How ranks are started on this host, and which of them this process is.

In: a config file, overrides, a number of ranks; or the environment that some launcher made. Out: the words of
DeepSpeed's launcher and their environment; or torchrun's variables. Nothing is started here, and deepspeed is not
imported: `sentalign train` becomes the launcher, `sentalign tune` starts it for each trial.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence

from sharding.contract import UserError

MODULE, SCRIPT = "sentalign.train", "launchers/train.py"  # what a rank runs: by `sentalign train`, by other launchers
RANK_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")


def command(config: str, overrides: Sequence[str], ranks: int, port: int | None = None) -> list[str]:
    """`deepspeed --num_gpus RANKS --module sentalign.train CONFIG ...`; ranks are processes where there is no GPU."""
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--quiet", "--no_local_rank"]
    # Always a port of its own: two runs on one host would meet at the default one.
    launcher += ["--num_gpus", str(ranks), "--master_port", str(port or free_port())]
    return [*launcher, "--module", MODULE, config, *overrides]


def environment(given: Mapping[str, str], ranks: int, gpus: int) -> dict[str, str]:
    """`given` with what ranks on CPU need: the accelerator named, and no more threads than cores."""
    made = dict(given)
    if gpus == 0:
        made.setdefault("DS_ACCELERATOR", "cpu")
        made.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    return made


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ranks_of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Who this process is, in torchrun's words: RANK, WORLD_SIZE, LOCAL_RANK, NODE_RANK, MASTER_ADDR, MASTER_PORT.

    From torchrun's or deepspeed's own variables where they are set, else from OpenMPI's or from a Slurm step's (srun);
    a process that nobody numbered is rank 0 of 1. What is set already stays. Raises UserError where OpenMPI or Slurm
    leave out how many there are or where rank 0 is.
    """
    found = {name: environ[name] for name in RANK_NAMES if name in environ}
    if "RANK" in found and "WORLD_SIZE" in found:
        said = {"LOCAL_RANK": "0", "NODE_RANK": environ.get("GROUP_RANK") or environ.get("CROSS_RANK") or "0"}
    elif "OMPI_COMM_WORLD_RANK" in environ:
        said = _of_openmpi(environ)
    elif "SLURM_STEP_NUM_TASKS" in environ and "SLURM_PROCID" in environ:  # only srun sets the first
        said = _of_slurm(environ)
    else:
        said = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "NODE_RANK": "0", "MASTER_PORT": "0"}  # a free one
    known = said | {"MASTER_PORT": said.get("MASTER_PORT", "29500")} | found
    if known["WORLD_SIZE"] == "1":
        known.setdefault("MASTER_ADDR", "127.0.0.1")
    if "MASTER_ADDR" not in known:
        raise UserError(f"{known['WORLD_SIZE']} ranks and no MASTER_ADDR; set it to the address of the first host")
    return known


def _of_openmpi(environ: Mapping[str, str]) -> dict[str, str]:
    local, size = int(environ["OMPI_COMM_WORLD_LOCAL_RANK"]), int(environ["OMPI_COMM_WORLD_LOCAL_SIZE"])
    rank = int(environ["OMPI_COMM_WORLD_RANK"])
    # OpenMPI tells no node number; it fills one host after the other.
    numbers = {"RANK": rank, "WORLD_SIZE": environ["OMPI_COMM_WORLD_SIZE"], "LOCAL_RANK": local}
    return {name: str(value) for name, value in (numbers | {"NODE_RANK": rank // size}).items()}


def _of_slurm(environ: Mapping[str, str]) -> dict[str, str]:
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST", "")
    job = int(environ.get("SLURM_JOB_ID", "0")) + int(environ.get("SLURM_STEP_ID", "0"))
    said = {
        "RANK": environ["SLURM_PROCID"],
        "WORLD_SIZE": environ["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environ.get("SLURM_LOCALID", "0"),
        "NODE_RANK": environ.get("SLURM_NODEID", "0"),
        "MASTER_PORT": str(20000 + job % 10000),  # two jobs on one host do not meet
    }
    return said | ({"MASTER_ADDR": first_host(hosts)} if hosts else {})


def first_host(hosts: str) -> str:
    """The first host of a Slurm list such as `rack1-node[07-09,12],login`: `rack1-node07`."""
    # The comma that ends the first name is not one inside brackets.
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", hosts)
    assert first
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0])
