"""The words of `sentalign localize` → the pictures, and the sentences.

In: words of the command line: files, folders, patterns and URLs of stores, then sentences. Out: the location of each
file, a path or a URL, in a fixed order, and the sentences. Nothing is read here.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sharding.contract import UserError
from sharding.store import locations
from sharding.store.folder import files_below

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
OF_IMAGES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")
SUFFIXES = (*OF_IMAGES, *(f"{suffix}.gz" for suffix in OF_IMAGES))


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those words that name pictures, and the sentences, all with single spaces.

    The first word names pictures, and so does every other one that is a URL, a path that exists or a pattern that
    matches. Raises UserError for a word that looks like a path of an image and is none, and for an empty sentence.
    """
    if not words[0].strip():
        raise UserError("an empty word in place of an image; give DICOM, PNG or JPEG files, folders, patterns or URLs")
    is_place = [n == 0 or _names_pictures(word) for n, word in enumerate(words)]
    places = [word for word, place in zip(words, is_place, strict=True) if place]
    sentences = [spaced(word) for word, place in zip(words, is_place, strict=True) if not place]
    if wrong := next((s for s in sentences if s.lower().endswith(SUFFIXES)), None):
        raise UserError(f"a word ends in {_suffix(wrong)} and there is no such file; check the path")
    check(sentences)
    return places, sentences


def _suffix(word: str) -> str:
    return max((suffix for suffix in SUFFIXES if word.lower().endswith(suffix)), key=len)


def spaced(text: str) -> str:
    """Single spaces, also in place of control characters, which no file of results may hold."""
    return " ".join(CONTROL.sub(" ", text).split())


def check(sentences: Sequence[str]) -> None:
    """Raises UserError where a sentence has no letter or digit, or is no text."""
    if any("\udc80" <= c <= "\udcff" for sentence in sentences for c in sentence):
        raise UserError("a sentence is no UTF-8 text; give it in UTF-8, or in a file with --sentences")
    if not all(any(c.isalnum() for c in sentence) for sentence in sentences):
        raise UserError('an empty sentence; give a finding in words, for example "Right pleural effusion."')


def _names_pictures(word: str) -> bool:
    if not any(c.isalnum() for c in word):
        return False  # "" and "." are the working folder, and no sentences
    return "://" in word or os.path.exists(word) or bool(glob.glob(word))  # False for what is too long for a name


def is_one_file(places: Sequence[str]) -> bool:
    """Whether the user named a single file, not a folder or a pattern."""
    path = locations.local_path(places[0])
    named = places[0].lower().endswith(SUFFIXES) if path is None else os.path.isfile(path)
    return len(places) == 1 and named


def read_sentences(file: Path) -> list[str]:
    """The sentences of a text file, one a line; empty lines and lines from # are left out. Raises UserError."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"--sentences: {file} cannot be read as UTF-8 text; give a file with one sentence a line"
        ) from None
    sentences = [spaced(line) for line in lines if line.strip() and not line.startswith("#")]
    check(sentences)
    return sentences


def expand(places: Sequence[str], out: Path | None = None) -> list[str]:
    """The files of all places, each once, those of a folder by name, without the results below a folder `out`.

    A file that the user named is taken wherever it is. Raises UserError where a place has none, or all lie in `out`.
    """
    results = Path(os.path.realpath(out)) if out else None
    found: dict[str, None] = {}
    for place in places:
        files, named = _files(place)
        found |= dict.fromkeys(file for file in files if named or not _is_below(file, results))
    if not found:
        raise UserError("--out is the folder of the images, or around it; give another")
    return list(found)


def _is_below(file: str, results: Path | None) -> bool:
    return results is not None and "://" not in file and Path(os.path.realpath(file)).is_relative_to(results)


def _files(place: str) -> tuple[list[str], bool]:
    """The files of one place, and whether it is a file that the user named."""
    path = locations.local_path(place)
    if path is None:
        return _of_store(place), True
    if os.path.isdir(path):
        return _of_folder(path), False
    if os.path.exists(path):
        return [_printable(str(path))], True
    matches = [Path(match) for match in sorted(glob.glob(place, recursive=True))]
    found = [_of_folder(match) if match.is_dir() else [_printable(str(match))] for match in matches]
    if not found:
        raise UserError("no image file at this path; give DICOM, PNG or JPEG files, folders, patterns or URLs")
    return [file for files in found for file in files], False


def _printable(path: str) -> str:
    """A name that is not UTF-8 with \\xNN in it, by which it is read too (see `sharding.store.folder`)."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _of_folder(folder: Path) -> list[str]:
    """Its files at any depth, but for hidden ones; links are followed. Raises UserError where it has none."""
    inside, top = sorted(PurePosixPath(name) for name, _ in files_below(folder)), Path(_printable(str(folder)))
    files = [str(top / file) for file in inside if not any(part.startswith(".") for part in file.parts)]
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
