"""SHA256SUMS and the files that it covers → the files that have changed since they were built.

In: a store. Out: one line per file that differs, so that any changed byte in any of them is found. A data set of an
earlier version has no such file: `is_missing`, which is no fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from sharding import checksums
from sharding.contract import CHECKSUMS_NAME
from sharding.store.base import Store

AGAIN = "copy the data set again, or build it again"
MISSING = (
    f"no {CHECKSUMS_NAME}, as in a data set of an earlier version: a changed byte in manifest, quarantine or audit may "
    "go unseen; a build by this version writes it"
)


def is_missing(store: Store) -> bool:
    return not store.exists(CHECKSUMS_NAME)


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
