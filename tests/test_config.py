"""Configuration files: reading, overriding, refusing in one line, writing back, comparing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from sentalign import cli, config
from sentalign.config import listing
from sentalign.config.file import CHANGEABLE
from sentalign.config.yaml_file import expand_home, read_override
from sharding.contract import UserError

LEAST = "run: out\ndata: {shards: there}\n"
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture
def write(tmp_path):
    def written(text: str | bytes) -> Path:
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def complaint(path, *overrides) -> str:
    with pytest.raises(UserError) as caught:
        config.load(path, overrides)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_the_least_file_gets_the_papers_numbers(write):
    made = config.load(write(LEAST))
    assert (made.run, made.data.shards, made.seed) == ("out", "there", 0)
    assert (made.loss.t1, made.loss.t2, made.loss.t3, made.loss.attention) == (4, 5, 10, "paper")
    assert (made.optimizer.lr, made.optimizer.betas, made.optimizer.decay) == (2e-5, (0.5, 0.999), 0.9)
    assert (made.data.max_tokens, made.model.width, made.model.text.last_layers) == (97, 768, 4)


def test_overrides_are_yaml_and_the_last_one_counts(write):
    words = ["train.epochs=3", "train.epochs=4", "optimizer.lr=1e-3", "optimizer.betas=[0.9, 0.98]", "track.uri=null"]
    made = config.load(write(LEAST), [*words, "model.image.weights=a=b", "data.sentence_subset=false"])
    assert (made.train.epochs, made.optimizer.lr, made.optimizer.betas) == (4, 1e-3, (0.9, 0.98))
    assert made.track.uri is None
    assert made.model.image.weights == "a=b"
    assert made.data.sentence_subset is False


def test_an_empty_override_is_null_and_refused_where_text_is_needed(write):
    assert "run: Input should be a valid string" in complaint(write(LEAST), "run=")


def test_a_section_without_settings_can_be_overridden(write):
    assert config.load(write(LEAST + "train:\n"), ["train.epochs=3"]).train.epochs == 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trian.epochs=3"], "trian.epochs: there is no such setting, did you mean train.epochs?"),
        (["train.epoch=3"], "train.epoch: there is no such setting, did you mean train.epochs?"),
        (["optimizer.learning_rate=1"], "there is no such setting, did you mean optimizer.lr?"),
        (["lr=1"], "lr: there is no such setting, did you mean optimizer.lr?"),
        (["train.lr=1"], "did you mean optimizer.lr?"),
        (["data.augment.rotation=1"], "did you mean data.augment.rotate?"),
        (["seeds=1"], "seeds: there is no such setting, did you mean seed?"),
        (["optimizer.rate=1"], "optimizer.rate: there is no such setting, it is now called optimizer.lr"),
        (["data.most_alike=1"], "data.most_alike: there is no such setting, it is now called data.max_duplicates"),
        (["data.alike=[text]"], "data.alike: there is no such setting, it is now called data.duplicate_keys"),
        (["data.read_ahead_mb=1"], "it is now called data.prefetch_mb"),
        (["train.epochs=0"], "train.epochs: Input should be greater than or equal to 1"),
        (["data.batch=many"], "data.batch: Input should be a valid integer"),
        (["optimizer.schedule=linear"], "optimizer.schedule"),
        (["train.precision=float16"], "train.precision: float16 is no longer supported; set train.precision=bfloat16"),
        (["optimizer.lr=.inf"], "optimizer.lr: Input should be a finite number"),
        (["loss.weight_local=.nan"], "loss.weight_local"),
        (["optimizer.betas=[0.9]"], "optimizer.betas.1"),
        (["data.long_side=400"], "data.long_side 400 is larger than data.image_size 224"),
        (["model.width=128"], "model.width 128 must equal model.text.backbone.hidden_size 768"),
        (["loss.aggregate=sentence"], "needs loss.attention=cosine"),
        (["loss.units=word", "loss.weight_swapped=0.5"], "set loss.units=sentence, or loss.weight_swapped=0"),
        (["train.epochs"], "key=value"),
        (["=3"], "key=value"),
        (["train.epochs=[1"], "quote it"),
        (["run.x=3"], "run is a value"),
        (["data=5"], "data: "),
    ],
)
def test_mistakes_in_overrides_are_one_line(write, overrides, said):
    assert said in complaint(write(LEAST), *overrides)


def test_at_most_three_mistakes_are_named(write):
    message = complaint(write(LEAST), "a=1", "b=1", "c=1", "d=1")
    assert message == "config: " + "; ".join(f"{key}: there is no such setting" for key in "abc")


def test_old_names_are_refused_in_a_file_too(write):
    message = complaint(write(LEAST + "optimizer: {rate: 1e-3}\n"))
    assert message == "config: optimizer.rate: there is no such setting, it is now called optimizer.lr"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: [\n", "is not valid YAML"),
        ("run: *anchor\n", "is not valid YAML"),
        ("!!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        (b"\xff\xfe\x00r\x00u", "is not valid YAML"),
        ("", "holds no settings"),
        ("- run\n", "holds no settings"),
        ("run: out\n", "data: Field required"),
    ],
)
def test_bad_files_are_one_line(write, text, said):
    assert said in complaint(write(text))


def test_missing_file_and_folder(tmp_path):
    assert "no config file" in complaint(tmp_path / "none.yaml")
    assert "no config file" in complaint(tmp_path)


def test_the_width_of_pretrained_text_is_not_guessed(write):
    made = config.load(write(LEAST), ["model.width=512", "model.text.weights=somewhere"])
    assert made.model.width == 512


def test_dump_reads_back_as_the_same(write, tmp_path):
    words = ["optimizer.lr=0.1", "optimizer.weight_decay=1e-17", "model.image.backbone={depths: [1, 2], a: null}"]
    made = config.load(write(LEAST), [*words, "run='yes: \"no\"'", "seed=12345678901234567890"])
    again = tmp_path / "again.yaml"
    again.write_text(config.dump(made), encoding="utf-8")
    assert config.load(again) == made
    assert config.dump(config.load(again)) == config.dump(made)


def test_difference_names_what_decides_a_run_and_nothing_else(write):
    path = write(LEAST)
    one = config.load(path)
    free = ["run=other", "data.workers=7", "track.uri=null", "track.experiment=x", "track.parent_run=y"]
    free += ["train.keep_checkpoints=9", "train.checkpoint_every_pairs=7", "train.checkpoint_every_minutes=5"]
    free += ["train.zero_stage=3", "train.offload=all", "train.micro_batch=2", "train.on_nonfinite=skip"]
    assert config.difference(one, config.load(path, free)) == []
    words = ["train.epochs=6", "data.augment.shift=0.1", "model.image.backbone={depths: [1]}"]
    assert config.difference(one, config.load(path, words)) == [
        "data.augment.shift: 0.0 -> 0.1",
        "model.image.backbone.depths: None -> [1]",
        "train.epochs: 5 -> 6",
    ]


def test_what_may_change_is_a_setting_and_has_a_reason():
    names = {setting.name for setting in listing.settings()}
    assert names >= CHANGEABLE.keys()
    assert all(CHANGEABLE.values())
    assert not names & listing.RENAMED.keys()
    assert names >= set(listing.RENAMED.values())


def test_every_setting_is_listed_with_type_default_and_meaning(capsys, write):
    assert cli.main(["config", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert all(row["type"] and row["meaning"] for row in rows.values())
    # Against the resolved configuration: nothing is missing, and the defaults are those that a run gets.
    tree = config.load(write(LEAST)).model_dump(mode="json")
    for name, row in rows.items():
        value = tree
        for key in name.split("."):
            value = value[key]
        assert name in ("run", "data.shards") or value == row["default"], name
    leaves = {n for n in flat(tree) if not n.startswith(("model.image.backbone", "model.text.backbone"))}
    assert leaves <= rows.keys()
    assert rows["train.epochs"]["type"] == "integer, >= 1"
    assert rows["train.zero_stage"]["type"] == "0 | 1 | 2 | 3"
    assert rows["data.cache"]["type"] == "text | null"
    assert rows["run"]["default"] is None


def flat(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_the_values_of_a_file_are_marked_where_they_are_not_the_default(capsys, write):
    assert cli.main(["config", str(write(LEAST)), "train.epochs=7", "data.prefetch_mb=256"]) == 0
    lines = capsys.readouterr().out.splitlines()
    marked = [line.split()[1] for line in lines if line.startswith("*")]
    assert marked == ["run", "data.shards", "train.epochs"]
    assert "* train.epochs = 7  (integer, >= 1; default 5)" in lines


@pytest.mark.parametrize(
    "path", sorted(p for p in CONFIGS.glob("*.yaml") if p.name != "sweep.yaml"), ids=lambda p: p.name
)
def test_every_config_of_the_repository_loads(path):
    made = config.load(path)
    # Nothing in the file was dropped or replaced on the way.
    stored = config.check(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert config.difference(made, stored) == []
    assert made.run.startswith("runs/")


def test_paper_config_states_the_papers_settings():
    made = config.load(CONFIGS / "paper.yaml")
    assert (made.data.image_size, made.data.long_side, made.data.max_tokens, made.data.batch) == (299, 224, 97, 128)
    assert (made.optimizer.gradient_clipping, made.optimizer.decay, made.train.epochs) == (0.25, 0.9, 5)
    assert made.model.text.cased


def test_settings_cannot_be_changed_after_loading(write):
    with pytest.raises(ValueError, match="frozen"):
        config.load(write(LEAST)).run = "elsewhere"


@pytest.mark.parametrize("fused", [["stage1", "stage1"], ["stage2", "stage3"]])
def test_no_stage_is_added_to_the_regions_twice(fused):
    with pytest.raises(UserError, match=r"fused_stages .* and region_stage stage3 name a stage twice"):
        config.check({"run": "r", "data": {"shards": "s"}, "model": {"image": {"fused_stages": fused}}})


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ({"learn": ["tau"]}, "loss.learn: tau has no part in this loss; leave it out"),
        ({"learn": ["t1"], "attention": "cosine"}, "t1 has no part"),
        ({"learn": ["t2", "bias_local"], "attention": "cosine", "aggregate": "sentence"}, "t2, bias_local has no part"),
        ({"learn": ["tau_contrast"], "attention": "cosine"}, "tau_contrast has no part"),
        ({"learn": ["t3", "t3"]}, "loss.learn names a number twice"),
    ],
)
def test_numbers_that_cannot_be_learned_are_refused(loss, said):
    with pytest.raises(UserError, match=said):
        config.check({"run": "r", "data": {"shards": "s"}, "loss": loss})
    config.check({"run": "r", "data": {"shards": "s"}, "loss": {"learn": ["t1", "t2", "t3"]}})


def test_attraction_without_a_contrast_is_refused():
    with pytest.raises(UserError, match=r"set loss.weight_local above 0"):
        config.check({"run": "r", "data": {"shards": "s"}, "loss": {"weight_attraction": 1.0, "weight_local": 0.0}})


@pytest.mark.parametrize(
    "data",
    [
        {"shards": []},
        {"duplicate_keys": []},
        {"block": 10**20},
        {"workers": 10**8},
        {"prefetch_mb": 1e308},
        {"max_duplicates": 129},
    ],
)
def test_settings_without_a_meaning_are_refused(data):
    with pytest.raises(UserError, match=rf"^config: data.*{next(iter(data))}"):
        config.check({"run": "r", "data": {"shards": "s"} | data})


def test_a_batch_that_ranks_cannot_share_says_what_would_fit():
    assert config.rank_share(12, 4) == 3
    with pytest.raises(UserError, match=r"data.batch 10 does not divide by 4 ranks; set data.batch=8 or 12"):
        config.rank_share(10, 4)
    with pytest.raises(UserError, match=r"set data.batch=4"):
        config.rank_share(2, 4)


def test_second_views_that_ranks_cannot_share_say_what_would_fit():
    assert config.rank_views(64, 0.25, 4) == 4
    with pytest.raises(UserError, match=r"0.1 of data.batch 64 is 6 images, .* 4 ranks; set loss.view_share=0.0625"):
        config.rank_views(64, 0.1, 4)
    with pytest.raises(UserError, match=r"set loss.view_share=0.0625"):
        config.rank_views(64, 0.001, 4)


def test_the_zoom_of_a_view_is_a_range():
    with pytest.raises(UserError, match=r"loss.rescale is \[smallest, largest\] zoom, both above 0, not \[1.5, 0.5\]"):
        config.check({"run": "r", "data": {"shards": "s"}, "loss": {"rescale": [1.5, 0.5]}})
    assert not config.check({"run": "r", "data": {"shards": "s"}}).loss.views


def test_a_tilde_is_the_home_folder_in_files_and_overrides(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tree = {"run": "~/runs/a", "data": {"shards": ["~/s", "s3://b/~x"]}, "uri": "sqlite:///~/m.db", "other": "a~b ~"}
    assert expand_home(tree) == {
        "run": f"{tmp_path}/runs/a",
        "data": {"shards": [f"{tmp_path}/s", "s3://b/~x"]},
        "uri": f"sqlite:///{tmp_path}/m.db",
        "other": "a~b ~",
    }
    assert read_override("run=~/runs/b", "") == ("run", f"{tmp_path}/runs/b")
    assert read_override("track.uri=~", "") == ("track.uri", None)
