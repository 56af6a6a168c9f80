"""A study on a Ray cluster of two nodes, and on the cores of one machine: the table of one training at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sentalign.study import study_json
from tests.study.test_spec import TREE

SMALL = {"train.epochs": 1, "data.image_size": 65, "data.batch": 8}
ROWS = {"base": {"set": SMALL}, "fast": {"set": SMALL | {"optimizer.lr": 3e-3}}}


@pytest.fixture
def cluster(monkeypatch, request):
    """The trainings of a study are processes of the nodes, with their environment."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums are rounded the same in every process
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    return request.getfixturevalue("ray_cluster")


def study(folder, *words):
    """Runs the command; the figures of each row, and the table."""
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({**TREE, "seeds": [3], "rows": ROWS, "out": str(folder)}, sort_keys=False))
    command = [sys.executable, "-m", "sentalign", "study", str(path), *words]
    subprocess.run(command, env=os.environ, check=True, timeout=600)
    rows = study_json.read(folder / "study.json")["rows"]
    return {name: row["figures"] for name, row in rows.items()}, (folder / "table.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_nodes_reach_the_metrics_of_one_machine(cluster, tmp_path):
    by_row, table = study(tmp_path / "cluster", "--ray", cluster.address)
    assert all(values[0] is not None for row in by_row.values() for values in row.values())
    assert by_row["base"] != by_row["fast"]
    # Shards made again have other pseudonyms, and another order of samples.
    for name, words in (("alone", ()), ("local", ("--ray", "local"))):
        shutil.copytree(tmp_path / "cluster" / "data", tmp_path / name / "data")
        assert study(tmp_path / name, *words) == (by_row, table)
