"""`sentalign evaluate classification`: areas under the ROC curve from a table of labels.

In: a table, its images and a run. Out: classification.json in a folder. The other modules are imported when the command
runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sentalign.evaluate.arguments import (
    add_bootstrap,
    add_workers,
    check_bootstrap,
    check_workers,
    share_bar,
    write_result,
)
from sentalign.localize.arguments import add_run_arguments, check_writable, pick_device
from sharding.command_line import Subcommands, add_command

FILE = "classification.json"
EXAMPLES = """\
  sentalign evaluate classification --data labels.csv --run runs/paper --out results
  sentalign evaluate classification --data rsna/stage_2_detailed_class_info.csv --run runs/paper --out results
  sentalign evaluate classification --data mimic-cxr/mimic-cxr-2.0.0-chexpert.csv.gz --run runs/paper --out results

--data is a CSV, TSV (also .gz) or Parquet file: with an image (a path relative to it) and a column of 0 and 1 for each
label, optionally patient, an empty label being unknown; or RSNA Pneumonia's classes, the images beside it; or
MIMIC-CXR's CheXpert labels, beside the metadata table and files/ (frontal images of --split). --prompts is a YAML file:
  Pneumonia: {positive: ["Findings suggesting pneumonia."], negative: ["No evidence of pneumonia."]}
which is the default for every label. Written to --out: classification.json.
"""


def add_parser(sets: Subcommands) -> None:
    """Adds `classification` to the sets of `evaluate`."""
    parser = add_command(
        sets,
        "classification",
        classification,
        "images with a finding against images without, by a table of labels",
        description="Zero-shot classification: areas under the ROC curve, 95% intervals by patient.",
        examples=EXAMPLES,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="TABLE", help="the labels, see below")
    parser.add_argument("--prompts", type=Path, metavar="YAML", help="sentences for each label that is asked for")
    parser.add_argument("--split", default="test", help="of MIMIC-CXR's split table; all: every image (default: test)")
    for name in ("image", "patient"):
        parser.add_argument(f"--{name}-column", default=name, metavar="NAME", help=f"default: {name}")
    add_run_arguments(parser, FILE, maps=False)
    add_workers(parser)
    add_bootstrap(parser)


def classification(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for an unusable table, prompts or run."""
    check_bootstrap(args)
    check_workers(args)
    from sentalign.evaluate.classification import labels, measure, prompts
    from sentalign.evaluate.results import run_record
    from sentalign.localize.predict import Predictor

    labelled = labels.read(args.data, "" if args.split == "all" else args.split, args.image_column, args.patient_column)
    asked = prompts.of_labels(list(labelled[0].labels), args.prompts)
    predictor = Predictor.load(args.run, pick_device(args.device), "plain")
    check_writable(args.out, (FILE,))
    with share_bar("scoring") as progress:
        measured = measure.measure(predictor, labelled, asked, args.replicates, args.seed, args.workers, progress)
    result = {"table": args.data.name, "split": args.split} | measured
    run_record.write(args.run, f"classification {args.data.name}", result)
    write_result(args.out / FILE, result, args.json, measure.table)
