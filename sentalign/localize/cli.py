"""`sentalign localize`: where in pictures sentences are true.

In: image files, sentences and a run. Out: overlays, maps and boxes in a folder. The other modules do the work and are
imported when the command runs, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentalign.localize.arguments import add_run_arguments, make_folder, pick_device
from sharding.command_line import Subcommands, add_command
from sharding.contract import UserError

if TYPE_CHECKING:
    from sentalign.localize.dicom_out.write import DicomOut
    from sharding.pixels import Picture

EXAMPLES = """\
  sentalign localize chest.dcm "Right pleural effusion." --run runs/paper --out maps
  sentalign localize chest.png "Left apical pneumothorax." "Cardiomegaly." --run runs/paper --out maps --json
  sentalign localize studies/ more/*.dcm s3://bucket/xrays --sentences findings.txt --run runs/paper --out maps

written to --out, NN the number of the sentence:
  NN-overlay.png   the image under its map, boxes (blue) and peak (cross)
  NN-map.npz       grid: the map's own grid; geometry: JSON, original to grid; for one file also map: float32 on the
                   original pixels
  overlay.png      with several sentences: all of them in one picture
  DICOM            with --dicom: segmentation.dcm, segmentation-fractional.dcm, overlay-NN.dcm, report.dcm, of the same
                   study and patient as the image, marked as research output
  boxes.json       the boxes, the peak and the score of every sentence in original pixels, and whether the mirrored
                   picture took part in its map
With more than one file these lie in folders 000001, 000002, ..., beside:
  results.csv      a row for each file and sentence; files that are no sound picture have their reason
  results.jsonl    the same as JSON, a line for each file, written as they are done
The same command goes on where a stopped one was, and tries again what failed. Exit code 1: some files failed."""

DICOM = ("seg", "seg-fractional", "sc", "sr")


def add_parser(commands: Subcommands) -> None:
    """Adds `localize` to the command line."""
    parser = add_command(
        commands,
        "localize",
        localize,
        "show where in an X-ray a sentence is true",
        description="Shows where in chest X-rays (DICOM, PNG or JPEG) each sentence is true.",
        examples=EXAMPLES,
    )
    parser.add_argument("image", metavar="IMAGE", help="file, folder, pattern or URL of DICOM, PNG, JPEG (also .gz)")
    parser.add_argument("words", nargs="*", metavar="SENTENCE", help="a finding in words, quoted; or one more IMAGE")
    parser.add_argument("--sentences", type=Path, metavar="FILE", help="text file with one sentence a line")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that decode several files; 0: none (default: 2)"
    )
    parser.add_argument(
        "--dicom",
        action="append",
        choices=DICOM,
        default=[],
        help="also write DICOM objects of DICOM images: a segmentation with a segment a sentence (seg; seg-fractional "
        "with the whole map), the overlays as secondary captures (sc), a TID 1500 report of the boxes (sr)",
    )
    add_run_arguments(parser, "boxes.json, or of results.jsonl with several files")


def localize(args: argparse.Namespace) -> int:
    """Runs the command. Raises UserError for a missing image, an empty sentence or an unusable run."""
    from sentalign.localize.files import inputs

    places, sentences = inputs.split([args.image, *args.words])
    sentences += inputs.read_sentences(args.sentences) if args.sentences else []
    sentences = list(dict.fromkeys(sentences))
    if not sentences:
        raise UserError('no sentence; give a finding in words, for example "Right pleural effusion."')
    if args.workers < 0:
        raise UserError("--workers must be 0 or more")
    images = inputs.expand(places, args.out)
    if inputs.is_one_file(places):
        return _one(args, images[0], sentences)
    return _many(args, images, sentences)


def _one(args: argparse.Namespace, image: str, sentences: list[str]) -> int:
    """A file by its name: everything goes to --out itself. Raises UserError where it is no picture."""
    from sentalign.localize.files.decode import decode

    picture = decode(image)
    if isinstance(picture, str):
        raise UserError(f"the image was refused ({picture}); give a readable DICOM, PNG or JPEG file")
    from sentalign.localize.files import one_picture
    from sentalign.localize.files.results import in_ascii
    from sentalign.localize.predict import Predictor

    dicom_of = _dicom_of(args.dicom)
    dicom = dicom_of(image, picture)
    predictor = Predictor.load(args.run, pick_device(args.device), args.map)
    features = predictor.image(picture.grey_HW)
    content = one_picture.localize_picture(predictor, picture, features, sentences, args.out, dicom=dicom)
    if args.json:
        print(in_ascii((args.out / "boxes.json").read_text(encoding="utf-8")), end="")
    else:
        _print_table(content["sentences"], args.out)
    return 0


def _many(args: argparse.Namespace, images: list[str], sentences: list[str]) -> int:
    from sentalign.localize.files.many_pictures import localize_all
    from sentalign.localize.files.results import TABLE, Results, in_ascii
    from sentalign.localize.predict import Predictor
    from sentalign.localize.trained_run import weights_sha256
    from sharding import progress

    dicom_of = _dicom_of(args.dicom)
    predictor = Predictor.load(args.run, pick_device(args.device), args.map)
    make_folder(args.out)
    settings = {"weights": weights_sha256(args.run), "maps": predictor.settings.model_dump()}
    results = Results(args.out, settings | {"sentences": sentences, "dicom": sorted(args.dicom)}, images)
    with progress.bar("localizing", len(images)) as advance:
        failed = localize_all(predictor, images, sentences, args.out, results, args.workers, advance, dicom_of)
    if args.json:
        print(in_ascii(results.of(images)), end="")
    else:
        print(
            f"{len(images) - failed} of {len(images)} files localized, {failed} failed; written to {args.out / TABLE}"
        )
    return int(failed > 0)


def _dicom_of(kinds: list[str]) -> Callable[[str, Picture], DicomOut | None]:
    """What makes the DICOM objects of an image. Raises UserError where they are asked for and highdicom is missing."""
    if not kinds:
        return lambda image, picture: None
    try:
        from sentalign.localize.dicom_out.write import DicomOut
    except ImportError:
        raise UserError("--dicom needs the package highdicom; pip install 'sentalign[dicom]'") from None
    from sharding.store import locations
    from sharding.text import encoding

    # Threads write the objects, and share the filters that each of them sets and restores: texts quote patients' names.
    warnings.simplefilter("ignore")
    return lambda image, picture: DicomOut.of(kinds, encoding.inflated(locations.read(image), "the file"), picture)


def _print_table(entries: list[dict[str, Any]], out: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("sentence", "score", "boxes", "best box (x, y, width, height)", "peak (x, y)")
    for entry in entries:
        best, peak = (entry["boxes"] or [None])[0], entry["peak"]
        corner = "{x:.0f}, {y:.0f}, {width:.0f}, {height:.0f}".format(**best) if best else "none: constant map"
        at = f"{peak['x']}, {peak['y']}" if peak else "none"
        table.add_row(escape(entry["sentence"]), f"{entry['score']:.2f}", str(len(entry["boxes"])), corner, at)
    console = Console()
    console.print(table)
    console.print(f"written to {out}", markup=False, highlight=False)
