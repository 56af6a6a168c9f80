"""What the training loop reports → journal, console and MLflow.

In: the callbacks of the loop, on every rank. Out: journal entries, console lines, an MLflow run; rank 0 alone writes.
The sample heat maps are drawn in `pictures`.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from sentalign import dist
from sentalign.config import Config
from sentalign.track.pictures import sample_maps


class RunLogger:
    """Tells journal, console, MLflow and the pictures folder what the loop does; on other ranks it does nothing."""

    def __init__(self, run: Path, config: Config, account: str) -> None:
        """`account`: what the training stream holds and leaves out, for the person who started the run."""
        self._run, self._config, self._account = run, config, account
        self._first, self._status = dist.rank() == 0, "finished"

    def __enter__(self) -> RunLogger:
        if self._first:
            from sentalign.track.console import Console
            from sentalign.track.journal import Journal
            from sentalign.track.mlflow_uploader import MlflowUploader

            said = self._config.track
            self._journal = Journal(self._run)
            self._uplink = MlflowUploader(self._run, said.uri, said.experiment, said.parent_run)
            self._uplink.start()
            self._new_console: type[Console] = Console
            self._console: Console | None = None
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._first:
            if self._console:  # not where the loop never started
                self._console.close()
            self._journal.append("end", status="failed" if kind else self._status)
            self._journal.close()
            self._uplink.close()

    def start(self, pairs: int, total: int) -> None:
        """The loop is about to go on at `pairs` of `total`."""
        if self._first:
            print(self._account, file=sys.stderr)
            versions = {name: version(name) for name in ("torch", "deepspeed", "transformers", "webdataset")}
            said = self._config.model_dump(mode="json")
            self._journal.append("start", run=str(self._run), config=said, versions=versions, pairs=pairs)
            self._console = self._new_console(total, pairs)

    def step(self, pairs: int, numbers: dict[str, float]) -> None:
        if self._first:
            self._journal.append("metrics", step=pairs // self._config.data.batch, pairs=pairs, **numbers)
            assert self._console
            self._console.step(pairs, {name: numbers[name] for name in ("loss",) if name in numbers})

    def validation(self, pairs: int, numbers: dict[str, float]) -> None:
        if self._first:
            self._journal.append("validation", pairs=pairs, **numbers)

    def best(self, pairs: int, value: float | None) -> None:
        """model.safetensors was just written; sample heat maps are drawn with it."""
        if self._first:
            self._journal.append("best", pairs=pairs, value=value)
            for path in sample_maps(self._run, self._config):
                self._journal.append("picture", path=path, pairs=pairs)

    def saved(self, pairs: int) -> None:
        """A checkpoint is on the disk, whole."""
        if self._first:
            self._journal.append("checkpoint", pairs=pairs)

    def stopped(self, pairs: int) -> None:
        """The run leaves before its end, as it was asked to, with a checkpoint."""
        if self._first:
            self._status = "stopped"
            print(f"stopped at {pairs} pairs; run the same command to go on", file=sys.stderr)
