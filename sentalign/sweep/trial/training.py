"""One training in processes of its own: started, followed by its journal, restarted from its checkpoint, killed.

In: a command line and a run folder. Out: the metrics of its validations, by pairs. To continue, the same command runs
again in the same folder. MLflow is not imported here: the training's own uploader sends.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from sentalign.launch import process_group_guard
from sentalign.track import journal

LOG_NAME, LOCK_NAME = "train.log", "lock"
LOCK_SECONDS = 120  # that another process may still need to end, after its node or its driver was lost
SAVE_SECONDS = 120  # a training that is told to stop ends its step and saves
USER_ERROR = 2


class TrainingFailed(RuntimeError):
    """A training that failed for good; its message is one line."""


class Training:
    """One training. `values` are its metrics by pairs, `saved` the pairs of its newest checkpoint."""

    def __init__(
        self,
        run: Path,
        command: Callable[[], Sequence[str]],
        folder: str,
        environment: Mapping[str, str],
        retries: int,
        keep: Callable[[int], None] | None = None,
    ) -> None:
        """`command` is asked at each start: it holds a free port. `keep` is told of each checkpoint of a validation,
        before the training removes it.
        """
        self.run, self._command, self._folder, self._environment = run, command, folder, environment
        self.values: dict[int, dict[str, float]] = {}
        self.saved = -1
        self.is_finished = False
        self._retries, self._offset, self._keep = retries, 0, keep
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: BinaryIO | None = None
        self._failure: tuple[str, int] | None = None
        self._log_start = 0  # of the lines of this start
        self.read()

    @property
    def pairs(self) -> int:
        return max(self.values, default=0)

    def start(self) -> None:
        """Starts, or continues from the newest checkpoint; nothing for one that has finished."""
        if self.is_finished or self._process:
            return
        self.run.mkdir(parents=True, exist_ok=True)
        self._lock = self._lock or _locked(self.run / LOCK_NAME)
        with open(self.run / LOG_NAME, "ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                process_group_guard.command(self._command()),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[self._lock.fileno()],  # held for as long as any of its processes lives
            )

    def poll(self) -> None:
        """Reads what is new, and starts a failed training again. Raises TrainingFailed."""
        code = self._process.poll() if self._process else None  # before reading, so that the last lines are read
        self.read()
        if code is None or self._process is None:
            return
        self.kill()
        if code == 0 and not journal.was_stopped(self.run):
            self.is_finished = True
            return
        self._retry(code)

    def _retry(self, code: int) -> None:
        told, last = self._told()
        error = f"training ended with {code}: {told or last or 'no output'}"
        if code == 0:
            told, error = "", "training was stopped from outside, by SIGTERM or SIGUSR1"
        failure = (told, self.saved)
        # The same error at the same place is no accident.
        if self._retries <= 0 or code == USER_ERROR or (told and failure == self._failure):
            raise TrainingFailed(error)
        self._retries, self._failure = self._retries - 1, failure
        self.start()

    def read(self) -> None:
        """Takes in the new lines of the journal."""
        for entry, end in journal.follow(self.run, self._offset):
            self._offset = end
            if entry["kind"] == "checkpoint":
                self.saved = entry["pairs"]
                if self._keep and self.saved in self.values:
                    self._keep(self.saved)
            elif entry["kind"] == "start":
                self.is_finished = False
            elif entry["kind"] == "end":
                self.is_finished = entry["status"] == "finished"
            elif entry["kind"] != "metrics" and "pairs" in entry:
                self.values.setdefault(entry["pairs"], {}).update(journal.metrics(entry))

    def memory(self) -> int:
        """Bytes of this host that its processes have now; what they share counts once."""
        if self._process is None:
            return 0
        with suppress(psutil.Error):
            family = psutil.Process(self._process.pid).children(recursive=True)
            return sum(map(_own_bytes, family))
        return 0

    def stop(self) -> None:
        """Lets a running training save its state, and ends it."""
        if self._process:
            process_group_guard.terminate(self._process)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(SAVE_SECONDS)
            self.kill()
            self.read()

    def kill(self) -> None:
        """Kills the whole group at once: a trial that Ray stops needs no last checkpoint."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin
        with suppress(BrokenPipeError):
            process.stdin.close()

    def close(self) -> None:
        self.kill()
        if self._lock:
            self._lock.close()
            self._lock = None

    def _told(self) -> tuple[str, str]:
        """The last line that begins with `error:`, and the last of all, in what this start has written; else empty."""
        with open(self.run / LOG_NAME, "rb") as log:
            log.seek(self._log_start)
            lines = [line.strip()[:300] for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error:")]
        return (errors or [""])[-1], (lines or [""])[-1]


def _own_bytes(process: psutil.Process) -> int:
    with suppress(psutil.Error):  # it has ended meanwhile
        found = process.memory_full_info()
        return int(getattr(found, "pss", found.uss))
    return 0


def _locked(path: Path) -> BinaryIO:
    """The open lock of a run. Raises TrainingFailed where another process keeps it."""
    file = open(path, "ab")  # noqa: SIM115
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise TrainingFailed(f"{path.parent} is still in use by another training") from None
            time.sleep(0.2)
