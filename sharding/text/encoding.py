"""The bytes of a small file → its text, whatever it was packed and encoded with.

In: bytes. Out: bytes without gzip, text. Sizes are bounded, since a few bytes of gzip may stand for a full memory. The
encoding is read off the byte order mark and never guessed: a wrong guess would put wrong letters into reports.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib

from sharding.contract import UserError
from sharding.store import locations

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
# A table may be this much larger than its gzip file: the first number always, the second for each byte.
INFLATED_FREE, INFLATED_RATIO = 256 << 20, 50
CHUNK = 1 << 20


def read(location: str) -> bytes:
    """A file, without gzip where it was packed, whatever its name says; raises UserError where it cannot be read."""
    try:
        data = locations.read(location)
    except OSError as error:
        raise UserError(f"{location}: no such file ({error.strerror}); check the path") from None
    return inflated(data, location)


def inflated(data: bytes, location: str) -> bytes:
    """The content of gzip bytes, other bytes as they are; raises UserError for damage and for a bomb."""
    if not data.startswith(GZIP):
        return data
    limit = INFLATED_FREE + INFLATED_RATIO * len(data)
    chunks, size = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            while size <= limit and (chunk := file.read(CHUNK)):
                chunks.append(chunk)
                size += len(chunk)
    except (OSError, EOFError, zlib.error):
        raise UserError(f"{location}: damaged gzip; fetch it again, or give it unpacked") from None
    if size > limit:
        raise UserError(f"{location}: unpacks to more than {limit >> 20} MiB; give it unpacked")
    return b"".join(chunks)


def codec(data: bytes, location: str) -> str:
    """The name of the codec that reads all of `data`; raises UserError with the line that it fails in."""
    name = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        nul = data.decode(name).find("\0") if name == "utf-16" else data.find(b"\0")
        if name == "utf-8-sig":
            codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{location}: not UTF-8 in line {line}; save it as CSV in UTF-8, as with iconv -f latin1 -t utf-8"
        ) from None
    if nul >= 0:
        raise UserError(
            f"{location}: holds a NUL character, so it is damaged or UTF-16 without a mark; save it as CSV in UTF-8"
        )
    return name


def text(data: bytes, location: str) -> str:
    """The text of a small file; raises UserError where it is neither UTF-8 nor marked as UTF-16."""
    return data.decode(codec(data, location))
