"""The command `shard build`.

In: arguments. Out: the account as lines or JSON, and an exit code: 1 if more than the allowed share was rejected or
nothing was written. Heavy modules are imported inside the functions, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sharding.command_line import Subcommands, add_command, add_json
from sharding.contract import IMAGE_MEMBERS, Reason, UserError
from sharding.text.language import LANGUAGES

if TYPE_CHECKING:
    from sharding.build.finish import BuildSettings
    from sharding.build.pool import Workers
    from sharding.build.sentence_tuple import WorkerConfig
    from sharding.sources import SourceListing
    from sharding.sources.files.inventory import Inventory
    from sharding.sources.folder import FolderTable

Number = TypeVar("Number", int, float)
COLUMNS = ("image", "text", "patient", "view", "split", "study", "photometric")
EXAMPLES = """\
  sentalign shard build mimic-cxr /data/mimic-cxr --out /data/shards
  sentalign shard build mimic-cxr /data/mimic-cxr --out s3://bucket/shards --exclude-subjects ms_cxr.csv
  sentalign shard build open-i /data/openi --out /data/shards --private /secure/openi
  sentalign shard build folder /data/xrays --out /data/shards \\
      --table metadata.csv --image-column filename --text-column clinical_notes --patient-column patientid
  sentalign shard build folder /data/dicom --out /data/shards --allow-no-text --modality any
  sentalign shard build mimic-cxr s3://raw/mimic --out s3://bucket/shards --private /secure/mimic --ray auto
  sentalign shard build folder /data/dicom --out /data/shards --allow-no-text --retry-failed decode
"""


def add_parser(commands: Subcommands) -> None:
    """Adds `build`."""
    summary = "make shards of a source; the same command resumes an interrupted build"
    parser = add_command(commands, "build", run_build, summary, examples=EXAMPLES)
    _add_source(parser)
    _add_samples(parser.add_argument_group("samples"))
    _add_work(parser.add_argument_group("work"))
    add_json(parser, "print the account as JSON")


def _add_source(parser: argparse.ArgumentParser) -> None:
    sources = ("mimic-cxr", "open-i", "folder")
    parser.add_argument("source", choices=sources, metavar="SOURCE", help=" | ".join(sources))
    parser.add_argument("input", metavar="INPUT", help="folder or s3://, gs://, az:// URL that holds the source")
    parser.add_argument("--out", required=True, metavar="URL", help="folder or URL of the shards")
    parser.add_argument("--private", type=Path, metavar="DIR", help="salt, ledger and journal; default INPUT-private")
    parser.add_argument("--views", choices=("frontal", "all"), default="frontal", help="frontal (default): AP and PA")
    subjects = "subjects to leave out: ids, or an MS-CXR CSV or JSON"
    parser.add_argument("--exclude-subjects", default="", metavar="FILE", help=subjects)
    body = "chest (default): headers that name another part or an animal, and photographs, are left out and counted"
    parser.add_argument("--body-part", choices=("chest", "any"), default="chest", help=body)
    ignore = "files that are no part of the data set, such as '*.tif', thumbs or 'old/*.png'; may be repeated"
    parser.add_argument("--ignore", action="append", default=[], metavar="PATTERN", help=ignore)
    partial = "the input is a part of its tables: images that are not there are counted and are no fault"
    parser.add_argument("--partial", action="store_true", help=partial)
    same = "patients that are one person, from verify --leaks"
    parser.add_argument("--same-patient", type=Path, metavar="FILE", help=same)
    folder = parser.add_argument_group("folder")
    folder.add_argument("--table", metavar="T", help="CSV, TSV or Parquet, as given or below INPUT")
    more = {
        "study": " (images of one value are one study; else by the header)",
        "photometric": " model: MONOCHROME1 where PNG or JPEG are stored inverted",
    }
    for part in COLUMNS:
        help_text = f"column of the {part}{more.get(part, '')}"
        folder.add_argument(f"--{part}-column", default="", metavar="C", help=help_text)


def _add_samples(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--modality", default="CR,DX", help="DICOM modalities to take, or any (default CR,DX)")
    languages = f"languages of reports to take, of {', '.join(LANGUAGES)}, or any (default en); only English gets tags"
    group.add_argument("--languages", default="en", metavar="L,L", help=languages)
    no_text = "keep images without text; they are never trained on"
    group.add_argument("--allow-no-text", action="store_true", help=no_text)
    group.add_argument("--size", type=_positive, default=1024, help="longest side of an image, in pixels (1024)")
    empty = "reject pictures in which one grey level has at least this share, e.g. 0.98 (default: count them)"
    group.add_argument("--reject-blank", type=_share, metavar="SHARE", help=empty)
    largest = "refuse larger pictures undecoded (64): a worker needs 0.6 GB for 64 megapixels, 1 GB with --image dcm"
    group.add_argument("--max-megapixels", type=_megapixels, default=64, metavar="N", help=largest)
    captures = "refuse images whose header flags burned-in identity (default), or all that it does not clear"
    group.add_argument("--captures", choices=("flagged", "strict"), default="flagged", help=captures)
    letters = "reject pictures that show text beyond side markers, as read by tesseract (default: do not look)"
    group.add_argument("--pixel-text", action="store_true", help=letters)
    image = "stored format; dcm: the original pixels with an allow-listed header, whatever --size is"
    group.add_argument("--image", choices=IMAGE_MEMBERS, default="jpg", help=image)
    group.add_argument("--shard-images", type=_positive, default=1000, metavar="N", help="images per shard (1000)")
    group.add_argument("--shard-studies", type=_renamed("--shard-images"), help=argparse.SUPPRESS)
    share = "shares of train,validate,test (0.8,0.1,0.1)"
    group.add_argument("--split-share", type=_split_share, default=(0.8, 0.1, 0.1), metavar="T,V,E", help=share)


def _add_work(group: argparse._ArgumentGroup) -> None:
    cores = len(os.sched_getaffinity(0))
    group.add_argument("--processes", type=_positive, default=cores, metavar="N", help="workers (all cores)")
    group.add_argument("--ray", metavar="ADDRESS", help="work on the machines of a Ray cluster: auto, or HOST:PORT")
    timeout = "per image; then it is rejected (120)"
    group.add_argument("--timeout", type=_positive, default=120, metavar="SECONDS", help=timeout)
    failures = "rejected share that is allowed (0.05)"
    group.add_argument("--max-failures", type=_share, default=0.05, metavar="SHARE", help=failures)
    reasons = [reason.value for reason in Reason]
    retry = "try images again that were rejected for " + " | ".join(reasons)
    group.add_argument("--retry-failed", choices=reasons, action="append", default=[], metavar="REASON", help=retry)


def _positive(text: str) -> int:
    value = _number(int, text, "must be a whole number")
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _number(kind: Callable[[str], Number], text: str, message: str) -> Number:
    """The number; without this the message of argparse would name the function that reads it."""
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(message) from None


def _megapixels(text: str) -> int:
    value = _positive(text)
    if value > 64:
        raise argparse.ArgumentTypeError("no decoder takes more than 64 megapixels")
    return value


def _renamed(name: str) -> Callable[[str], None]:
    def refuse(_: str) -> None:
        raise argparse.ArgumentTypeError(f"this option is called {name} now")

    return refuse


def _share(text: str) -> float:
    value = _number(float, text, "must be a number between 0 and 1")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return value


def _split_share(text: str) -> tuple[float, float, float]:
    wrong = "give three shares that add up to 1, such as 0.8,0.1,0.1"
    values = tuple(_number(float, part, wrong) for part in text.split(","))
    if len(values) != 3 or not all(0 <= value <= 1 for value in values) or abs(sum(values) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(wrong)
    return values


def run_build(values: argparse.Namespace) -> int:
    """Builds the data set; returns the exit code."""
    from sharding.build import run
    from sharding.deid import private_folder
    from sharding.leaks import same_patient
    from sharding.sources.files.inventory import Inventory

    settings = _settings(values)
    listing = _listing(values, Inventory.of(values.input))
    private = private_folder.open_private(values.private, values.input, values.out)
    same = same_patient.read(values.same_patient) if values.same_patient else {}
    _check_same_salt(same, listing, private.salt)
    plan = run.Build(
        settings,
        values.out,
        private,
        _workers(values),
        same_patient=same,
        retry=frozenset(values.retry_failed),
        timeout=values.timeout,
    )
    account = replace(run.build(listing, plan), partial=values.partial)
    print(json.dumps(account.as_dict()) if values.json else "\n".join(account.lines()))
    failure = account.failure(values.max_failures)
    if failure:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failure else 0


def _check_same_salt(same: Mapping[str, str], listing: SourceListing, salt: bytes) -> None:
    """Raises UserError if no patient of the list can be in this build: the pseudonyms of another salt are others."""
    from sharding.deid.pseudonyms import pseudonym

    named = {image.patient for image in listing.images}
    if same and "" not in named and not any(pseudonym(salt, "patient", patient) in same for patient in named):
        raise UserError(
            "--same-patient: none of its patients is in this input; give the list that `verify` wrote for a build with "
            "the same private folder"
        )


def _workers(values: argparse.Namespace) -> Callable[[WorkerConfig], Workers[Any]]:
    from sharding.build import cluster, pool

    if values.ray:
        return lambda config: cluster.RayWorkers(values.ray, config)
    return lambda config: pool.Processes(config, values.processes)


def _settings(values: argparse.Namespace) -> BuildSettings:
    from sharding.build.finish import BuildSettings
    from sharding.build.sentence_tuple import SampleSettings
    from sharding.deid import pixel_text

    modalities = tuple(sorted(name.strip().upper() for name in values.modality.split(",") if name.strip()))
    if not modalities:
        raise UserError("--modality is empty; give a list such as CR,DX, or any")
    languages = tuple(sorted(name.strip().lower() for name in values.languages.split(",") if name.strip()))
    unknown = sorted(set(languages) - {*LANGUAGES, "any"})
    if unknown or not languages:
        raise UserError(f"--languages: {(unknown or ['nothing'])[0]} is none of {', '.join(LANGUAGES)}, any")
    samples = SampleSettings(
        size=values.size,
        image=values.image,
        modalities=None if modalities == ("ANY",) else modalities,
        languages=None if "any" in languages else languages,
        allow_no_text=values.allow_no_text,
        frontal_only=values.views == "frontal",
        reject_blank=values.reject_blank,
        max_megapixels=values.max_megapixels,
        chest_only=values.body_part == "chest",
        strict_captures=values.captures == "strict",
        pixel_text=pixel_text.engine() if values.pixel_text else None,
        split_share=values.split_share,
    )
    return BuildSettings(values.source, samples, values.shard_images)


def _listing(values: argparse.Namespace, inventory: Inventory) -> SourceListing:
    from sharding.sources import folder, mimic_cxr, open_i
    from sharding.sources.files import ignored

    options = {"frontal_only": values.views == "frontal", "exclude": values.exclude_subjects}
    if values.source == "folder":
        source = functools.partial(folder.read, columns=_folder_table(values), **options)
    else:
        module = mimic_cxr if values.source == "mimic-cxr" else open_i
        source = functools.partial(module.read, **options)
    return ignored.read(source, inventory, values.ignore, values.table or "")


def _folder_table(values: argparse.Namespace) -> FolderTable | None:
    from sharding.sources.folder import FolderTable

    columns = [getattr(values, f"{part}_column") for part in COLUMNS]
    if values.table is None:
        if any(columns):
            raise UserError("columns are given without a table; add --table")
        if not values.allow_no_text:
            raise UserError(
                "a folder without a table has no text; give --table, or keep the images with --allow-no-text"
            )
        return None
    if not values.image_column:
        raise UserError("no column of image names is given; add --image-column")
    if not values.text_column and not values.allow_no_text:
        raise UserError("no column of texts is given; add --text-column, or --allow-no-text")
    return FolderTable(values.table, *columns)
