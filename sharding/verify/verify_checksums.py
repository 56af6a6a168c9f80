"""SHA256SUMS and the files that it covers → the files that have changed since they were built.

In: a store. Out: one line per file that differs, so that any changed byte in any of them is found. A data set of an
earlier version has no such file, which is no fault; where the manifest says that there is one, it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from sharding import checksums
from sharding.contract import CHECKSUMS_KEY, CHECKSUMS_NAME
from sharding.store.base import Store

AGAIN = "copy the data set again, or build it again"
MISSING = (
    f"no {CHECKSUMS_NAME}, as in a data set of an earlier version: a changed byte in manifest, quarantine or audit may "
    "go unseen; a build by this version writes it"
)

LOST = f"{CHECKSUMS_NAME}: missing, and the manifest says that there is one; {AGAIN}"


def absence(store: Store, metadata: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The fault, or the note, that there are no checksums."""
    if store.exists(CHECKSUMS_NAME):
        return [], []
    return ([LOST], []) if CHECKSUMS_KEY in metadata else ([], [MISSING])


def faults_of_files(store: Store) -> Iterator[str]:
    """The covered files whose bytes are not those that were built; none if there are no checksums."""
    data = store.find(CHECKSUMS_NAME)
    if data is None:
        return
    stored = checksums.decode(data)
    if stored is None:
        yield f"{CHECKSUMS_NAME}: damaged, or not as a build writes it; {AGAIN}"
        return
    for name, sha256 in stored.items():
        content = store.find(name)
        if content is not None and hashlib.sha256(content).hexdigest() != sha256:
            yield f"{name}: differs from its checksum in {CHECKSUMS_NAME}; {AGAIN}"
