"""How long a person waits at the page: the first map after dropping a DICOM, and every answer of a slider.

Needs a trained run, Chromium and the package playwright. A 3,000 x 3,000 DICOM of 12 bits is dropped on the page of a
real server; sliders are moved and the frame is waited for. One line of JSON.

    PYTHONPATH=. python benchmarks/serve_page.py RUN [--chromium /usr/bin/chromium]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.localize import write_dicom

SIDE, MOVES = 3000, 20
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# From a new value of a slider to the frame after it is drawn, milliseconds.
MOVE = """async ([id, value]) => {
  const range = document.getElementById(id), start = performance.now();
  range.value = value;
  range.dispatchEvent(new Event("input"));
  const worked = performance.now() - start;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return [worked, performance.now() - start];
}"""


def moves(page: Page, slider: str, values: range) -> dict[str, float]:
    """Milliseconds of script and until the next frame, the median and the longest."""
    worked, shown = zip(*(page.evaluate(MOVE, [slider, value]) for value in values), strict=True)
    return {
        "script_median": round(statistics.median(worked), 1),
        "frame_median": round(statistics.median(shown), 1),
        "frame_longest": round(max(shown), 1),
    }


def measure(page: Page, url: str, file: Path) -> dict[str, object]:
    """Seconds from the file to its picture and to its first map, and the moves of every slider."""
    page.goto(url)
    page.wait_for_selector("#gallery button:nth-child(6)")
    start = time.perf_counter()
    page.set_input_files("#file", file)
    page.wait_for_selector("#layers:not([hidden])")
    shown = time.perf_counter() - start
    page.fill("#sentence", "Right pleural effusion.")
    page.press("#sentence", "Enter")
    page.wait_for_selector("#list li")
    result: dict[str, object] = {"picture_s": round(shown, 2), "first_map_s": round(time.perf_counter() - start, 2)}
    for slider, values in (("opacity", range(20, 20 + MOVES)), ("threshold", range(20, 20 + MOVES))):
        result[slider] = moves(page, slider, values)
    result["window"] = moves(page, "width", range(80, 80 + MOVES))
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args()
    command = [sys.executable, "-m", "sentalign", "serve", "--run", str(args.run), "--port", "0"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_dicom(Path(folder) / "image.dcm", SIDE)
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        url = server.stdout.readline().rsplit(" at ")[1].split(" ")[0]
        browser = playwright.chromium.launch(executable_path=args.chromium, args=FLAGS)
        result = measure(browser.new_page(viewport={"width": 1600, "height": 1000}), url, Path(folder) / "image.dcm")
        browser.close()
        server.terminate()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
