"""The gallery: files that open, sentences that are true of them."""

from __future__ import annotations

import io

from PIL import Image

from sentalign.phantom.study import generate
from sentalign.serve.examples import DRAWN, MOST, SIDE, THUMBNAIL, examples
from sharding import pixels


def test_examples_are_x_rays_with_true_sentences():
    made = examples()
    assert len(made) == MOST
    phrases = {case.phrase.lower() for number in range(DRAWN.studies) for case in generate(number, DRAWN).cases}
    for example in made:
        assert max(pixels.read(example.data).grey_HW.shape) == SIDE
        assert max(Image.open(io.BytesIO(example.thumbnail)).size) == THUMBNAIL
        assert {sentence.removesuffix(".").lower() for sentence in example.sentences} <= phrases
