"""The launchers as far as one machine without a scheduler can check them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

LAUNCHERS = Path(__file__).resolve().parents[2] / "launchers"
SCRIPTS = ["env.sh", "local.sh", "multinode.sh", "ray.sh", "slurm.sbatch"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_can_read_it(name: str) -> None:
    subprocess.run(["bash", "-n", LAUNCHERS / name], check=True)


@pytest.mark.parametrize("name", ["local.sh", "multinode.sh", "ray.sh", "slurm.sbatch"])
def test_without_arguments_it_says_how_it_is_used(name: str) -> None:
    said = subprocess.run(["bash", LAUNCHERS / name], capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert said.stderr.strip()
    assert "Traceback" not in said.stderr


def test_deepspeed_env_has_nothing_but_settings(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "INTERFACE": "eth7", "DS_ACCELERATOR": "cpu", "NCCL_IB_HCA": ""}
    environment |= {"MY_TOKEN": "secret", "OMP_NUM_THREADS": "1"}
    script = f". {LAUNCHERS / 'env.sh'} && write_deepspeed_env"
    subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=environment, check=True)
    lines = (tmp_path / ".deepspeed_env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["GLOO_SOCKET_IFNAME"] == settings["NCCL_SOCKET_IFNAME"] == "eth7"
    assert (settings["DS_ACCELERATOR"], settings["OMP_NUM_THREADS"]) == ("cpu", "1")
    assert all(settings.values())
    assert "MY_TOKEN" not in settings


def multinode(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", LAUNCHERS / "multinode.sh", *words]
    given = {"HOME": str(folder), "PATH": path, "LAUNCHER": "ssh"} | environment
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)


def test_mistakes_over_hosts_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("node-a slots=3\n")
    config = str(LAUNCHERS.parent / "configs/phantom-cpu.yaml")
    for said, complaint in (
        (multinode(tmp_path, "nowhere", config), "error: cannot read the hostfile nowhere; "),
        (multinode(tmp_path, "hosts", "nowhere.yaml"), "error: no config file nowhere.yaml; "),
        (multinode(tmp_path, "hosts", config), "error: data.batch 64 does not divide by 3 ranks; "),
        (multinode(tmp_path, "hosts", config, LAUNCHER="rsh"), "error: LAUNCHER=rsh is not known; set pdsh or ssh"),
    ):
        assert said.returncode == 2
        assert said.stderr.startswith(complaint)
        assert said.stderr.count("\n") == 1


def test_without_pdsh_it_says_so(tmp_path: Path) -> None:
    for name in ("dirname", "bash"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    said = multinode(tmp_path, "hosts", "c.yaml", LAUNCHER="pdsh", PATH=str(tmp_path))
    assert said.returncode == 2
    assert said.stderr == "error: pdsh is not installed; install it, or set LAUNCHER=ssh\n"


def test_ssh_has_one_set_of_options(tmp_path: Path) -> None:
    script = f". {LAUNCHERS / 'env.sh'} && echo $PDSH_SSH_ARGS_APPEND"
    said = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True).stdout
    assert "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15" in said


def test_hosts_are_written_as_deepspeed_reads_them() -> None:
    lines = (LAUNCHERS / "hostfile.example").read_text().splitlines()
    assert len(lines) == 2
    assert all(re.fullmatch(r"\S+ slots=\d+", line) for line in lines)


def test_train_takes_away_the_rank_that_the_launcher_adds(tmp_path: Path) -> None:
    package = tmp_path / "sentalign"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    command = [sys.executable, str(LAUNCHERS / "train.py"), "--local_rank=1", "a.yaml", "seed=2"]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert said.stdout.strip() == "__main__ ['a.yaml', 'seed=2']"


def test_the_pods_of_kubernetes_find_each_other() -> None:
    service, job = yaml.safe_load_all((LAUNCHERS / "kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    command = container["args"][0]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    assert f"--nnodes {job['spec']['completions']} " in command
    assert f"--nproc-per-node {container['resources']['limits']['nvidia.com/gpu']} " in command
    assert f"--master-addr {job['metadata']['name']}-0.{service['metadata']['name']} " in command
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
