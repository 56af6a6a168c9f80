"""Sentences on pictures, one after another, in a thread of their own: the server answers others meanwhile.

In: an open picture and a sentence. Out: a `Finding`. Features of the last pictures are kept, so that a further sentence
on the same picture costs no pass of the image tower.
"""

from __future__ import annotations

import weakref
from collections import deque

from sentalign.localize.predict import ImageFeatures, Predictor
from sentalign.serve.open_pictures import Finding, OpenPicture
from sentalign.serve.work_queue import WorkQueue

KEPT = 2  # features hold the graph of their image, gigabytes for a large tower


class Finder:
    """One model, asked by one thread: two would share the same cores, or the same GPU."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._queue = WorkQueue("model")
        self._with_features: deque[weakref.ref[OpenPicture]] = deque()  # weak: a closed picture is gone

    async def find(self, picture: OpenPicture, sentence: str) -> Finding:
        """Where a sentence is true. Raises RefusedError where too many wait already."""
        return await self._queue.run(self._find, picture, sentence)

    def _find(self, picture: OpenPicture, sentence: str) -> Finding:
        features, shown = self._features_of(picture), picture.deep.picture
        maps = self.predictor.maps(features, [sentence])
        [result] = self.predictor.localizations(shown, features, [sentence], maps)
        self.predictor.text.forget()  # what a person typed
        return Finding(maps[0].grid_HW, shown.geometry.then(features.cells), result)

    def _features_of(self, picture: OpenPicture) -> ImageFeatures:
        if picture.features is None:
            picture.features = self.predictor.image(picture.deep.picture.grey_HW)
            self._with_features.append(weakref.ref(picture))
            while len(self._with_features) > KEPT:
                oldest = self._with_features.popleft()()
                if oldest is not None:
                    oldest.features = None
        return picture.features

    def close(self) -> None:
        """Ends the thread after what it is at."""
        self._queue.close()
