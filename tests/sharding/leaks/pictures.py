"""Made-up pictures, what happens to copies of them, and small data sets of them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from sharding import checksums, manifest
from sharding.build import pool, run
from sharding.build.sentence_tuple import SampleSettings, split_of
from sharding.deid import private_folder, pseudonyms
from sharding.sources import folder as folder_source
from sharding.sources.files.inventory import Inventory
from sharding.sources.folder import FolderTable

SALT = b"s" * 32
TABLE = FolderTable("table.csv", "image", "text", "patient")


def cloudy(seed, height=240, width=200):
    """A picture with structure of all sizes, another one for each seed."""
    random = np.random.default_rng(seed)
    sums_HW = np.zeros((height, width))
    for cells in (3, 6, 12, 24, 48):
        noise = Image.fromarray(random.normal(size=(cells, cells)).astype(np.float32))
        sums_HW += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) / cells**0.5
    low, high = np.percentile(sums_HW, [1, 99])
    return np.clip(255 * (sums_HW - low) / (high - low), 0, 255).astype(np.uint8)


def again_as_jpeg(grey_HW, quality=40):
    buffer = io.BytesIO()
    Image.fromarray(grey_HW).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def scaled(grey_HW, share=0.6):
    height, width = grey_HW.shape
    return np.asarray(Image.fromarray(grey_HW).resize((round(width * share), round(height * share))))


def cropped(grey_HW, share=0.04):
    height, width = grey_HW.shape
    return grey_HW[round(share * height) :, round(share * width) : -round(share * width)]


def bordered(grey_HW, share=0.15):
    edges = [(round(share * side), round(share * side / 2)) for side in grey_HW.shape]
    framed_HW = np.pad(grey_HW, edges)
    framed_HW[4:12, 4:30] = 255  # lettering in the border
    return framed_HW


def windowed(grey_HW):
    return np.clip((grey_HW.astype(float) - 30) * 1.3, 0, 255).astype(np.uint8)


def darker(grey_HW):
    return (255 * (grey_HW / 255) ** 1.6).astype(np.uint8)


COPIES = (again_as_jpeg, scaled, cropped, bordered, windowed, darker)


def names_of(split, count):
    """Patients that a build with `SALT` puts into the split."""
    names = (f"patient-{number}" for number in range(10_000))
    chosen = (name for name in names if split_of(pseudonym(name), SampleSettings().split_share) == split)
    return [next(chosen) for _ in range(count)]


def pseudonym(patient):
    return pseudonyms.pseudonym(SALT, "patient", patient)


def data_set(root: Path, samples, shard_images=4, image="jpg"):
    """The folder of a data set built of (patient, picture or bytes, text) rows."""
    source = root / "source"
    source.mkdir(parents=True)
    with (source / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", "text", "patient"))
        for number, (patient, picture, text) in enumerate(samples):
            name = f"{number}.png"
            if isinstance(picture, bytes):
                (source / name).write_bytes(picture)
            else:
                Image.fromarray(picture).save(source / name)
            table.writerow((name, text, patient))
    (root / "private").mkdir()
    (root / "private" / "salt").write_bytes(SALT)
    out = root / "out"
    private = private_folder.open_private(root / "private", str(source), str(out))
    settings = run.BuildSettings("folder", SampleSettings(image=image, allow_no_text=True), shard_images)
    reading = folder_source.read(Inventory.of(str(source)), TABLE)
    run.build(reading, run.Build(settings, str(out), private, lambda recipe: pool.Processes(recipe, 1)))
    return out


def rewrite(out: Path, table, metadata):
    """The manifest anew, with the checksums that go with it."""
    path = out / "manifest.parquet"
    path.unlink()
    path.write_bytes(manifest.encode(table, metadata["settings"], metadata["shards"], metadata["counts"]))
    (out / "SHA256SUMS").write_bytes(checksums.encode({name: (out / name).read_bytes() for name in checksums.COVERED}))
