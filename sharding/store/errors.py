"""Errors of a store that a caller can act on, and the texts of the operating system's.

In: an `errno`. Out: what is wrong and how to mend it. Errors of object stores are told apart in `bucket`.
"""

from __future__ import annotations

import errno

from sharding.contract import UserError

MISTAKES = {
    errno.ENOSPC: "no space left on the disk; free some and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.ENOTDIR: "a file stands where a folder should be; remove it or name another folder",
    errno.EEXIST: "a file stands where a folder should be; remove it or name another folder",
    errno.EISDIR: "a folder stands where a file should be; remove it or name another folder",
}


class BadFileError(UserError):
    """One file is missing or shorter than it should be; others may be whole."""


class OutOfReachError(UserError):
    """The store does not answer, or says that it cannot: another try may succeed."""
