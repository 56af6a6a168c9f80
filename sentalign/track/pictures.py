"""Sample heat maps of a run: one finding of each of the first validation samples, drawn in a background thread.

In: the weights that were just written as the best, and the shards of the run's config. Out: PNG files below `pictures/`
in the run folder, and for each drawing its outcome. A damaged shard or a full disk is an outcome, never an exception:
the run continues without pictures.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image
from torch import Tensor

from sentalign.config import Config
from sentalign.localize import overlay
from sentalign.localize.predict import Predictor
from sentalign.stream.read.fetch import Grey, Shards
from sentalign.stream.read.manifest_index import count_with_text
from sharding.pixels import Geometry, Picture

COUNT, MOST_READ = 4, 64  # pictures, and samples that are searched for findings
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Drawing:
    """The outcome of drawing with the weights after `pairs` pairs: the files, relative to the run, or the failure."""

    pairs: int
    paths: tuple[str, ...] = ()
    failure: str = ""


class SamplePictures:
    """Draws one set of pictures at a time. The loop's thread calls all methods; but for `close` they return at once."""

    def __init__(self, run: Path, config: Config, predictor_of: Callable[[Weights], Predictor]) -> None:
        """`predictor_of` makes a predictor on the CPU from the weights; only the background thread calls it."""
        self._run, self._config, self._predictor_of = run, config, predictor_of
        self._outcomes: queue.SimpleQueue[Drawing] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting: tuple[Weights, int] | None = None
        Image.preinit()  # imports now: decoding workers that are forked while the thread imports could hang

    def draw(self, weights: Weights, pairs: int) -> None:
        """Starts a drawing; while another one runs, the newest weights wait for it to end."""
        self._waiting = weights, pairs
        self._start()

    def finished(self) -> list[Drawing]:
        """The drawings that ended since the last call; starts the one that waits."""
        outcomes = [self._outcomes.get() for _ in range(self._outcomes.qsize())]
        self._start()
        return outcomes

    def close(self, seconds: float) -> list[Drawing]:
        """All that are left; a drawing that does not end within the time is abandoned."""
        deadline = time.monotonic() + seconds
        outcomes: list[Drawing] = []
        while self._thread:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                return [*outcomes, Drawing(self._pairs, failure=f"not finished within {seconds:g} s")]
            self._thread = None
            outcomes += self.finished()
        return outcomes

    def _start(self) -> None:
        if self._waiting and not (self._thread and self._thread.is_alive()):
            weights, self._pairs = self._waiting
            self._thread = threading.Thread(
                target=self._draw, args=(weights, self._pairs), name="sample-pictures", daemon=True
            )
            self._waiting = None
            self._thread.start()

    def _draw(self, weights: Weights, pairs: int) -> None:
        try:
            paths = tuple(sample_maps(self._run, self._config, self._predictor_of(weights)))
            self._outcomes.put(Drawing(pairs, paths))
        except Exception as error:  # whatever it is: pictures never end a run
            self._outcomes.put(Drawing(pairs, failure=f"{type(error).__name__}: {' '.join(str(error).split())}"))


def sample_maps(run: Path, config: Config, predictor: Predictor) -> Iterator[str]:
    """Draws and names the pictures, one by one."""
    for number, (grey_HW, sentence) in enumerate(islice(_findings(config), COUNT)):
        picture = Picture(grey_HW, Geometry.identity(*grey_HW.shape), {})
        features = predictor.image(grey_HW)
        grid_HW = predictor.maps(features, [sentence])[0].grid_HW
        path = f"pictures/sample-{number:02d}.png"
        (run / path).parent.mkdir(exist_ok=True)
        overlay.write(run / path, picture, grid_HW, features.cells, sentence, [], None)
        yield path


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
