"""The data settings → the opened data sets of a split, mixed by weight.

In: the settings, a split and the seed. Out: a `Mixture` of `Shards`. The order is in `order`, reading in `fetch`.
"""

from __future__ import annotations

from sentalign.config import Data
from sentalign.stream.order.mixture import Mixture, OrderOptions
from sentalign.stream.read.cache import cache_of
from sentalign.stream.read.fetch import Shards
from sentalign.stream.read.manifest_index import count_with_text


def open_mixture(data: Data, split: str, seed: int) -> Mixture[Shards]:
    """Reads the manifests. Raises UserError where one is missing, or the batch is too small for the data sets.

    A data set without validation samples is for training only.
    """
    with_samples = [s for s in data.sources if split == data.train_split or count_with_text([s.url], split)]
    sources = with_samples or data.sources
    cache = cache_of(data)
    shards = [Shards(source.url, split, data.store_timeout, cache) for source in sources]
    options = OrderOptions(data.batch, data.block, data.max_duplicates, tuple(data.duplicate_keys))
    return Mixture(shards, [source.weight for source in sources], seed, options)
