"""The errors of a store: the types that callers tell apart, and causes with what is wrong and how to mend it.

In: an `OSError`, or the text of an object store's error. Out: a `UserError`, or a `Cause`. The causes of obstore's
typed exceptions are in `bucket`.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import NamedTuple

from sharding.contract import UserError


class BadFileError(UserError):
    """One file is missing or shorter than it should be; others may be whole."""


class OutOfReachError(UserError):
    """The store does not answer or is overloaded: another try may succeed."""


OS_CAUSES = {
    errno.ENOSPC: "no space left on the disk; free some and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.ENOTDIR: "a file is where a folder should be; remove it or name another folder",
    errno.EEXIST: "a file is where a folder should be; remove it or name another folder",
    errno.EISDIR: "a folder is where a file should be; remove it or name another folder",
}


def from_os(path: str | Path, error: OSError) -> UserError:
    unknown = f"cannot be read or written ({error.strerror}); check path and rights"
    return UserError(f"{path}: {OS_CAUSES.get(error.errno or 0, unknown)}")


class Cause(NamedTuple):
    """Why a request to an object store failed; `mend` has fields for the names of environment variables."""

    error: type[UserError]
    wrong: str
    mend: str


LATER = "check {endpoint} and the network, then run the same command again"
NO_BUCKET = Cause(UserError, "there is no such bucket", "make it, or correct the address")
DENIED = Cause(UserError, "wrong credentials, or not allowed", "check {credentials} and the rights on the bucket")
BAD_NAME = Cause(UserError, "a name with //, /./, /../ or a control character in it", "rename it")
UNKNOWN = Cause(UserError, "it cannot be used", "check the address, {credentials} and the other {prefix} variables")
# Only the text tells these apart: obstore raises GenericError for most, for a missing bucket the type of a missing
# file, and ValueError for the name in a request. The first match wins.
CAUSES = (
    (r"^Could not parse path", BAD_NAME),
    (
        r"/latest/api/token|/computeMetadata/|/metadata/identity|169\.254\.",
        Cause(UserError, "no credentials", "set {credentials}"),
    ),
    (r"NoSuchBucket|ContainerNotFound", NO_BUCKET),
    (r"code: 40[13]", DENIED),  # in answer to a list request
    (r"code: 416", Cause(BadFileError, "a file is shorter than it should be", "build or copy the data set again")),
    (
        r"code: (?:5\d\d|429)",
        Cause(OutOfReachError, "the store is down or overloaded", "run the same command again later"),
    ),
    (r"without LOCATION", Cause(UserError, "the bucket lies in another region", "set {prefix}_REGION")),
    (r"dns error", Cause(OutOfReachError, "the host name is unknown", LATER)),
    (
        r"InvalidCertificate|tls|InvalidMessage",
        Cause(UserError, "no trusted https connection", "check {endpoint} and its certificate"),
    ),
    (r"kind: Connect", Cause(OutOfReachError, "connection refused or timed out", LATER)),
    (r"kind: Timeout", Cause(OutOfReachError, "no answer in time", LATER)),
    (r"HTTP error", Cause(OutOfReachError, "the connection broke", LATER)),
)


def by_text(text: str) -> Cause:
    return next((cause for pattern, cause in CAUSES if re.search(pattern, text)), UNKNOWN)
