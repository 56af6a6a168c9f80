"""A picture → whether it shows text beyond side markers, by the OCR engine tesseract of the system.

In: the grey picture as it is displayed. Out: yes or no. What was read may be a name: it stays inside of this module, no
file is written, and the engine gets the picture through a pipe. The engine is optional; `engine` names it.
"""

# H rows, W columns
from __future__ import annotations

import itertools
import os
import re
import subprocess

import numpy as np
from PIL import Image

from sharding.contract import Reason, Rejected, UserError
from sharding.pixels.picture import Grey

COMMAND = "tesseract"
LONGEST = 1024  # pixels of the side that is searched: more finds ribs and noise, less loses small letters
WIDEST = 13  # pixels; the strokes of letters are thinner, and what is wider is no letter
SHORTEST = 32  # pixels; in a smaller picture nobody can read a name
TABLE = b"level\t"  # begins what the engine writes, also if it reads nothing
SPARSE = ("stdin", "stdout", "-l", "eng", "--psm", "11", "tsv")  # text anywhere, in no order
CONFIDENT = 70  # per cent, of a word of letters
DIGITS_CONFIDENT = 75  # ribs and wires look like 1, 4 and 7
LETTERS, DIGITS = 3, 4  # of a word, to be one
MARKERS = """
    LEFT RIGHT LINKS RECHTS GAUCHE DROITE DROIT IZQ IZQUIERDA DER DERECHA ESQ DIR LAT LATERAL LATERALE OBL OBLIQUE LAO
    RAO LPO RPO APL PAL AXIAL ERECT UPRIGHT STANDING STEHEND DEBOUT SITTING SITZEND SEATED SUPINE LIEGEND LYING COUCHE
    PRONE DECUB DECUBITUS SEMI SEMIERECT SEMISUPINE SEMIUPRIGHT RECUMBENT PORTABLE PORT MOBILE MOBIL BED BEDSIDE BETT
    LIT CHEST THORAX TORAX INSP INSPIRATION EXP EXPIRATION GRID TROLLEY WHEELCHAIR CHAIR RESUS ICU ITU CCU NICU HDU AED
"""  # what technologists put beside the patient: sides, projections, positions, exposure


def engine() -> str:
    """Name and version of the engine; raises UserError if it or its English data are missing."""
    try:
        version = _run(["--version"]).stdout.decode("utf-8", "replace").split("\n")[0].strip()
        languages = _run(["--list-langs"]).stdout.decode("utf-8", "replace").split()
    except OSError:
        raise UserError(
            "--pixel-text needs tesseract; install it, for example with apt-get install tesseract-ocr"
        ) from None
    if "eng" not in languages:
        raise UserError("--pixel-text needs the English data of tesseract; install the package tesseract-ocr-eng")
    return version if re.fullmatch(r"tesseract v?[0-9][0-9A-Za-z.+-]{0,30}", version) else COMMAND


def shows_text(grey_HW: Grey) -> bool:
    """Whether a word is read that is no marker.

    Raises Rejected(DECODE), a fault, for a picture that the engine fails on; UserError if the engine is missing.
    """
    if min(grey_HW.shape) < SHORTEST:
        return False
    picture_HW = _smaller(grey_HW)
    found = itertools.chain.from_iterable(_words(_strokes(one_HW)) for one_HW in (picture_HW, 255 - picture_HW))
    return any(is_identifying(word, confidence) for word, confidence in found)


def is_identifying(word: str, confidence: float) -> bool:
    """Whether a word was read with enough confidence (per cent), and is no marker."""
    letters, digits = re.sub(r"[\W\d_]", "", word), re.sub(r"\D", "", word)
    if len(digits) >= DIGITS and confidence >= DIGITS_CONFIDENT:
        return True
    return len(letters) >= LETTERS and confidence >= CONFIDENT and letters.upper() not in MARKERS.split()


def _smaller(grey_HW: Grey) -> Grey:
    picture = Image.fromarray(grey_HW)
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    return np.asarray(picture)


def _strokes(grey_HW: Grey) -> Grey:
    """Bright strokes alone (a white top-hat), dark on white: the engine has one threshold for a whole picture."""
    opened_HW = grey_HW
    for extreme in (np.minimum, np.maximum):
        for axis in (0, 1):
            opened_HW = _running(extreme, opened_HW, axis)
    return 255 - (grey_HW - opened_HW)


def _running(extreme: np.ufunc, values_HW: Grey, axis: int) -> Grey:
    """The extreme of the WIDEST values around each along an axis, by windows that double."""
    margins = [(0, 0), (0, 0)]
    margins[axis] = (WIDEST // 2, WIDEST // 2)
    found_HW, width = np.pad(values_HW, margins, mode="edge").swapaxes(0, axis), 1
    while width < WIDEST:
        step = min(width, WIDEST - width)
        found_HW = extreme(found_HW[:-step], found_HW[step:])
        width += step
    return found_HW.swapaxes(0, axis)


def _words(grey_HW: Grey) -> list[tuple[str, float]]:
    """What the engine reads, with its confidence in per cent."""
    picture = b"P5 %d %d 255\n" % grey_HW.shape[::-1] + grey_HW.tobytes()
    try:
        found = _run(list(SPARSE), picture)
    except OSError:
        raise UserError(f"--pixel-text needs {COMMAND} on every machine that makes samples; install it") from None
    if found.returncode or not found.stdout.startswith(TABLE):
        raise Rejected(Reason.DECODE, "tesseract failed on this picture")
    rows = [line.split("\t") for line in found.stdout.decode("utf-8", "replace").splitlines()[1:]]
    return [(row[11], float(row[10])) for row in rows if len(row) == 12 and row[11].strip()]


def _run(arguments: list[str], picture: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The engine, on one core, without its messages, which may quote what it reads."""
    one_core = os.environ | {"OMP_THREAD_LIMIT": "1"}
    return subprocess.run([COMMAND, *arguments], input=picture, capture_output=True, check=False, env=one_core)
