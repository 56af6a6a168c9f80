"""Study files: what is refused before anything starts, and what each row trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sentalign import config
from sentalign.study import spec
from sharding.contract import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TREE = {
    "base": str(CONFIGS / "phantom-cpu.yaml"),
    "out": "study",
    "title": "A study",
    "seeds": [3, 5],
    "data": {
        "small": {"studies": 60, "seed": 1, "test_studies": 10, "validation_studies": 8, "size": 65},
        "other": {"studies": 60, "seed": 2, "test_studies": 10, "validation_studies": 8, "size": 65},
    },
    "rows": {
        "base": {"set": {"train.epochs": 1}},
        "long": {"set": {"train.epochs": 2}, "data": "other"},
        "again": {"runs_of": "long", "evaluate": ["--replicates", "10"]},
    },
    "reference": "base",
}


@pytest.fixture
def file(tmp_path):
    def write(**changes):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(TREE | changes, sort_keys=False))
        return path

    return write


def test_a_row_sets_its_own_settings_on_the_base(file, tmp_path):
    study = spec.load(file(), out=tmp_path)
    words = spec.overrides(study, "long", 5, tmp_path / "run", tmp_path / "shards")
    trained = config.load(study.base, words)
    assert (trained.train.epochs, trained.seed, trained.data.shards) == (2, 5, str(tmp_path / "shards"))
    assert study.trained_row("again") == "long"
    assert [study.data_of(name) for name in study.rows] == ["small", "other", "other"]


def test_some_rows_keep_the_reference_and_the_rows_whose_runs_they_evaluate(file):
    study = spec.load(file(), seeds=[7], rows=["again"])
    assert (list(study.rows), study.seeds) == (["base", "long", "again"], [7])
    assert list(spec.load(file(reference=None), rows=["again"]).rows) == ["long", "again"]


def test_some_rows_keep_those_whose_weights_they_start_from(file):
    rows = {"a": {}, "b": {}, "c": {"starts_from": "b"}, "d": {"runs_of": "c"}}
    assert list(spec.load(file(rows=rows, reference=None), rows=["d"]).rows) == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "nothing"}, "no row 'nothing'"),
        ({"rows": {"a": {"set": {"loss.t9": 1}}}, "reference": None}, "loss.t9"),
        ({"rows": {"a": {"runs_of": "b"}}, "reference": None}, "'b' is no row that is trained"),
        ({"rows": {"a": {}, "b": {"runs_of": "a", "set": {"seed": 1}}}, "reference": None}, "leave out its `set`"),
        ({"rows": {"a": {}, "b": {"runs_of": "a", "starts_from": "a"}}, "reference": None}, "leave out its `set` and"),
        ({"rows": {"a": {"starts_from": "a"}}, "reference": None}, "'a' is no row that starts with new weights"),
        ({"rows": {"a": {"starts_from": "b"}}, "reference": None}, "'b' is no row that starts with new weights"),
        ({"rows": {"a": {"data": "none"}}, "reference": None}, "no data named 'none'"),
        ({"rows": {"a b": {}, "A-b": {}}, "reference": None}, "share a folder"),
        ({"seeds": [1, 1]}, "named twice"),
        ({"seed": 1}, "seed"),
    ],
)
def test_a_mistake_is_refused_before_anything_starts(file, changes, message):
    with pytest.raises(UserError, match=message):
        spec.load(file(**changes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no study file .*; give the path of a YAML file such as configs/study/demo.yaml"),
        (b"rows: [", "is not valid YAML: .*"),
        (b"\xff\xfe\x00", "is not valid YAML: .*"),
        (b"", "holds no settings; it must be a YAML mapping with base, out, title, seeds, data, rows"),
        (b"seeds: []", "study: base: Field required; out: Field required; title: Field required"),
    ],
)
def test_a_file_that_is_no_study_is_refused_in_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "study.yaml").write_bytes(content)
    with pytest.raises(UserError, match=f"{message}$") as caught:
        spec.load(tmp_path / "study.yaml")
    assert "\n" not in str(caught.value)


def test_settings_of_the_study_are_those_of_every_row_that_has_no_others(file):
    study = spec.load(file(set={"train.epochs": 4, "data.batch": 16}))
    assert spec.settings_of(study, "base") == {"train.epochs": 1, "data.batch": 16}
    for name, epochs in (("base", 1), ("long", 2)):
        resolved = config.load(study.base, spec.overrides(study, name, 3, Path("r"), Path("s")))
        assert (resolved.train.epochs, resolved.data.batch, resolved.seed) == (epochs, 16, 3)


def test_a_mistake_in_the_studys_settings_is_refused(file):
    with pytest.raises(UserError, match=r"loss\.t9"):
        spec.load(file(set={"loss.t9": 1}))


def test_a_mistake_of_the_whole_is_said_once(file):
    with pytest.raises(UserError, match=r"^study: reference: no row 'nothing'$"):
        spec.load(file(reference="nothing"))


def test_an_unknown_row_is_named(file):
    with pytest.raises(UserError, match="no row 'x'"):
        spec.load(file(), rows=["x"])


@pytest.mark.parametrize("path", sorted((CONFIGS / "study").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_of_the_repository_loads(path):
    assert spec.load(path).rows
