"""The data sets that the benchmark of the stream reads, made with the project's own sharding tool.

In: a folder of images, or none (phantoms). Out: folders of shards with a manifest. A large data set is a small one
whose shards are linked under many names: its manifest has as many rows as it says, its bytes lie on the disk once.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from sharding import manifest
from sharding.contract import MANIFEST_NAME, SHARD_NAME
from sharding.store.locations import open_store

SUFFIXES = (".png", ".jpg", ".jpeg")
SENTENCES = (
    "The heart is normal in size.",
    "There is a small left pleural effusion, slightly larger than before.",
    "No pneumothorax.",
    "Patchy opacity in the right lower lobe is suspicious for pneumonia.",
    "The mediastinal contours are within normal limits.",
    "Degenerative changes of the thoracic spine are seen.",
    "A right internal jugular catheter ends in the superior vena cava.",
    "Mild vascular congestion without overt edema.",
)


def of_images(images: Path, into: Path, samples: int, per_shard: int = 250) -> Path:
    """Shards of the pictures below `images`, again and again until there are `samples`, with made-up reports."""
    source = into / "in"
    source.mkdir(parents=True)
    found = [path for path in sorted(images.rglob("*")) if path.suffix.lower() in SUFFIXES]
    assert found, f"no PNG or JPEG below {images}"
    rows = []
    for number in range(samples):
        path = found[number % len(found)]
        name = f"{number:06d}{path.suffix.lower()}"
        shutil.copy(path, source / name)
        chosen = np.roll(SENTENCES, number)[: 1 + number % len(SENTENCES)]
        report = " ".join(f"{text[:-1]} (image {number})." for text in chosen)
        rows.append({"file": name, "text": report, "patient": f"p{number // 2}"})
    return _built("folder", source, into, per_shard, rows)


def of_phantoms(into: Path, samples: int) -> Path:
    """Shards of phantom studies."""
    source = into / "in"
    _run("sentalign.cli", "phantom", str(source), "--studies", str(samples), "--seed", "1")
    return _built("mimic-cxr", source, into, 250, [])


def tiny(into: Path, samples: int, side: int = 64) -> Path:
    """One shard of very small pictures, so that the cost of a sample is not that of its pixels."""
    images = into / "images"
    images.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(16):
        small = Image.fromarray(noise.integers(0, 256, (8, 8), dtype=np.uint8))
        small.resize((side, side)).save(images / f"{number}.png")
    return of_images(images, into, samples, samples)


def many(shards: Path, into: Path, samples: int) -> Path:
    """A data set of `samples` rows: the shards linked under further names, each with its manifest rows."""
    into.mkdir(parents=True)
    found = manifest.read(str(shards))
    table = found.table.filter(pc.equal(found.table["split"], "train"))
    names = sorted(found.metadata["shards"])
    tables, shown = [], {}
    for copy in range(-(-samples // table.num_rows)):
        fresh = {name: SHARD_NAME.format(copy * len(names) + i) for i, name in enumerate(names)}
        for name, other in fresh.items():
            (into / other).symlink_to((shards / name).resolve())
            shown[other] = found.metadata["shards"][name]
        columns = {
            "shard": pa.array([fresh[name] for name in table["shard"].to_pylist()]),
            "key": pc.binary_join_element_wise(table["key"], str(copy), "-"),
            "patient": pc.binary_join_element_wise(table["patient"], str(copy), "-"),
        }
        made = table
        for name, column in columns.items():
            made = made.set_column(made.schema.get_field_index(name), name, column)
        tables.append(made)
    rows = pa.concat_tables(tables).slice(0, samples)
    content = manifest.encode(rows, found.metadata["settings"], shown, {"samples": samples})
    open_store(into).put(MANIFEST_NAME, content)
    return into


def _built(kind: str, source: Path, into: Path, per_shard: int, rows: list[dict[str, str]]) -> Path:
    out, words = into / "shards", ["--processes", "2", "--shard-images", str(per_shard), "--views", "all"]
    words += ["--private", str(into / "private")]
    if rows:
        with (source / "reports.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        words += ["--table", "reports.csv", "--image-column", "file", "--text-column", "text"]
        words += ["--patient-column", "patient", "--split-share", "1,0,0"]
    _run("sharding", "build", kind, str(source), "--out", str(out), *words)
    shutil.rmtree(source)
    return out


def _run(module: str, *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
