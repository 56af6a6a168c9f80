"""The launchers with stand-ins for the programs that they start: what these get as arguments and environment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentalign import cli
from sentalign.launch import hosts

LAUNCHERS = Path(__file__).resolve().parents[2] / "launchers"
CONFIG = str(LAUNCHERS.parent / "configs/phantom-cpu.yaml")
SCRIPTS = ["env.sh", "local.sh", "multinode.sh", "ray.sh", "slurm.sbatch"]
# Records how it was started, one JSON line a call, in the folder of the stand-ins.
RECORD = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
call = {{"argv": sys.argv[1:], "env": dict(os.environ)}}
with open(Path(__file__).with_name("calls.jsonl"), "a") as calls:
    calls.write(json.dumps(call) + "\\n")
"""


def stand_in(folder: Path, name: str, text: str = RECORD) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def calls(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "bin/calls.jsonl").read_text().splitlines()]


def run(folder: Path, name: str, *words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """A launcher in `folder`, whose stand-ins come first on the path."""
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    return subprocess.run(
        ["bash", LAUNCHERS / name, *map(str, words)], cwd=folder, env={"HOME": str(folder), "PATH": path} | environ,
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_can_read_it(name: str) -> None:
    subprocess.run(["bash", "-n", LAUNCHERS / name], check=True)


@pytest.mark.parametrize("name", ["local.sh", "multinode.sh", "ray.sh", "slurm.sbatch"])
def test_without_arguments_it_prints_its_usage(name: str) -> None:
    done = subprocess.run(["bash", LAUNCHERS / name], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


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


def test_local_starts_the_ranks_with_the_settings_of_env_sh(tmp_path: Path) -> None:
    stand_in(tmp_path, "python")
    done = run(tmp_path, "local.sh", 3, CONFIG, "train.epochs=1", "run=a b", NCCL_DEBUG="INFO")
    assert done.returncode == 0, done.stderr
    [call] = calls(tmp_path)
    assert call["argv"][:2] == ["-m", "sentalign.cli"]
    args = cli._parse(call["argv"][2:])
    assert (args.config, args.overrides, args.ranks) == (CONFIG, ["train.epochs=1", "run=a b"], 3)
    assert (call["env"]["TORCH_NCCL_DUMP_ON_TIMEOUT"], call["env"]["NCCL_DEBUG"]) == ("1", "INFO")


def test_mistakes_over_hosts_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("node-a slots=3\n")
    for words, launcher, complaint in (
        (["nowhere", CONFIG], "ssh", "error: cannot read the hostfile nowhere; "),
        (["hosts", "nowhere.yaml"], "ssh", "error: no config file nowhere.yaml; "),
        (["hosts", CONFIG], "ssh", "error: data.batch 64 does not divide by 3 ranks; "),
        (["hosts", CONFIG], "rsh", "error: LAUNCHER=rsh is not known; set pdsh or ssh"),
    ):
        done = run(tmp_path, "multinode.sh", *words, LAUNCHER=launcher)
        assert done.returncode == 2
        assert done.stderr.startswith(complaint)
        assert done.stderr.count("\n") == 1


def test_without_pdsh_it_says_so(tmp_path: Path) -> None:
    for name in ("dirname", "bash"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = run(tmp_path, "multinode.sh", "hosts", "c.yaml", LAUNCHER="pdsh", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "error: pdsh is not installed; install it, or set LAUNCHER=ssh\n"


# Runs the command here, in a session and with the environment of a login on another host.
SSH = """#!/bin/bash
echo "${@:1:$#-2}" >> "$(dirname "$0")/options"
exec setsid -w env -i PATH="$PATH" HOME="$HOME" PYTHONPATH="$(dirname "$0")" bash -c "${@: -1}"
"""


@pytest.mark.parametrize("launcher", ["pdsh", "ssh"])
def test_deepspeed_gets_hosts_settings_and_training_over_hosts(tmp_path: Path, launcher: str) -> None:
    stand_in(tmp_path, "pdsh")
    stand_in(tmp_path, "ssh", SSH)
    stand_in(tmp_path, "deepspeed/launcher/runner.py", RECORD.replace("with_name(", "parents[2].joinpath("))
    for package in ("deepspeed", "deepspeed/launcher"):
        (tmp_path / "bin" / package / "__init__.py").write_text("")
    (tmp_path / "hosts").write_text("node-a slots=1\nnode-b slots=3\n")
    words = [CONFIG, "run=a b", "data.batch=8"]
    packages = os.pathsep.join([str(tmp_path / "bin"), str(LAUNCHERS.parent)])
    done = run(
        tmp_path, "multinode.sh", "hosts", *words, LAUNCHER=launcher, INTERFACE="lo", OMP_NUM_THREADS="7",
        MASTER_PORT="4321", AWS_SECRET_ACCESS_KEY="secret", PYTHONPATH=packages,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    options = (tmp_path / "bin/options").read_text().splitlines()
    assert len(options) == (2 if launcher == "pdsh" else 4), "both hosts are probed, and under ssh started"
    assert len(set(options)) == 1
    assert "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15" in options[0]

    from deepspeed.launcher.runner import parse_args

    started = [(parse_args(call["argv"]), call["env"]) for call in calls(tmp_path)]
    for args, environ in started:
        assert (args.hostfile, args.master_addr, args.master_port) == ("hosts", "127.0.0.1", 4321)
        assert (args.user_script, args.user_args) == (str(LAUNCHERS / "train.py"), words)
        assert (environ["OMP_NUM_THREADS"], environ["GLOO_SOCKET_IFNAME"]) == ("7", "lo")
    if launcher == "pdsh":
        assert [(args.launcher, args.force_multi, args.no_ssh) for args, _ in started] == [("pdsh", True, False)]
    else:
        assert sorted((args.node_rank, args.no_ssh) for args, _ in started) == [(0, True), (1, True)]
        assert all("AWS_SECRET_ACCESS_KEY" not in environ for _, environ in started)


def test_deepspeed_reads_the_hostfile_as_the_checks_do() -> None:
    from deepspeed.launcher.runner import fetch_hostfile

    example = str(LAUNCHERS / "hostfile.example")
    assert hosts.read_hostfile(example) == fetch_hostfile(example) == {"node-a": 8, "node-b": 8}


def test_a_ray_cluster_asks_for_a_token(tmp_path: Path) -> None:
    from ray.scripts.scripts import start

    stand_in(tmp_path, "ray")
    assert run(tmp_path, "ray.sh", "head").returncode == 0
    token = tmp_path / ".ray" / "auth_token"
    assert re.fullmatch("[0-9a-f]{64}", made := token.read_text())
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert run(tmp_path, "ray.sh", "join", "node-a:6379").returncode == 0
    head, join = calls(tmp_path)
    assert token.read_text() == made
    assert {call["env"]["RAY_AUTH_MODE"] for call in (head, join)} == {"token"}
    parsed = [start.make_context("start", call["argv"][1:]).params for call in (head, join)]
    assert (parsed[0]["head"], parsed[0]["port"], parsed[0]["include_dashboard"]) == (True, 6379, False)
    assert (parsed[1]["head"], parsed[1]["address"]) == (False, "node-a:6379")
    missing = run(tmp_path, "ray.sh", "join")
    assert missing.returncode != 0
    assert "give the address of the first machine" in missing.stderr


def test_a_ray_cluster_takes_options_an_interface_and_a_token_file(tmp_path: Path) -> None:
    from ray.scripts.scripts import start

    stand_in(tmp_path, "ray")
    environment = {"INTERFACE": "lo", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "shared" / "token")}
    assert run(tmp_path, "ray.sh", "head", "--num-cpus", "3", **environment).returncode == 0
    assert run(tmp_path, "ray.sh", "join", "node-a:6379", "--num-gpus=2", **environment).returncode == 0
    parsed = [start.make_context("start", call["argv"][1:]).params for call in calls(tmp_path)]
    assert [one["node_ip_address"] for one in parsed] == ["127.0.0.1"] * 2
    assert (parsed[0]["num_cpus"], parsed[1]["num_gpus"]) == (3, 2)
    assert len((tmp_path / "shared" / "token").read_text()) == 64
    assert not (tmp_path / ".ray").exists()
    wrong = run(tmp_path, "ray.sh", "head", INTERFACE="nowhere0")
    assert wrong.returncode == 2
    assert "interface nowhere0 has no IPv4 address" in wrong.stderr


# Exits with EXIT when it gets SIGUSR1, at once when there is no time limit to wait for.
SRUN = """#!/bin/bash
echo "srun $*" >> calls
[ -z "$WAIT" ] && exit "$EXIT"
trap 'exit "$EXIT"' USR1
touch started
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize(
    ("time_limit", "code", "requeued"), [(False, 0, False), (False, 3, False), (True, 0, True), (True, 3, False)]
)
def test_a_slurm_job_is_queued_again_at_its_time_limit_only(
    tmp_path: Path, time_limit: bool, code: int, requeued: bool
) -> None:
    stand_in(tmp_path, "srun", SRUN)
    stand_in(tmp_path, "scontrol", '#!/bin/bash\necho "scontrol $*" >> calls\n')
    (tmp_path / "launchers").symlink_to(LAUNCHERS)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").write_text("")
    environ = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "17"}
    environ |= {"EXIT": str(code), "WAIT": "1" if time_limit else ""}
    job = subprocess.Popen(["bash", LAUNCHERS / "slurm.sbatch", "c.yaml", "run=a b"], env=environ)
    if time_limit:
        wait_for(tmp_path / "started")
        job.send_signal(signal.SIGUSR1)
    assert job.wait(30) == code
    lines = (tmp_path / "calls").read_text().splitlines()
    assert lines[0] == "srun --kill-on-bad-exit=1 python launchers/train.py c.yaml run=a b"
    assert lines[1:] == (["scontrol requeue 17"] if requeued else [])


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was never written"
        time.sleep(0.05)


def test_train_takes_away_the_rank_that_the_launcher_adds(tmp_path: Path) -> None:
    package = tmp_path / "sentalign"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    command = [sys.executable, str(LAUNCHERS / "train.py"), "--local_rank=1", "a.yaml", "seed=2"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout.strip() == "__main__ ['a.yaml', 'seed=2']"


@pytest.fixture
def pod() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The service, the job and the pod of kubernetes.yaml."""
    service, job = yaml.safe_load_all((LAUNCHERS / "kubernetes.yaml").read_text())
    return service, job, job["spec"]["template"]["spec"]


# Ends with EXIT, and a journal that ends with STATUS. At SIGTERM torchrun exits with 1 after the ranks have saved.
TORCHRUN = (
    RECORD
    + """
import signal, time
def end(code):
    Path(os.environ["JOURNAL"]).write_text('{"kind":"end","status":"' + os.environ["STATUS"] + '"}\\n')
    sys.exit(code)
if os.environ["EXIT"] != "signal":
    end(int(os.environ["EXIT"]))
signal.signal(signal.SIGTERM, lambda *_: end(1))
Path("started").write_text("")
time.sleep(60)
"""
)


@pytest.mark.parametrize(
    ("exit_code", "status", "finished"),
    [("0", "finished", True), ("0", "stopped", False), ("1", "failed", False), ("signal", "stopped", False)],
)
def test_a_pod_succeeds_only_when_the_run_is_finished(
    tmp_path: Path, pod: Any, exit_code: str, status: str, finished: bool
) -> None:
    """A run that another pod's SIGTERM has stopped exits with 0 here; the pod must be started again all the same."""
    stand_in(tmp_path, "python", TORCHRUN)
    (tmp_path / "launchers").symlink_to(LAUNCHERS)
    service, job, spec = pod
    [container] = spec["containers"]
    [script] = container["args"]
    environ = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": "1", "EXIT": exit_code}
    environ |= {"STATUS": status, "JOURNAL": str(tmp_path / "journal.jsonl")}
    script = script.replace("/data/runs/paper/journal.jsonl", environ["JOURNAL"])
    process = subprocess.Popen([*container["command"], script], cwd=tmp_path, env=environ)
    if exit_code == "signal":
        wait_for(tmp_path / "started")
        process.terminate()
    assert (process.wait(30) == 0) == finished
    [call] = calls(tmp_path)

    from torch.distributed.run import get_args_parser

    assert call["argv"][:2] == ["-m", "torch.distributed.run"]
    args = get_args_parser().parse_args(call["argv"][2:])
    assert (int(args.nnodes), args.node_rank) == (job["spec"]["completions"], 1)
    assert int(args.nproc_per_node) == container["resources"]["limits"]["nvidia.com/gpu"]
    assert args.master_addr == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    settings = dict(word.split("=") for word in args.training_script_args[1:])
    assert args.training_script == "launchers/train.py"
    assert f"{settings['run']}/journal.jsonl" in container["args"][0]


def test_the_pods_of_kubernetes_find_each_other_and_have_time_to_save(pod: Any) -> None:
    service, job, spec = pod
    [container] = spec["containers"]
    assert spec["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    environ = {variable["name"]: variable["value"] for variable in container["env"]}
    assert 30 < int(environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) < spec["terminationGracePeriodSeconds"]
