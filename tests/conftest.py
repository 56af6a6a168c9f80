"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Fixtures of all tests that need a browser, a server or a cluster.
from tests.chromium import browser  # noqa: F401
from tests.ray_clusters import ray_cluster  # noqa: F401
from tests.servers import az, azure_server, clean_environment, gs, line, s3, s3_server  # noqa: F401

# A test's time depends on what else the machine does; `--timeout` bounds it.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real X-rays and reports; the test is skipped where there is none."""
    named = os.environ.get("SENTALIGN_REALDATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: set SENTALIGN_REALDATA (looked for {folder.name}/ beside the checkout)")
    return folder
