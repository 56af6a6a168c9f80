"""A run's model as a folder of its own."""

from __future__ import annotations

import pytest
import torch

from sentalign.model import dual, export
from sentalign.model.pretrained import WeightsError
from sentalign.tokenizer import SPECIAL, Tokenizer


@pytest.fixture
def run(tmp_path, model):
    folder = tmp_path / "run"
    dual.save(folder, model.describe(), model.state_dict())
    Tokenizer([*SPECIAL, "heart"], cased=True).save(folder / "tokenizer")
    (folder / "config.yaml").write_text("run: here\n")
    (folder / "journal.jsonl").write_text("{}\n")
    (folder / "checkpoints").mkdir()
    return folder


def test_export_copies_the_model_and_nothing_of_the_training(tmp_path, run, model):
    line = export.export(run, tmp_path / "deep" / "out")
    out = tmp_path / "deep" / "out"
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == set(export.FILES)
    state = dual.load(out).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert Tokenizer.load(out / "tokenizer").vocabulary == [*SPECIAL, "heart"]
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in line
    assert [p.name for p in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("absent", export.FILES)
def test_a_run_that_lacks_a_file(tmp_path, run, absent):
    (run / absent).unlink()
    with pytest.raises(WeightsError, match=f"has no {absent}"):
        export.export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_never_written_over(tmp_path, run):
    (tmp_path / "out").mkdir()
    with pytest.raises(WeightsError, match="exists; give a new folder"):
        export.export(run, tmp_path / "out")


def test_the_rest_of_an_interrupted_export_is_replaced(tmp_path, run):
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "left").write_text("over")
    export.export(run, tmp_path / "out")
    assert not (tmp_path / "out" / "left").exists()
