"""A data set → what is in it: figures, lines for a terminal, a page with thumbnails.

In: the URL of shards and manifest. Out: a dictionary, lines, or one HTML page. The counting is in `census`, the looks
in `page`; whether the data set is sound is the business of `verify`.
"""

# H rows, W columns
from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from sharding import manifest, members
from sharding.contract import Rejected, UserError
from sharding.describe import census
from sharding.describe import page as pages
from sharding.describe.page import Figure
from sharding.store.base import Store
from sharding.store.locations import open_store

THUMBNAILS = 60
THUMBNAIL = 320  # pixels a side, twice what the page shows on a plain screen
QUALITY = 80


def summary(url: str) -> dict[str, Any]:
    """The figures of the data set (see `census.of`); raises UserError where there is none."""
    store = open_store(url)
    return census.of(store, manifest.read_from(store))


def lines(found: dict[str, Any]) -> list[str]:
    """The summary for a terminal."""
    said, seen = found["sentences"], found["looked_at"]
    splits = {name: f"{both['samples']} ({both['patients']} patients)" for name, both in found["splits"].items()}
    sizes = ", ".join(f"{size} ({count})" for size, count in list(found["image_sizes"].items())[:5])
    return [
        f"samples {found['samples']}, studies {found['studies']}, patients {found['patients']}",
        f"shards {found['shards']}, {found['bytes'] / 1e6:.1f} MB",
        "splits: " + _listed(splits),
        "views: " + _listed(found["views"]),
        "rejected: " + (_listed(found["rejected"]) or "none"),
        f"sentences {said['total']}, a report {said['median']:g} (median), {said['most']} (most)",
        "sentences a report: " + ", ".join(f"{number}: {count}" for number, count in said["histogram"].items()),
        f"images without a sentence {said['without']}",
        f"tags of {seen['sentences']} sentences looked at: {_listed(seen['tags'])}",
        f"codecs of {seen['samples']} samples looked at: {_listed(seen['pixels']['codec'])}",
        f"grey range of these from: {_listed(seen['pixels']['voi_source'])}",
        f"image sizes: {sizes}",
        *(f"leak: {what}: {count}" for what, count in found["leaks"].items() if count),
        "most repeated:",
        *(f"  {item['count']:6d}  {item['text']}" for item in found["most_repeated"]),
    ]


def _listed(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def page(url: str) -> str:
    """One HTML page without outside references: the figures and up to THUMBNAILS samples spread over the data set."""
    store = open_store(url)
    found = manifest.read_from(store)
    rows = census.spread(found.table, THUMBNAILS)
    with ThreadPoolExecutor(census.READERS) as readers:
        jpegs = list(readers.map(lambda row: _thumbnail(store, row), rows))
    said = map(census.sentences_of, census.descriptions(store, rows))
    figures = [Figure(row, sentences, jpeg) for row, sentences, jpeg in zip(rows, said, jpegs, strict=True)]
    return pages.render(census.of(store, found), figures)


def _thumbnail(store: Store, row: dict[str, Any]) -> bytes | None:
    try:
        image = Image.fromarray(members.grey(store, row, THUMBNAIL))
    except (Rejected, UserError):
        return None  # the page says so in its place
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
