"""What the training loop reports → journal, console, MLflow, sample pictures, attribution offsets and localization.

In: the callbacks of the loop (`engine.loop.LoopCallbacks`) on rank 0. Out: journal entries, console lines, an MLflow
run. What is computed of sample images is in `samples`, of cases with boxes in `evaluate.validation`, and how it runs
beside the loop in `background`.
"""

from __future__ import annotations

import logging
import math
import sys
from importlib.metadata import version
from pathlib import Path

from torch import Tensor

from sentalign.config import Config
from sentalign.track.background import BackgroundTasks, Outcome
from sentalign.track.console import Console
from sentalign.track.journal import Journal
from sentalign.track.mlflow_uploader import MlflowUploader

log = logging.getLogger(__name__)
SHOWN, WORD, LOWEST = ("loss", "recall", "side_margin", "side_preferred"), "word_recall/", 3  # of a validation
BACKGROUND_SECONDS = 30.0  # that the end of a run waits for its last pictures and offsets
LOCALIZATION_SECONDS = 600.0  # that it waits for its last localization, which sweeps compare
NAMES = {"pictures": "sample pictures", "attribution": "attribution offset", "localization": "localization"}


class RunLogger:
    """Writes everything that a run reports, as a context manager around the loop; on rank 0 only."""

    def __init__(self, run: Path, config: Config, account: str, background: BackgroundTasks | None = None) -> None:
        """`account`: what the training stream holds and leaves out, for the person who started the run."""
        self._run, self._config, self._account, self._background = run, config, account, background
        self._status = "finished"
        self._console: Console | None = None  # until the loop starts
        self._total = math.inf

    def __enter__(self) -> RunLogger:
        track = self._config.track
        self._journal = Journal(self._run)
        self._uploader = MlflowUploader(self._run, track.uri, track.experiment, track.parent_run)
        self._uploader.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._background:
            self._log_outcomes(self._background.close(0.0 if error else BACKGROUND_SECONDS))
        if self._console:
            self._console.close()
        self._journal.append("end", status="failed" if error else self._status)
        self._journal.close()
        self._uploader.close()

    def start(self, pairs: int, total: int) -> None:
        """The loop starts, or resumes, at `pairs` of `total`."""
        print(self._account, file=sys.stderr)
        versions = {name: version(name) for name in ("torch", "deepspeed", "transformers", "webdataset")}
        config = self._config.model_dump(mode="json")
        self._journal.append("start", run=str(self._run), config=config, versions=versions, pairs=pairs)
        self._console, self._total = Console(total, pairs), total

    def step(self, pairs: int, metrics: dict[str, float]) -> None:
        """One training step; its metrics are finite."""
        self._journal.append("metrics", step=pairs // self._config.data.batch, pairs=pairs, **metrics)
        assert self._console
        self._console.step(pairs, {name: metrics[name] for name in ("loss",) if name in metrics})
        if self._background:
            self._log_outcomes(self._background.finished())

    def validation(self, pairs: int, metrics: dict[str, float], weights: dict[str, Tensor]) -> None:
        """One pass over the validation split; localization and attribution offset follow from the background.

        The last localization is waited for, before the checkpoint that makes this validation the last one: a run that
        is killed here validates again. NaN and inf are written as text: JSON has no numbers for them.
        """
        values = {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
        self._journal.append("validation", pairs=pairs, **values)
        if self._console and metrics:
            self._console.line(f"validation at {pairs:,} pairs: {validation_line(metrics)}")
        if self._background and all(map(math.isfinite, metrics.values())):
            self._ask(self._background, weights, pairs)

    def _ask(self, background: BackgroundTasks, weights: dict[str, Tensor], pairs: int) -> None:
        if self._config.validation.boxes:
            background.ask("localization", weights, pairs)
        background.ask("attribution", weights, pairs)
        if self._config.validation.boxes and pairs >= self._total:
            # The other ranks wait in a collective.
            longest = min(LOCALIZATION_SECONDS, 30 * self._config.train.timeout_minutes)
            self._log_outcomes(background.wait("localization", longest))

    def best(self, pairs: int, loss: float | None, weights: dict[str, Tensor]) -> None:
        """model.safetensors was just written with these weights; sample pictures are drawn with them."""
        self._journal.append("best", pairs=pairs, value=loss)
        if self._background:
            self._background.ask("pictures", weights, pairs)

    def saved(self, pairs: int) -> None:
        """A checkpoint is complete on the disk."""
        self._journal.append("checkpoint", pairs=pairs)

    def stopped(self, pairs: int) -> None:
        """The run ends early, by a stop request, with a checkpoint."""
        self._status = "stopped"
        print(f"stopped at {pairs} pairs; run the same command to go on", file=sys.stderr)

    def _log_outcomes(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.failure:
                message = f"no {NAMES[outcome.kind]} after {outcome.pairs} pairs: {outcome.failure}"
                self._journal.append("warning", pairs=outcome.pairs, message=message)
                log.warning("warning: %s", message)
            elif outcome.kind == "attribution":
                self._log_attribution(outcome.pairs, outcome.result)
            elif outcome.kind == "localization":
                self._log_localization(outcome.pairs, outcome.result)
            else:
                for path in outcome.result:
                    self._journal.append("picture", path=path, pairs=outcome.pairs)

    def _log_attribution(self, pairs: int, metrics: dict[str, float]) -> None:
        self._journal.append("attribution", pairs=pairs, **metrics)
        if self._console and metrics:
            dx, dy, length = (metrics[f"attribution_{name}"] for name in ("dx", "dy", "length"))
            self._console.line(f"attribution offset at {pairs:,} pairs: {length:.1f} px (x {dx:+.1f}, y {dy:+.1f})")

    def _log_localization(self, pairs: int, metrics: dict[str, float]) -> None:
        self._journal.append("localization", pairs=pairs, **metrics)
        if self._console:
            self._console.line(f"localization at {pairs:,} pairs: {localization_line(metrics)}")


def localization_line(metrics: dict[str, float]) -> str:
    """What was measured of the cases with boxes."""
    shown = {"pointing": "pointing", "average_precision": "AP", "side": "right side", "cnr": "CNR"}
    parts = [f"{text} {metrics[name]:.3f}" for name, text in shown.items() if name in metrics]
    return "  ".join([*parts, f"({metrics['cases']:.0f} cases)"])


def validation_line(metrics: dict[str, float]) -> str:
    """The loss and the label-free metrics of a validation, with the three words of the lowest recall."""
    parts = [f"{name.replace('_', ' ')} {metrics[name]:.3g}" for name in SHOWN if name in metrics]
    by_word = {name.removeprefix(WORD): value for name, value in metrics.items() if name.startswith(WORD)}
    lowest = sorted(by_word, key=lambda word: by_word[word])[:LOWEST]
    words = ", ".join(f"{word} {by_word[word]:.2f}" for word in lowest)
    return "  ".join(parts) + (f"  lowest recall: {words}" if words else "")
