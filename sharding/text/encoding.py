"""The bytes of a small file → its text, decompressed and decoded.

In: bytes. Out: bytes without gzip, text. Sizes are bounded, since a few bytes of gzip may fill the memory. The encoding
is that of the byte order mark, never guessed: a wrong guess would put wrong letters into reports.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib

from sharding.contract import UserError
from sharding.store import locations
from sharding.store.zip_members import INFLATED_FREE, INFLATED_RATIO

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
CHUNK = 1 << 20
TABLE = "save it as CSV in UTF-8"  # how to correct an encoding


def read(location: str) -> bytes:
    """A file, decompressed if its content is gzip; raises UserError if it cannot be read."""
    try:
        data = locations.read(location)
    except OSError as error:
        raise UserError(f"{location}: no such file ({error.strerror}); check the path") from None
    return inflated(data, location)


def inflated(data: bytes, location: str) -> bytes:
    """The content of gzip bytes, other bytes unchanged; raises UserError for damage and decompression bombs."""
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
        raise UserError(f"{location}: damaged gzip; fetch it again, or decompress it") from None
    if size > limit:
        raise UserError(f"{location}: decompresses to more than {limit >> 20} MiB; decompress it")
    return b"".join(chunks)


def codec(data: bytes, location: str, remedy: str = TABLE) -> str:
    """The name of the codec that reads all of `data`; raises UserError with the line that it fails in, and `remedy`."""
    name = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        nul = data.decode(name).find("\0") if name == "utf-16" else data.find(b"\0")
        if name == "utf-8-sig":
            codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        right = "UTF-16" if name == "utf-16" else "UTF-8"
        raise UserError(f"{location}: not {right} in line {line}; {remedy}, as with iconv -f latin1 -t utf-8") from None
    if nul >= 0:
        raise UserError(f"{location}: a NUL character: damaged, or UTF-16 without a byte order mark; {remedy}")
    return name


def text(data: bytes, location: str, remedy: str = TABLE) -> str:
    """The text of a small file; raises UserError if it is neither UTF-8 nor UTF-16 with a byte order mark."""
    return data.decode(codec(data, location, remedy))
