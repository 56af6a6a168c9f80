"""The private folder of a build: salt, ledger source ↔ pseudonym, lock. Nothing of it may be copied to the output.

In: a folder, by default beside the input. Out: `PrivateFolder`. The build keeps its journal in the same folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sharding.contract import UserError
from sharding.deid.ledger import Ledger
from sharding.store import atomic
from sharding.store.locations import local_path

SALT_BYTES = 32


@dataclass(frozen=True)
class PrivateFolder:
    """An open private folder."""

    path: Path
    salt: bytes

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second build out; raises UserError if one runs. The system frees the lock however the build ends."""
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"another build uses the private folder {self.path}; wait for it, or give --private DIR"
                ) from None
            yield

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.path)


def open_private(private: Path | None, source: str, out: str) -> PrivateFolder:
    """The private folder (mode 0700, salt 0600 made once), by default `<input>-private` beside a local input.

    Raises UserError if it would lie inside the output, cannot be written, or is not named for an input in a store.
    """
    beside = local_path(source)
    if private is None and beside is None:
        raise UserError("an input in an object store has no place for salt and ledger; name one with --private DIR")
    folder = beside.resolve() if beside else Path()
    path = (private or folder.with_name(folder.name + "-private")).resolve()
    output = local_path(out)
    if output is not None and (path == output.resolve() or output.resolve() in path.parents):
        raise UserError(f"the private folder {path} lies inside the output; name one outside with --private DIR")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        return PrivateFolder(path, _salt(path / "salt"))
    except OSError as error:
        raise UserError(
            f"the private folder {path} cannot be written ({error.strerror}); name another with --private DIR"
        ) from None


def _salt(path: Path) -> bytes:
    """The salt, made if there is none."""
    if not path.exists():
        # Two builds may start at once: each writes its own file, the first link wins.
        fresh = path.with_name(f"salt-{secrets.token_hex(4)}")
        with atomic.open_file(fresh, durable=True) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(secrets.token_bytes(SALT_BYTES))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    salt = path.read_bytes()
    if len(salt) < SALT_BYTES:
        raise UserError(f"{path} is not a salt; restore it from a copy, or remove it to begin with new pseudonyms")
    return salt
