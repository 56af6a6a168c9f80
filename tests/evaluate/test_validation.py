"""Localization at a validation: the same numbers as `sentalign evaluate` writes for these cases, for every map."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sentalign.evaluate import validation
from sentalign.evaluate.datasets import ms_cxr
from sentalign.evaluate.evaluation import evaluate as whole_evaluation
from sentalign.localize.predict import Predictor
from sharding.contract import UserError
from tests.evaluate.conftest import evaluate


def of_metrics_json(metrics):
    """The numbers where `sentalign evaluate` writes them."""
    return {
        "pointing": metrics["seen"]["pointing"],
        "average_precision": metrics["protocols"]["clean"]["seen"]["average_precision"]["pooled"],
        "side": metrics["diagnosis"]["seen"]["side"]["pooled"],
        "cnr": metrics["seen"]["cnr"],
        "cases": metrics["cases"],
    }


@pytest.mark.parametrize("maps", ["plain", "both"])
def test_the_numbers_are_those_of_an_evaluation(drawn, run_folder, tmp_path, maps):
    evaluate("ms-cxr", "--data", drawn, "--run", run_folder, "--out", tmp_path, "--map", maps, "--replicates", 1)
    expected = of_metrics_json(json.loads((tmp_path / "metrics.json").read_text()))
    found = validation.localization(Predictor.load(run_folder, "cpu", maps), ms_cxr.read(drawn))
    assert found == expected
    assert 0 < found["average_precision"] < 1
    assert found["cases"] == 48


def test_a_model_that_finds_the_marks(localizer, blind, drawn):
    cases = ms_cxr.read(drawn)
    found = validation.localization(localizer, cases)
    assert found == of_metrics_json(whole_evaluation(localizer, cases, replicates=1))
    assert found["pointing"] == found["side"] == 1
    assert validation.localization(blind, cases)["pointing"] == 0


def test_what_applies_to_no_case_is_left_out(localizer, drawn):
    cases = [replace(case, phrase="Mark") for case in ms_cxr.read(drawn)[:4]]
    assert set(validation.localization(localizer, cases)) == {"pointing", "average_precision", "cnr", "cases"}


def test_unreadable_images_are_not_counted(localizer, marked):
    cases = ms_cxr.read(marked)
    cases[0].image.write_bytes(b"no picture")
    assert validation.localization(localizer, cases)["cases"] == 46
    for case in cases:
        case.image.write_bytes(b"no picture")
    with pytest.raises(UserError, match="not one image"):
        validation.localization(localizer, cases)


def test_maps_with_nan_are_an_error(localizer, drawn, monkeypatch):
    monkeypatch.setattr(localizer, "_grid", lambda *_: np.full((14, 14), np.nan))
    with pytest.raises(UserError, match="NaN"):
        validation.localization(localizer, ms_cxr.read(drawn))
