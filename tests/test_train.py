"""The composition root's own decisions; whole runs are in tests/e2e."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch

from sentalign import config, train
from sentalign.model import dual
from sentalign.model.pretrained import WeightsError
from sentalign.phantom.study import Settings
from sentalign.phantom.write import write_archive
from sentalign.tokenizer import SPECIAL, Tokenizer
from sentalign.track import journal
from sentalign.track.run_logger import RunLogger
from sharding.contract import Sentence, UserError
from tests.evaluate.conftest import evaluate
from tests.stream.conftest import tuples, write


def made(run, **more):
    return config.check({"run": str(run), "data": {"shards": "none"}, "track": {"uri": None}} | more)


def checkpoint(run):
    (run / "checkpoints/pairs-000000000016").mkdir(parents=True)


def stored(run):
    return config.load(run / "config.yaml")


def test_a_new_run_gets_its_config(tmp_path):
    run = tmp_path / "deep" / "run"
    train.settle(run, made(run))
    assert stored(run) == made(run)
    assert [p.name for p in run.iterdir()] == ["config.yaml"]


def test_before_the_first_checkpoint_a_corrected_config_replaces_the_stored_one(tmp_path):
    """A mistake of the first start (a wrong path, too large a batch) does not use up the run's name."""
    train.settle(tmp_path, made(tmp_path, seed=1, model={"text": {"weights": "no/such/folder"}}))
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/vocab.txt").write_text("of the wrong weights")
    (tmp_path / "checkpoints/pairs-000000000016.part").mkdir(parents=True)
    corrected = made(tmp_path, seed=7, model={"text": {"weights": "there"}})
    train.settle(tmp_path, corrected)
    assert stored(tmp_path) == corrected
    assert not (tmp_path / "tokenizer").exists(), "the run would use the tokenizer of the mistake"
    (tmp_path / "tokenizer").mkdir()
    train.settle(tmp_path, corrected)
    assert (tmp_path / "tokenizer").exists(), "the same command trained it, and goes on with it"


def test_after_a_checkpoint_other_settings_are_refused(tmp_path):
    train.settle(tmp_path, made(tmp_path))
    checkpoint(tmp_path)
    with pytest.raises(UserError, match=r"other settings \(seed: 0 -> 7\); restore them, or set another run="):
        train.settle(tmp_path, made(tmp_path, seed=7))
    with pytest.raises(UserError) as error:
        train.settle(tmp_path, made(tmp_path, seed=7, loss={"t1": 1, "t2": 2, "t3": 3}))
    assert str(error.value).count("->") == 3
    assert stored(tmp_path) == made(tmp_path)


def test_what_changes_no_result_may_change_after_a_checkpoint(tmp_path):
    """As after an out-of-memory error, or on fewer GPUs."""
    train.settle(tmp_path, made(tmp_path))
    checkpoint(tmp_path)
    smaller = {"micro_batch": 4, "recompute": "both", "zero_stage": 3, "offload": "all", "on_nonfinite": "skip"}
    for settings in (smaller, {"compile": True}):
        data = {"shards": "none", "length_buckets": 4}
        changed = made(tmp_path, train=settings, data=data, track={"uri": "sqlite:///other.db"})
        train.settle(tmp_path, changed)
        assert stored(tmp_path) == changed, "config.yaml is that of the last start"


@pytest.mark.parametrize("text", ["run: [", "run: here\nolder_setting: 1\n"])
def test_a_stored_config_that_cannot_be_read(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    checkpoint(tmp_path)
    with pytest.raises(UserError, match=r"other settings \(config.yaml: .*set another run=$"):
        train.settle(tmp_path, made(tmp_path))
    (tmp_path / "checkpoints/pairs-000000000016").rmdir()
    train.settle(tmp_path, made(tmp_path))
    assert stored(tmp_path) == made(tmp_path)


def test_settling_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    message = f"cannot write to {tmp_path / 'file'} (File exists); set run= to a folder that can be written"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        train.settle(tmp_path / "file", made(tmp_path / "file"))


def test_a_bad_configuration_is_one_line_and_2(tmp_path, capfd):
    assert train.main([str(tmp_path / "none.yaml")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: no config file")
    assert err.count("\n") == 1


def test_a_bad_override_is_one_line_and_2(tmp_path, capfd):
    (tmp_path / "c.yaml").write_text("run: out\ndata: {shards: none}\n")
    assert train.main([str(tmp_path / "c.yaml"), "train.epoch=3"]) == 2
    assert capfd.readouterr().err == (
        "error: config: train.epoch: there is no such setting, did you mean train.epochs?\n"
    )


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


def test_a_run_that_starts_from_another_has_its_weights_and_its_vocabulary(tmp_path):
    Tokenizer([*SPECIAL, "lung"], False).save(tmp_path / "old/tokenizer")
    torch.manual_seed(3)
    old = train.model_of(made(tmp_path / "old", model=TOWERS), 5)
    dual.save(tmp_path / "old", old.describe(), old.state_dict())
    train.settle(tmp_path / "old", made(tmp_path / "old", model=TOWERS))
    settings = made(tmp_path / "run", model=TOWERS | {"start": str(tmp_path / "old")})
    assert train.tokenizer_of(tmp_path / "run", settings).vocabulary == [*SPECIAL, "lung"]
    torch.manual_seed(4)
    new = train.model_of(settings, 5)
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in new.state_dict().items())
    (tmp_path / "old/tokenizer/vocab.txt").rename(tmp_path / "vocab.txt")
    with pytest.raises(UserError, match=r"old has no tokenizer/vocab.txt; give the folder of a run"):
        train.tokenizer_of(tmp_path / "another", settings)
    (tmp_path / "old").rename(tmp_path / "elsewhere")
    with pytest.raises(WeightsError, match="no trained model"):
        train.model_of(settings, 5)
    with pytest.raises(UserError, match=r"has no model.safetensors"):
        train.tokenizer_of(tmp_path / "another", settings)
    checkpoint(tmp_path / "run")  # which holds the weights
    assert not torch.equal(train.model_of(settings, 5).image.to_global.weight, old.image.to_global.weight)


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


def test_pictures_and_offsets_are_of_the_weights_that_they_are_given(tmp_path):
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
    background, drawn, offsets = train.background_of(tmp_path / "run", settings, model, tokenizer), [], []
    for weights in (before, other, before):
        background.ask("pictures", weights, 8)
        background.ask("attribution", weights, 8)
        pictures, attribution = background.close(60)
        drawn.append([(tmp_path / "run" / path).read_bytes() for path in pictures.result])
        offsets.append(attribution.result)
    assert [len(files) for files in drawn] == [2, 2, 2]
    assert drawn[0] == drawn[2] != drawn[1]
    assert offsets[0] == offsets[2] != offsets[1]
    assert len(offsets[0]) == 3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), (
        "training's own are kept"
    )


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "archive"
    write_archive(Settings(studies=24, seed=4, size=256, withheld=None, test=6, validate=14), folder)
    return folder


def localized(run, phantoms, **validation):
    """The metrics of the journal after one validation of a small random model, which is stored as the run's."""
    tokenizer = Tokenizer.train(["Left nodule in the right upper lung zone"], 60, cased=False)
    settings = made(
        run, model=TOWERS, data={"shards": "none", "image_size": 64}, validation={"boxes": str(phantoms)} | validation
    )
    train.settle(run, settings)
    tokenizer.save(run / "tokenizer")
    torch.manual_seed(3)
    model = train.model_of(settings, len(tokenizer.vocabulary))
    cases = train.boxed_cases(settings)
    with RunLogger(run, settings, "", train.background_of(run, settings, model, tokenizer, cases)) as logger:
        logger.start(0, 16)
        logger.validation(16, {"loss": 1.0}, model.state_dict())
    dual.save(run, model.describe(), model.state_dict())
    (entry,) = [entry for entry in journal.read(run) if entry["kind"] == "localization"]
    return cases, journal.metrics(entry)


def evaluated(out):
    metrics = json.loads((out / "metrics.json").read_text())
    return {
        "validation/pointing": metrics["seen"]["pointing"],
        "validation/average_precision": metrics["protocols"]["clean"]["seen"]["average_precision"]["pooled"],
        "validation/side": metrics["diagnosis"]["seen"]["side"]["pooled"],
        "validation/cnr": metrics["seen"]["cnr"],
        "validation/cases": metrics["cases"],
    }


def test_the_journal_has_what_evaluate_says_of_the_same_weights_and_the_validation_split(tmp_path, phantoms):
    cases, logged = localized(tmp_path / "run", phantoms)
    words = ("--data", phantoms / "MS_CXR_validate.json", "--run", tmp_path / "run", "--out", tmp_path / "results")
    evaluate("ms-cxr", *words, "--map", "plain", "--replicates", 20)
    assert logged == evaluated(tmp_path / "results")
    assert logged["validation/cases"] == len(cases) > 20


def test_the_same_of_a_draw_by_the_runs_own_maps_and_of_the_draw_as_a_table(tmp_path, phantoms):
    cases, logged = localized(tmp_path / "run", phantoms, cases=9, map="both")
    lines = ["image,sentence,boxes,category,patient"]
    for case in cases:
        boxes = "|".join(";".join(map(str, box)) for box in case.boxes.tolist())
        lines.append(f"{case.image},{case.phrase},{boxes},{case.category},{case.patient}")
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    evaluate("table", "--data", tmp_path / "cases.csv", "--run", tmp_path / "run", "--out", tmp_path / "results")
    # Not to the bit: an evaluation queries an image with other sentences too, all in one pass.
    assert logged == pytest.approx(evaluated(tmp_path / "results"), abs=1e-6)
    assert logged["validation/cases"] == 9
    of_table = {"boxes": str(tmp_path / "cases.csv"), "boxes_kind": "table", "map": "both"}
    assert localized(tmp_path / "again", phantoms, **of_table)[1] == logged


def test_boxes_that_cannot_be_used_end_the_start_of_a_run(tmp_path, phantoms):
    def cases_of(boxes, kind="ms-cxr"):
        return train.boxed_cases(made(tmp_path, validation={"boxes": str(boxes), "boxes_kind": kind}))

    with pytest.raises(UserError, match=r"has the split test only; training reads the validation part alone"):
        cases_of(phantoms / "MS_CXR_Local_Alignment_v1.1.0.json")
    with pytest.raises(UserError, match="no folder"):
        cases_of(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no table"):
        cases_of(tmp_path / "none.csv", "table")
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "cases.csv").write_text("image,sentence,boxes\na.png,Nodule.,1;1;2;2\n")
    with pytest.raises(UserError, match=r"not one image of the validation part of .* can be read"):
        cases_of(tmp_path / "cases.csv", "table")
    assert train.boxed_cases(made(tmp_path)) == []
