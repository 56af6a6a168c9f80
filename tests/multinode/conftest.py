"""Two hosts, and the small data set that is trained on them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import good
from tests.multinode.network import Hosts, missing


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    if reason := missing():
        pytest.skip(reason)
    made = Hosts(tmp_path)
    try:
        try:
            made.open()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 40 training phantoms at 128 pixels."""
    folder = tmp_path_factory.mktemp("multinode")
    good("phantom", "phantoms", "--studies", 50, "--seed", 3, "--size", 128, "--test-studies", 2,
         "--validation-studies", 8, folder=folder)  # fmt: skip
    good("shard", "build", "mimic-cxr", "phantoms", "--out", "shards", "--size", 128, folder=folder)
    return folder / "shards"
