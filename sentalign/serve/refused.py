"""A request that cannot be answered, with its HTTP status and a line for the person at the page."""

from __future__ import annotations


class RefusedError(Exception):
    """The message holds no value of a file and no identity."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
