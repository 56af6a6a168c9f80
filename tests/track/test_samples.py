"""Sample pictures and attribution offsets of a run's shards; the offset against a plain loop over pixels."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sentalign import config as configuration
from sentalign.localize.maps import heatmap
from sentalign.localize.predict import Predictor
from sentalign.stream.read.fetch import Shards
from sentalign.track import samples
from sentalign.track.background import BackgroundTasks, Outcome
from sentalign.track.samples import PICTURES, attribution_metrics, tasks
from sharding.contract import Sentence
from tests.localize.conftest import save_run
from tests.stream.conftest import tuples, write


class Drawn(Predictor):
    """A predictor that records its sentences."""

    asked: list[str]

    def maps(self, features, sentences):
        self.asked += sentences
        return super().maps(features, sentences)


def tagged(count):
    """Samples of a negated sentence, all but the first with a finding of their own after it."""
    negated = Sentence("No pneumothorax.", "findings", 0, 1, ("negated",))
    findings = [Sentence(f"Nodule number {n}.", "findings", 0, 1) for n in range(count)]
    return [
        replace(sample, image=noise(n), sentences=(negated, findings[n]) if n else (negated,))
        for n, sample in enumerate(tuples(count, "validate"))
    ]


def noise(seed):
    """A square PNG without equal neighbours: at a tie of max pooling a score has no derivative."""
    file = io.BytesIO()
    grey_HW = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
    Image.fromarray(grey_HW).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def run(tmp_path):
    """A run folder whose shards hold tagged samples."""
    data = {"shards": write(tmp_path / "shards", tagged(12)), "image_size": 32}
    return save_run(tmp_path / "run", data)


@pytest.fixture
def config(run):
    return configuration.load(run / "config.yaml")


def shards(run):
    data = configuration.load(run / "config.yaml").data
    return Shards(data.urls[0], data.validation_split, data.store_timeout)


def predictor(run):
    drawn = Drawn.load(run)
    drawn.asked = []
    return drawn


def outcome(run, config, kind, predictor_of):
    """What the task of that kind gave, run in the background as a run does it."""
    background = BackgroundTasks(tasks(run, config, lambda _: predictor_of(run)))
    background.ask(kind, {}, 16)
    (found,) = background.close(60)
    return found


def test_the_first_findings_are_drawn(run, config):
    drawn = predictor(run)
    paths = tuple(f"pictures/pairs-000000000016/sample-{number:02d}.png" for number in range(PICTURES))
    assert outcome(run, config, "pictures", lambda _: drawn) == Outcome("pictures", 16, paths)
    assert drawn.asked == [f"Nodule number {n}." for n in range(1, 1 + PICTURES)], "no negated sentence has a place"
    assert all((run / path).stat().st_size > 1000 for path in paths)


def test_a_damaged_shard_is_an_outcome(run, config, tmp_path):
    file = tmp_path / "shards" / "shard-000000.tar"
    content = bytearray(file.read_bytes())
    content[content.index(b"PNG") + 20] ^= 0xFF
    file.write_bytes(content)
    found = outcome(run, config, "pictures", predictor)
    assert (found.pairs, found.result) == (16, None)
    assert found.failure.startswith("DamagedError: shard-000000.tar is damaged")


def test_a_disk_that_cannot_be_written_is_an_outcome(run, config):
    (run / "pictures").write_text("in the way")
    assert outcome(run, config, "pictures", predictor).failure.startswith("NotADirectoryError: ")


def plain_offset(drawn, grey_HW, sentence):
    """Changes of the score by finite differences, pixel after pixel, and the mean place of their sizes."""
    features = drawn.image(grey_HW)
    x, y = heatmap.peak(drawn.maps(features, [sentence])[0].grid_HW, features.cells)
    (peak,) = features.letterbox.to_output(np.array([[x + 0.5, y + 0.5]]))
    image = drawn.inputs([grey_HW]).double()
    side, total, places = image.shape[3], 0.0, np.zeros(2)
    for row in range(side):
        changed = image.repeat(2 * side, 1, 1, 1)  # for each column one brighter, then one darker
        for column in range(side):
            changed[column, 0, row, column] += 1e-4
            changed[side + column, 0, row, column] -= 1e-4
        with torch.no_grad():
            scores = drawn.attended_scores(changed, [sentence])[:, 0].tolist()
        for column in range(side):
            size = abs(scores[column] - scores[side + column])
            total += size
            places += size * np.array([column + 0.5, row + 0.5])
    return places / total - peak


class Double(Drawn):
    """Scores in double precision, so that finite differences are exact enough."""

    def inputs(self, greys):
        self._model.double()
        return super().inputs(greys).double()

    def images(self, greys):
        self._model.float()
        return super().images(greys)

    def attended_scores(self, images_B1SS, sentences):
        regions_BHWD, _ = self._model.image(images_B1SS)
        units_N2D = self.text(sentences).units_N2D.to(regions_BHWD)
        return torch.stack([self._attention.scores(v.flatten(0, 1), units_N2D) for v in regions_BHWD])


def test_the_offset_is_the_median_of_a_loop_over_pixels(run, config, monkeypatch):
    monkeypatch.setattr(samples, "OFFSETS", 3)
    drawn = Double.load(run)
    drawn.asked = []
    metrics = attribution_metrics(config, drawn)
    assert drawn.asked == [f"Nodule number {n}." for n in range(1, 4)]
    greys = [sample.grey_HW for sample in (shards(run).read(n) for n in range(1, 4))]
    plain = np.array([plain_offset(drawn, *pair) for pair in zip(greys, drawn.asked[:3], strict=True)])
    expected = {"attribution_dx": np.median(plain[:, 0]), "attribution_dy": np.median(plain[:, 1])}
    expected["attribution_length"] = np.median([(dx**2 + dy**2) ** 0.5 for dx, dy in plain])
    assert metrics == pytest.approx(expected, abs=1e-3)
    assert metrics["attribution_length"] > 0.1


def test_a_map_without_a_peak_has_no_offset(run, config):
    flat = predictor(run)
    with torch.no_grad():
        flat._model.image.to_regions.weight.zero_()
    assert attribution_metrics(config, flat) == {}
