"""RUN/results/*.json → metrics, tables and files of the run's MLflow run: what `sentalign evaluate` measured.

In: the records that `evaluate.results.run_record` writes. Out: metrics `evaluation/SET/...`, and below the artifact
`evaluation/` two tables (all estimates with their intervals; those by category) and the whole result. No image, name of
an image or patient is in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sentalign.track import journal
from sentalign.track.mlflow import entries
from sentalign.track.mlflow.upload_state import UploadState

FOLDER, ARTIFACTS = "results", "evaluation"
DEPTH = 2  # of the estimates that become metrics: seen/pointing


class MeasuredValue(NamedTuple):
    """A mean with its 95% interval, by the names that lead to it."""

    where: tuple[str, ...]
    value: float
    low: float
    high: float


def send(client: Any, state: UploadState, run: Path) -> None:
    """Sends the records that `state` does not name, and enters them there."""
    for file in sorted((run / FOLDER).glob("*.json")):
        if file.name in state.results:
            continue
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:  # being written, or damaged: later, or never
            continue
        _send(client, state.run_id, run, file.stem, record)
        state.results.append(file.name)


def estimates(content: Any, where: tuple[str, ...] = ()) -> Iterator[MeasuredValue]:
    """All values of a result that have an interval: NAME beside NAME_ci, or `auc` beside `ci`."""
    for name, value in content.items() if isinstance(content, dict) else ():
        interval = content.get("ci" if name == "auc" else f"{name}_ci")
        if isinstance(value, dict):
            yield from estimates(value, (*where, name))
        elif isinstance(value, (int, float)) and isinstance(interval, list) and len(interval) == 2:
            yield MeasuredValue((*where, name), float(value), *map(float, interval))


def _send(client: Any, run_id: str, run: Path, stem: str, record: dict[str, Any]) -> None:
    content, found = record["content"], list(estimates(record["content"]))
    prefix = f"{ARTIFACTS}/{record['name']}/"
    figures = {prefix + "/".join(one.where): one.value for one in found if len(one.where) <= DEPTH}
    entries.log_metrics(client, run_id, [({"time": record["time"], "pairs": _best_pairs(run)}, figures)])
    folder = f"{ARTIFACTS}/{stem}"
    client.log_text(run_id, json.dumps(content, indent=1), f"{folder}/result.json")
    there = {file.path for file in client.list_artifacts(run_id, folder)}
    by_category = [one for one in found if "categories" in one.where or "labels" in one.where]
    for name, rows in (("estimates", [one for one in found if one not in by_category]), ("categories", by_category)):
        if rows and f"{folder}/{name}.json" not in there:  # log_table would append
            client.log_table(run_id, _table(rows), f"{folder}/{name}.json")


def _table(rows: list[MeasuredValue]) -> dict[str, list[Any]]:
    return {
        "part": [" / ".join(one.where[:-1]) for one in rows],
        "metric": [one.where[-1] for one in rows],
        "value": [one.value for one in rows],
        "low": [one.low for one in rows],
        "high": [one.high for one in rows],
    }


def _best_pairs(run: Path) -> int:
    """The pairs after which the weights were written that an evaluation measures."""
    best = [entry["pairs"] for entry, _ in journal.follow(run) if entry["kind"] == "best" and "pairs" in entry]
    return best[-1] if best else 0
