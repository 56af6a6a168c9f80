"""The commands as a user types them: phantoms, shards, training on two ranks, kill and resume, maps and tables."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
import torch
from safetensors.torch import load_file

from sentalign.track import journal
from tests.e2e.commands import COMMAND, ROOT, command, good

SMALL = [
    *("data.shards=shards", "data.batch=16", "data.image_size=64", "data.workers=1", "data.augment.shift=0.05"),
    *("data.augment.contrast=0.2", "train.epochs=3", "train.checkpoint_every_pairs=32", "optimizer.warmup_pairs=64"),
    *("model.text.backbone.hidden_dropout_prob=0.1", "model.text.backbone.num_hidden_layers=1"),
    *("train.micro_batch=3", "data.length_buckets=2", "loss.targets=multi", "loss.learn=[tau, t3]"),
    *("loss.tag_weights={uncertain: 0.5}", "track.uri=sqlite:///mlflow.db", "validation.boxes=phantoms"),
]


def training(run, *more):
    return ["train", ROOT / "configs/phantom-cpu.yaml", "--ranks", 2, f"run={run}", *SMALL, *more]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Phantoms, shards and one uninterrupted run, `whole`."""
    folder = tmp_path_factory.mktemp("whole-way")
    good("phantom", "phantoms", "--studies", 90, "--seed", 3, "--size", 128, "--test-studies", 12,
         "--validation-studies", 10, "--processes", 2, folder=folder)  # fmt: skip
    good("shard", "build", "mimic-cxr", "phantoms", "--out", "shards", "--size", 64, "--processes", 2, folder=folder)
    good(*training("whole"), folder=folder)
    return folder


def entries(run):
    lines = (run / "journal.jsonl").read_text().splitlines() if (run / "journal.jsonl").is_file() else []
    return [json.loads(line) for line in lines]


def wait_for_pairs(run, pairs, process):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if any(e["kind"] == "metrics" and e["pairs"] >= pairs for e in entries(run)):
            return
        time.sleep(0.02)
    pytest.fail("the run ended, or was too slow, before that step")


def tensors(folder):
    """Every tensor of the files of a checkpoint: weights, buffers and optimizer state."""
    files = sorted(folder.rglob("*.safetensors"))
    assert len(files) > 1
    return {name: value for file in files for name, value in load_file(file).items()}


def test_the_run_keeps_what_it_promises(folder):
    run = folder / "whole"
    kinds = {entry["kind"] for entry in entries(run)}
    assert {"start", "metrics", "validation", "best", "picture", "checkpoint", "end"} <= kinds
    assert entries(run)[-1]["status"] == "finished"
    assert len(list((run / "checkpoints").iterdir())) == 2
    assert all(path.stat().st_size > 5000 for path in (run / "pictures").glob("pairs-*/*.png"))
    steps = [e for e in entries(run) if e["kind"] == "metrics"]
    assert [e["pairs"] for e in steps] == [16 * (n + 1) for n in range(len(steps))]
    best = min((e for e in entries(run) if e["kind"] == "validation"), key=lambda e: e["loss"])
    assert [e["pairs"] for e in entries(run) if e["kind"] == "best"][-1] == best["pairs"]


def last_localization(run):
    """The metrics with boxes of the last validation."""
    last = max(e["pairs"] for e in entries(run) if e["kind"] == "validation")
    found = [journal.metrics(e) for e in journal.read(run) if e["kind"] == "localization" and e["pairs"] == last]
    return found[-1]


def test_the_last_validation_is_localized_before_the_run_ends(folder):
    metrics = last_localization(folder / "whole")
    assert {"validation/pointing", "validation/average_precision", "validation/cnr", "validation/cases"} <= set(metrics)
    assert 10 < metrics["validation/cases"] < 60
    assert 0 < metrics["validation/average_precision"] < 1


def test_mlflow_has_the_run(folder):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("sentalign").experiment_id])
    run = next(r for r in runs if r.data.params.get("run", "").endswith("whole") or len(runs) == 1)
    assert run.info.status == "FINISHED"
    assert run.data.params["data.batch"] == "16"
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 12
    assert run.data.metrics["validation/average_precision"] > 0
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert "config.yaml" in names
    assert "images" in names


def started(folder, *words):
    """A command in the background, in a process group of its own; its stderr is kept."""
    words = [str(word) for word in (COMMAND, *words)]
    return subprocess.Popen(
        words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.slow
def test_a_stopped_and_a_killed_run_end_with_the_same_bits(folder):
    """SIGTERM, SIGKILL while a checkpoint is written, each time the same command: weights and optimizer of the whole
    run. More of it is in test_survival.py.
    """
    process = started(folder, *training("killed"))
    wait_for_pairs(folder / "killed", 48, process)
    os.killpg(process.pid, signal.SIGTERM)  # as Slurm does: launcher, ranks and decoding workers
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0, errors[-2000:]
    at = next(int(line.split()[2]) for line in errors.splitlines() if line.startswith("stopped at "))
    process = started(folder, *training("killed"))
    while process.poll() is None and not list((folder / "killed" / "checkpoints").glob("*.part/optimizer/*")):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    good(*training("killed"), folder=folder)
    starts = [e["pairs"] for e in entries(folder / "killed") if e["kind"] == "start"]
    assert starts[:2] == [0, at]
    assert at <= starts[2] < 192, "it went on from a checkpoint"
    names = sorted(p.name for p in (folder / "whole" / "checkpoints").iterdir())
    one, other = (tensors(folder / run / "checkpoints" / names[-1]) for run in ("whole", "killed"))
    assert len(one) > 20
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    best, again = (load_file(folder / run / "model.safetensors") for run in ("whole", "killed"))
    assert all(torch.equal(value, again[name]) for name, value in best.items())
    assert last_localization(folder / "killed") == last_localization(folder / "whole")


def test_a_run_is_not_continued_under_other_settings(folder):
    done = command(*training("whole", "loss.t3=5"), folder=folder)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert "loss.t3: 10.0 -> 5" in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_loss_of_nan_or_inf_is_one_line(folder):
    blown = ("optimizer.kind=sgd", "optimizer.lr=1e30", "optimizer.warmup_pairs=0", "optimizer.gradient_clipping=0")
    done = command(*training("blown", *blown), folder=folder)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert " in step " in line
    assert "lower optimizer.lr" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "nowhere.yaml"], "no config file"),
        (training("x", "loss.t9=1"), "loss.t9"),
        (training("x", "data.batch=15"), "does not divide"),
        (training("x", "data.shards=nowhere"), "nowhere"),
        (["localize", "nowhere.dcm", "nodule", "--run", "whole", "--out", "o"], "no image file"),
        (["export", "--run", "nowhere", "--out", "o"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line(folder, words, message):
    done = command(*words, folder=folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr


def test_localize_evaluate_export(folder):
    picture = sorted((folder / "phantoms").rglob("*.dcm"))[-1]
    good("export", "--run", "whole", "--out", "model", folder=folder)
    for model, out in (("whole", "maps"), ("model", "maps-of-export")):
        good(
            "localize", picture, "right upper lobe nodule", "left effusion", "--run", model, "--out", out, folder=folder
        )
    assert (folder / "maps/boxes.json").read_text() == (folder / "maps-of-export/boxes.json").read_text()
    assert len(list((folder / "maps").glob("*-overlay.png"))) == 2
    good("evaluate", "ms-cxr", "--data", "phantoms", "--run", "model", "--out", "table", "--withheld", "cavity",
         "--replicates", 100, folder=folder)  # fmt: skip
    metrics = json.loads((folder / "table/metrics.json").read_text())
    assert {"seen", "withheld", "controls", "protocols"} <= metrics.keys()
    assert 0 <= metrics["seen"]["pointing"] <= 1


def test_a_run_starts_from_the_weights_of_another(folder):
    """Its weights hardly change, and its norm not at all: its validation loss is that of the weights it was given.

    But for the learned temperatures, which start anew: 2e-4. At chance it would be 2.6% higher.
    """
    settings = ["model.start=whole", "model.image.norm=frozen", "optimizer.lr=1e-12", "train.epochs=1"]
    good(*training("started", *settings), folder=folder)
    best = min(entry["loss"] for entry in entries(folder / "whole") if entry["kind"] == "validation")
    (loss,) = (entry["loss"] for entry in entries(folder / "started") if entry["kind"] == "validation")
    assert loss == pytest.approx(best, rel=5e-4)
    other = command(*training("other", "model.start=whole", "model.image.region_stage=stage1"), folder=folder)
    assert other.returncode == 2
    assert other.stderr.count("error:") == 1
