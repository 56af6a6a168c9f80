"""The words of `sentalign localize` → the pictures, and the sentences.

In: words of the command line: files, folders, patterns and URLs of stores, then sentences. Out: the location of each
file, a path or a URL, in a fixed order, and the sentences. Nothing is read here.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from sharding.contract import UserError
from sharding.store import locations
from sharding.store.folder import files_below

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those words that name pictures, and the sentences, all with single spaces.

    The first word names pictures, and so does every other one that is a URL, a path that exists or a pattern that
    matches. Raises UserError for a word that looks like a path of an image and is none, and for an empty sentence.
    """
    if not words[0].strip():
        raise UserError("an empty word in place of an image; give DICOM, PNG or JPEG files, folders, patterns or URLs")
    is_place = [n == 0 or _names_pictures(word) for n, word in enumerate(words)]
    places = [word for word, place in zip(words, is_place, strict=True) if place]
    sentences = [" ".join(word.split()) for word, place in zip(words, is_place, strict=True) if not place]
    if wrong := next((s for s in sentences if s.lower().endswith(SUFFIXES)), None):
        raise UserError(f"a word ends in {PurePosixPath(wrong).suffix} and there is no such file; check the path")
    check(sentences)
    return places, sentences


def check(sentences: Iterable[str]) -> None:
    """Raises UserError where a sentence has no letter or digit."""
    if not all(any(c.isalnum() for c in sentence) for sentence in sentences):
        raise UserError('an empty sentence; give a finding in words, for example "Right pleural effusion."')


def _names_pictures(word: str) -> bool:
    if not any(c.isalnum() for c in word):
        return False  # "" and "." are the working folder, and no sentences
    return "://" in word or os.path.exists(word) or bool(glob.glob(word))  # False for what is too long for a name


def is_one_file(places: Sequence[str]) -> bool:
    """Whether the user named a single file, not a folder or a pattern."""
    path = locations.local_path(places[0])
    named = places[0].lower().endswith(SUFFIXES) if path is None else path.is_file()
    return len(places) == 1 and named


def read_sentences(file: Path) -> list[str]:
    """The sentences of a text file, one a line; empty lines and lines from # are left out. Raises UserError."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"--sentences: {file} cannot be read as UTF-8 text; give a file with one sentence a line"
        ) from None
    sentences = [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")]
    check(sentences)
    return sentences


def expand(places: Sequence[str], out: Path | None = None) -> list[str]:
    """The files of all places, each once, those of a folder by name, without the results in a folder `out` in it.

    Raises UserError where a place has none, or a folder lies in `out`.
    """
    return list(dict.fromkeys(file for place in places for file in _files(place, out)))


def _files(place: str, out: Path | None) -> list[str]:
    path = locations.local_path(place)
    if path is None:
        return _of_store(place)
    if path.exists():
        return _of_folder(path, out) if path.is_dir() else [_printable(str(path))]
    matches = [Path(match) for match in sorted(glob.glob(place, recursive=True))]
    found = [_of_folder(match, out) if match.is_dir() else [_printable(str(match))] for match in matches]
    if not found:
        raise UserError("no image file at this path; give DICOM, PNG or JPEG files, folders, patterns or URLs")
    return [file for files in found for file in files]


def _printable(path: str) -> str:
    """A name that is not UTF-8 with \\xNN in it, by which it is read too (see `sharding.store.folder`)."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _of_folder(folder: Path, out: Path | None) -> list[str]:
    """Its files at any depth, but for hidden ones and results; links are followed. Raises UserError without any."""
    results = Path(os.path.abspath(out)) if out else None
    if results and Path(os.path.abspath(folder)).is_relative_to(results):
        raise UserError("--out is the folder of the images, or around it; give another")
    names = sorted(name for name, _ in files_below(folder))
    shown = [
        Path(_printable(str(folder)), name) for name in names if not any(p.startswith(".") for p in name.split("/"))
    ]
    files = [str(file) for file in shown if not results or not Path(os.path.abspath(file)).is_relative_to(results)]
    if not files:
        raise UserError("the folder holds no file; give one that holds DICOM, PNG or JPEG files")
    return files


def _of_store(url: str) -> list[str]:
    url = url.rstrip("/")
    if url.lower().endswith(SUFFIXES):
        return [url]
    names = locations.open_store(url).list()
    if not names:
        raise UserError("nothing at this URL; give one below which DICOM, PNG or JPEG files are")
    return [f"{url}/{name}" for name in names]
