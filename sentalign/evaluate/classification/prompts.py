"""The sentences that ask for a label, and for its absence.

In: labels, and optionally a YAML file with sentences of one's own. Out: `Prompts` of each label.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from sentalign.config.strict_model import StrictModel
from sentalign.config.yaml_file import read_mapping, validated
from sharding.contract import UserError

POSITIVE, NEGATIVE = "Findings suggesting {}.", "No evidence of {}."
ABSENCE = "No Finding"  # of CheXpert: the one label that says that there is nothing
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"\w")]


class Prompts(StrictModel):
    """Sentences whose scores are averaged: of the finding, and of its absence."""

    positive: list[Sentence] = Field(min_length=1)
    negative: list[Sentence] = Field(min_length=1)


def of_labels(labels: Sequence[str], file: Path | None = None) -> dict[str, Prompts]:
    """The prompts of each label, in order.

    Those in `file` ({label: {positive: [...], negative: [...]}}), and where there is no file a pair for each label but
    "No Finding". Raises UserError where the file is wrong, names a label that is none, or nothing is left.
    """
    if file is None:
        found = {label: _pair(label) for label in labels if label != ABSENCE}
    else:
        tree = read_mapping(file, "prompts", "prompts.yaml", "a mapping {positive, negative} for each label")
        if unknown := sorted(set(map(str, tree)) - set(labels)):
            raise UserError(f"{file.name}: no label {unknown[0]!r}; the table has {', '.join(labels)}")
        found = {label: validated(Prompts, _mapping(tree[label]), f"{file.name}, {label}") for label in tree}
    if not found:
        raise UserError("no label to ask for; give --prompts a file with sentences")
    return found


def _mapping(tree: object) -> dict[str, object]:
    return tree if isinstance(tree, dict) else {}


def _pair(label: str) -> Prompts:
    name = label.replace("_", " ")
    inside = name if name[:2].isupper() else name[:1].lower() + name[1:]
    return Prompts(positive=[POSITIVE.format(inside)], negative=[NEGATIVE.format(inside)])
