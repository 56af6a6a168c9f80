"""Reports of Open-i: eCitation XML → their ids, images and texts (docs/formats.md, Open-i).

In: the bytes of XML files, or of the archive that they are distributed in, which is read in memory and never unpacked
to disk. Out: `Report`, None for anything else. Sizes are bounded, and no entity is expanded.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from sharding.contract import UserError
from sharding.text import sections

MAX_REPORT = 1 << 20  # bytes; the largest of the collection has 9,000


@dataclass(frozen=True)
class Report:
    """One report; `images` are the ids of its parentImage elements."""

    id: str
    text: str
    images: tuple[str, ...]


def members(plain: bytes, location: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file of a tar archive; empty content for one too large to be a report.

    Links are not followed. Raises UserError if the archive is damaged.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() and member.size <= MAX_REPORT else None
                if member.isreg():
                    yield member.name, file.read() if file else b""
            # tarfile takes an unreadable header as the end of the archive.
            complete = archive.offset < len(plain) and not plain[archive.offset : archive.offset + 512].strip(b"\0")
    except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, IndexError, RecursionError, OverflowError):
        complete = False
    if not complete:
        raise UserError(f"{location}: damaged archive; download it again, or unpack it and remove it")


def parse(data: bytes, stem: str) -> Report | None:
    """The report; None if it is not eCitation XML or declares a document type (entities expand without bound).

    `stem`, the name of the file, is the id of a report without one.
    """
    try:
        text = data.decode("utf-8-sig")
        # A str is parsed as it is, so an encoding named in the first line cannot hide a declaration.
        if "<!" in text.replace("<!--", "").replace("<![CDATA[", ""):
            return None
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError):
        return None
    if root.tag != "eCitation":
        return None
    uid = root.find("uId")
    images = dict.fromkeys(image.get("id", "").strip() for image in root.iter("parentImage"))
    return Report((uid.get("id", "") if uid is not None else "") or stem, _text(root), tuple(filter(None, images)))


def _text(root: ElementTree.Element) -> str:
    parts = ((part.get("Label", ""), "".join(part.itertext())) for part in root.iter("AbstractText"))
    return with_headers(parts)


def with_headers(parts: Iterator[tuple[str, str]]) -> str:
    """Labelled parts as one text with headers, as in a written report; an unknown label is dropped."""
    known = ((sections.known_header(label), " ".join(content.split())) for label, content in parts)
    return "\n\n".join(f"{header}: {content}" if header else content for header, content in known if content)
