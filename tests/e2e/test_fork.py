"""A checkpoint continued with other settings by real trainings, as population based training does.

With the same settings it ends with the same bits as the run itself. With others the settings change and the stream's
place does not: the first step sees the same batch with the same weights, so its terms are the run's own.
"""

from __future__ import annotations

import pytest

from sentalign.checkpoint import fork
from sentalign.track import journal
from tests.e2e.commands import ROOT, good

pytestmark = pytest.mark.slow
TERMS = ("local_tv", "local_vt", "global_tv", "global_vt")


def steps(run):
    return {e["pairs"]: e for e in journal.read(run) if e["kind"] == "metrics"}


def train(folder, run, *words):
    good("train", ROOT / "configs/phantom-cpu.yaml", f"run={run}", "data.shards=shards", "data.batch=16",
         "data.image_size=64", "train.epochs=3", "train.validate_every_pairs=48", "train.keep_checkpoints=9",
         "optimizer.warmup_pairs=0", "track.uri=null", *words, folder=folder)  # fmt: skip


def test_other_settings_continue_exactly(tmp_path):
    good("phantom", "phantoms", "--studies", 90, "--seed", 3, "--size", 128, "--test-studies", 12,
         "--validation-studies", 20, folder=tmp_path)  # fmt: skip
    good("shard", "build", "mimic-cxr", "phantoms", "--out", "shards", "--size", 64, folder=tmp_path)
    whole = tmp_path / "whole"
    train(tmp_path, "whole")
    checkpoint = whole / "checkpoints" / fork.name_of(48)
    changed = {"same": (), "other": ("optimizer.lr=3e-4", "loss.weight_local=3", "loss.weight_global=0.5")}
    for name, words in {**changed, "tau": ("loss.tau=0.4",)}.items():
        fork.fork(checkpoint, whole, tmp_path / name)
        train(tmp_path, name, *words)
    first, rows = 64, steps(whole)
    same, other, tau = (steps(tmp_path / name) for name in ("same", "other", "tau"))
    assert min(same) == min(other) == min(tau) == first
    assert set(same) == {pairs for pairs in rows if pairs >= first}
    final = "checkpoints/" + fork.name_of(max(rows))
    for part in ("model.safetensors", "optimizer/00000.safetensors"):
        assert (tmp_path / "same" / final / part).read_bytes() == (whole / final / part).read_bytes()
    assert [other[first][term] for term in TERMS] == [rows[first][term] for term in TERMS]
    local, whole_terms = (sum(rows[first][t] for t in TERMS if t.startswith(k)) for k in ("local", "global"))
    assert other[first]["loss"] == pytest.approx(3 * local + 0.5 * whole_terms, rel=1e-5)
    assert other[first]["lr"] == pytest.approx(0.3 * rows[first]["lr"])
    assert other[first + 16]["local_tv"] != rows[first + 16]["local_tv"]
    assert tau[first]["local_tv"] != rows[first]["local_tv"]
    assert tau[first]["global_tv"] == rows[first]["global_tv"]
