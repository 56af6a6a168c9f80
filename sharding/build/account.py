"""What became of the images of a build, and whether the build succeeded.

In: the counts of a finished build. Out: `Account`, its printed lines, and the reason of a failure. Counting is in
`finish`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from sharding.contract import NO_FAULT, Reason


@dataclass(frozen=True)
class Account:
    """What became of the images: read = written + rejected + already there."""

    read: int
    written: int
    already: int
    rejected: dict[str, int]
    left_out: dict[str, int]
    shards: int
    notes: dict[str, int] = field(default_factory=dict)
    noticed: dict[str, int] = field(default_factory=dict)
    leaks: dict[str, int] = field(default_factory=dict)
    partial: bool = False

    @property
    def failed_share(self) -> float:
        """Share of the images rejected for a fault; an unwanted modality or language is none."""
        faults = sum(count for reason, count in self.rejected.items() if reason not in self._no_fault)
        return faults / max(1, self.read)

    @property
    def _no_fault(self) -> frozenset[str]:
        return NO_FAULT | ({Reason.ABSENT} if self.partial else frozenset())

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"failed_share": self.failed_share}

    def lines(self) -> list[str]:
        """The account as printed."""
        rejected = sum(self.rejected.values())
        lines = [f"read {self.read} = written {self.written} + rejected {rejected} + already there {self.already}"]
        if rejected:
            lines.append("rejected: " + ", ".join(f"{reason} {count}" for reason, count in self.rejected.items()))
        lines += [f"left out: {reason} {count}" for reason, count in self.left_out.items()]
        lines += [f"note: {note} {count}" for note, count in self.notes.items()]
        lines += [f"noticed: {what} {count}, kept as it is" for what, count in self.noticed.items()]
        lines += [f"leak: {kind} {count}; `verify` lists them" for kind, count in self.leaks.items() if count]
        return [*lines, f"shards: {self.shards}"]

    def failure(self, allowed: float) -> str:
        """Why the build failed and what to do, in one line; empty if it succeeded."""
        if self.written + self.already == 0:
            return "no image was written; quarantine.parquet in the output lists the reasons"
        if self.failed_share <= allowed:
            return ""
        enough = math.ceil(self.failed_share * 100) / 100
        return (
            f"{self.failed_share:.1%} of the input was rejected and {allowed:.1%} is allowed; quarantine.parquet in "
            f"the output lists the reasons; correct the input, or allow it with --max-failures {enough}"
        )
