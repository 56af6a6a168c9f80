"""A data set → what is in it: counts, the most repeated sentences, a page of thumbnails.

In: the URL of shards and manifest. Out: a summary as a dictionary, as lines, or as one self-contained HTML page.
"""

from __future__ import annotations

import base64
import html
import io
import json
import statistics
from collections import Counter
from typing import Any

from PIL import Image

from sharding import manifest
from sharding.storage import Store, open_store

REPEATED = 10
THUMBNAILS = 60
THUMBNAIL = 192
STYLE = (
    "body{font:14px system-ui;margin:2rem;background:#111;color:#ddd}main{display:grid;grid-template-columns:"
    "repeat(auto-fill,minmax(210px,1fr));gap:1rem}figure{margin:0}img{width:100%;background:#000}"
    "figcaption{font-size:12px}pre{background:#1c1c1c;padding:1rem;overflow:auto}"
)


def summary(url: str) -> dict[str, Any]:
    """Counts by split and view, sentences a report, image sizes and the sentences said most often."""
    store = open_store(url)
    found = manifest.read_from(store)
    rows = found.table.to_pylist()
    sentences = [row["sentence_count"] for row in rows] or [0]
    return {
        "samples": len(rows),
        "patients": len({row["patient"] for row in rows}),
        "studies": len({row["study"] for row in rows}),
        "shards": len(found.metadata["shards"]),
        "bytes": sum(shard["bytes"] for shard in found.metadata["shards"].values()),
        "splits": _counted(row["split"] for row in rows),
        "views": _counted(row["view"] or "unknown" for row in rows),
        "rejected": found.metadata["counts"]["rejected"],
        "sentences": {
            "total": sum(sentences),
            "median": statistics.median(sentences),
            "most": max(sentences),
            "without": sum(not count for count in sentences) if rows else 0,
        },
        "image_sizes": _counted(f"{row['width']}x{row['height']}" for row in rows),
        "most_repeated": _most_repeated(store, rows),
        "settings": found.metadata["settings"],
        "fingerprint": found.fingerprint,
    }


def _counted(values: Any) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _most_repeated(store: Store, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The hashes are counted in the manifest; only one sample of each is fetched for its words."""
    counts = Counter(text for row in rows for text in row["text_hashes"])
    holder = {text: row for row in reversed(rows) for text in row["text_hashes"]}
    found = []
    for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:REPEATED]:
        said = _description(store, holder[text])["sentences"]
        found.append({"count": count, "text": next(sentence["text"] for sentence in said if sentence["hash"] == text)})
    return found


def _description(store: Store, row: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(store.get_range(row["shard"], row["json_offset"], row["json_bytes"])))


def lines(found: dict[str, Any]) -> list[str]:
    """The summary for a terminal."""
    said = found["sentences"]
    sizes = ", ".join(f"{size} ({count})" for size, count in list(found["image_sizes"].items())[:5])
    return [
        f"samples {found['samples']}, studies {found['studies']}, patients {found['patients']}",
        f"shards {found['shards']}, {found['bytes'] / 1e6:.1f} MB",
        "splits: " + _listed(found["splits"]),
        "views: " + _listed(found["views"]),
        "rejected: " + (_listed(found["rejected"]) or "none"),
        f"sentences {said['total']}, a report {said['median']:g} (median), {said['most']} (most)",
        f"images without a sentence {said['without']}",
        f"image sizes: {sizes}",
        "most repeated:",
        *(f"  {item['count']:6d}  {item['text']}" for item in found["most_repeated"]),
    ]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def page(url: str) -> str:
    """One HTML page without outside references: the summary and up to 60 thumbnails spread over the data set."""
    store = open_store(url)
    rows = manifest.read_from(store).table.to_pylist()
    step = max(1, -(-len(rows) // THUMBNAILS))
    figures = "".join(_figure(store, row) for row in rows[::step])
    summed = html.escape("\n".join(lines(summary(url))))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Shards</title><style>{STYLE}</style>"
        f"<h1>Shards</h1><pre>{summed}</pre><main>{figures}</main></html>\n"
    )


def _figure(store: Store, row: dict[str, Any]) -> str:
    data = store.get_range(row["shard"], row["image_offset"], row["image_bytes"])
    said = " ".join(sentence["text"] for sentence in _description(store, row)["sentences"])
    caption = html.escape(f"{row['key']} {row['view']} {row['split']}: {said[:300]}")
    image = f"<img alt='' src='data:image/jpeg;base64,{_thumbnail(data)}'>"
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _thumbnail(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("L")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()
