"""The file of a study: it keeps everything, and several files become one where they agree."""

from __future__ import annotations

import copy
import json

import pytest

from sentalign.study import study_json
from sharding.contract import UserError
from tests.study.test_figures import CONTENT


def test_the_file_keeps_everything_and_one_line_a_figure(tmp_path):
    path = tmp_path / "study.json"
    study_json.write(path, CONTENT)
    assert study_json.read(path) == CONTENT
    assert '"pointing": [0.5, 0.6, 0.7, 0.8],' in path.read_text()


def row_without_a_seed(content):
    content["rows"]["base"]["figures"]["cnr"].pop()


@pytest.mark.parametrize(
    "change", [row_without_a_seed, lambda c: c.pop("seeds"), lambda c: c["rows"]["base"].pop("figures"), None]
)
def test_another_json_file_is_refused(tmp_path, change):
    content = copy.deepcopy(CONTENT)
    if change:
        change(content)
    (tmp_path / "other.json").write_text(json.dumps(content if change else [1]))
    with pytest.raises(UserError, match=r"no study\.json"):
        study_json.read(tmp_path / "other.json")


def part(seeds, rows):
    """CONTENT with some of its seeds and rows only, in the order of `seeds`."""
    content = copy.deepcopy(CONTENT) | {"seeds": seeds}
    content["rows"] = {name: content["rows"][name] for name in rows}
    for row in content["rows"].values():
        row["figures"] = {name: [values[seed] for seed in seeds] for name, values in row["figures"].items()}
        row["training_seconds"] = [float(seed) for seed in seeds]
    return content


def test_the_union_of_parts_is_the_whole():
    whole = part([0, 1, 2, 3], CONTENT["rows"])
    pieces = [part([3, 0], ["base", "waiting"]), part([1, 2], ["base", "better"]), part([0, 3], ["better"])]
    found = study_json.union(pieces)
    for row in whole["rows"].values():  # the third part has no "waiting", the second no seconds of it
        row["training_seconds"] = [0.0, 1.0, 2.0, 3.0]
    found["rows"]["waiting"]["training_seconds"] = [0.0, 1.0, 2.0, 3.0]
    assert found == whole
    assert study_json.union([whole, whole]) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["rows"]["better"]["set"].update({"data.mirror": 1}), "row 'better' has other settings"),
        (lambda c: c["data"]["small"].update(seed=2), "data of row 'base' differ"),
        (lambda c: c["rows"]["better"]["figures"]["cnr"].__setitem__(2, 0.5), "row 'better': .* run of seed 2"),
    ],
)
def test_files_that_contradict_each_other_are_refused(change, message):
    one = copy.deepcopy(CONTENT)
    for row in one["rows"].values():
        row["data"] = "small"
    other = copy.deepcopy(one)
    change(other)
    with pytest.raises(UserError, match=message):
        study_json.union([one, other])
