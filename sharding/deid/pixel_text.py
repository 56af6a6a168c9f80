"""A picture → whether it shows text beyond side markers, by the OCR engine tesseract of the system.

In: the grey picture as it is displayed. Out: yes or no. What was read may be a name: it stays inside of this module, no
file is written, and the engine gets the lines of text through a pipe. The engine is optional; `engine` names it.
"""

# H rows, W columns
from __future__ import annotations

import difflib
import os
import re
import subprocess

from sharding.contract import Reason, Rejected, UserError
from sharding.pixels.checks import text_lines
from sharding.pixels.picture import Grey

COMMAND = "tesseract"
SHORTEST = 32  # pixels; in a smaller picture nobody can read a name
TABLE = b"level\t"  # begins what the engine writes, also if it reads nothing
SPARSE = ("stdin", "stdout", "-l", "eng", "--psm", "11", "tsv")  # text anywhere, in no order
LETTERS, DIGITS = 3, 4  # of a word, to be one
CONFIDENT = 70  # per cent, of a word of letters
SHORT_CONFIDENT = 80  # of three letters, which wires and ribs also make
DIGITS_CONFIDENT = 75  # ribs and wires look like 1, 4 and 7
DATE, DATE_CONFIDENT = re.compile(r"\W*\d{1,4}([./-])\d{1,2}\1\d{2,4}\W*"), 30  # by chance nothing looks like a date
# What technologists and devices put beside the patient: sides, projections, positions, places.
MARKERS = """
    LEFT RIGHT LINKS RECHTS GAUCHE DROITE DROIT IZQ IZQUIERDA DER DERECHA ESQ DIR LAT LATERAL LATERALE OBL OBLIQUE LAO
    RAO LPO RPO APL PAL AXIAL LDR RDR ERECT UPRIGHT UPRT STANDING STEHEND DEBOUT PIE SITTING SITZEND SEATED SEDUTO
    SENTADO ASSIS SUPINE SUPINO LIEGEND LYING COUCHE PRONE DECUB DECUBITUS REC SEMI SEMIERECT SEMISUPINE SEMIUPRIGHT
    RECUMBENT PORTABLE PORT MOBILE MOB MOBIL BED BEDSIDE BETT LIT CHEST THORAX TORAX TORACE INSP INSPIRATION EXP
    EXPIRATION GRID TROLLEY WHEELCHAIR CHAIR RESUS ICU ITU CCU CCD NICU HDU AED WARNING NOT FOR DIAGNOSTIC USE
"""
EXPOSURE = {"HRS", "HR", "KV", "KVP", "MAS"}  # after the number: 18:20HRS, 85kV
MISREAD = 0.82  # likeness of a marker with one letter of six that was misread


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
    return any(is_identifying(*word) for sheet_HW in text_lines.sheets(grey_HW) for word in _words(sheet_HW))


def is_identifying(word: str, confidence: float) -> bool:
    """Whether a word was read with enough confidence (per cent), and is no marker."""
    parts = [part.upper() for part in re.split(r"[\W\d_]+", word)]
    if any(_is_name(part, confidence) for part in parts):
        return True
    if DATE.fullmatch(word) and confidence >= DATE_CONFIDENT:
        return True
    is_number = len(re.sub(r"\D", "", word)) >= DIGITS and confidence >= DIGITS_CONFIDENT
    return is_number and parts[-1] not in EXPOSURE


def _is_name(part: str, confidence: float) -> bool:
    if len(part) < LETTERS or confidence < (SHORT_CONFIDENT if len(part) == LETTERS else CONFIDENT):
        return False
    marker = re.sub("^(?:AP|PA)(?=.{4})", "", part)  # APERECT
    return part not in EXPOSURE and not difflib.get_close_matches(marker, MARKERS.split(), 1, MISREAD)


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
