"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Fixtures of all tests that need a server.
from tests.servers import az, azure_server, clean_environment, gs, line, s3, s3_server  # noqa: F401


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real X-rays and reports; the test is skipped where there is none."""
    named = os.environ.get("SENTALIGN_REALDATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: set SENTALIGN_REALDATA (looked for {folder.name}/ beside the checkout)")
    return folder
