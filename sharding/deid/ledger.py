"""The ledger: which source is behind a pseudonym, as an SQLite file in the private folder.

In: (kind, pseudonym, source) rows. Out: the (kind, source) rows of a pseudonym. An image's pseudonym, which is also its
key and its quarantine id, has two kinds of rows: "image", the source's own id, and "file", where its file was.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path


class Ledger:
    """The ledger of a private folder; raises sqlite3.Error if the file cannot be used."""

    def __init__(self, private: Path) -> None:
        self.path = private / "ledger.sqlite"

    def record(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Adds rows; those that it has already stay as they are."""
        with self._open() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS ledger "
                "(kind TEXT, pseudonym TEXT, source TEXT, UNIQUE (kind, pseudonym, source))"
            )
            database.executemany("INSERT OR IGNORE INTO ledger VALUES (?, ?, ?)", rows)

    def resolve(self, pseudonym: str) -> list[tuple[str, str]]:
        """The (kind, source) rows behind a pseudonym."""
        query = "SELECT kind, source FROM ledger WHERE pseudonym = ? ORDER BY 1, 2"
        with self._open() as database:
            return [(str(kind), str(source)) for kind, source in database.execute(query, (pseudonym,))]

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:
            yield database
