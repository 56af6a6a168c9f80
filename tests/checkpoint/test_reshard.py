"""Conversions that cannot be; those that can are in tests/multiproc/test_elastic.py."""

from __future__ import annotations

import logging
import sys

import pytest

from sentalign.checkpoint import reshard
from sharding.contract import UserError
from tests.checkpoint.test_write import saved
from tests.engine.fake import Engine


@pytest.fixture
def folder(tmp_path):
    saved(tmp_path, 10)
    return tmp_path / "checkpoints/pairs-000000000010"


def test_a_converter_that_fails_is_one_line_and_leaves_nothing(folder, monkeypatch, caplog):
    """DeepSpeed's converter finds no ZeRO files in a checkpoint of this engine; what another run left goes too."""
    (folder.parent / "pairs-000000000009-0a0a0a0a.universal/engine").mkdir(parents=True)
    with caplog.at_level(logging.WARNING), pytest.raises(UserError) as error:
        reshard.load(folder, Engine(), 2)
    assert "cannot be converted for 1 ranks: " in str(error.value)
    assert str(error.value).endswith("; use as many as before")
    assert "\n" not in str(error.value)
    assert "was written by 2 ranks, this is 1: converting it" in caplog.text
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_converter_that_cannot_start_is_one_line(folder, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(folder / "no-python"))
    with pytest.raises(UserError, match=r"cannot be converted for 1 ranks: .*No such file"):
        reshard.load(folder, Engine(), 2)


def test_the_wait_is_cut_into_short_ones(folder, monkeypatch):
    """The ranks hear of the converter again and again: no collective lasts as long as it does."""
    heard = []
    monkeypatch.setattr(reshard, "PATIENCE", 0.05)
    monkeypatch.setattr(reshard.dist, "broadcast_object", lambda value: heard.append(value) or value)
    with pytest.raises(UserError):
        reshard.load(folder, Engine(), 2)
    assert heard.count(None) > 5
