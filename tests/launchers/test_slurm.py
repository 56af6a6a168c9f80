"""The batch file under a real Slurm of one node: srun numbers two ranks, which meet and train."""

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

import pytest

from sentalign.launch.local_ranks import free_port
from tests.e2e.commands import ROOT, good

PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
ABSENT = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "srun") if not shutil.which(name, path=PATH)]
REASON = "Slurm's daemons need root" if os.geteuid() else f"not installed: {', '.join(ABSENT)}"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(os.geteuid() or ABSENT), reason=REASON),
]
# The node is called localhost, so that the first host of the step's list resolves.
CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
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
    own = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
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
        subprocess.run(["scancel", "--user", "root", "--signal", "KILL"], env=environment, timeout=20)
        for daemon in reversed(daemons):
            daemon.kill()
            daemon.wait()


def test_a_batch_job_trains_on_the_ranks_of_srun(slurm: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "launchers").symlink_to(ROOT / "launchers")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    good("phantom", "phantoms", "--studies", 30, "--seed", 3, "--size", 128, "--test-studies", 2,
         "--validation-studies", 4, folder=tmp_path)  # fmt: skip
    good("shard", "build", "mimic-cxr", "phantoms", "--out", "shards", "--size", 64, folder=tmp_path)
    settings = ["data.batch=8", "data.image_size=64", "data.workers=0", "train.epochs=1", "track.uri=null"]
    settings += ["model.text.backbone.num_hidden_layers=1", "train.timeout_minutes=1", "run=run", "data.shards=shards"]
    command = ["sbatch", "--wait", "--ntasks-per-node", "2", "--output", "job.log", ROOT / "launchers/slurm.sbatch"]
    words = [*command, ROOT / "configs/phantom-cpu.yaml", *settings]
    done = subprocess.run(
        list(map(str, words)), cwd=tmp_path, env=slurm | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    log = (tmp_path / "job.log").read_text() if (tmp_path / "job.log").is_file() else "no log"
    assert done.returncode == 0, done.stderr + log
    beats = [json.loads(path.read_text()) for path in sorted((tmp_path / "run/heartbeat").glob("*.json"))]
    assert [(beat["rank"], beat["ranks"], beat["local_rank"], beat["ended"]) for beat in beats] == [
        (0, 2, 0, "finished"),
        (1, 2, 1, "finished"),
    ]
