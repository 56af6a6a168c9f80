"""What a run survives: signals to stop, SIGKILL at any moment, another number of ranks; always by the same command."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest
import torch
from safetensors.torch import load_file

from sentalign.checkpoint import checksums
from sentalign.launch import hosts, local_ranks, process_group_guard, supervisor
from sentalign.track import journal
from tests.e2e.commands import COMMAND, ROOT, good
from tests.e2e.test_whole_way import entries, started, tensors, wait_for_pairs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

# Steps of a fifth of a second, each with a checkpoint: whatever happens happens while one is being written, too.
TINY = [
    *("data.shards=shards", "data.batch=16", "data.image_size=64", "data.workers=1", "track.uri=null"),
    *("train.checkpoint_every_pairs=16", "train.validate_every_pairs=64", "optimizer.warmup_pairs=64"),
    *("model.text.backbone.hidden_dropout_prob=0.1", "model.text.backbone.num_hidden_layers=1"),
]
EPOCHS = "train.epochs=40"


def training(run, ranks=2, *more):
    return ["train", ROOT / "configs/phantom-cpu.yaml", "--ranks", ranks, f"run={run}", *TINY, *more]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Phantoms, shards and one uninterrupted run, `whole`."""
    folder = tmp_path_factory.mktemp("survival")
    good("phantom", "phantoms", "--studies", 70, "--seed", 3, "--size", 96, "--test-studies", 4,
         "--validation-studies", 10, folder=folder)  # fmt: skip
    good("shard", "build", "mimic-cxr", "phantoms", "--out", "shards", "--size", 64, folder=folder)
    good(*training("whole", 2, EPOCHS), folder=folder)
    return folder


def newest(run):
    return sorted(p for p in (run / "checkpoints").iterdir() if not p.suffix)[-1]


def the_same_bits(folder, run):
    """Checks that weights and optimizer state are those of the run that nothing interrupted."""
    one, other = (newest(folder / name) for name in ("whole", run))
    assert one.name == other.name
    assert tensors(one).keys() == tensors(other).keys()
    assert all(torch.equal(value, tensors(other)[name]) for name, value in tensors(one).items())
    for path in (folder / "whole/model.safetensors", one / "model.safetensors"):
        weights = load_file(folder / run / path.relative_to(folder / "whole"))
        assert all(torch.equal(value, weights[name]) for name, value in load_file(path).items())
    assert checksums.has_all_sizes(other)
    assert sorted(p.suffix for p in (folder / run / "checkpoints").iterdir()) == ["", ""], "nothing half done is left"


def stopped(folder, run, pairs, whom, number, *more):
    """Starts the run, sends it or one of its ranks a signal, and returns the pairs that it says it stopped at."""
    process = started(folder, *training(run, 2, EPOCHS, *more))
    wait_for_pairs(folder / run, pairs, process)
    os.kill(process.pid if whom == "launcher" else supervisor.ranks_of(process.pid)[whom].pid, number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-2000:]
    lines = [line for line in errors.splitlines() if line.startswith("stopped at")]
    assert len(lines) == 1, errors[-2000:]
    assert lines[0].endswith(" pairs; run the same command to go on")
    at = int(lines[0].split()[2])
    assert newest(folder / run).name == f"pairs-{at:012d}"
    assert [(e["kind"], e.get("status")) for e in entries(folder / run)][-1] == ("end", "stopped")
    return at


def test_a_signal_saves_and_leaves_and_the_same_command_goes_on(folder):
    """SIGTERM to the process that the user started, Slurm's SIGUSR1 to one rank, and then the rest."""
    first = stopped(folder, "stopped", 32, "launcher", signal.SIGTERM)
    second = stopped(folder, "stopped", first + 48, 1, signal.SIGUSR1)
    assert second > first
    good(*training("stopped", 2, EPOCHS), folder=folder)
    assert [e["pairs"] for e in entries(folder / "stopped") if e["kind"] == "start"] == [0, first, second]
    the_same_bits(folder, "stopped")


def by_script(folder):
    return [ROOT / "launchers/local.sh", "2"]


def by_ssh(folder):
    """What runs on one of several hosts, without the ssh before it."""
    (folder / "hosts").write_text("localhost slots=2\n")
    meeting = ["--master_addr", "127.0.0.1", "--master_port", str(local_ranks.free_port())]
    command = hosts.host_command("hosts", 0, meeting, [str(ROOT / "launchers/train.py")], ["DS_ACCELERATOR=cpu"])
    return ["bash", "-c", f'{command} "$@"', "bash"]


@pytest.mark.parametrize("how", [by_script, by_ssh])
def test_the_wish_to_stop_reaches_the_ranks_of_other_launchers(folder, how, monkeypatch):
    monkeypatch.chdir(folder)
    _, config, _, _, *overrides = training(how.__name__, 2, EPOCHS)
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        [*map(str, how(folder)), str(config), *overrides],
        env=os.environ | {"PATH": path, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for_pairs(folder / how.__name__, 32, process)
    if how is by_ssh:
        process.stdin.write(process_group_guard.TERMINATE.decode())
        process.stdin.flush()
    else:
        process.terminate()
    process.wait(120)
    errors = process.stderr.read()
    assert process.returncode == 0, errors[-2000:]
    (line,) = [line for line in errors.splitlines() if line.startswith("stopped at")]
    assert newest(folder / how.__name__).name == f"pairs-{int(line.split()[2]):012d}"


def test_the_weights_of_a_checkpoint_load_without_deepspeed(folder):
    code = "import sys; sys.modules['deepspeed'] = None; from pathlib import Path; from sentalign.model import dual; " \
           "print(sum(p.numel() for p in dual.load(Path(sys.argv[1])).parameters()))"  # fmt: skip
    python = COMMAND.with_name("python")
    said = [
        subprocess.run([python, "-c", code, path], capture_output=True, text=True, check=True).stdout
        for path in (newest(folder / "whole"), folder / "whole")
    ]
    assert said[0] == said[1]
    assert int(said[0]) > 10_000


def parts(run):
    """The partial checkpoints of a run by inode, which tells a new one from one that an earlier kill left."""
    folders = {}
    for path in (run / "checkpoints").glob("*.part"):
        with suppress(FileNotFoundError):  # it was renamed in between
            folders[path.stat().st_ino] = path
    return folders


def killed(folder, run, moment, count):
    """Starts the run and kills it at the `count`-th process that it starts, file of a checkpoint, or step."""
    old, steps = parts(folder / run), len(losses(folder / run, 0)) if (folder / run).is_dir() else 0
    process = started(folder, *training(run, 2, EPOCHS))

    def reached():
        if moment == "start":
            return len(psutil.Process(process.pid).children(recursive=True))
        if moment == "step":
            return len(losses(folder / run, 0)) - steps if (folder / run / "journal.jsonl").is_file() else 0
        new = parts(folder / run)
        return max((len(list(new[inode].rglob("*"))) for inode in new.keys() - old.keys()), default=0)

    while reached() < count:
        assert process.poll() is None, f"the run ended before {moment} {count}"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_ten_kills_at_random_moments(folder):
    chance = random.Random(11)
    moments = ["start", "saving", "step", *chance.choices(["start", "saving", "saving", "step"], k=7)]
    partial = 0
    for moment in moments:
        before = parts(folder / "killed").keys()
        killed(folder, "killed", moment, chance.randint(1, 4))
        partial += bool(parts(folder / "killed").keys() - before)
    assert partial, "no kill fell into a save"
    good(*training("killed", 2, EPOCHS), folder=folder)
    starts = [e["pairs"] for e in entries(folder / "killed") if e["kind"] == "start"]
    assert starts == sorted(starts), "no checkpoint was lost"
    assert len(set(starts)) > 2
    the_same_bits(folder, "killed")


# No batch norm and no dropout, which see the ranks.
BLIND_TO_RANKS = [
    "model.image.backbone={model_type: convnext, hidden_sizes: [16, 32, 32, 32], depths: [1, 1, 1, 1]}",
    "model.text.backbone.hidden_dropout_prob=0.0",
]


def test_other_ranks_and_another_stage_resume(folder):
    good(*training("blind", 2, EPOCHS, *BLIND_TO_RANKS), folder=folder)
    at = stopped(folder, "elastic", 32, "launcher", signal.SIGTERM, *BLIND_TO_RANKS)
    good(*training("elastic", 1, EPOCHS, *BLIND_TO_RANKS, "train.zero_stage=2"), folder=folder)
    assert [e["pairs"] for e in entries(folder / "elastic") if e["kind"] == "start"] == [0, at]
    state = json.loads((newest(folder / "elastic") / "state.json").read_text())
    assert (state["ranks"], state["zero_stage"]) == (1, 2)
    assert newest(folder / "elastic").name == newest(folder / "blind").name
    one, other = (losses(folder / run, at) for run in ("blind", "elastic"))
    assert len(one) == len(other) > 4
    assert other[:4] == pytest.approx(one[:4], rel=1e-3)
    assert other[-1] == pytest.approx(one[-1], rel=0.05)  # rounding grows with the steps


def losses(run, pairs):
    """Of the steps after so many pairs."""
    return [e["loss"] for e in journal.read(run) if e["kind"] == "metrics" and e["pairs"] > pairs]


def test_no_process_is_left(folder):
    """After all of the above: whoever was killed or stopped left no process; this test would wait for one for ever."""
    while left := [p for p in psutil.process_iter(["cmdline"]) if str(folder) in _place(p)]:
        psutil.wait_procs(left)


def _place(process):
    try:
        return process.cwd()
    except psutil.Error:
        return ""
