"""Training over two hosts: the same weights as on one, what crosses the cable, and what becomes of it when one goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.multinode.network import ROOT, Hosts, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing() or "two hosts can be made"),
]
SMALL = [
    *("data.batch=8", "data.image_size=64", "data.workers=0", "train.zero_stage=2", "train.epochs=2"),
    *("train.checkpoint_every_pairs=16", "model.text.backbone.num_hidden_layers=1", "optimizer.warmup_pairs=16"),
    *("track.uri=null", "train.timeout_minutes=0.5"),
]
MULTINODE, TRAIN = ROOT / "launchers/multinode.sh", ROOT / "launchers/train.py"
DEEPSPEED = Path(sys.executable).with_name("deepspeed")


def words(shards: Path, run: str, *more: str) -> list[str]:
    return [str(ROOT / "configs/phantom-cpu.yaml"), f"run={run}", f"data.shards={shards}", *SMALL, *more]


def hostfile(folder: Path, *slots: int) -> str:
    lines = [f"{name} slots={n}\n" for name, n in zip(("node-a", "node-b"), slots, strict=False)]
    (folder / "hosts").write_text("".join(lines))
    return "hosts"


def start(hosts: Hosts, *command: object, node: int = 0, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        hosts.words(node, *command), cwd=hosts.folder, env=hosts.environment() | more, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    """Exit code and output. Killed, not terminated, when it takes longer: DeepSpeed answers SIGTERM by pkill."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"still running after {seconds} s: {process.communicate()[0][-3000:]}")
    return process.returncode, output


def good(process: subprocess.Popen[str]) -> None:
    code, output = ended(process, 240)
    assert code == 0, output[-3000:]


def entries(run: Path) -> list[dict[str, object]]:
    path = run / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def wait_for_checkpoint(process: subprocess.Popen[str], run: Path) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if any(entry["kind"] == "checkpoint" for entry in entries(run)):
            return
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail(f"no checkpoint: {process.communicate()[0][-3000:]}")


def equal(one: Path, other: Path) -> None:
    first, second = (load_file(run / "model.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    best = [[e["pairs"] for e in entries(run) if e["kind"] == "best"][-1] for run in (one, other)]
    assert best[0] == best[1]


def go(hosts: Hosts, how: str) -> None:
    """node-b goes: its cable, all its processes, or its rank's process stopped."""
    if how == "cut":
        hosts.cut()
    elif how == "killed":
        hosts.kill(1)
    else:
        os.kill(json.loads((hosts.folder / "run/heartbeat/rank-00001.json").read_text())["pid"], signal.SIGSTOP)


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two ranks on one host that the others are compared with."""
    folder = tmp_path_factory.mktemp("one-host")
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    command = [ROOT / "launchers/local.sh", 2, *words(shards, "whole")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    subprocess.run(list(map(str, command)), cwd=folder, env=environment | {"PATH": path}, check=True)
    return folder / "whole"


def by_deepspeed(hosts: Hosts, shards: Path) -> list[subprocess.Popen[str]]:
    """As in docs/launching.md, with the settings of env.sh written for pdsh."""
    script = f'. {ROOT}/launchers/env.sh && write_deepspeed_env && exec {DEEPSPEED} --hostfile hosts {TRAIN} "$@"'
    return [start(hosts, "bash", "-c", script, "bash", *words(shards, "run"))]


def by_ssh(hosts: Hosts, shards: Path) -> list[subprocess.Popen[str]]:
    return [start(hosts, MULTINODE, "hosts", *words(shards, "run"), LAUNCHER="ssh")]


def by_hand(hosts: Hosts, shards: Path) -> list[subprocess.Popen[str]]:
    """One command on each host, neither ssh nor pdsh."""
    script = f'. {ROOT}/launchers/env.sh && exec {DEEPSPEED} --hostfile hosts --no_ssh --master_addr 10.77.0.1 "$@"'
    return [
        start(hosts, "bash", "-c", script, "bash", "--node_rank", n, TRAIN, *words(shards, "run"), node=n)
        for n in (0, 1)
    ]


@pytest.mark.parametrize("launched", [by_deepspeed, by_ssh, by_hand])
def test_two_hosts_end_with_the_weights_of_one(hosts: Hosts, shards: Path, whole: Path, launched) -> None:
    hostfile(hosts.folder, 1, 1)
    before = hosts.crossed()
    for process in launched(hosts, shards):
        good(process)
    assert hosts.crossed() - before > 1e6, "the gradients went over the cable"
    equal(whole, hosts.folder / "run")
    beats = [json.loads(path.read_text()) for path in sorted((hosts.folder / "run/heartbeat").glob("*.json"))]
    assert [(beat["rank"], beat["node"], beat["ended"]) for beat in beats] == [(0, 0, "finished"), (1, 1, "finished")]


@pytest.mark.parametrize("gone", ["cut", "killed", "frozen"])
def test_a_host_that_goes_ends_the_run_and_another_takes_over(
    hosts: Hosts, shards: Path, whole: Path, gone: str
) -> None:
    hostfile(hosts.folder, 1, 1)
    # A frozen process keeps its host's launcher, for which pdsh would wait.
    launcher = "ssh" if gone == "frozen" else "pdsh"
    process = start(hosts, MULTINODE, "hosts", *words(shards, "run"), LAUNCHER=launcher)
    wait_for_checkpoint(process, hosts.folder / "run")
    go(hosts, gone)
    code, output = ended(process, 120)
    assert code not in (0, None)
    lines = [line for line in output.splitlines() if "error: rank 0 " in line]
    assert len(lines) == 1, output[-3000:]
    # A cut cable and a frozen process send nothing: rank 0 waits until its limit.
    assert ("lost contact with its peers in phase" if gone == "killed" else "its peers") in lines[0]
    assert "run the same command to go on" in lines[0]
    assert "Traceback" not in output
    errors = [path.read_text() for path in (hosts.folder / "run/errors").glob("*")]
    assert all("10.77." not in error for error in errors)
    hostfile(hosts.folder, 2)
    good(start(hosts, MULTINODE, "hosts", *words(shards, "run")))
    starts = [entry["pairs"] for entry in entries(hosts.folder / "run") if entry["kind"] == "start"]
    assert starts[0] == 0
    assert starts[1] >= 16, "it went on from a checkpoint"
    equal(whole, hosts.folder / "run")


def test_the_last_host_resumes_alone(hosts: Hosts, shards: Path) -> None:
    """One rank takes over from two, and ends where a run of one rank ends: group norm does not see the ranks."""
    norm = "model.image.norm=group"
    hostfile(hosts.folder, 1)
    good(start(hosts, MULTINODE, "hosts", *words(shards, "alone", norm), LAUNCHER="ssh"))
    hostfile(hosts.folder, 1, 1)
    process = start(hosts, MULTINODE, "hosts", *words(shards, "run", norm), LAUNCHER="ssh")
    wait_for_checkpoint(process, hosts.folder / "run")
    hosts.kill(1)
    assert ended(process, 120)[0] not in (0, None)
    hostfile(hosts.folder, 1)
    code, output = ended(start(hosts, MULTINODE, "hosts", *words(shards, "run", norm), LAUNCHER="ssh"), 240)
    assert code == 0, output[-3000:]
    starts = [entry["pairs"] for entry in entries(hosts.folder / "run") if entry["kind"] == "start"]
    assert starts[1] >= 16
    alone, resumed = (
        {e["pairs"]: e["loss"] for e in entries(hosts.folder / run) if e["kind"] == "metrics"}
        for run in ("alone", "run")
    )
    assert alone.keys() == resumed.keys()
    # The second step after the resume shows the optimizer's state too; rounding errors grow twentyfold with each step.
    compared = [pairs for pairs in alone if pairs <= starts[1] + 2 * 8]
    assert [resumed[pairs] for pairs in compared] == pytest.approx([alone[pairs] for pairs in compared], rel=1e-4)


def test_what_crosses_the_cable_does_not_grow_with_the_regions(hosts: Hosts, shards: Path) -> None:
    hostfile(hosts.folder, 1, 1)
    crossed = {}
    for size in (64, 128):
        before = hosts.crossed()
        good(start(hosts, MULTINODE, "hosts", *words(shards, f"at-{size}", f"data.image_size={size}"), LAUNCHER="ssh"))
        crossed[size] = hosts.crossed() - before
    steps = len([entry for entry in entries(hosts.folder / "at-64") if entry["kind"] == "metrics"])
    assert steps >= 8
    # Stage 2 of the small tower: cells 8 pixels apart, 128 numbers of 4 bytes each, of the 4 images of each rank.
    of_regions = steps * 8 * (128**2 - 64**2) / 64 * 128 * 4
    print(f"bytes in {steps} steps: {crossed}; the added regions would have been {of_regions:.0f} more")
    assert abs(crossed[128] - crossed[64]) < 0.05 * of_regions


def test_a_host_that_is_not_there_is_named_soon(hosts: Hosts, shards: Path) -> None:
    hostfile(hosts.folder, 1, 1)
    hosts.cut()
    code, output = ended(start(hosts, MULTINODE, "hosts", *words(shards, "run")), 60)
    assert code == 2
    assert output.startswith("error: host node-b ")
    assert len(output.splitlines()) == 1


def test_a_peer_that_never_starts_is_named(hosts: Hosts, shards: Path) -> None:
    hostfile(hosts.folder, 1, 1)
    script = f'. {ROOT}/launchers/env.sh && exec {DEEPSPEED} --hostfile hosts --no_ssh --quiet "$@"'
    more = ["--master_addr", "10.77.0.1", "--node_rank", "0", TRAIN, *words(shards, "run", "train.timeout_minutes=0.1")]
    code, output = ended(start(hosts, "bash", "-c", script, "bash", *more), 120)
    assert code == 2
    [errors] = [line for line in output.splitlines() if line.startswith("error: ")]
    assert errors.startswith("error: 1 of 2 ranks joined; missing: rank 1; ")
    assert "Traceback" not in output
