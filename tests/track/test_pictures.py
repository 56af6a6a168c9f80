"""Sample pictures are drawn beside the loop, and nothing that goes wrong there reaches it."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from sentalign import config as configuration
from sentalign.localize.predict import Predictor
from sentalign.track.pictures import COUNT, Drawing, SamplePictures
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
        replace(sample, sentences=(negated, findings[n]) if n else (negated,))
        for n, sample in enumerate(tuples(count, "validate"))
    ]


@pytest.fixture
def run(tmp_path):
    """A run folder whose shards hold tagged samples."""
    data = {"shards": write(tmp_path / "shards", tagged(8)), "image_size": 32}
    return save_run(tmp_path / "run", data)


@pytest.fixture
def config(run):
    return configuration.load(run / "config.yaml")


def predictor(run):
    drawn = Drawn.load(run)
    drawn.asked = []
    return drawn


def test_the_first_findings_are_drawn(run, config):
    drawn = predictor(run)
    pictures = SamplePictures(run, config, lambda _: drawn)
    pictures.draw({}, 16)
    paths = tuple(f"pictures/sample-{number:02d}.png" for number in range(COUNT))
    assert pictures.close(60) == [Drawing(16, paths)]
    assert drawn.asked == [f"Nodule number {n}." for n in range(1, 1 + COUNT)], "no negated sentence has a place"
    assert all((run / path).stat().st_size > 1000 for path in paths)
    assert pictures.close(0) == []


def test_the_loop_goes_on_while_pictures_are_drawn_and_the_newest_weights_wait(run, config):
    begun, may_end, drawn = threading.Event(), threading.Event(), []

    def slow(weights):
        drawn.append((weights, threading.current_thread()))
        begun.set()
        assert may_end.wait(60)
        return predictor(run)

    pictures = SamplePictures(run, config, slow)
    pictures.draw("first", 8)
    assert begun.wait(60)
    pictures.draw("second", 16)
    pictures.draw("third", 24)
    assert pictures.finished() == []
    may_end.set()
    assert [drawing.pairs for drawing in pictures.close(60)] == [8, 24]
    assert [weights for weights, _ in drawn] == ["first", "third"]
    assert threading.main_thread() not in {thread for _, thread in drawn}


def test_a_damaged_shard_is_an_outcome(run, config, tmp_path):
    file = tmp_path / "shards" / "shard-000000.tar"
    content = bytearray(file.read_bytes())
    content[content.index(b"PNG") + 20] ^= 0xFF
    file.write_bytes(content)
    pictures = SamplePictures(run, config, lambda _: predictor(run))
    pictures.draw({}, 16)
    (drawing,) = pictures.close(60)
    assert (drawing.pairs, drawing.paths) == (16, ())
    assert drawing.failure.startswith("DamagedError: shard-000000.tar is damaged")


def test_a_disk_that_cannot_be_written_is_an_outcome(run, config):
    (run / "pictures").write_text("in the way")
    pictures = SamplePictures(run, config, lambda _: predictor(run))
    pictures.draw({}, 16)
    (drawing,) = pictures.close(60)
    assert drawing.failure.startswith("FileExistsError: ")


def test_a_drawing_that_hangs_is_abandoned(run, config):
    may_end = threading.Event()
    pictures = SamplePictures(run, config, lambda _: may_end.wait(60))
    pictures.draw({}, 16)
    assert pictures.close(0.01) == [Drawing(16, failure="not finished within 0.01 s")]
    may_end.set()
