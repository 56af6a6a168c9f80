"""A source without the files that the user leaves out (`--ignore PATTERN`).

In: an inventory, patterns, and how a source is read. Out: the listing of the source without these files, which counts
them and the images whose only file is one of them: leaving out a file on purpose is no fault of a table. What the
inventory has left out itself is counted too.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from sharding.contract import UserError
from sharding.sources import SourceListing, nonzero
from sharding.sources.files import packed
from sharding.sources.files.file_kinds import kind_of
from sharding.sources.files.image_finder import ImageFinder
from sharding.sources.files.inventory import Inventory
from sharding.store import zip_members

FILES = "file that --ignore leaves out"
IMAGES = "row or report whose image --ignore leaves out"
UNUSED = "pattern of --ignore that fits no file"


def read(
    source: Callable[[Inventory], SourceListing], inventory: Inventory, patterns: Sequence[str], table: str = ""
) -> SourceListing:
    """The listing of the files that no pattern fits; raises UserError if none is left.

    `table` is the location of a table whose names of images are spelled freely (`image_finder`).
    """
    if not patterns:
        return _with_counts(source(inventory), inventory.left_out, inventory.notes)
    tests = [_compiled(pattern, inventory.url) for pattern in patterns]
    found = [{name for name in inventory.states if _fits(test, name, inventory)} for test in tests]
    ignored = set().union(*found)
    if len(ignored) == len(inventory.states):
        raise UserError("--ignore leaves out every file of the input; give narrower patterns")
    listing = source(inventory.only(name for name in inventory.states if name not in ignored))
    listing, images = _without_images_of(listing, source, inventory, ignored, table)
    own = nonzero({FILES: len(ignored), IMAGES: images})
    listing = _with_counts(listing, own, nonzero({UNUSED: found.count(set())}))
    gone = len(_zips(inventory, ignored) - _zips(inventory, inventory.states.keys() - ignored))
    opened = nonzero({packed.OPENED: inventory.notes.get(packed.OPENED, 0) - gone})
    others = {note: count for note, count in inventory.notes.items() if note != packed.OPENED}
    return _with_counts(listing, inventory.left_out, opened | others)


def _zips(inventory: Inventory, names: Set[str]) -> set[str]:
    """The locations of the .zip files that hold some of the files."""
    split = (zip_members.split(inventory.elsewhere[name]) for name in names & inventory.elsewhere.keys())
    return {found[0] for found in split if found}


def _with_counts(listing: SourceListing, left_out: Mapping[str, int], notes: Mapping[str, int]) -> SourceListing:
    return replace(listing, left_out={**listing.left_out, **left_out}, notes={**listing.notes, **notes})


def _compiled(pattern: str, url: str) -> re.Pattern[str]:
    """A pattern fits a file whose path has parts like it: `*.tif`, `thumbs`, `old/*.png`; from the top with a slash."""
    below = pattern.removeprefix(url) if pattern.startswith(f"{url}/") else pattern
    glob = below.strip("/")
    if not glob:
        raise UserError("--ignore: an empty pattern; give one such as '*.tif' or 'thumbs'")
    body = re.sub(r"\\[Zz]$", "", fnmatch.translate(glob))
    return re.compile(rf"(?s:{'' if below.startswith('/') else '(?:.*/)?'}{body}(?:/.*)?)")


def _fits(test: re.Pattern[str], name: str, inventory: Inventory) -> bool:
    """Whether a pattern fits the file, or the .zip that holds it."""
    return bool(test.fullmatch(name) or ((in_zip := inventory.in_zips.get(name)) and test.fullmatch(in_zip)))


def _without_images_of(
    listing: SourceListing,
    source: Callable[[Inventory], SourceListing],
    inventory: Inventory,
    ignored: set[str],
    table: str,
) -> tuple[SourceListing, int]:
    """Without the images that are found among the ignored files alone, and their number."""
    absent = {image.id for image in listing.images if not image.file and not image.several}
    if not absent:
        return listing, 0
    # Tables stay ignored: a second one may be why the user ignores it.
    all_images = inventory.only(name for name in inventory.states if name not in ignored or not kind_of(name))
    if table:  # rows may spell one image in several ways, and the source unites them under one
        finder = ImageFinder(all_images, table)
        there = {name for name in absent if finder.matches(name)}
    else:
        there = {image.id for image in source(all_images).images if image.file or image.several} & absent
    kept = [image for image in listing.images if image.id not in there]
    return replace(listing, images=kept), len(there)
