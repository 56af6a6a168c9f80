"""What a run shows of its first validation samples: heat maps of a finding each, and their attribution offset.

In: a predictor with the weights of a validation, and the shards of the run's config. Out: PNG files below `pictures/`
in the run folder; metrics. Both run in the background of the loop (`background`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sentalign.config import Config
from sentalign.localize import overlay
from sentalign.localize.maps import attribution, heatmap
from sentalign.localize.predict import Predictor
from sentalign.stream.read.fetch import Grey, Shards
from sentalign.stream.read.manifest_index import count_with_text
from sentalign.track.background import Weights
from sharding.pixels import Geometry, Picture

# Samples with a picture; with an attribution offset, three to five passes each; searched for findings.
PICTURES, OFFSETS, MOST_READ = 4, 8, 64


def tasks(
    run: Path, config: Config, predictor_of: Callable[[Weights], Predictor]
) -> dict[str, Callable[[Weights, int], Any]]:
    """`pictures` (paths relative to the run) and `attribution` (metrics) of weights, for `BackgroundTasks`.

    `predictor_of` makes a predictor on the CPU from the weights.
    """
    Image.preinit()  # imports now: decoding workers that are forked while a thread imports could hang
    return {
        "pictures": lambda weights, pairs: tuple(sample_maps(run, config, predictor_of(weights), pairs)),
        "attribution": lambda weights, pairs: attribution_metrics(config, predictor_of(weights)),
    }


def sample_maps(run: Path, config: Config, predictor: Predictor, pairs: int) -> Iterator[str]:
    """Draws and names the pictures, one by one; those of earlier weights stay."""
    for number, (grey_HW, sentence) in enumerate(islice(_findings(config), PICTURES)):
        picture = Picture(grey_HW, Geometry.identity(*grey_HW.shape), {})
        features = predictor.image(grey_HW)
        grid_HW = predictor.maps(features, [sentence])[0].grid_HW
        path = f"pictures/pairs-{pairs:012d}/sample-{number:02d}.png"
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        overlay.write(run / path, picture, grid_HW, features.cells, sentence, [], None)
        yield path


def attribution_metrics(config: Config, predictor: Predictor) -> dict[str, float]:
    """`attribution_dx`, `attribution_dy`, `attribution_length`: the medians of `attribution.medians`, in pixels of the
    network's input. Empty where no map has a peak.
    """
    offsets = [_offset(predictor, *finding) for finding in islice(_findings(config), OFFSETS)]
    found = attribution.medians(np.array(offsets).reshape(-1, 2))
    return {f"attribution_{name}": value for name, value in found.items() if value is not None}


def _offset(predictor: Predictor, grey_HW: Grey, sentence: str) -> tuple[float, float]:
    features = predictor.image(grey_HW)
    peak = heatmap.peak(predictor.maps(features, [sentence])[0].grid_HW, features.cells)
    if peak is None:
        return attribution.NAN, attribution.NAN
    x, y = features.letterbox.to_output(np.array([peak]) + 0.5)[0].tolist()
    return attribution.offset(predictor, predictor.inputs([grey_HW]), sentence, (x, y))


def _findings(config: Config) -> Iterator[tuple[Grey, str]]:
    """Image and first finding (a sentence without tags: not negated, normal, uncertain ...) of the first samples that
    have one, of the validation split or, where that is empty, the training split.
    """
    data = config.data
    split = data.validation_split if count_with_text(data.urls, data.validation_split) else data.train_split
    url = next(url for url in data.urls if count_with_text([url], split))
    shards = Shards(url, split, data.store_timeout)
    for index in range(min(len(shards), MOST_READ)):
        sample = shards.read(index)
        sentences = (s for s, tags in zip(sample.sentences, sample.tags, strict=True) if not tags)
        if sentence := next(sentences, None):
            yield sample.grey_HW, sentence
