"""RUN/system/node-0.jsonl, ... → MLflow metrics `system/node-0/...`, which its page shows as system metrics.

In: the files that `track.host_metrics` writes on each host. Out: metrics with step = seconds since the host's first
sample.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sentalign.track import host_metrics, journal
from sentalign.track.mlflow import entries
from sentalign.track.mlflow.upload_state import UploadState


def send(client: Any, state: UploadState, run: Path) -> None:
    """Sends the samples after the offsets in `state`, and moves these on."""
    for file in sorted((run / host_metrics.FOLDER).glob("node-*.jsonl")):
        samples = list(journal.follow_file(file, state.system.get(file.stem, 0)))
        if samples:
            first = json.loads(file.open("rb").readline())["time"]
            prefix = f"system/{file.stem}/"
            named = [
                (sample | {"step": round(sample["time"] - first)}, _values(sample, prefix)) for sample, _ in samples
            ]
            entries.log_metrics(client, state.run_id, named)
            state.system[file.stem] = samples[-1][1]


def _values(sample: journal.Entry, prefix: str) -> dict[str, float]:
    return {prefix + name: float(value) for name, value in sample.items() if name not in ("kind", "time")}
