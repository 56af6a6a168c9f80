"""The split that a table gives to each image → one split a patient.

In: the cells of a table. Out: one of `contract.SPLITS` for each row, empty where the table gives none: then the salted
pseudonym of the patient decides, in `tuples`.
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
    """The cells as names of `contract.SPLITS`; raises UserError for any other word, which it does not repeat."""
    found = [SPLIT_OF.get(cell.casefold()) for cell in cells]
    unknown = [number for number, split in enumerate(found, start=1) if split is None]
    if unknown:
        raise UserError(
            f"{where}: {len(unknown)} rows, first row {unknown[0]}, hold something else in the split column than "
            f"{', '.join(SPLITS)}; mend them, or leave them empty"
        )
    return [split or "" for split in found]


def of_patients(patients: Sequence[str], splits: Sequence[str], where: str) -> list[str]:
    """For each row the split of its patient, also where only another row of the patient has one.

    Raises UserError where a patient stands in two splits: what is tested would have been trained on.
    """
    held: dict[str, str] = {}
    torn = set()
    for patient, split in zip(patients, splits, strict=True):
        if patient and split and held.setdefault(patient, split) != split:
            torn.add(patient)
    if torn:
        raise UserError(f"{where}: {len(torn)} patients stand in two splits; give each patient one")
    return [split or held.get(patient, "") for patient, split in zip(patients, splits, strict=True)]
