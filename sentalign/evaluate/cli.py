"""`sentalign evaluate`: metrics of a trained run on sets with boxes or masks, on labels and on shards.

In: a data folder and a run. Out: metrics.json, cases.npz, a page and a model card in a folder. The other modules do the
work and are imported when the command runs, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentalign.evaluate.arguments import add_bootstrap, add_workers, check_bootstrap, check_workers, share_bar
from sentalign.evaluate.classification import cli as classification
from sentalign.evaluate.results import cli as compare
from sentalign.evaluate.retrieval import cli as retrieval
from sentalign.localize.arguments import add_run_arguments, check_writable, pick_device
from sharding.command_line import Subcommands, add_command
from sharding.contract import UserError

if TYPE_CHECKING:
    from sentalign.evaluate.datasets.case import Case
    from sentalign.localize.predict import Predictor

MS_CXR_EXAMPLES = """\
  sentalign evaluate ms-cxr --data ms-cxr --run runs/paper --out results
  sentalign evaluate ms-cxr --data phantoms --run demo/run --out demo --withheld Cavity,Nodule --json
  sentalign evaluate ms-cxr --data phantoms --run demo/run --out demo --withheld-phrases phantoms/phantom.json

--data holds MS_CXR_Local_Alignment_*.json or .csv and the images under the paths that this file names.
"""
RSNA_EXAMPLES = """\
  sentalign evaluate rsna --data rsna-pneumonia --run runs/paper --out results
  sentalign evaluate rsna --data rsna-pneumonia --list test.csv --run runs/paper --out results
  sentalign evaluate rsna --data rsna-pneumonia --phrase "Lung opacity." --run runs/paper --out results

--data holds stage_2_train_labels.csv, stage_2_detailed_class_info.csv and the folder stage_2_train_images.
"""
COVID_RURAL_EXAMPLES = """\
  sentalign evaluate covid-rural --data covid-rural --run runs/paper --out results
  sentalign evaluate covid-rural --data covid-rural --run runs/paper --out results --phrase "Patchy opacities."

--data holds covid_rural_annot with jpgs, pngs_masks and jpgs/jsons. Everything is measured on the pixels of the masks.
"""
TABLE_EXAMPLES = """\
  sentalign evaluate table --data cases.csv --run runs/paper --out results
  sentalign evaluate table --data cases.tsv --sentence-column phrase --mask-column lesion --run runs/a --out results

--data is a CSV, TSV or Parquet file with the columns image and sentence, and for each row a mask (a file), a box (x, y,
width, height) or boxes ("x;y;width;height|..."), in pixels of the image; optionally category and patient. Paths are
relative to the table. Rows of one image and sentence are one case.
"""
FEW_IMAGES = 32  # that one process decodes sooner than others have started
WRITTEN = """
written to --out: metrics.json (all metrics), cases.npz (every map, box and score), index.html (the page), model_card.md
and model_card.html (pictures in model_card/)"""


def add_parser(commands: Subcommands) -> None:
    """Adds `evaluate` and `compare` to the command line."""
    compare.add_parser(commands)
    evaluate = commands.add_parser("evaluate", help="measure a trained run on a test set")
    sets = evaluate.add_subparsers(dest="set", required=True, metavar="SET")
    of_ms_cxr = add_command(
        sets,
        "ms-cxr",
        ms_cxr,
        "phrases with radiologists' boxes (v1.0.0, v1.1.0 and phantoms)",
        description="Zero-shot localization on MS-CXR: three protocols, 95% intervals by patient, controls.",
        examples=MS_CXR_EXAMPLES + WRITTEN,
    )
    of_ms_cxr.add_argument(
        "--withheld-phrases",
        type=Path,
        metavar="JSON",
        help="phantom.json, or another file with a list withheld_phrases: their wording was withheld from training; "
        "reported separately",
    )
    of_rsna = add_command(
        sets,
        "rsna",
        rsna,
        "boxes of opacities that suggest pneumonia (Kaggle, stage 2)",
        description="Zero-shot localization on RSNA Pneumonia, on the images that have boxes: three protocols, 95% "
        "intervals, controls.",
        examples=RSNA_EXAMPLES + WRITTEN,
    )
    of_rsna.add_argument(
        "--list", type=Path, metavar="CSV", help="these images and boxes only: a table of ID, boxes, classes"
    )
    of_covid_rural = add_command(
        sets,
        "covid-rural",
        covid_rural,
        "masks of the opacities of COVID-19 (TCIA COVID-19-AR)",
        description="Zero-shot localization on COVID Rural, on the images whose mask is not empty: three protocols, "
        "95% intervals by patient, controls.",
        examples=COVID_RURAL_EXAMPLES + WRITTEN,
    )
    of_covid_rural.add_argument(
        "--phrases", type=Path, metavar="TABLE", help="what radiologists wrote: a table of image and sentence"
    )
    of_table = add_command(
        sets,
        "table",
        table,
        "a table of images, sentences and boxes or masks",
        description="Zero-shot localization on cases of one's own: three protocols, 95% intervals by patient, "
        "controls.",
        examples=TABLE_EXAMPLES + WRITTEN,
    )
    for name in ("image", "sentence", "mask", "boxes", "category", "patient"):
        of_table.add_argument(f"--{name}-column", default=name, metavar="NAME", help=f"default: {name}")
    for parser in (of_rsna, of_covid_rural):
        parser.add_argument("--phrase", help="the sentence (default: Findings suggesting pneumonia.)")
    for parser in (of_ms_cxr, of_rsna, of_covid_rural, of_table):
        _add_arguments(parser)
    classification.add_parser(sets)
    retrieval.add_parser(sets)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every data set has."""
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="the set, see below")
    add_run_arguments(parser, "metrics.json")
    parser.add_argument(
        "--once",
        type=Path,
        metavar="FILE",
        help="for held-out sets: a file that keeps every evaluation of these images, written before it is run; the "
        "result says which one it is, and what has changed since the first",
    )
    add_workers(parser)
    parser.add_argument(
        "--withheld", default="", metavar="CATEGORY,...", help="categories withheld from training, reported separately"
    )
    add_bootstrap(parser)


def ms_cxr(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for missing data, an unusable run or an unknown category."""
    from sentalign.evaluate.datasets import ms_cxr as reader

    withheld_phrases = phrases(args.withheld_phrases) if args.withheld_phrases else frozenset()
    # Synthetic studies have MS-CXR's format; what was published for MS-CXR must not stand beside them.
    name = "phantoms" if (args.data / "phantom.json").is_file() else "MS-CXR"
    _measure(args, reader.read(args.data), name, withheld_phrases)


def rsna(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for missing data, an unusable run or an unknown category."""
    from sentalign.evaluate.datasets import rsna as reader

    _measure(args, reader.read(args.data, args.list, _phrase(args)), _named("RSNA Pneumonia", args.phrase))


def covid_rural(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for missing data, an unusable run or an unknown category."""
    from sentalign.evaluate.datasets import covid_rural as reader

    if args.phrase is not None and args.phrases is not None:
        raise UserError("--phrase and --phrases exclude each other; give one of them")
    name = _named("COVID Rural", args.phrase or args.phrases)
    _measure(args, reader.read(args.data, _phrase(args), args.phrases), name)


def table(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for missing data, an unusable run or an unknown category."""
    from sentalign.evaluate.datasets import table as reader

    names = {name: getattr(args, f"{name}_column") for name in reader.RENAMED}
    _measure(args, reader.read(args.data, names), args.data.name)


def _named(name: str, sentences: object) -> str:
    """The name of a set; published figures are of its own sentence."""
    return f"{name}, other sentences" if sentences else name


def _phrase(args: argparse.Namespace) -> str:
    from sentalign.evaluate.datasets.case import PNEUMONIA

    phrase = " ".join((PNEUMONIA if args.phrase is None else args.phrase).split())
    if not phrase:
        raise UserError("--phrase is empty; give a sentence")
    return phrase


def _measure(
    args: argparse.Namespace, cases: list[Case], name: str, withheld_phrases: frozenset[str] = frozenset()
) -> None:
    """Measures the run on the cases of a set, and shows or prints what is written."""
    check_bootstrap(args)
    check_workers(args)
    workers = args.workers if len({case.image_id for case in cases}) > FEW_IMAGES else 0
    from sentalign.evaluate import evaluation
    from sentalign.evaluate.results import run_record
    from sentalign.localize.predict import Predictor
    from sentalign.localize.trained_run import weights_sha256

    withheld = categories(args.withheld, cases)
    predictor, weights = Predictor.load(args.run, pick_device(args.device), args.map), weights_sha256(args.run)
    check_writable(args.out, evaluation.FILES)
    once = _once(args.once, predictor, cases, name, weights, withheld) if args.once else None
    with share_bar("localizing and scoring") as progress:
        metrics = evaluation.evaluate(
            predictor,
            cases,
            args.out,
            withheld,
            args.replicates,
            args.seed,
            progress,
            withheld_phrases=withheld_phrases,
            name=name,
            workers=workers,
            once=once,
            about=_about(args.run, weights),
        )
    run_record.write(args.run, name, metrics)
    if args.json:
        print(json.dumps(metrics, indent=1, allow_nan=False))
    else:
        evaluation.show(metrics)


def _about(run: Path, weights: str) -> dict[str, str]:
    """What the model card says of a run; a card is passed on, so it holds no place of the user's own files."""
    import yaml

    tree = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    settings = {name: value for name, value in tree.items() if name not in ("run", "track", "validation")}
    settings["data"] = {name: value for name, value in tree["data"].items() if name not in ("shards", "cache")}
    model = settings.get("model", {})
    if model.get("start"):
        model["start"] = Path(model["start"]).name
    for tower in model.values():
        for name in ("weights", "vocabulary") if isinstance(tower, dict) else ():
            if tower.get(name) and Path(tower[name]).is_absolute():
                tower[name] = Path(tower[name]).name
    return {"version": version("sentalign"), "weights": weights, "settings": yaml.safe_dump(settings, sort_keys=False)}


def _once(
    file: Path, predictor: Predictor, cases: list[Case], name: str, weights: str, withheld: list[str]
) -> dict[str, Any]:
    """The record of the evaluation in the file of --once."""
    from sentalign.evaluate.results import ledger

    settings = {"maps": predictor.settings.model_dump(), "withheld": sorted(withheld)}
    return ledger.enter(file, ledger.manifest(name, cases, weights, settings))


def categories(names: str, cases: list[Case]) -> list[str]:
    """The categories of a comma-separated list, in any letter case. Raises UserError for unknown ones."""
    known = {case.category.casefold(): case.category for case in cases}
    named = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in named if name.casefold() not in known]
    if unknown:
        raise UserError(f"--withheld: no category {unknown[0]!r}; the set has {', '.join(sorted(known.values()))}")
    return [known[name.casefold()] for name in named]


def phrases(file: Path) -> frozenset[str]:
    """The list `withheld_phrases` of a JSON file, as cases have their phrases. Raises UserError where there is none."""
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))["withheld_phrases"]
        if not isinstance(listed, list):
            raise TypeError
        return frozenset(" ".join(phrase.split()) for phrase in listed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"--withheld-phrases: {file} is no JSON file with a list withheld_phrases of text") from None
