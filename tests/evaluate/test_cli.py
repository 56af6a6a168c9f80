"""`sentalign evaluate ms-cxr` from files to files, with a tiny random model."""

from __future__ import annotations

import json
import sys
from functools import partial
from subprocess import run

import pytest

from sentalign.evaluate import cli
from sentalign.evaluate.datasets import ms_cxr
from sentalign.evaluate.summary import HEADLINE
from sharding.contract import UserError
from tests.evaluate.conftest import evaluate

call = partial(evaluate, "ms-cxr")


def test_from_data_and_run_to_files(marked, run_folder, tmp_path, capsys):
    out = tmp_path / "results"
    words = ("--data", marked, "--run", run_folder, "--out", out, "--withheld", "cavity", "--replicates", 30)
    phrases = tmp_path / "phantom.json"
    phrases.write_text(json.dumps({"withheld_phrases": ["Mark 0 in the left lung", "Mark 2 in the left lung"]}))
    words += ("--withheld-phrases", phrases)
    call(*words, "--json")
    metrics = json.loads(capsys.readouterr().out)
    assert metrics == json.loads((out / "metrics.json").read_text())
    assert metrics["withheld_categories"] == ["Cavity"]
    assert (metrics["wordings"]["withheld"]["cases"], metrics["wordings"]["seen"]["cases"]) == (1, 31), "2 is a cavity"
    assert metrics["bootstrap"]["replicates"] == 30
    files = ["cases.npz", "index.html", "metrics.json", "model_card", "model_card.html", "model_card.md"]
    assert sorted(file.name for file in out.iterdir()) == files
    call(*words, "--map", "plain")
    assert "model, withheld" in capsys.readouterr().out
    plain = json.loads((out / "metrics.json").read_text())
    # The run's maps are mirrored and registered; what is read as published is the same whatever the map.
    assert (metrics["mirrored"], plain["mirrored"]) == (48, 0)
    for name in HEADLINE:
        for subset in ("seen", "withheld"):
            assert metrics["plain"][subset][name] == pytest.approx(plain["plain"][subset][name], abs=1e-5)
    assert plain["protocols"]["clean"]["seen"] == plain["protocols"]["clean_plain"]["seen"]
    assert plain["plain"]["seen"]["cnr"] == plain["protocols"]["paper"]["seen"]["cnr"]["categories_mean"]
    assert metrics["seen"]["cnr"] == metrics["protocols"]["paper_map"]["seen"]["cnr"]["categories_mean"]
    assert metrics["seen"]["cnr"] != pytest.approx(plain["seen"]["cnr"], abs=1e-3)


def test_withheld_names(marked):
    cases = ms_cxr.read(marked)
    assert cli.categories(" opacity, Cavity,", cases) == ["Opacity", "Cavity"]
    assert cli.categories("", cases) == []
    with pytest.raises(UserError, match=r"no category 'Fracture'; the set has Cavity, Nodule, Opacity"):
        cli.categories("Fracture", cases)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"withheld_phrases": 3}', '{"withheld_phrases": [3]}'])
def test_withheld_phrases_are_read_from_json(tmp_path, content):
    file = tmp_path / "phantom.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=f"{file} is no JSON file with a list withheld_phrases"):
        cli.phrases(file)
    file.write_text(json.dumps({"withheld_phrases": ["A  mark", "Another"], "studies": 3}))
    assert cli.phrases(file) == {"A mark", "Another"}


def test_wrong_arguments_are_user_errors(marked, run_folder, tmp_path):
    for words, message in [
        (("--data", tmp_path / "none", "--run", tmp_path, "--out", tmp_path), "no folder"),
        (("--data", marked, "--run", tmp_path / "none", "--out", tmp_path), "no run folder"),
        (("--data", marked, "--run", tmp_path, "--out", tmp_path, "--replicates", 0), "--replicates"),
        (
            ("--data", marked, "--run", run_folder, "--out", marked / "MS_CXR_Local_Alignment_v1.1.0.json"),
            "cannot write",
        ),
    ]:
        with pytest.raises(UserError, match=message):
            call(*words)


def test_help_is_fast_to_import_and_neither_needs_the_training_packages():
    code = "import sys, sentalign.evaluate.cli; sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
    code = (
        "import sys, sentalign.evaluate.evaluation, sentalign.evaluate.summary, sentalign.localize.predict;"
        "sys.exit(bool({'deepspeed', 'ray', 'mlflow'} & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
