"""The batch file under a real Slurm of one node: srun numbers two ranks, and a job at its time limit resumes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentalign.launch.local_ranks import free_port
from tests.e2e.commands import ROOT, good

PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
ABSENT = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "srun") if not shutil.which(name, path=PATH)]
REASON = "Slurm's daemons need root" if os.geteuid() else f"not installed: {', '.join(ABSENT)}"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(os.geteuid() or ABSENT), reason=REASON),
]
# The node is called localhost, so that the first host of the step's list resolves.
CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/daemon.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
MpiDefault=none
ReturnToService=2
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
"""


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find a cluster of this machine alone."""
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    ports = {"controller": free_port(), "daemon": free_port()}
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, host=socket.gethostname(), **ports))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    own = {name: os.environ[name] for name in ("HOME", "LANG", "PYTHONPATH") if name in os.environ}
    environment = own | {"PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/key"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    daemons = []
    try:
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", "localhost"]):
            with open(folder / f"{command[0]}.log", "wb") as log:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(1)
        yield environment
    finally:
        subprocess.run(["scancel", "--user", "root"], env=environment, timeout=20)
        deadline = time.monotonic() + 60  # the daemons must live until every step has ended
        while subprocess.run(["squeue", "--noheader"], env=environment, capture_output=True, timeout=20).stdout:
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        for daemon in reversed(daemons):
            daemon.kill()
            daemon.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with shards."""
    (tmp_path / "launchers").symlink_to(ROOT / "launchers")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    good("phantom", "phantoms", "--studies", 30, "--seed", 3, "--size", 128, "--test-studies", 2,
         "--validation-studies", 4, folder=tmp_path)  # fmt: skip
    good("shard", "build", "mimic-cxr", "phantoms", "--out", "shards", "--size", 64, folder=tmp_path)
    return tmp_path


def sbatch(folder: Path, environ: dict[str, str], options: list[str], epochs: int) -> str:
    """Submits a training of two ranks and returns what sbatch prints; fails with the job's log."""
    settings = ["data.batch=8", "data.image_size=64", "data.workers=0", f"train.epochs={epochs}", "track.uri=null"]
    settings += ["model.text.backbone.num_hidden_layers=1", "train.timeout_minutes=1", "run=run", "data.shards=shards"]
    command = ["sbatch", "--parsable", *options, "--ntasks-per-node", "2", "--output", "job.log"]
    command += [str(ROOT / "launchers/slurm.sbatch"), str(ROOT / "configs/phantom-cpu.yaml"), *settings]
    done = subprocess.run(
        command, cwd=folder, env=environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + log(folder)
    return done.stdout.strip()


def log(folder: Path) -> str:
    return (folder / "job.log").read_text() if (folder / "job.log").is_file() else "no log"


def entries(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of the journal."""
    path = folder / "run/journal.jsonl"
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_a_batch_job_trains_on_the_ranks_of_srun(slurm: dict[str, str], folder: Path) -> None:
    sbatch(folder, slurm, ["--wait"], 1)
    beats = [json.loads(path.read_text()) for path in sorted((folder / "run/heartbeat").glob("*.json"))]
    assert [(beat["rank"], beat["ranks"], beat["local_rank"], beat["ended"]) for beat in beats] == [
        (0, 2, 0, "finished"),
        (1, 2, 1, "finished"),
    ]


def test_a_job_at_its_time_limit_saves_and_resumes(slurm: dict[str, str], folder: Path) -> None:
    """Slurm signals between one and two minutes after the start, and no process of the test does."""
    job = sbatch(folder, slurm, ["--time", "5"], 10_000)
    deadline = time.monotonic() + 400
    restarted = False
    while not restarted and time.monotonic() < deadline:
        time.sleep(1)
        state = subprocess.run(["scontrol", "show", "job", job], env=slurm, capture_output=True, text=True, check=True)
        assert "JobState=FAILED" not in state.stdout, log(folder)
        restarted = sum(entry["kind"] == "start" for entry in entries(folder)) == 2
    journal = entries(folder)
    kinds = [entry["kind"] for entry in journal]
    assert restarted, state.stdout + log(folder)
    assert " Restarts=1 " in state.stdout
    second = len(kinds) - 1 - kinds[::-1].index("start")
    end = journal[second - 1]
    assert (end["kind"], end["status"]) == ("end", "stopped")
    trained = [entry["pairs"] for entry in journal[:second] if entry["kind"] == "metrics"]
    assert journal[second]["pairs"] == trained[-1] > journal[0]["pairs"] == 0
