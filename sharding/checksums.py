"""The checksums of the files beside the shards: SHA256SUMS, in the form that `sha256sum --check` reads.

In: the files' bytes. Out: the content of SHA256SUMS, and read back the sha256 of each name. The shards' own checksums
are in the manifest, so that this file covers them too. What a disagreement means is in `verify`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from sharding.contract import AUDIT_NAME, MANIFEST_NAME, QUARANTINE_NAME

COVERED = tuple(sorted((MANIFEST_NAME, QUARANTINE_NAME, AUDIT_NAME)))
LINE = "{}  {}\n"
CONTENT = re.compile("".join(LINE.format("([0-9a-f]{64})", re.escape(name)) for name in COVERED).encode())


def encode(files: Mapping[str, bytes]) -> bytes:
    """A line for each of COVERED, in the order of their names."""
    return "".join(LINE.format(hashlib.sha256(files[name]).hexdigest(), name) for name in COVERED).encode()


def decode(data: bytes) -> dict[str, str] | None:
    """The sha256 of each of COVERED; None if the bytes are not what `encode` writes."""
    match = CONTENT.fullmatch(data)
    return dict(zip(COVERED, map(bytes.decode, match.groups()), strict=True)) if match else None
