"""The composition root's own decisions; whole runs are in tests/e2e."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sentalign import config, train
from sentalign.text import SPECIAL, Tokenizer
from sharding.contract import Sentence, UserError
from tests.stream.conftest import tuples, write


def made(run, **more):
    return config.check({"run": str(run), "data": {"shards": "none"}, "track": {"uri": None}} | more)


def test_settling_writes_the_configuration_once(tmp_path):
    run = tmp_path / "deep" / "run"
    assert train._settled(run, made(run)) is None
    assert config.load(run / "config.yaml") == made(run)
    assert [p.name for p in run.iterdir()] == ["config.yaml"]
    first = (run / "config.yaml").stat().st_mtime_ns
    assert train._settled(run, made(run, track={"uri": "sqlite:///other.db"})) is None
    assert (run / "config.yaml").stat().st_mtime_ns == first


def test_settling_refuses_other_settings(tmp_path):
    train._settled(tmp_path, made(tmp_path))
    with pytest.raises(UserError, match=r"other settings \(seed: 0 -> 7\); restore them, or set another run="):
        train.settle(tmp_path, made(tmp_path, seed=7))
    said = train._settled(tmp_path, made(tmp_path, seed=7, loss={"t1": 1, "t2": 2, "t3": 3}))
    assert said
    assert said.count("->") == 3


@pytest.mark.parametrize("stored", ["run: [", "run: here\nolder_setting: 1\n"])
def test_settling_in_a_run_whose_configuration_cannot_be_read(tmp_path, stored):
    (tmp_path / "config.yaml").write_text(stored)
    said = train._settled(tmp_path, made(tmp_path))
    assert said
    assert said.endswith("set another run=")


def test_settling_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = train._settled(tmp_path / "file", made(tmp_path / "file"))
    assert said == f"cannot write to {tmp_path / 'file'} (File exists); set run= to a folder that can be written"


def test_a_bad_configuration_is_one_line_and_2(tmp_path, capfd):
    assert train.main([str(tmp_path / "none.yaml")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: no config file")
    assert err.count("\n") == 1


def test_a_bad_override_is_one_line_and_2(tmp_path, capfd):
    (tmp_path / "c.yaml").write_text("run: out\ndata: {shards: none}\n")
    assert train.main([str(tmp_path / "c.yaml"), "train.epoch=3"]) == 2
    assert capfd.readouterr().err == "error: config: train.epoch: there is no such setting\n"


def test_a_vocabulary_given_by_file_becomes_the_runs(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "heart"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    given = made(tmp_path / "run", model={"text": {"vocabulary": str(tmp_path / "vocab.txt"), "cased": False}})
    tokenizer = train.tokenizer_of(tmp_path / "run", given)
    assert (tokenizer.vocabulary, tokenizer.cased) == (pieces, False)
    # The run keeps it: a resumed run does not ask for the file again.
    (tmp_path / "vocab.txt").unlink()
    assert train.tokenizer_of(tmp_path / "run", given).vocabulary == pieces
    with pytest.raises(UserError, match="no vocabulary"):
        train.tokenizer_of(tmp_path / "other", given)


TOWERS = {
    "width": 16,
    "image": {"backbone": {"layer_type": "basic", "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1]},
              "region_stage": "stage1", "global_stage": "stage2"},
    "text": {"backbone": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
                          "max_position_embeddings": 97}},
}  # fmt: skip


def test_model_of_a_configuration_and_its_longest_report(tmp_path):
    model = train.model_of(made(tmp_path, model=TOWERS), 33)
    assert model.text.bert.config.vocab_size == 33
    assert model.describe()["region_stage"] == "stage1"
    with pytest.raises(UserError, match="max_tokens 98 is more than the text tower's 97 positions"):
        train.model_of(made(tmp_path, model=TOWERS, data={"shards": "none", "max_tokens": 98}), 33)


def test_a_tokenizer_that_was_half_written_is_made_again(tmp_path, monkeypatch):
    tokenizer = Tokenizer([*SPECIAL, "lung"], True)
    monkeypatch.setattr(train, "_new_tokenizer", lambda _: tokenizer)
    (tmp_path / ".tokenizer.part").mkdir()
    (tmp_path / ".tokenizer.part" / "vocab.txt").write_text("[PA")
    assert train.tokenizer_of(tmp_path, made(tmp_path)).vocabulary == tokenizer.vocabulary
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".tokenizer.part").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write to .*; correct that, and run the same command again"):
        train.tokenizer_of(tmp_path / "other", made(tmp_path / "other"))


def test_sample_pictures_are_of_the_weights_that_they_are_given(tmp_path):
    (tmp_path / "run").mkdir()
    samples = [
        replace(s, sentences=(Sentence("Small left effusion.", "findings", 0, 1),)) for s in tuples(2, "validate")
    ]
    shards = write(tmp_path / "shards", samples)
    settings = made(tmp_path / "run", model=TOWERS, data={"shards": shards, "image_size": 64})
    tokenizer = Tokenizer([*SPECIAL, "Small", "left", "effusion", "."], True)
    model = train.model_of(settings, len(tokenizer.vocabulary))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(7)
    trained = {name for name, _ in model.named_parameters()}
    noise = {name: torch.randn(before[name].shape, generator=generator) for name in trained}
    other = before | {name: before[name] + noise[name] for name in trained}
    pictures, drawn = train.pictures_of(tmp_path / "run", settings, model, tokenizer), []
    for weights in (before, other, before):
        pictures.draw(weights, 8)
        (drawing,) = pictures.close(60)
        drawn.append([(tmp_path / "run" / path).read_bytes() for path in drawing.paths])
    assert [len(files) for files in drawn] == [2, 2, 2]
    assert drawn[0] == drawn[2] != drawn[1]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), (
        "training's own are kept"
    )
