"""`sentalign tune` as a user starts it, with a stand-in for training, and what it has written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

# `sentalign tune`, but for the program that trains.
PROGRAM = """
import sys
from sentalign.cli import main
from sentalign.sweep import run
search, launcher = run.search, tuple(sys.argv[1].split("|"))
run.search = lambda checked, module, listener: search(checked, module, launcher, listener)
sys.exit(main(["tune", *sys.argv[2:]]))
"""


class Command:
    """`sentalign tune` in a process of its own."""

    def __init__(self, launcher: tuple[str, ...], seconds: float = 0.05) -> None:
        self._words = [sys.executable, "-c", PROGRAM, "|".join(launcher)]
        self.environment = {**os.environ, "STAND_IN_SECONDS": str(seconds)}

    def start(self, path: Path, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._words, str(path), *words],
            env=self.environment,
            start_new_session=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A shell starts its background jobs with SIGINT ignored, and their children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def __call__(self, path: Path, *words: str) -> tuple[int, str, str]:
        process = self.start(path, *words)
        out, err = process.communicate(timeout=380)
        return process.returncode, out, err


def events(folder: Path, kind: str) -> int:
    book = folder / "search" / "journal.jsonl"
    return book.read_text().count(f'"kind":"{kind}"') if book.exists() else 0


def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "trials.json").read_text())
