"""Sample heat maps of a run: one finding of each of the first validation samples, as overlays in the run folder.

In: a run folder with weights, and the shards of its configuration. Out: the paths of PNG files below `pictures/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sentalign.config import Config
from sentalign.stream.read.fetch import Shards, with_text


def sample_maps(run: Path, config: Config, count: int = 4) -> list[str]:
    """Heat maps of the first finding of the first validation samples, by the model in the run folder; their paths.

    Without a validation split the training samples serve.
    """
    from sentalign.localize import overlay
    from sentalign.localize.predict import Predictor
    from sharding.pixels import Geometry, Picture

    data = config.data
    split = data.validation_split if with_text(data.urls, data.validation_split) else data.train_split
    url = next(url for url in data.urls if with_text([url], split))
    predictor, shards = Predictor.load(run), Shards(url, split)
    made: list[str] = []
    for index in range(len(shards)):
        if len(made) == count:
            break
        if not (sentence := next(iter(findings(shards.sentences(index))), None)):
            continue
        grey_HW = shards.read(index).grey_HW
        rows, columns = grey_HW.shape
        picture = Picture(grey_HW, Geometry.identity(rows, columns), {})
        features = predictor.image(grey_HW)
        grid_HW = predictor.clean_grid(features, predictor.text([sentence]).sentences_ND[0])
        path = f"pictures/sample-{len(made):02d}.png"
        (run / path).parent.mkdir(exist_ok=True)
        overlay.write(run / path, picture, grid_HW, features.cells, sentence, [], None)
        made.append(path)
    return made


def findings(sentences: Sequence[str]) -> list[str]:
    """The sentences that may have a place in the picture: not negated, normal or about something else."""
    from sharding.text.sentences import split

    return [s for s in sentences if not any(part.tags for part in split(s))]
