"""When trials are compared, in image-report pairs: rungs, grace, and where starts of a point wait for each other.

In: a `Sweep` and the length of a run. Out: a `Schedule` with warnings, or UserError where nothing is ever decided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sentalign.sweep.spec.settings import Sweep
from sharding.contract import UserError

SHARE = 9  # of a trial before the first decision, where none is given: two factors of 3
LATE = 0.4  # share of a trial before the first decision that is worth a warning
FIRST = {"asha": "grace_pairs", "median": "grace_pairs", "pbt": "perturb_every_pairs"}  # the setting that decides it


@dataclass(frozen=True)
class RunLength:
    """The length of one training, in image-report pairs."""

    total: int
    validate_every: int

    def __str__(self) -> str:
        return f"a run has {self.total:,} pairs and validates every {self.validate_every:,}"

    def whole_validations(self, pairs: float) -> int:
        return math.ceil(pairs / self.validate_every) * self.validate_every


@dataclass(frozen=True)
class Schedule:
    """`max_pairs`: where a trial ends. `first`: ASHA's first rung, the median rule's grace, PBT's interval.

    `pauses`: pairs from which the scheduler may decide, where starts that run one after another wait for each other.
    """

    kind: str
    max_pairs: int
    first: int
    rungs: tuple[int, ...]
    pauses: tuple[int, ...]
    warnings: tuple[str, ...]


def schedule_of(sweep: Sweep, length: RunLength) -> Schedule:
    """Raises UserError where a length that is given is never reached, or stops no trial."""
    kind, longest = sweep.scheduler_kind, sweep.scheduler.max_pairs or length.total
    if longest > length.total:
        raise UserError(f"scheduler.max_pairs {longest:,} is never reached: {length}; lower it, or leave it out")
    first, name = default_first(kind, longest, length), FIRST.get(kind, "")
    if given := getattr(sweep.scheduler, name, None):
        first = given
        if first >= longest:
            effect = "changes no trial" if kind == "pbt" else "stops no trial early"
            raise UserError(f"scheduler.{name} {first:,} {effect}: {length}; leave it out, or kind: none")
    if kind != "none" and first >= longest:
        warning = f"no trial is stopped early (scheduler none in place of {kind}): {length}"
        return Schedule("none", longest, first, (), _end(longest, length), (warning,))
    rungs = rungs_of(first, sweep.scheduler.reduction_factor, longest) if kind == "asha" else ()
    pauses = (*(rungs or _decisions(kind, first, longest, length)), *_end(longest, length))
    return Schedule(kind, longest, first, rungs, pauses, _warnings(kind, first, rungs, longest, length))


def default_first(kind: str, longest: int, length: RunLength) -> int:
    """A ninth of a trial, rounded up to whole validations; Hyperband decides from the first validation on."""
    return length.validate_every if kind == "hyperband" else length.whole_validations(longest / SHARE)


def rungs_of(grace: int, factor: float, longest: int) -> tuple[int, ...]:
    """The pairs at which ASHA compares trials; the end of a run is none."""
    count = max(0, math.ceil(math.log(longest / grace) / math.log(factor) - 1e-9)) if grace < longest else 0
    return tuple(round(grace * factor**k) for k in range(count))


def _decisions(kind: str, first: int, longest: int, length: RunLength) -> tuple[int, ...]:
    """The validations at which a scheduler without rungs may decide."""
    if kind == "none":
        return ()
    start = length.whole_validations(first)
    return tuple(range(start, longest, start if kind == "pbt" else length.validate_every))


def _end(longest: int, length: RunLength) -> tuple[int, ...]:
    """A start that goes beyond the end of a trial, while others wait, would train in vain."""
    return (longest,) if longest < length.total else ()


def _warnings(kind: str, first: int, rungs: tuple[int, ...], longest: int, length: RunLength) -> tuple[str, ...]:
    """What makes early stopping of little use, with numbers."""
    if kind == "none":
        return ()
    warnings = []
    if first > LATE * longest:
        share = f"{first / longest:.0%}"
        warnings.append(f"{share} of a run passes before the first decision at {first:,} pairs: {length}")
    if length.validate_every > first:
        warnings.append(f"the first decision, at {first:,} pairs, waits for the first validation: {length}")
    last = (length.total - 1) // length.validate_every * length.validate_every
    if late := [rung for rung in rungs if rung > last]:
        warnings.append(f"the rung at {late[0]:,} pairs decides nothing, the next validation is the last: {length}")
    return tuple(warnings)
