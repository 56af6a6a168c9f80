"""The name of a file → whether it may be an image, or the kind of file that it is.

In: relative names. Out: the names that may be images, and counts of the others by kind: nothing is passed over in
silence. A file of an unknown kind is tried by its content.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable

# Folders and files that operating systems, network storage and tools put beside a user's own.
SYSTEM_FOLDER = re.compile(
    r"@eadir|#recycle|#snapshot|\$recycle\.bin|system volume information|\.@__thumb|__macosx|lost\+found", re.I
)
SYSTEM_FILE = re.compile(
    r"thumbs\.db|desktop\.ini|ehthumbs\.db|icon\r|.*:zone\.identifier|.*:com\.dropbox\..*|~\$.*|.*~", re.I
)
# Files of these endings, and these without one, are no images.
OTHER_ENDING = re.compile(
    r"\.(?:csv|tsv|txt|jsonl?|xml|md|rst|parquet|html?|pdf|py|ipynb|ya?ml|log|sqlite3?|db|xlsx?|docx?|pptx?|npy|npz|ini|cfg|toml|"
    r"sha\d*|md5|sum|part|crdownload|tmp|lock|sh|bat|exe|rtf|bib|lnk|url|aux|pt|pth|ckpt)",
    re.I,
)
OTHER_NAME = re.compile(
    r"dicomdir(?:\..*)?|licen[cs]e|readme|citation|copying|notice|authors?|contributors|changelog|changes|makefile|dockerfile|"
    r"(?:md5|sha\d*)sums?(?:\.txt)?|sums|manifest|version|index|autorun\.inf|lockfile|todo",
    re.I,
)
PACKED = re.compile(r"\.(?:tgz|tar|zip|7z|rar|bz2|xz|gz)", re.I)
# A single image in gzip is read; "a.nii.gz" is none.
IMAGE_IN_GZIP = re.compile(r"(?:.*\.(?:dcm|dicom|ima|png|jpe?g)|[^.]+)\.gz", re.I)

HIDDEN, SYSTEM, OTHER = "hidden file", "file of the system or the storage", "file that is no image by its name"
PACKAGE = "packed file that is not opened (tar, gz, zip in a zip): unpack it there if it holds images"


def may_be_images(names: Iterable[str]) -> tuple[list[str], Counter[str]]:
    """The relative names of all files that may be images, sorted, and the number of the others by kind."""
    images, others = [], Counter[str]()
    for name in sorted(names):
        kind = kind_of(name)
        if kind:
            others[kind] += 1
        else:
            images.append(name)
    return images, others


def kind_of(name: str) -> str:
    """The kind of a file that is no image by its name, empty for one that may be."""
    *folders, base = name.split("/")
    if any(SYSTEM_FOLDER.fullmatch(folder) for folder in folders) or SYSTEM_FILE.fullmatch(base):
        return SYSTEM
    if any(part.startswith(".") for part in (*folders, base)):
        return HIDDEN
    unpacked = base[:-3] if base.lower().endswith(".gz") else base
    if OTHER_NAME.fullmatch(base) or OTHER_ENDING.fullmatch(posixpath.splitext(unpacked)[1]):
        return OTHER
    if IMAGE_IN_GZIP.fullmatch(base):
        return ""
    return PACKAGE if PACKED.fullmatch(posixpath.splitext(base)[1]) else ""
