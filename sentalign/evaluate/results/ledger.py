"""A file that keeps every evaluation of a held-out set, so that a second one is known as the second.

In: the cases, the run and the settings, before anything is measured. Out: a line in the file, and the record that
metrics.json holds. A set that was measured twice, with what the first result taught, is no held-out set any more.

A line is {"set": name, "images": sha256, "sentences": sha256, "run": sha256 of the weights, "settings": {...}, "time":
UTC}. Evaluations are of one set if their `images` agree, which is over images and targets in any order: other sentences
on the same images are a further try at them.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sentalign.evaluate.datasets.case import Case
from sentalign.evaluate.scoring.target import PixelMask
from sharding.contract import UserError

Entry = dict[str, Any]
FIELDS = {"set", "images", "sentences", "run", "settings", "time"}


def manifest(name: str, cases: Sequence[Case], weights: str, settings: dict[str, Any]) -> Entry:
    """What an evaluation is of: its set, run and settings."""
    sentences = (json.dumps([case.image_id, case.phrase, case.category]).encode() for case in cases)
    checksums = {"images": _sha256(map(_image, cases)), "sentences": _sha256(sentences)}
    return {"set": name, **checksums, "run": weights, "settings": settings}


def _sha256(parts: Iterable[bytes]) -> str:
    """The checksum of different parts, in any order."""
    digests = sorted({hashlib.sha256(part).hexdigest() for part in parts})
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _image(case: Case) -> bytes:
    mask = case.target.bits.tobytes() if isinstance(case.target, PixelMask) else b""
    return case.image_id.encode() + b"\0" + case.target.boxes.tobytes() + mask


def enter(file: Path, entry: Entry) -> dict[str, Any]:
    """Adds the evaluation to the file, before it is run, and returns its record.

    {"number": 1 for the first evaluation of these images, "changed": what differs from the first, "manifest": entry}.
    An evaluation that equals an earlier one in all is not counted again. Raises UserError where the file holds anything
    else or cannot be written.
    """
    earlier = [one for one in _read(file) if one["images"] == entry["images"]]
    same = [n for n, one in enumerate(earlier, 1) if _without_time(one) == entry]
    if not same:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        try:
            with file.open("a", encoding="utf-8") as stream:
                stream.write("" if _ends_a_line(file) else "\n")  # an editor may have taken the last one
                stream.write(json.dumps(entry | {"time": now}, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(f"--once: cannot write {file} ({error.strerror}); give another file") from None
    number = same[0] if same else len(earlier) + 1
    return {"number": number, "changed": _changed(earlier[0], entry) if number > 1 else [], "manifest": entry}


def _ends_a_line(file: Path) -> bool:
    return not file.stat().st_size or file.read_bytes().endswith(b"\n")


def _without_time(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name != "time"}


def _read(file: Path) -> list[Entry]:
    try:
        entries = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
        if any(set(one) != FIELDS or not isinstance(one["settings"], dict) for one in entries):
            raise ValueError
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"--once: cannot read {file} ({error.strerror}); give another file") from None
    except (ValueError, TypeError, RecursionError):
        raise UserError(f"--once: {file} is no record of evaluations; give a new file, or one that it wrote") from None
    return entries


def _changed(first: Entry, entry: Entry) -> list[str]:
    """The names of what differs: the set's, the sentences, the run, or a setting."""
    settings = first["settings"], entry["settings"]
    names = sorted(set(settings[0]) | set(settings[1]))
    of_set = [name for name in ("set", "sentences", "run") if first[name] != entry[name]]
    return of_set + [name for name in names if settings[0].get(name) != settings[1].get(name)]


def line(record: dict[str, Any]) -> str:
    """What is printed and stands on the page."""
    if record["number"] == 1:
        return "the first evaluation of these images in its record"
    changed = ", ".join(record["changed"])
    return f"evaluation number {record['number']} of these images; changed since the first: {changed}"
