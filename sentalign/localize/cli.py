"""`sentalign localize`: where in one picture sentences are true.

In: an image file, sentences and a run. Out: overlays, maps and boxes.json in a folder. The other modules do the work
and are imported when the command runs, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sentalign.localize.arguments import add_run_arguments, make_folder, pick_device
from sharding.command_line import Subcommands, add_command
from sharding.contract import Rejected, UserError

if TYPE_CHECKING:
    from sentalign.localize.boxes import Localization
    from sentalign.localize.maps.heatmap import Array
    from sharding.pixels import Geometry, Picture

EXAMPLES = """\
  sentalign localize chest.dcm "Right pleural effusion." --run runs/paper --out maps
  sentalign localize chest.png "Left apical pneumothorax." "Cardiomegaly." --run runs/paper --out maps --json

written to --out, NN the number of the sentence:
  NN-overlay.png   the image under its map, boxes (blue) and peak (cross)
  NN-map.npz       map: float32 on the original pixels; grid: the map's own grid; geometry: JSON, original to grid
  boxes.json       the boxes and the peak of every sentence in original pixels, and whether the mirrored picture
                   took part in its map"""


def add_parser(commands: Subcommands) -> None:
    """Adds `localize` to the command line."""
    parser = add_command(
        commands,
        "localize",
        localize,
        "show where in an X-ray a sentence is true",
        description="Shows where in a chest X-ray (DICOM, PNG or JPEG) each sentence is true.",
        examples=EXAMPLES,
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="DICOM, PNG or JPEG file")
    parser.add_argument("sentences", nargs="+", metavar="SENTENCE", help="a finding in words, quoted")
    add_run_arguments(parser, "boxes.json")


def localize(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for a missing or rejected image, an empty sentence or an unusable run."""
    sentences = [" ".join(sentence.split()) for sentence in args.sentences]
    if not all(any(c.isalnum() for c in sentence) for sentence in sentences):
        raise UserError('an empty sentence; give a finding in words, for example "Right pleural effusion."')
    picture = read_picture(args.image)
    from sentalign.localize import boxes
    from sentalign.localize.predict import Predictor

    predictor = Predictor.load(args.run, pick_device(args.device), args.map)
    features = predictor.image(picture.grey_HW)
    geometry = picture.geometry.then(features.cells)
    make_folder(args.out)
    localizations, level = [], predictor.settings.level
    for number, (sentence, one) in enumerate(zip(sentences, predictor.maps(features, sentences), strict=True), 1):
        localizations.append(boxes.localize(sentence, one.grid_HW, geometry, level, one.mirrored))
        _write(args.out, number, picture, one.grid_HW, geometry, localizations[-1])
    content = json.dumps(boxes.as_json(localizations, geometry), indent=1, ensure_ascii=False)
    (args.out / "boxes.json").write_text(content + "\n", encoding="utf-8")
    if args.json:
        print(content)
    else:
        _print_table(localizations, args.out)


def read_picture(path: Path) -> Picture:
    """The picture of a file. Raises UserError, whose message never contains the file's name."""
    from sharding import pixels

    if not path.is_file():
        raise UserError("no image file at this path; give one DICOM, PNG or JPEG file")
    try:
        return pixels.read(path.read_bytes(), path.name)
    except Rejected as error:
        raise UserError(f"the image was refused ({error}); give a readable DICOM, PNG or JPEG file") from None
    except OSError as error:
        raise UserError(f"the image cannot be read ({error.strerror}); check its permissions") from None


def _write(out: Path, number: int, picture: Picture, grid_HW: Array, geometry: Geometry, result: Localization) -> None:
    import numpy as np

    from sentalign.localize import overlay
    from sentalign.localize.maps.heatmap import clean_map

    rectangles = [(b.x, b.y, b.width, b.height) for b in result.boxes]
    overlay.write(
        out / f"{number:02d}-overlay.png", picture, grid_HW, geometry, result.sentence, rectangles, result.peak
    )
    np.savez(
        out / f"{number:02d}-map.npz",
        map=clean_map(grid_HW, geometry).astype(np.float32),
        grid=grid_HW.astype(np.float32),
        geometry=json.dumps(geometry.as_dict()),
    )


def _print_table(localizations: list[Localization], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("sentence", "boxes", "best box (x, y, width, height)", "peak (x, y)")
    for result in localizations:
        best = result.boxes[0] if result.boxes else None
        corner = f"{best.x:.0f}, {best.y:.0f}, {best.width:.0f}, {best.height:.0f}" if best else "none: constant map"
        peak = f"{result.peak[0]}, {result.peak[1]}" if result.peak else "none"
        table.add_row(result.sentence, str(len(result.boxes)), corner, peak)
    console = Console()
    console.print(table)
    console.print(f"written to {out}", markup=False, highlight=False)
