"""The headers of compressed frames (JPEG, JPEG-LS, JPEG 2000), read before a decoder reads them.

In: the bytes of one frame. Out: its size, or None if it has no valid header. A decoder trusts the frame, not the DICOM
header, so that a small file could request any amount of memory. Nothing is decoded here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

SOI = b"\xff\xd8"
J2K_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ
JP2_BOXES = 2**16  # bytes; the boxes of a JP2 wrapper end within, colour profiles included
# SOF markers: C4, C8 and CC between them are tables and an extension (ITU-T T.81 table B.1); F7 is that of JPEG-LS.
FRAME_MARKERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
METADATA_MARKERS = frozenset((*range(0xE0, 0xF0), 0xFE))
STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
START_OF_SCAN, LOSSLESS, SEQUENTIAL = 0xDA, 0xC3, (0xC0, 0xC1)
SCAN = re.compile(rb"\xff\xda")  # inside a scan, FF never precedes DA
END_OF_IMAGE = b"\xff\xd9"
SINGLE_SCAN = (*SEQUENTIAL, LOSSLESS, 0xF7)  # need only one scan if it has all components
ALL_COEFFICIENTS = bytes((0, 63))
MAX_SCANS = 100  # a progressive JPEG has about ten; each costs a pass over the whole image, however short it is


@dataclass(frozen=True)
class Codestream:
    """`precision` is in bits; `lossless` is the lossless process of JPEG (SOF3), `one_pass` that of a single scan."""

    rows: int
    columns: int
    samples: int
    precision: int
    lossless: bool = False
    one_pass: bool = True


def of_jpeg(frame: bytes) -> Codestream | None:
    """The frame header of a JPEG or JPEG-LS stream (ITU-T T.81 B.2.2, T.87 C.2.2); None if there is none.

    A sequential scan without all 64 coefficients violates the standard (T.81 table B.3) and counts as none: decoders do
    not agree on it.
    """
    header, process = None, 0
    for marker, start, end in _segments(frame):
        segment = frame[start + 4 : end]
        if marker in FRAME_MARKERS and len(segment) >= 6:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", segment)
            header, process = Codestream(rows, columns, samples, precision, marker == LOSSLESS), marker
        if marker == START_OF_SCAN and header:
            if process in SEQUENTIAL and segment[-3:-1] != ALL_COEFFICIENTS:
                return None
            return replace(header, one_pass=process in SINGLE_SCAN and segment[:1] == bytes((header.samples,)))
    return None


def without_metadata(frame: bytes) -> bytes:
    """A JPEG without application data and comments, which repeat the DICOM header at best."""
    kept, last = [], 0
    for marker, start, end in _segments(frame):
        if marker in METADATA_MARKERS:
            kept.append(frame[last:start])
            last = end
    return b"".join((*kept, frame[last:])) if kept else frame


def cut_to_rows(frame: bytes, rows: int) -> bytes | None:
    """A JPEG of a single sequential scan that ends after its first rows, as its header then says; None for another."""
    header = of_jpeg(frame)
    for marker, start, _ in _segments(frame) if header and header.one_pass else ():
        if marker in SEQUENTIAL:
            place = start + 5
            kept = min(rows, int.from_bytes(frame[place : place + 2], "big"))
            return frame[:place] + kept.to_bytes(2, "big") + frame[place + 2 :]
    return None


def colour_share(frame: bytes) -> float:
    """The share of bytes in the scans of a JPEG that hold one component and not the first: 0 if there are none.

    The scans of a progressive JPEG with all details are so, and those of colours that do not change are nearly empty.
    """
    starts = [match.start() for match in SCAN.finditer(frame)][:MAX_SCANS]
    first, of_colour, of_one = None, 0, 0
    for start, end in zip(starts, [*starts[1:], len(frame)], strict=True):
        count, component = frame[start + 4 : start + 5], frame[start + 5 : start + 6]
        first = component if first is None else first
        of_one += end - start if count == b"\1" else 0
        of_colour += end - start if count == b"\1" and component != first else 0
    return of_colour / max(1, of_one)


def _segments(frame: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the segments up to the header of the first scan, which is the last."""
    offset, marker = (2 if frame.startswith(SOI) else len(frame)), 0
    while offset + 4 <= len(frame) and frame[offset] == 0xFF and marker != START_OF_SCAN:
        marker = frame[offset + 1]
        if marker == 0xFF or marker in STANDALONE:  # fill bytes may precede a marker
            offset += 1 if marker == 0xFF else 2
            continue
        end = offset + 2 + int.from_bytes(frame[offset + 2 : offset + 4], "big")
        yield marker, offset, end
        offset = end


def of_j2k(frame: bytes) -> Codestream | None:
    """The SIZ segment of a bare JPEG 2000 codestream (ITU-T T.800 A.5.1); None if it does not begin with one.

    None also for components of unequal size or depth, which no radiograph has.
    """
    if not frame.startswith(J2K_START) or len(frame) < 42:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", frame, 8)
    (samples,) = struct.unpack_from(">H", frame, 40)
    components = frame[42 : 42 + 3 * samples]
    if len(components) < 3 * max(samples, 1) or components != components[:3] * samples or components[1:3] != b"\1\1":
        return None
    return Codestream(bottom - top, right - left, samples, (components[0] & 0x7F) + 1)


def bare_j2k(frame: bytes) -> bytes:
    """A JPEG 2000 codestream without the boxes of JP2: PS3.5 A.4.4 forbids them, and damaged ones hang decoders."""
    return frame if frame.startswith(J2K_START) else frame[max(0, frame.find(J2K_START, 0, JP2_BOXES)) :]


def has_too_many_scans(frame: bytes) -> bool:
    """Whether a JPEG has more scans than any encoder writes: inside a scan, FF never precedes DA."""
    header = of_jpeg(frame)
    return not (header and header.one_pass) and frame.count(bytes((0xFF, START_OF_SCAN))) > MAX_SCANS
