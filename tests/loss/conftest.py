"""Copies of the loss modules in which one piece of source is replaced: mutants, which a test must notice."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import sentalign.loss
import sentalign.stream.batch
from tests.loss.duplicates import Project

SOURCES = {path.stem: path for path in Path(sentalign.loss.__file__).parent.glob("*.py")}
SOURCES["batch"] = Path(sentalign.stream.batch.__file__)


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Makes a Project out of copies of the sources, one piece of one module replaced."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(module, old, new):
        package = f"mutant_{tmp_path.name}"
        (tmp_path / package).mkdir()
        for stem, path in SOURCES.items():
            text = path.read_text(encoding="utf-8").replace("sentalign.loss", package)
            if stem == module:
                assert text.count(old) == 1, f"{module}.py does not hold this piece once: {old}"
                text = text.replace(old, new)
            (tmp_path / package / f"{stem}.py").write_text(text, encoding="utf-8")
        return Project(*(importlib.import_module(f"{package}.{name}") for name in Project._fields))

    return make
