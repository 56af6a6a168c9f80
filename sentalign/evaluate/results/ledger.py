"""A file that holds every evaluation of a held-out set, so that a second one says that it is the second.

In: the cases, the run and the settings, before anything is measured. Out: a line in the file, and what metrics.json
says of it. A set that was measured twice, with what the first result taught, is no held-out set any more.

A line is {"set": name, "cases": sha256, "run": sha256 of the weights, "settings": {...}, "time": UTC}; `cases` is over
images, phrases, categories and targets, so that the place and the order of the files change nothing.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentalign.evaluate.datasets.case import Case
from sentalign.evaluate.scoring.target import PixelMask
from sharding.contract import UserError

Entry = dict[str, Any]


def manifest(name: str, cases: Sequence[Case], weights: str, settings: dict[str, Any]) -> Entry:
    """What an evaluation is of: its set, run and settings."""
    return {"set": name, "cases": cases_sha256(cases), "run": weights, "settings": settings}


def cases_sha256(cases: Sequence[Case]) -> str:
    """The checksum of what is measured, in any order."""
    return hashlib.sha256("\n".join(sorted(map(_digest, cases))).encode()).hexdigest()


def _digest(case: Case) -> str:
    target = case.target.boxes.tobytes() + (case.target.bits.tobytes() if isinstance(case.target, PixelMask) else b"")
    words = json.dumps([case.image_id, case.phrase, case.category])
    return hashlib.sha256(words.encode() + target).hexdigest()


def enter(file: Path, entry: Entry) -> dict[str, Any]:
    """Adds the evaluation to the file, before it is run, and returns what is said of it.

    {"number": 1 for the first evaluation of these cases, "changed": what differs from the first, "manifest": entry}. An
    evaluation that equals an earlier one in all is not counted again. Raises UserError where the file holds anything
    else or cannot be written.
    """
    earlier = [one for one in _read(file) if one["cases"] == entry["cases"]]
    same = [n for n, one in enumerate(earlier, 1) if _without_time(one) == entry]
    if not same:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        try:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry | {"time": now}, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(f"--once: cannot write {file} ({error.strerror}); give another file") from None
    number = same[0] if same else len(earlier) + 1
    return {"number": number, "changed": _changed(earlier[0], entry) if number > 1 else [], "manifest": entry}


def _without_time(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name != "time"}


def _read(file: Path) -> list[Entry]:
    try:
        entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if any(set(one) != {"set", "cases", "run", "settings", "time"} for one in entries):
            raise ValueError
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"--once: cannot read {file} ({error.strerror}); give another file") from None
    except (ValueError, TypeError):
        raise UserError(f"--once: {file} is no record of evaluations; give a new file, or one that it wrote") from None
    return entries


def _changed(first: Entry, entry: Entry) -> list[str]:
    """The names of what differs: "run", or a setting."""
    settings = first["settings"], entry["settings"]
    names = sorted(set(settings[0]) | set(settings[1]))
    run = ["run"] if first["run"] != entry["run"] else []
    return run + [name for name in names if settings[0].get(name) != settings[1].get(name)]


def line(said: dict[str, Any]) -> str:
    """What is printed and stands on the page."""
    if said["number"] == 1:
        return "the first evaluation of these cases in its record"
    return f"evaluation number {said['number']} of these cases; changed since the first: {', '.join(said['changed'])}"
