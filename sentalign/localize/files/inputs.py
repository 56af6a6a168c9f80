"""The words of `sentalign localize` → the pictures, and the sentences.

In: words of the command line: files, folders, patterns and URLs of stores, then sentences. Out: the location of each
file, a path or a URL, in a fixed order, and the sentences. Nothing is read here.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from sharding.contract import UserError
from sharding.store import locations

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those words that name pictures, and the sentences, all with single spaces.

    The first word names pictures, and so does every other one that is a URL, a path that exists or a pattern that
    matches. Raises UserError for a word that looks like a path of an image and is none, and for an empty sentence.
    """
    places = [word for n, word in enumerate(words) if n == 0 or _names_pictures(word)]
    sentences = [" ".join(word.split()) for n, word in enumerate(words) if n > 0 and not _names_pictures(word)]
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
    return "://" in word or Path(word).exists() or bool(glob.glob(word))


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


def expand(places: Sequence[str]) -> list[str]:
    """The files of all places, each once, those of a folder by name. Raises UserError where a place has none."""
    return list(dict.fromkeys(file for place in places for file in _files(place)))


def _files(place: str) -> list[str]:
    path = locations.local_path(place)
    if path is None:
        return _of_store(place)
    if path.exists():
        return _of_folder(path) if path.is_dir() else [str(path)]
    matches = [Path(match) for match in sorted(glob.glob(place, recursive=True))]
    files = [file for match in matches for file in (_of_folder(match) if match.is_dir() else [str(match)])]
    if not files:
        raise UserError("no image file at this path; give DICOM, PNG or JPEG files, folders, patterns or URLs")
    return files


def _of_folder(folder: Path) -> list[str]:
    """Its files at any depth, but for hidden ones. Raises UserError where there is none."""
    inside = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    files = [str(folder / file) for file in inside if not any(part.startswith(".") for part in file.parts)]
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
