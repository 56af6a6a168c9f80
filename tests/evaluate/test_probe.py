"""Label-free figures and the occlusion control: against loops, by hand, and of localizers that fail by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sentalign.evaluate import evaluation
from sentalign.evaluate.diagnosis import health, peaks, probe
from sentalign.evaluate.diagnosis.probe import Probes, cover
from sentalign.localize.maps.register import Attention
from sentalign.localize.predict import Predictor
from sentalign.loss import reference
from tests.evaluate.conftest import MarkLocalizer


def probed(scores, localizer):
    found = probe.probe(localizer, scores, peaks.diagnose(scores)["peak"])
    return found, evaluation.probed(scores, found)


@pytest.fixture(scope="module")
def marks(scores):
    return probed(scores, MarkLocalizer())


def test_a_map_that_shows_where_the_score_comes_from_passes_the_occlusion_control(marks):
    _, metrics = marks
    covered = metrics["occlusion"]["seen"]
    assert (covered["larger"], covered["cases"]) == (1, 48)
    assert covered["pointed"] > 0.3 > abs(covered["random"])
    assert sum(one["cases"] for one in metrics["occlusion"]["categories"].values()) == 48
    assert metrics["occlusion"]["withheld"]["cases"] == 0


def test_the_gradient_of_a_good_map_lies_at_its_peak(marks):
    attribution = marks[1]["health"]["attribution"]
    assert attribution["cases"] == 48
    assert attribution["length"] < 16, "a cell"


def test_a_displaced_map_is_told_apart_without_boxes(scores, marks):
    peaks_N2 = peaks.diagnose(scores)["peak"]
    moved = health.label_free(scores, probe.probe(MarkLocalizer(), scores, peaks_N2 + (40, 0)))["attribution"]
    scale = np.median([frame.scale[1] for frame in scores.paper_frames])
    assert moved["dx"] == pytest.approx(marks[1]["health"]["attribution"]["dx"] - 40 * scale, abs=4)


def test_a_localizer_that_sees_nothing_is_told_apart(scores):
    _, metrics = probed(scores, MarkLocalizer(blind=True))
    assert metrics["health"]["recall"] == 0
    assert (metrics["health"]["side_margin"], metrics["health"]["side_preferred"]) == (0, 0)
    assert metrics["occlusion"]["seen"]["larger"] == 0
    assert metrics["health"]["attribution"]["cases"] == 0


def test_recall_is_that_of_a_loop_over_cases_and_images(scores):
    rng = np.random.default_rng(0)
    images = list(dict.fromkeys(case.image_id for case in scores.cases))
    sentences = list(dict.fromkeys(case.phrase for case in scores.cases))
    scores_IM = rng.random((len(images), len(sentences)))
    found = []
    for case in scores.cases:
        column = scores_IM[:, sentences.index(case.phrase)]
        better = 0
        for image, score in zip(images, column, strict=True):
            same = [c for c in scores.cases if c.image_id == image and c.phrase == case.phrase]
            better += not same and score >= column[images.index(case.image_id)]
        found.append(better < 2)
    recall = health.retrieval(scores, Probes({}, images, sentences, scores_IM))
    assert recall.overall() == pytest.approx(np.mean(found))
    assert recall.by_word()["mark"][1] == 48


def test_a_covered_window_joins_its_border_and_holds_nothing_of_what_was_there():
    rows, columns = np.mgrid[:40, :40].astype(float)
    plane = 2 * rows - columns + 0.1 * rows * columns
    marked = plane.copy()
    marked[14:26, 10:22] += 100
    np.testing.assert_allclose(cover(marked, (16.0, 20.0), 8), plane, atol=1e-9)
    corner = cover(plane, (0.5, 39.5), 8)
    np.testing.assert_allclose(corner, plane, atol=1e-9)


@pytest.mark.parametrize("tau", [None, 0.2])
def test_the_attended_score_is_that_of_the_reference(tau):
    generator = torch.Generator().manual_seed(1)
    regions, units = torch.randn(9, 5, generator=generator), torch.randn(4, 2, 5, generator=generator)
    config = reference.LossConfig(attention="paper" if tau is None else "cosine", t1=3.0, tau=tau or 1.0)
    expected = reference.unit_scores(regions[None], units, torch.ones(4, 2, dtype=torch.bool), config)[0, :, 1]
    torch.testing.assert_close(Attention(tau, 3.0).scores(regions, units), expected)


def test_a_trained_model_is_probed(run_folder, scores, tmp_path):
    predictor = Predictor.load(run_folder)
    metrics = evaluation.evaluate(predictor, scores.cases, tmp_path, replicates=10)
    assert metrics["occlusion"]["seen"]["cases"] + metrics["occlusion"]["withheld"]["cases"] <= 48
    html = (tmp_path / "index.html").read_text()
    assert "What needs no boxes" in html
    assert f"<th>seen ({metrics['occlusion']['seen']['cases']})</th>" in html
    with np.load(tmp_path / "cases.npz") as stored:
        own = [list(stored["probed_images"]).index(image) for image in stored["image_id"]]
        asked = [list(stored["probed_sentences"]).index(phrase) for phrase in stored["phrase"]]
        np.testing.assert_allclose(stored["score"], stored["probed_scores"][own, asked])
        assert metrics["health"]["side_margin"] == pytest.approx(stored["margin"].mean())
