"""Local files: one whole, the list of all below a folder, and what changes when one does.

In: a path. Out: bytes, names, states. Nothing is written here. A name that is not UTF-8 is listed with \\xNN in it, and
read by that name, so that every name can be printed, stored and hashed.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from sharding.contract import UserError

ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def read(path: Path) -> bytes:
    """The whole file. Raises OSError, also for a device, which would fill the memory."""
    try:
        with open(path, "rb") as file:
            if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "a device, not a file")
            return file.read()
    except FileNotFoundError:
        listed = os.fsencode(path)
        meant = ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), listed)
        if meant == listed:
            raise
        return read(Path(os.fsdecode(meant)))


def state(file: Path | os.DirEntry[bytes]) -> str:
    """Size and time of a file; empty for a link to nothing, which reading it says."""
    try:
        found = file.stat()
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"


def below(folder: Path) -> Iterator[tuple[str, os.DirEntry[bytes]]]:
    """All files below a folder with their relative names; none where there is no folder.

    Links to folders are followed, but not back to a folder around them, as `find -L` does it. Raises UserError where a
    folder cannot be listed, since its files would be missed in silence.
    """
    top = os.fsencode(folder).rstrip(b"/") + b"/"
    waiting: list[tuple[bytes, ...]] = [(top,)]
    closed: list[OSError] = []
    while waiting:
        around = waiting.pop()  # the folders from the top down to the one that is listed now
        try:
            with os.scandir(around[-1]) as entries:
                for entry in entries:
                    if not _is_folder(entry):
                        yield entry.path[len(top) :].decode("utf-8", "backslashreplace"), entry
                    elif not _leads_back(entry, around):
                        waiting.append((*around, entry.path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            closed.append(error)
    if closed:
        raise UserError(
            f"{folder}: {len(closed)} folders in it cannot be listed ({closed[0].strerror}); check their rights, "
            "`find -L INPUT -type d ! -readable` names them"
        )


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads nowhere; reading it says so


def _leads_back(entry: os.DirEntry[bytes], around: tuple[bytes, ...]) -> bool:
    return entry.is_symlink() and any(os.path.samestat(entry.stat(), os.stat(outer)) for outer in around)
