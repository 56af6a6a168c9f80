"""Label-free metrics of planted scores: a kind that is not discovered, a model that is blind to sides, no model."""

from __future__ import annotations

from math import comb
from random import Random

import pytest
import torch

from sentalign import config as configuration
from sentalign.stream.batch import Padding, collate
from sentalign.stream.side_swap import SwappedReport
from sentalign.tokenizer import SPECIAL, Tokenizer
from tests.multiproc.test_engine import SETTINGS
from tests.stream.test_batch import sample

IMAGES = 40
KINDS = ("nodule", "effusion", "pneumothorax", "cavity")


@pytest.fixture(scope="module")
def step():
    """The module of the step, on one CPU; imported here, since deepspeed reads its environment then."""
    from sentalign.engine import step

    return step


def planted(step, of_pair, of_swapped):
    """The metrics where image i has `of_pair(i, j)` with sentences of report j, `of_swapped(i)` with its own swapped.

    Each report names two kinds of finding, one with a side; no two reports have an equal sentence.
    """
    tokenizer = Tokenizer([*SPECIAL, "x"], cased=True)
    texts = [[f"Left {KINDS[j % 4]} number {j}.", f"Some {KINDS[(j + 1) % 4]} of {j}."] for j in range(IMAGES)]
    samples = [sample(str(j), *sentences) for j, sentences in enumerate(texts)]
    rows, padding = [tokenizer.encode(sentences, 32) for sentences in texts], Padding(32, 3, 0)
    swapped = [SwappedReport(row, [0]) for row in rows]
    batch = collate(samples, rows, [[0, 1]] * IMAGES, [0] * IMAGES, padding, swapped=swapped)
    inputs = step.prepare(batch, batch.images_BHH, configuration.check(SETTINGS), lambda *_: None)
    local = torch.tensor([[[of_pair(i, j)] * 3 for j in range(IMAGES)] for i in range(IMAGES)], dtype=torch.float32)
    margin = torch.tensor([[of_pair(i, i) - of_swapped(i)] * 3 for i in range(IMAGES)], dtype=torch.float32)
    figures = step.LabelFree()
    figures.add(batch, local, margin, inputs.reports)
    return figures.metrics()


def test_a_model_that_finds_everything(step):
    metrics = planted(step, lambda i, j: float(i == j), lambda i: 0.25)
    assert (metrics["recall"], metrics["recall_lowest"]) == (1, 1)
    assert (metrics["side_margin"], metrics["side_preferred"]) == (0.75, 1)
    assert metrics["word_recall/left"] == 1


def test_retrieval_is_recall_at_1_of_16_whatever_the_batch(step):
    """Chance for scores without a rule; own image and sentence third of 40: 15 of the 39 others have none above."""
    names = ("text_to_image_recall", "image_to_text_recall", "retrieval_recall")
    found = planted(step, lambda i, j: float(i == j), lambda i: 0.0)
    assert [found[name] for name in names] == [1, 1, 1]
    third = planted(step, lambda i, j: 0.5 * (i == j) + float((i - j) % IMAGES in (1, 2)), lambda i: 0.0)
    # Of images: two of 39 are above. Of sentences: four of the 78 of 39 reports, two of each of two reports.
    assert third["text_to_image_recall"] == pytest.approx(comb(37, 15) / comb(39, 15))
    assert third["image_to_text_recall"] == pytest.approx(comb(74, 15) / comb(78, 15))
    random = Random(5)
    scores = {(i, j): random.random() for i in range(IMAGES) for j in range(IMAGES)}
    assert planted(step, lambda i, j: scores[i, j], lambda i: 0.0)["retrieval_recall"] == pytest.approx(
        1 / 16, abs=0.05
    )


def test_a_kind_that_is_not_discovered(step):
    """Reports j = 2, 6, 10 ... are about the third kind alone as far as the scores go: their own image is the worst."""
    metrics = planted(step, lambda i, j: float(i == j) * (-1 if j % 4 == 2 else 1), lambda i: 0.0)
    assert metrics["recall"] == 0.75
    lowest = {name for name, value in metrics.items() if value == metrics["recall_lowest"]}
    assert {"word_recall/pneumothorax", "word_recall/cavity"} <= lowest, "the kinds of those reports"
    assert metrics["word_recall/nodule"] == metrics["word_recall/left"] + 0.25 == 1


def test_a_model_that_is_blind_to_sides(step):
    metrics = planted(step, lambda i, j: float(i == j), lambda i: 1.0)
    assert metrics["recall"] == 1
    assert (metrics["side_margin"], metrics["side_preferred"]) == (0, 0)


@pytest.mark.parametrize("score", [0.5, float("nan")])
def test_a_model_without_scores_finds_nothing(step, score):
    metrics = planted(step, lambda i, j: score, lambda i: score)
    assert metrics["recall"] == metrics["recall_lowest"] == 0
    assert metrics["side_preferred"] == 0


@pytest.mark.parametrize(("better", "found"), [(3, 1.0), (4, 0.0)])
def test_the_top_tenth_of_40_images_are_four(step, better, found):
    metrics = planted(step, lambda i, j: float((i - j) % IMAGES <= better and i != j) + 0.5 * (i == j), lambda i: 0)
    assert metrics["recall"] == found
