"""Two results on the same cases → the difference of every metric, case by case, with its interval.

In: two folders that `sentalign evaluate` wrote. Out: one plain dictionary, NaN written as None; a table. Runs, maps or
settings are compared on the cases that both have; a patient's cases are drawn together, for both results alike.
"""

# N cases of both results

from __future__ import annotations

import itertools
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from sentalign.evaluate.bootstrap import Array, Bootstrap, Estimate
from sentalign.evaluate.scoring.protocols import CLEAN, METRICS
from sharding.contract import UserError

FILE = "cases.npz"
NEEDED = {"image_id", "phrase", "category", "patient", "seen", "boxes_xywh", "boxes_case", "kinds", "metrics", "values"}
NEEDED |= {"mask_case", "mask_start", "mask_bits"}
Result = dict[str, NDArray[Any]]


def compare(first: Path, second: Path, kind: str = "model", replicates: int = 1000, seed: int = 0) -> dict[str, Any]:
    """`cases` of both, `only` in the first and in the second, and for the seen and the withheld ones each metric.

    A metric has the means of `first` and `second` over the cases in which both have it, `cases` of them, and their
    `difference` (second minus first) with its 95% interval `ci`: pooled over cases for the clean protocol, per category
    and then over categories for the paper's, as `evaluate` does. `kind` is one of the maps in cases.npz. Raises
    UserError where a folder has no result or the results are not of the same cases.
    """
    results = [_load(folder) for folder in (first, second)]
    numbers = [_numbers(result) for result in results]
    shared = [key for key in numbers[0] if key in numbers[1]]
    if not shared:
        raise UserError(f"{first} and {second} have no image and phrase in common; compare results on one data set")
    parts = [_Part(result, [own[key] for key in shared]) for result, own in zip(results, numbers, strict=True)]
    _check_targets(parts, shared)
    values = [part.values(kind, folder) for part, folder in zip(parts, (first, second), strict=True)]
    seen_N = parts[0].of("seen") & parts[1].of("seen")
    subsets = {
        name: _metrics(parts[0], values, members_N, replicates, seed) if members_N.any() else None
        for name, members_N in (("seen", seen_N), ("withheld", ~seen_N))
    }
    only = [len(own) - len(shared) for own in numbers]
    return {"map": kind, "cases": len(shared), "only": only} | subsets


class _Part:
    """The shared cases of one result, in the order of both."""

    def __init__(self, result: Result, numbers: list[int]) -> None:
        self._result, self._numbers = result, np.array(numbers)

    def of(self, name: str) -> NDArray[Any]:
        """An array of one value a case."""
        return np.asarray(self._result[name][self._numbers])

    def targets(self) -> list[bytes]:
        """The boxes of each case, and its mask if it has one."""
        boxes = [self._result["boxes_xywh"][self._result["boxes_case"] == n].tobytes() for n in self._numbers]
        bounds = [*self._result["mask_start"].tolist(), len(self._result["mask_bits"])]
        masks = zip(self._result["mask_case"].tolist(), itertools.pairwise(bounds), strict=True)
        bits = {n: self._result["mask_bits"][start:end].tobytes() for n, (start, end) in masks}
        return [own + bits.get(n, b"") for own, n in zip(boxes, self._numbers.tolist(), strict=True)]

    def values(self, kind: str, folder: Path) -> dict[str, Array]:
        """Every metric of a kind of map (N,)."""
        kinds = self._result["kinds"].tolist()
        if kind not in kinds:
            raise UserError(f"{folder / FILE} has no map {kind!r}; it has {', '.join(kinds)}")
        names = self._result["metrics"].tolist()
        values_JN = self._result["values"][kinds.index(kind)][:, self._numbers]
        return {name: values_JN[names.index(name)] for name in METRICS}


def _load(folder: Path) -> Result:
    try:
        with np.load(folder / FILE, allow_pickle=False) as stored:
            result = {name: stored[name] for name in stored.files if "__" not in name}
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"no readable {FILE} in {folder}; give a folder that `sentalign evaluate` wrote") from None
    if missing := sorted(NEEDED - result.keys()):
        raise UserError(f"{folder / FILE} is of an older version, without {missing[0]}; evaluate again")
    lengths = {len(result[name]) for name in ("image_id", "phrase", "category", "patient", "seen")}
    if len(lengths) != 1 or result["values"].shape != (len(result["kinds"]), len(result["metrics"]), *lengths):
        raise UserError(f"{folder / FILE} is damaged: its arrays do not fit together; evaluate again")
    return result


def _numbers(result: Result) -> dict[tuple[str, str], int]:
    """The number of each case by image and phrase."""
    pairs = zip(result["image_id"].tolist(), result["phrase"].tolist(), strict=True)
    return {pair: number for number, pair in enumerate(pairs)}


def _check_targets(parts: list[_Part], shared: list[tuple[str, str]]) -> None:
    others = sum(one != other for one, other in zip(*(part.targets() for part in parts), strict=True))
    if others:
        raise UserError(
            f"the boxes or masks of {others} of {len(shared)} cases differ; compare results on the same annotations"
        )


def _metrics(
    part: _Part, values: list[dict[str, Array]], members_N: NDArray[np.bool_], replicates: int, seed: int
) -> dict[str, Any]:
    bootstrap = Bootstrap(
        part.of("patient")[members_N].tolist(), part.of("category")[members_N].tolist(), replicates, seed
    )
    found = {}
    for name in METRICS:
        first_N, second_N = (one[name][members_N] for one in values)
        both_N = np.isfinite(first_N) & np.isfinite(second_N)
        mean = bootstrap.pooled if name in CLEAN else bootstrap.over_categories
        first, second = (mean(np.where(both_N, one_N, np.nan)) for one_N in (first_N, second_N))
        found[name] = _entry(first, second, mean(second_N - first_N))
    return found


def _entry(first: Estimate, second: Estimate, change: Estimate) -> dict[str, Any]:
    means = {"first": first.mean, "second": second.mean, "difference": change.mean}
    numbers = {name: value if change.n else None for name, value in means.items()}
    return numbers | {"ci": [change.low, change.high] if change.n else None, "cases": change.n}


def table(compared: dict[str, Any], first: str, second: str) -> Table:
    """Every metric of both, and the difference; bold where its interval does not hold 0."""
    title = f"{compared['cases']} cases of both, map {compared['map']} (difference: 95% interval, by patient)"
    printed = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, title=title)
    for name in ("cases", "metric", first, second, "difference"):
        printed.add_column(name, justify="left" if name in ("cases", "metric") else "right")
    for subset in ("seen", "withheld"):
        for name, entry in (compared[subset] or {}).items():
            if entry["cases"]:
                low, high = entry["ci"]
                change = f"{entry['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
                style = "bold" if low > 0 or high < 0 else ""
                printed.add_row(subset, name, f"{entry['first']:.3f}", f"{entry['second']:.3f}", change, style=style)
    return printed
