"""Damage to files, as a function of a seed, and a process that reads what was damaged.

    python -m tests.sharding.pixels.mutations NOTES {bytes|frame} FIRST COUNT FILE [FILE ...]

Reads COUNT mutants of each file, seeds from FIRST on, with memory for one large image. Prints how many became a
picture and how many were refused for which reason, as JSON, and nothing else. The name and the seed at hand stand in
the file NOTES, so that what ends the process is known.
"""

from __future__ import annotations

import io
import json
import random
import resource
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import encapsulate, get_frame

from sharding import pixels
from sharding.contract import Reason, Rejected

MEMORY = 4 * 2**30  # of address space, of which libraries take most
RARE_NUMBERS = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 20000)
REASONS = (Reason.PARSE, Reason.REQUIRED_TAGS, Reason.DECODE)


def damaged(data: bytes, seed: str) -> bytes:
    """Bytes changed, left out, put in, doubled or cut off; mostly near the start, where the structure is."""
    rng = random.Random(seed)
    mutant = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if len(mutant) < 16:
            break
        place = rng.randrange(min(len(mutant) - 8, rng.choice((100, 400, 2000, 10**9))))
        length = rng.choice((1, 2, 4, 64, 1000))
        match rng.randrange(8):
            case 0:
                mutant[place] ^= 1 << rng.randrange(8)
            case 1:
                mutant[place : place + length] = rng.randbytes(length)
            case 2:
                mutant[place : place + 2] = rng.choice(RARE_NUMBERS).to_bytes(2, rng.choice(("little", "big")))
            case 3:
                mutant[place : place + 4] = rng.choice(
                    (bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")
                )
            case 4:
                mutant[place:place] = rng.randbytes(length)
            case 5:
                mutant[place:place] = mutant[place : place + length] * rng.choice((1, 2, 10))
            case 6:
                del mutant[place : place + length]
            case 7:
                del mutant[rng.randrange(place, len(mutant)) :]
    return bytes(mutant)


def with_damaged_frame(data: bytes, seed: str) -> bytes:
    """A DICOM file whose header is whole and whose pixel data is damaged, in a frame that is closed again."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        mutant = damaged(get_frame(dataset.PixelData, 0, number_of_frames=1), seed)
        ending = random.Random(seed).choice((b"", b"\xff\xd9"))
        dataset.PixelData = encapsulate([mutant + ending + b"\0" * ((len(mutant) + len(ending)) % 2)])
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.PixelData = damaged(dataset.PixelData, seed)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def outcome(data: bytes) -> str:
    """Raises whatever is neither a picture nor a plausible refusal."""
    try:
        picture = pixels.read(data)
    except Rejected as rejected:
        reason = rejected.reason
    else:
        assert picture.grey_HW.dtype == np.uint8
        assert picture.grey_HW.shape == (picture.geometry.height, picture.geometry.width)
        return "picture"
    assert reason in REASONS
    return reason.value


def main(notes: str, kind: str, first: str, count: str, *files: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    damage = with_damaged_frame if kind == "frame" else damaged
    outcomes: Counter[str] = Counter()
    for file in files:
        data = Path(file).read_bytes()
        for seed in range(int(first), int(first) + int(count)):
            name = f"{Path(file).name} {seed}"
            Path(notes).write_text(name)
            outcomes[outcome(damage(data, name))] += 1
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
