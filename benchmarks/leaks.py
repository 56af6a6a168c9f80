"""How surely copies of real X-rays are found under other patients, how often others are taken for copies, how fast.

    PYTHONPATH=. python benchmarks/leaks.py [--data FOLDER] [--among 60000] [--hashes 377000] [--kinds crop]

FOLDER holds images and metadata.csv (default: $SENTALIGN_REALDATA/cxr_notes, else ../shared/data/cxr_notes). Each line
is one way to copy: every image of the folder is copied in that way under a patient of its own, among as many made-up
hashes as --among says (drawn with the covariance of the real ones); found are the patients joined with their
copy, false the joined pairs of different people. One case of the folder stands under two patients in truth and is
left out. Then the time to compare all pairs of --hashes.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageOps

from sharding import leaks, pixels
from sharding.contract import UserError
from sharding.leaks import neighbours, perceptual_hash
from sharding.pixels.picture import Grey

SAME_CASE = {"30", "31"}  # by eye: the first image of the one is the second of the other, with other borders
Change = Callable[[Grey, np.random.Generator], Grey]


def jpeg(quality: int) -> Change:
    def change(grey_HW: Grey, _: np.random.Generator) -> Grey:
        buffer = io.BytesIO()
        Image.fromarray(grey_HW).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return change


def scale(share: float, wider: float = 1) -> Change:
    def change(grey_HW: Grey, _: np.random.Generator) -> Grey:
        height, width = (max(8, int(side * share)) for side in grey_HW.shape)
        return np.asarray(Image.fromarray(grey_HW).resize((int(width * wider), height)))

    return change


def crop(share: float) -> Change:
    """Up to this share off each side."""

    def change(grey_HW: Grey, random: np.random.Generator) -> Grey:
        height, width = grey_HW.shape
        top, bottom, left, right = (random.uniform(0, share, 4) * (height, height, width, width)).astype(int)
        return grey_HW[top : height - bottom, left : width - right]

    return change


def border(share: float, value: int = 0) -> Change:
    def change(grey_HW: Grey, random: np.random.Generator) -> Grey:
        height, width = grey_HW.shape
        top, bottom, left, right = (random.uniform(0, share, 4) * (height, height, width, width)).astype(int)
        return np.pad(grey_HW, ((top, bottom), (left, right)), constant_values=value)

    return change


def gamma(power: float) -> Change:
    return lambda grey_HW, _: (255 * (grey_HW / 255) ** power).astype(np.uint8)


def window(low: float, high: float) -> Change:
    def change(grey_HW: Grey, _: np.random.Generator) -> Grey:
        least, most = np.percentile(grey_HW, [low, high])
        return np.clip((grey_HW - least) / (most - least) * 255, 0, 255).astype(np.uint8)

    return change


def noise(grey_HW: Grey, random: np.random.Generator) -> Grey:
    return np.clip(grey_HW + random.normal(0, 8, grey_HW.shape), 0, 255).astype(np.uint8)


def equalised(grey_HW: Grey, _: np.random.Generator) -> Grey:
    return np.asarray(ImageOps.equalize(Image.fromarray(grey_HW)))


def turned(degrees: float) -> Change:
    return lambda grey_HW, random: np.asarray(
        Image.fromarray(grey_HW).rotate(degrees * random.choice([-1, 1]), Image.Resampling.BILINEAR)
    )


def marked(grey_HW: Grey, _: np.random.Generator) -> Grey:
    """A white and a black box, as labels are stuck on and names blacked out."""
    image = Image.fromarray(grey_HW.copy())
    height, width = grey_HW.shape
    draw = ImageDraw.Draw(image)
    draw.rectangle([int(0.02 * width), int(0.02 * height), int(0.2 * width), int(0.08 * height)], fill=255)
    draw.rectangle([int(0.8 * width), int(0.9 * height), int(0.97 * width), int(0.95 * height)], fill=0)
    return np.asarray(image)


def chain(*changes: Change) -> Change:
    def change(grey_HW: Grey, random: np.random.Generator) -> Grey:
        for one in changes:
            grey_HW = one(grey_HW, random)
        return grey_HW

    return change


KINDS: dict[str, Change] = {
    "as it is": lambda grey_HW, _: grey_HW,
    "JPEG, quality 30": jpeg(30),
    "scaled to a quarter": scale(0.25),
    "5% wider": scale(1, 1.05),
    "crop to 3% a side": crop(0.03),
    "crop to 5% a side": crop(0.05),
    "crop to 8% a side": crop(0.08),
    "crop to 12% a side": crop(0.12),
    "black border to 10%": border(0.1),
    "black border to 25%": border(0.25),
    "white border to 5%": border(0.05, 255),
    "gamma 0.6": gamma(0.6),
    "gamma 1.6": gamma(1.6),
    "window 5 to 95%": window(5, 95),
    "window 20 to 99%": window(20, 99),
    "window 1 to 80%": window(1, 80),
    "equalised": equalised,
    "noise of 8 levels": noise,
    "turned by 2 degrees": turned(2),
    "turned by 4 degrees": turned(4),
    "labels and black boxes": marked,
    "half size, crop 5%, gamma, JPEG": chain(scale(0.5), crop(0.05), gamma(0.75), jpeg(60)),
    "border 8%, window, scaled, JPEG": chain(border(0.08), window(3, 97), scale(0.7), jpeg(75)),
    "crop 10%, window, labels, JPEG": chain(crop(0.1), window(5, 95), marked, jpeg(50)),
}


class Pictures:
    """What `leaks` needs of a store: the bytes behind a row. Made-up rows have none."""

    def __init__(self, pictures: list[Grey]) -> None:
        self._pictures = pictures

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        if offset >= len(self._pictures):
            raise UserError("no picture")
        buffer = io.BytesIO()
        Image.fromarray(self._pictures[offset]).save(buffer, "JPEG", quality=95)
        return buffer.getvalue()


def table(hashes: list[str], patients: list[str]) -> pa.Table:
    rows = len(patients)
    columns = {"patient": patients, "image_likeness": hashes, "split": ["train"] * rows, "shard": [""] * rows}
    columns |= {name: [str(row) for row in range(rows)] for name in ("key", "image_sha256")}
    return pa.table(columns | {"image_offset": range(rows), "image_bytes": [1] * rows})


def made_up(real: list[str], count: int) -> list[str]:
    """Fingerprints that vary as the real ones do."""
    vectors_LF = perceptual_hash.vectors(real)
    random = np.random.default_rng(1)
    drawn = random.multivariate_normal(vectors_LF.mean(0), np.cov(vectors_LF.T), count) + 7.5
    return ["".join(f"{digit:x}" for digit in row) for row in np.clip(drawn.round(), 0, 15).astype(int).tolist()]


def pictures_of(folder: Path) -> tuple[list[str], list[Grey]]:
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    read = (pixels.read((folder / "images" / row["filename"]).read_bytes()) for row in rows)
    return [row["patientid"] for row in rows], [pixels.shrink(picture, 1024).grey_HW for picture in read]


def measure(change: Change, patients: list[str], pictures: list[Grey], others: list[str]) -> tuple[float, int]:
    """The share of patients joined with their copies, and how many pairs of different people were joined."""
    copies = [change(grey_HW, np.random.default_rng(number)) for number, grey_HW in enumerate(pictures)]
    digits = [perceptual_hash.of(grey_HW) for grey_HW in pictures + copies] + others
    names = patients + [f"copy {name}" for name in patients] + [f"other {number}" for number in range(len(others))]
    found = leaks.find(table(digits, names), Pictures(pictures + copies))  # type: ignore[arg-type]
    pairs = [{name.removeprefix("copy ") for name in (leak.patient, leak.other_patient)} for leak in found]
    together = {name: number for number, group in enumerate(leaks.groups(found)) for name in group}
    joined = [together.get(name, -1) == together.get(f"copy {name}", -2) for name in sorted(set(patients))]
    return sum(joined) / len(joined), sum(len(pair) == 2 and pair != SAME_CASE for pair in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(os.environ.get("SENTALIGN_REALDATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=root / "cxr_notes")
    parser.add_argument("--among", type=int, default=60_000)
    parser.add_argument("--hashes", type=int, default=377_000)
    parser.add_argument("--kinds", default="", help="only the kinds with this in their name")
    values = parser.parse_args()
    patients, pictures = pictures_of(values.data)
    started = time.process_time()
    real = [perceptual_hash.of(grey_HW) for grey_HW in pictures]
    print(f"{len(pictures)} images, a hash in {1000 * (time.process_time() - started) / len(pictures):.2f} ms")
    others = made_up(real, values.among)
    for name, change in KINDS.items():
        if values.kinds in name:
            alone, among = (measure(change, patients, pictures, rest) for rest in ([], others))
            print(f"{name:34s} found {alone[0]:6.1%}, among {len(others)} {among[0]:6.1%}; false {alone[1] + among[1]}")
    vectors_LF = perceptual_hash.vectors(made_up(real, values.hashes))
    started = time.process_time()
    pairs = neighbours.candidates(vectors_LF, np.arange(len(vectors_LF)))
    print(f"{len(vectors_LF)} hashes: {len(pairs)} pairs kept after {time.process_time() - started:.0f} s of CPU")


if __name__ == "__main__":
    main()
