"""How well `--pixel-text` finds text in pictures, how often it is wrong, and what it costs.

In: folders of real X-rays (optional). Out: recall on synthetic X-rays into which made-up names, dates and numbers are
drawn, by height of the letters and contrast; alarms on the same pictures with side markers only; alarms on the real
pictures, by file name and never by what was read; CPU time per picture.

    PYTHONPATH=. python benchmarks/pixel_text.py [FOLDER ...] [--phantoms 6]
"""

from __future__ import annotations

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sharding import pixels
from sharding.contract import Rejected
from sharding.deid import pixel_text

SIDE = 1024
TEXTS = ("DOE, JANE", "Miller Hans", "NGUYEN THI LAN", "O'Brien, Sean", "Garcia Lopez M.", "12.03.1957", "MRN 4471902")
MARKERS = ("L", "R", "PA", "AP ERECT", "PORTABLE", "SUPINE", "AP MOBILE", "LEFT", "R LAT", "AP SITTING", "SEMI ERECT")
HEIGHTS = (10, 14, 20, 30, 45)  # points, in 1,024 pixels
CONTRASTS = (30, 80, 255)  # grey levels above what is behind the text, at most white
CORNERS = ((0.06, 0.16), (0.55, 0.03), (0.06, 0.86), (0.55, 0.92))  # beside the side marker, not on it


def phantoms(count: int) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as scratch:
        settings = ["--studies", str(count), "--seed", "7", "--size", str(SIDE), "--withhold", "none"]
        command = [sys.executable, "-m", "sentalign", "phantom", f"{scratch}/phantoms", *settings]
        subprocess.run(command, check=True, capture_output=True)
        return [grey_HW for name, grey_HW in real(Path(scratch)) if name.endswith(".dcm")]


def drawn(grey_HW: np.ndarray, text: str, height: int, contrast: int, corner: tuple[float, float]) -> np.ndarray:
    """The picture with a line of text, added to what is there."""
    layer = Image.new("L", (grey_HW.shape[1], grey_HW.shape[0]))
    place = (corner[0] * layer.width, corner[1] * layer.height)
    ImageDraw.Draw(layer).text(place, text, fill=255, font=ImageFont.load_default(height))
    added_HW = np.asarray(layer).astype(int) * contrast // 255
    return np.clip(grey_HW + added_HW, 0, 255).astype(np.uint8)


def alarms(pictures: list[np.ndarray]) -> list[bool]:
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(pixel_text.shows_text, pictures))


def real(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                yield path.name, pixels.open_image(path.read_bytes()).picture().grey_HW
            except Rejected:
                continue


def planted(plain: list[np.ndarray]) -> None:
    pairs = list(zip(itertools.cycle(plain), itertools.product(TEXTS, CORNERS), strict=False))
    for height, contrast in itertools.product(HEIGHTS, CONTRASTS):
        found = alarms([drawn(one_HW, text, height, contrast, corner) for one_HW, (text, corner) in pairs])
        print(f"planted, {height} points, contrast {contrast}: {sum(found)} of {len(found)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--phantoms", type=int, default=6)
    values = parser.parse_args()
    print(pixel_text.engine())
    for folder in values.folders:
        names, pictures = zip(*real(folder), strict=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = alarms(list(pictures))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cost = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / len(found)
        print(f"{folder}: {sum(found)} alarms in {len(found)} pictures, {cost:.2f} s of CPU each", flush=True)
        print("  " + " ".join(name for name, alarm in zip(names, found, strict=True) if alarm))
    plain = phantoms(values.phantoms)
    print(f"phantoms without text: {sum(alarms(plain))} of {len(plain)}")
    marked = [drawn(one_HW, text, 36, 255, c) for one_HW, text, c in itertools.product(plain[:2], MARKERS, CORNERS[:2])]
    print(f"phantoms with side markers: {sum(alarms(marked))} of {len(marked)}", flush=True)
    planted(plain)


if __name__ == "__main__":
    main()
