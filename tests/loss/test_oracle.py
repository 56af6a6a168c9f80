"""Reference and fast path equal the oracle in every term and every gradient, for all combinations of options."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.loss import duplicates, oracle


@pytest.mark.parametrize("path", ["reference", "fast path"])
@pytest.mark.parametrize("options", duplicates.COMBINATIONS, ids=str)
def test_terms_and_gradients_equal_the_oracle(options, path):
    assert not duplicates.difference(duplicates.Project(), path, options)


def test_the_oracle_shares_no_code_with_the_project():
    tree = ast.parse(Path(oracle.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules == {"__future__", "dataclasses", "math", "torch"}
