"""Throughput of reading a picture against a bare loop with the same decoder, on real files, in one run.

    python benchmarks/pixels.py FOLDER [FOLDER ...] [--size 1024] [--repeats 5]

Reading is `open_image`, `picture`, `shrink` and the JPEG encoder. The bare loop decodes with the same library, shifts
to 8 bits, resizes with Pillow's triangle filter and encodes: no header, no display chain, no check. Where OpenCV is
installed, its loop over the PNG and JPEG files (area filter, colour kept) stands beside it, as img2dataset's resizer
does it. Prints the share of the other loop's throughput by kind of file: 1 is as fast, above 1 faster. CPU seconds,
the best of the repeats of each file, taken in turn.
"""

from __future__ import annotations

import argparse
import io
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import pixel_array

from sharding import pixels
from sharding.contract import Rejected
from sharding.pixels import header

try:
    import cv2
except ImportError:
    cv2 = None

QUALITY = 95
# What pydicom calls the decoders.
PLUGINS = {"numpy": "", "openjpeg": "pylibjpeg", "charls": "pyjpegls", "pylibjpeg-rle": "pylibjpeg"}
Loop = Callable[[bytes], bytes]


def ours(size: int) -> Loop:
    def run(data: bytes) -> bytes:
        return encoded(Image.fromarray(pixels.shrink(pixels.open_image(data).picture(), size).grey_HW))

    return run


def bare_dicom(size: int, decoder: str) -> Loop:
    def run(data: bytes) -> bytes:
        dataset = pydicom.dcmread(io.BytesIO(data))
        stored = pixel_array(dataset, decoding_plugin=PLUGINS.get(decoder, decoder))
        if stored.ndim == 3:
            return encoded(resized(Image.fromarray(stored).convert("L"), size))
        return encoded(resized(Image.fromarray((stored >> max(0, dataset.BitsStored - 8)).astype(np.uint8)), size))

    return run


def bare_raster(size: int) -> Loop:
    def run(data: bytes) -> bytes:
        image = Image.open(io.BytesIO(data))
        image.draft("L", None)
        return encoded(resized(image if image.mode == "L" else image.convert("L"), size))

    return run


def resized(image: Image.Image, size: int) -> Image.Image:
    ratio = size / max(image.size)
    if ratio >= 1:
        return image
    return image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BILINEAR)


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def opencv(size: int) -> Loop:
    cv2.setNumThreads(1)

    def run(data: bytes) -> bytes:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if image.ndim == 3 and image.shape[2] == 4:  # over white
            alpha = image[:, :, 3:]
            image = np.rint(alpha / 255 * image[..., :3] + 255 - alpha).astype(np.uint8)
        ratio = size / max(image.shape[:2])
        if ratio < 1:
            shape = (round(image.shape[1] * ratio), round(image.shape[0] * ratio))
            image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
        return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])

    return run


def loops(data: bytes, size: int) -> tuple[str, dict[str, Loop]]:
    """The kind of the file and the loops to run on it; raises Rejected for what is no readable picture."""
    picture = pixels.read(data)
    provenance = picture.provenance
    shrunk = ", shrunk" if max(picture.grey_HW.shape) > size else ""
    if header.is_dicom(data):
        others = {"bare": bare_dicom(size, provenance["decoder"])}
        kind = f"DICOM {provenance['codec'].split(' (')[0].split(',')[0]}, {provenance['bits']} bits{shrunk}"
    else:
        others = {"bare": bare_raster(size)} | ({"OpenCV": opencv(size)} if cv2 else {})
        kind = f"{provenance['codec']} {provenance['photometric']}{shrunk}"
    return kind, {"ours": ours(size)} | others


def best_seconds(data: bytes, given: dict[str, Loop], repeats: int) -> dict[str, float]:
    best = dict.fromkeys(given, float("inf"))
    for _ in range(repeats):
        for name, loop in given.items():
            started = time.process_time()
            loop(data)
            best[name] = min(best[name], time.process_time() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    spent: dict[str, list[dict[str, float]]] = defaultdict(list)
    for path in sorted(path for folder in arguments.folders for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        try:
            kind, given = loops(data, arguments.size)
        except Rejected:
            continue
        spent[kind].append(best_seconds(data, given, arguments.repeats))
    report(spent)


def report(spent: dict[str, list[dict[str, float]]]) -> None:
    totals: dict[str, list[dict[str, float]]] = defaultdict(list)
    for kind, rows in spent.items():
        totals[f"all {kind.split()[0]}"] += rows
    for kind, rows in [*sorted(spent.items()), *totals.items()]:
        seconds = {name: sum(row[name] for row in rows) for name in rows[0]}
        own = seconds.pop("ours")
        shares = "  ".join(f"{other / own:5.2f} of {name}" for name, other in seconds.items())
        print(f"{kind:62} {len(rows):4} files {1e3 * own / len(rows):8.2f} ms  {shares}")


if __name__ == "__main__":
    main()
