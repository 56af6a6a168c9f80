"""The error of one picture among many: it is reported, and the others are done."""

from __future__ import annotations

from sharding.contract import UserError


class FailedPictureError(UserError):
    """Nothing can be made of one picture; its message holds neither the name of the file nor a value of it."""
