"""Where studies come from: each module of this package turns one layout of files into `SourceImage` rows.

In: an `Inventory` of the input and tables. Out: rows with the source's own ids, which are replaced in `tuples`.
No image is opened here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

REPORT, PLAIN = "report", "plain"


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of a study and the report on it, by the ids of the source (private until `tuples` replaces them).

    `image` is unique in a source. `file` and `text_file` are paths or URLs, `file` empty where the image was not found
    or several could be meant; `text` None means: read `text_file`. `layout` says whether the text has section headers
    (REPORT) or is free (PLAIN). `view` is a code (`views`), `split` one of `contract.SPLITS`. Empty `patient`, `study`
    or `view`: as the image's header says. `state` changes when one of the two files does.
    """

    image: str
    file: str
    patient: str = ""
    study: str = ""
    text: str | None = ""
    text_file: str = ""
    layout: str = PLAIN
    view: str = ""
    split: str = ""
    state: str = ""


@dataclass(frozen=True)
class Reading:
    """What a source holds: the rows to build from, how many were left out, by why, and what else is to be said.

    `notes` counts what was kept although something is missing or odd. Neither names anyone.
    """

    studies: list[SourceImage]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


def counted(counts: dict[str, int]) -> dict[str, int]:
    """Without the counts that are nought."""
    return {why: count for why, count in counts.items() if count}
