"""Data sources: each module turns one layout of files (`mimic_cxr`, `open_i`, `folder`) into `SourceImage` rows.

In: an `Inventory` of the input, and its tables. Out: a `SourceListing` with the source's own ids, which the build
replaces. No image is opened here. Read this file, then `files.inventory`, then a source; `files`, `exclusion` and
`tables` serve all sources, `mimic_tables` the first, `open_i_xml` and `open_i_tables` the second, `folder_rows` the
third.
"""

from __future__ import annotations

from dataclasses import dataclass, field

REPORT, PLAIN = "report", "plain"


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of a study and its report, under the ids of the source (private until the build replaces them).

    `id` is unique in a source. `file` and `text_file` are paths or URLs; `file` is empty if the image was not found or
    its name is ambiguous (`several`). `text` None means: read `text_file`. `layout`: the text has section headers
    (REPORT) or not (PLAIN); `more_texts` are further reports of the image, in order. `view` is a code (`views`),
    `split` one of `contract.SPLITS`, `photometric` MONOCHROME1 if a picture without a header is stored inverted. An
    empty `patient`, `study` or `view` is taken from the image's header; where no patient is known, the study is one.
    `state` changes when one of the two files does.
    """

    id: str
    file: str
    several: bool = field(default=False, kw_only=True)
    patient: str = ""
    study: str = ""
    text: str | None = ""
    text_file: str = ""
    layout: str = PLAIN
    view: str = ""
    split: str = ""
    state: str = ""
    more_texts: tuple[str, ...] = ()
    photometric: str = ""


@dataclass(frozen=True)
class SourceListing:
    """The images of a source, the number left out by reason, and notes.

    `notes` counts what was kept although something is missing or ambiguous. Neither names anyone.
    """

    images: list[SourceImage]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    """Without the counts that are zero."""
    return {name: count for name, count in counts.items() if count}
