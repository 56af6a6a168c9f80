"""A location → the bytes of a file of the input.

In: `SourceImage`s and locations. Out: bytes without gzip, or `Rejected`. Messages name no file.
"""

from __future__ import annotations

from sharding.contract import Reason, Rejected, UserError
from sharding.sources import SourceImage
from sharding.store import locations
from sharding.text import encoding

MAX_FILE = 2**29  # bytes; a file is read whole, and the largest X-rays have a quarter of that


def image_bytes(image: SourceImage) -> bytes:
    """The image file; raises Rejected(ABSENT) if there is none, Rejected(PARSE) if it cannot be read."""
    if not image.file:
        if image.several:
            raise Rejected(Reason.PARSE, "the image's name fits several files; name it with its folder")
        raise Rejected(Reason.ABSENT, "no file of this name in the input; --partial allows it")
    if (locations.size(image.file) or 0) > MAX_FILE:
        raise Rejected(Reason.PARSE, f"larger than {MAX_FILE >> 20} MiB: more than a single image")
    return read(image.file, "the image file", Reason.PARSE)


def report_text(location: str) -> str:
    """The text of a report file; raises Rejected(TEXT) if it cannot be read or decoded."""
    data = read(location, "the report", Reason.TEXT)
    try:
        return encoding.text(data, "the report", "save it in UTF-8")
    except UserError as error:
        raise Rejected(Reason.TEXT, str(error)) from None


def read(location: str, what: str, reason: Reason) -> bytes:
    """A file, without gzip. Raises Rejected if it cannot be read, UserError if the store is out of reach."""
    try:
        data = locations.read(location)
    except OSError as error:
        raise Rejected(reason, f"{what} cannot be read ({error.strerror})") from None
    try:
        return encoding.inflated(data, what)
    except UserError as error:
        raise Rejected(reason, str(error)) from None
