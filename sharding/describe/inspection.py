"""A data set → its summary: statistics, lines for a terminal, a page with thumbnails.

In: the URL of shards and manifest. Out: a dictionary, lines, or one HTML page. Counting is in `statistics`, HTML in
`page`; whether the data set is valid is checked by `verify`.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from sharding import manifest, sample_reader
from sharding.contract import Rejected, UserError
from sharding.describe import page as html
from sharding.describe import statistics
from sharding.store.base import Store
from sharding.store.locations import open_store

THUMBNAILS = 60
THUMBNAIL = 320  # pixels a side, twice the size on the page, for high-density screens
QUALITY = 80


def summary(url: str) -> dict[str, Any]:
    """The statistics of the data set (`statistics.compute`); raises UserError if there is none."""
    store = open_store(url)
    return statistics.compute(store, manifest.read_from(store))


def lines(data: dict[str, Any]) -> list[str]:
    """The summary for a terminal."""
    sentences, sampled = data["sentences"], data["sampled"]
    splits = {name: f"{both['samples']} ({both['patients']} patients)" for name, both in data["splits"].items()}
    sizes = ", ".join(f"{size} ({count})" for size, count in list(data["image_sizes"].items())[:5])
    return [
        f"samples {data['samples']}, studies {data['studies']}, patients {data['patients']}",
        f"shards {data['shards']}, {data['bytes'] / 1e6:.1f} MB",
        "splits: " + _listed(splits),
        "views: " + _listed(data["views"]),
        "rejected: " + (_listed(data["rejected"]) or "none"),
        *(f"left out: {what} {count}" for what, count in data["left_out"].items()),
        *(f"note: {what} {count}" for what, count in data["notes"].items()),
        *(f"noticed: {what}: {count}" for what, count in data["noticed"].items()),
        f"sentences {sentences['total']}, per report {sentences['median']:g} (median), {sentences['max']} (maximum)",
        "sentences per report: " + ", ".join(f"{number}: {count}" for number, count in sentences["histogram"].items()),
        f"images without a sentence {sentences['without']}",
        f"tags of {sampled['sentences']} sampled sentences: {_listed(sampled['tags'])}",
        f"codecs of {sampled['samples']} sampled images: {_listed(sampled['pixels']['codec'])}",
        f"grey range of these images from: {_listed(sampled['pixels']['voi_source'])}",
        f"image sizes: {sizes}",
        *(f"leak: {what}: {count}" for what, count in data["leaks"].items() if count),
        "most repeated:",
        *(f"  {item['count']:6d}  {item['text']}" for item in data["most_repeated"]),
    ]


def _listed(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def page(url: str) -> str:
    """One HTML page without external references: the statistics and up to THUMBNAILS evenly spaced samples."""
    store = open_store(url)
    read = manifest.read_from(store)
    rows = statistics.evenly_spaced(read.table, THUMBNAILS)
    with ThreadPoolExecutor(statistics.READERS) as readers:
        jpegs = readers.map(lambda row: _thumbnail(store, row), rows)
    contents = statistics.descriptions(store, rows)
    sentences, looks = map(statistics.sentences_of, contents), map(statistics.looks_of, contents)
    gallery = list(map(html.GallerySample, rows, sentences, jpegs, looks))
    return html.render(statistics.compute(store, read), gallery)


def _thumbnail(store: Store, row: dict[str, Any]) -> bytes | None:
    try:
        image = Image.fromarray(sample_reader.grey(store, row, THUMBNAIL))
    except (Rejected, UserError):
        return None  # the page shows a placeholder
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
