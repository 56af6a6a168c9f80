"""A bar on a terminal, and nothing in a log."""

from __future__ import annotations

import io
import sys

import pytest

from sharding import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("in_bytes", "amount"), [(False, "3/4"), (True, "3/4 bytes")])
def test_a_terminal_shows_what_was_done(monkeypatch, in_bytes, amount):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress.bar("shards", 4, in_bytes) as advance:
        advance(1)
        advance(2)
    shown = sys.stderr.getvalue()
    assert "shards" in shown
    assert amount in shown


def test_elsewhere_nothing_is_written(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.bar("shards", 4) as advance:
        advance(4)
    assert sys.stderr.getvalue() == ""
