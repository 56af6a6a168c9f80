"""The configuration of a study: its data, its rows of settings, its seeds; typed and validated.

In: a YAML file (configs/study/). Out: a `StudyPlan`, and for each row and seed the training's overrides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from sentalign import config
from sentalign.config import StrictModel
from sharding.contract import UserError


def folder_name(row: str) -> str:
    """The name of a row as that of its folder: letters, digits, points and hyphens."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in row.lower()).strip("-.")


class Phantoms(StrictModel):
    """Synthetic studies with known lesions, and the shards made of them."""

    studies: int = Field(ge=1, description="all studies, of the three splits")
    seed: int = Field(ge=0)
    test_studies: int = Field(ge=1, description="studies that are evaluated")
    validation_studies: int = Field(ge=1, description="studies that the best weights are chosen on")
    withhold: str = Field("cavity", description="kind of lesion that only the test split has, or none")
    size: int = Field(129, ge=32, description="long side of the pictures in the shards, pixels")


class StudyRow(StrictModel):
    """One line of the table: a training over all seeds, or another evaluation of the trainings of another row."""

    data: str | None = Field(None, description="name of its data; null: the first ones")
    set: dict[str, Any] = Field(default_factory=dict, description="dotted settings in place of the base's")
    starts_from: str | None = Field(None, description="row whose trained weights it starts from, seed by seed")
    runs_of: str | None = Field(None, description="row whose trained runs are evaluated again")
    evaluate: list[str] = Field(default_factory=list, description="further arguments of `sentalign evaluate`")

    @model_validator(mode="after")
    def _one_origin(self) -> StudyRow:
        if self.runs_of and (self.set or self.starts_from):
            raise ValueError("runs_of evaluates trained runs; leave out its `set` and `starts_from`")
        return self


class StudyPlan(StrictModel):
    """All settings of a study."""

    base: Path = Field(description="training configuration; relative to the study's file")
    out: Path = Field(description="folder of the study: data, runs, results, table")
    title: str = Field(description="heading of the table")
    seeds: list[int] = Field(min_length=1, description="each row is trained once with each")
    ranks: int = Field(1, ge=1, description="processes of one training")
    set: dict[str, Any] = Field(default_factory=dict, description="dotted settings of every row in place of the base's")
    data: dict[str, Phantoms] = Field(min_length=1)
    rows: dict[str, StudyRow] = Field(min_length=1)
    reference: str | None = Field(None, description="row that the others are compared with, seed by seed")

    @model_validator(mode="after")
    def _names_are_known(self) -> StudyPlan:
        for name, row in self.rows.items():
            if row.data is not None and row.data not in self.data:
                raise ValueError(f"rows.{name}.data: no data named {row.data!r}; there are {', '.join(self.data)}")
            if row.runs_of is not None and (row.runs_of not in self.rows or self.rows[row.runs_of].runs_of):
                raise ValueError(f"rows.{name}.runs_of: {row.runs_of!r} is no row that is trained")
            if row.starts_from is not None and not self._starts_from_new_weights(row.starts_from):
                raise ValueError(f"rows.{name}.starts_from: {row.starts_from!r} is no row that starts with new weights")
        if self.reference is not None and self.reference not in self.rows:
            raise ValueError(f"reference: no row {self.reference!r}")
        folders = [folder_name(name) for name in self.rows]
        if len(set(folders)) < len(folders) or not all(folders):
            raise ValueError("rows: two names differ by punctuation or case only; they share a folder")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: a seed is named twice")
        return self

    def _starts_from_new_weights(self, name: str) -> bool:
        return name in self.rows and not self.rows[name].runs_of and not self.rows[name].starts_from

    def trained_row(self, name: str) -> str:
        """The row whose runs row `name` evaluates: itself, or another one."""
        return self.rows[name].runs_of or name

    def data_of(self, name: str) -> str:
        """The name of the data that a row is evaluated on."""
        row = self.rows[name]
        return row.data or self.rows[self.trained_row(name)].data or next(iter(self.data))


def load(path: str | Path, seeds: Sequence[int] = (), rows: Sequence[str] = (), out: Path | None = None) -> StudyPlan:
    """Reads a study, or the part of it with these seeds and rows. Raises UserError.

    Every row's training configuration is validated, so that an impossible setting is an error before anything starts.
    """
    tree = config.read_mapping(path, "study", "configs/study/demo.yaml", "base, out, title, seeds, data, rows")
    if unknown := set(rows) - set(tree.get("rows") or {}):
        raise UserError(f"--rows: no row {sorted(unknown)[0]!r}; {path} has {', '.join(tree.get('rows') or {})}")
    tree |= {"seeds": list(seeds)} if seeds else {}
    study = config.validated(StudyPlan, tree, "study")
    study = study.model_copy(
        update={"base": (Path(path).parent / study.base).resolve(), "out": (out or study.out).resolve()}
        | ({"rows": _with_origins(study, rows)} if rows else {})
    )
    for name in study.rows:
        config.load(study.base, overrides(study, study.trained_row(name), study.seeds[0], study.out, study.out))
    return study


def _with_origins(study: StudyPlan, names: Sequence[str]) -> dict[str, StudyRow]:
    """The named rows, those whose runs they evaluate, and the reference, in the order of the file."""
    kept = {*names, *(study.trained_row(name) for name in names), *([study.reference] if study.reference else [])}
    kept |= {origin for name in names if (origin := study.rows[study.trained_row(name)].starts_from)}
    return {name: row for name, row in study.rows.items() if name in kept}


def settings_of(study: StudyPlan, name: str) -> dict[str, Any]:
    """The dotted settings of a row in place of the base's: those of the study, then its own."""
    return study.set | study.rows[name].set


def overrides(study: StudyPlan, name: str, seed: int, run: Path, shards: Path) -> list[str]:
    """The `key=value` overrides of one training; JSON values are YAML values."""
    settings = {**settings_of(study, name), "seed": seed, "run": str(run), "data.shards": str(shards)}
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]
