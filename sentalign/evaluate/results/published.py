"""What others published for a data set, from `published.toml`; printed as published, never as measured.

In: the name of a data set. Out: one row for each method.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _tree() -> dict[str, Any]:
    return tomllib.loads(files("sentalign.evaluate.results").joinpath("published.toml").read_text(encoding="utf-8"))


def of_set(name: str) -> list[dict[str, Any]]:
    """Rows {method, protocol, source, and those of pointing, cnr, miou, dice that were published}."""
    tree = _tree()
    return [
        {"method": method, "protocol": row["protocol"], "source": tree["sources"][row["source"]]} | figures
        for row in tree["row"]
        if row["set"] == name
        for method, figures in row["figures"].items()
    ]
