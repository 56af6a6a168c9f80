"""De-identification: salted pseudonyms and the private folder with the ledger.

In: source ids. Out: pseudonyms, and a ledger that resolves them. What identifies is sought in reports by `scan`
and in pixels by `secondary_captures`; what may leave of a header is in `header_allow_list`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sharding.contract import UserError
from sharding.store.locations import local_path

SALT_BYTES = 32
KEY_LENGTHS = {"image": 24, "study": 16, "patient": 16}


def pseudonym(salt: bytes, kind: str, source: str) -> str:
    """Truncated HMAC-SHA256 of a source id, hexadecimal; the same id and salt give the same pseudonym."""
    digest = hmac.new(salt, f"{kind}\0{source}".encode(), hashlib.sha256).hexdigest()
    return digest[: KEY_LENGTHS[kind]]


@dataclass(frozen=True)
class PrivateFolder:
    """What must never be copied: the salt, the ledger source ↔ pseudonym, the journal of the build."""

    path: Path
    salt: bytes

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second build out; raises UserError where one runs. Freed by the system when the build ends anyhow."""
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"another build works with the private folder {self.path}; wait for it, or give --private DIR"
                ) from None
            yield

    def record(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Add (kind, pseudonym, source) rows to the ledger; rows that stand there already are left alone."""
        with sqlite3.connect(self.path / "ledger.sqlite") as ledger:
            ledger.execute(
                "CREATE TABLE IF NOT EXISTS ledger "
                "(kind TEXT, pseudonym TEXT, source TEXT, UNIQUE (kind, pseudonym, source))"
            )
            ledger.executemany("INSERT OR IGNORE INTO ledger VALUES (?, ?, ?)", rows)
        ledger.close()

    def resolve(self, pseudonym: str) -> list[tuple[str, str]]:
        """The (kind, source) rows behind a pseudonym."""
        with sqlite3.connect(self.path / "ledger.sqlite") as ledger:
            rows = ledger.execute(
                "SELECT kind, source FROM ledger WHERE pseudonym = ? ORDER BY 1, 2", (pseudonym,)
            ).fetchall()
        ledger.close()
        return [(str(kind), str(source)) for kind, source in rows]


def open_private(private: Path | None, source: str, out: str) -> PrivateFolder:
    """The private folder (mode 0700, salt 0600 made once), by default `<input>-private` beside a local input.

    Raises UserError where it would lie inside the output, cannot be written, or is not named for an input in a store.
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
    """The salt, made where there is none; in place at once, so that a build killed here leaves no half of one."""
    if not path.exists():
        fresh = path.with_name(f"salt-{secrets.token_hex(4)}.part")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SALT_BYTES))
            file.flush()
            os.fsync(handle)
        with contextlib.suppress(FileExistsError):  # another build was first, and its salt holds
            path.hardlink_to(fresh)
        fresh.unlink()
    salt = path.read_bytes()
    if len(salt) < SALT_BYTES:
        raise UserError(f"{path} holds no salt; restore it from a copy, or remove it to begin with new pseudonyms")
    return salt
