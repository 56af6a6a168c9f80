"""Starts the process that ranks are forked from before any test changes the environment."""

from __future__ import annotations

from multiprocessing import forkserver

from tests.multiproc.ranks import rank_context


def pytest_collection_finish(session):
    if not session.config.option.collectonly:
        rank_context()
        forkserver.ensure_running()
