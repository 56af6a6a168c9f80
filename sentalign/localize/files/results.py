"""The results of many pictures: one JSON line a picture as they come, and one table of all at the end.

In: localizations of one picture after the other. Out: results.jsonl, which a stopped run goes on with, and results.csv.

results.jsonl   {"image": where the file is, "folder": of its overlays, "sentences": as in boxes.json, "stamp": size and
                time of the file, empty for a store} or {"image", "failed": why there is no picture}
results.csv     a row for each picture and sentence: image, folder, number, sentence, score, peak_x, peak_y, boxes, and
                the best box: x, y, width, height; a picture that failed has one row, with `failed`
settings.json   what the results depend on; the same command goes on, another one is refused
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sharding.contract import UserError
from sharding.store import atomic, locations

LINES, TABLE, SETTINGS, LOCK = "results.jsonl", "results.csv", "settings.json", ".lock"
NOT_ASCII = re.compile(r"[^\x00-\x7f]")
BOX = ("x", "y", "width", "height")
COLUMNS = ("image", "folder", "number", "sentence", "score", "peak_x", "peak_y", "boxes", *BOX, "failed")
Line = dict[str, Any]


class Results:
    """The files of one folder; `done` holds the images that have a result already, of the file as it is now."""

    def __init__(self, out: Path, settings: dict[str, Any], images: Sequence[str]) -> None:
        """Raises UserError where the folder holds results of other settings or cannot be written."""
        self._out = out
        text = json.dumps(settings, indent=1, ensure_ascii=False) + "\n"
        try:
            self._lock = (out / LOCK).open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another command is writing to {out}; wait for it or give another --out") from None
            stored = out / SETTINGS
            if stored.is_file() and stored.read_text(encoding="utf-8", errors="replace") != text:
                raise UserError(f"{out} holds results of another run, map, --dicom or sentences; give another --out")
            if not stored.is_file() and (out / LINES).is_file():
                raise UserError(f"{out} holds results without {SETTINGS}; give another --out")
            atomic.write_text(stored, text)
            # Failures are tried again, as is what has been replaced since; a line that a kill has cut off is dropped.
            lines = {line["image"]: line for line in _whole_lines(out / LINES) if "failed" not in line}
            self._folders = {image: str(line["folder"]) for image, line in lines.items()}
            self._stamps = {image: _stamp(image) for image in images}
            self._lines = {n: one for n, one in lines.items() if self._stamps.get(n) in (None, one.get("stamp"))}
            atomic.write_text(out / LINES, "".join(map(_json_line, self._lines.values())))
        except OSError as error:
            raise UserError(f"cannot write to {out} ({error.strerror}); give another --out") from None
        self.done = frozenset(self._lines)
        self._last_folder = max(map(int, self._folders.values()), default=0)

    def folder_of(self, image: str) -> str:
        """The folder of an image's files: that of an earlier file of the same name, or a new one."""
        if image not in self._folders:
            self._last_folder += 1
            self._folders[image] = f"{self._last_folder:06d}"
        return self._folders[image]

    def add(self, line: Line) -> None:
        """Appends the line of one picture. Raises UserError where it cannot be written."""
        line = line if "failed" in line else line | {"stamp": self._stamps[line["image"]]}
        self._lines[line["image"]] = line
        try:
            with (self._out / LINES).open("a", encoding="utf-8") as file:
                file.write(_json_line(line))
        except OSError as error:
            raise UserError(f"cannot write to {self._out} ({error.strerror}); free space and run it again") from None

    def of(self, images: Sequence[str]) -> str:
        """The lines of these images."""
        return "".join(_json_line(self._lines[image]) for image in images)

    def write_table(self, images: Sequence[str]) -> None:
        """results.csv, in the order of the images."""
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\r\n")  # a lone \r is quoted then
        table.writeheader()
        table.writerows(row for image in images for row in _rows(self._lines[image]))
        try:
            atomic.write_text(self._out / TABLE, text.getvalue())
        except OSError as error:
            raise UserError(f"cannot write to {self._out} ({error.strerror}); free space and run it again") from None


def _stamp(image: str) -> str:
    """Size and time of a file in a folder, by which one that was replaced is known; a store is not asked."""
    path = locations.local_path(image)
    try:
        status = path.stat() if path else None
    except OSError:
        return ""  # reading says why
    return f"{status.st_size} {status.st_mtime_ns}" if status else ""


def _rows(line: Line) -> Iterator[Line]:
    if "failed" in line:
        yield {"image": line["image"], "failed": line["failed"]}
        return
    for entry in line["sentences"]:
        best, peak = (entry["boxes"] or [{}])[0], entry["peak"] or {}
        row = {"image": line["image"], "folder": line["folder"], "number": entry["number"]}
        row |= {"sentence": entry["sentence"], "score": entry["score"], "boxes": len(entry["boxes"])}
        yield row | {f"peak_{axis}": peak.get(axis, "") for axis in "xy"} | {n: best.get(n, "") for n in BOX}


def in_ascii(text: str) -> str:
    """JSON with escapes for all other signs, so that a terminal or pipe of any encoding takes it."""
    return NOT_ASCII.sub(lambda sign: json.dumps(sign[0])[1:-1], text)


def _json_line(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


def _whole_lines(file: Path) -> Iterator[Line]:
    if not file.is_file():
        return
    # A killed run may have cut a letter in two.
    for text in file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and "image" in line and ("failed" in line or {"folder", "sentences"} <= set(line)):
            yield line
