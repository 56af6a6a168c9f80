"""The split column of a table → one split per patient.

In: the cells of a table. Out: one of `contract.SPLITS` for each row, empty if the table has none: then the build
derives the split from the patient's salted pseudonym.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sharding.contract import SPLITS, UserError

SPLIT_OF = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("training",), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validate"),
    **dict.fromkeys(("testing",), "test"),
    "": "",
}


def read(cells: Iterable[str], where: str) -> list[str]:
    """The cells as names of `contract.SPLITS`; raises UserError for any other word, which it does not quote."""
    names = [SPLIT_OF.get(cell.casefold()) for cell in cells]
    unknown = [number for number, split in enumerate(names, start=1) if split is None]
    if unknown:
        raise UserError(
            f"{where}: {len(unknown)} rows, first row {unknown[0]}, have another split than "
            f"{', '.join(SPLITS)}; correct them, or leave them empty"
        )
    return [split or "" for split in names]


def of_patients(patients: Sequence[str], splits: Sequence[str], where: str) -> list[str]:
    """The split of each row's patient, also if only another row of the patient has one.

    Raises UserError if a patient is in two splits: test data would have been trained on.
    """
    split_of: dict[str, str] = {}
    conflicting = set()
    for patient, split in zip(patients, splits, strict=True):
        if patient and split and split_of.setdefault(patient, split) != split:
            conflicting.add(patient)
    if conflicting:
        raise UserError(f"{where}: {len(conflicting)} patients are in two splits; give each patient one")
    return [split or split_of.get(patient, "") for patient, split in zip(patients, splits, strict=True)]
